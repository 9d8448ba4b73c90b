//! What is wrong with one row, as data: what kind, how much it weighs, in words, and what was probably meant.
//!
//! A suggestion is for a person to read. It is never acted on: an order ID is what its bytes are.

use std::fmt;

use serde::Serialize;

use super::columns::Column;

/// What a problem does to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Said, and the row goes on.
    Note,
    /// The row goes on only where the index has exactly these bytes as an order ID; else it stops, with the suggestion.
    Doubt,
    /// The row stops.
    Stop,
}

/// Every kind of problem, as a closed list that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// No order ID.
    EmptyOrder,
    /// Longer than the vendor takes.
    TooLong,
    /// `1.00E+09`: digits are gone.
    ScientificNotation,
    /// `#REF!`, `#NAME?`: the cell held a formula that failed.
    SpreadsheetError,
    /// `=…`: a formula instead of its result.
    Formula,
    /// `12345.0`: a number, where a text was.
    DecimalTail,
    /// `Mar-24`: a date, where a text was.
    LooksLikeDate,
    /// White space or something else that cannot be seen at an end.
    LooksPadded,
    /// `'1001`: the mark by which a spreadsheet is told that a cell is text.
    LeadingApostrophe,
    /// A line break or another control character inside.
    ControlCharacters,
    /// Digits only, and shorter than all the others.
    LostZeros,
    /// `03/04/2024`: two days at once.
    AmbiguousDate,
    /// Not a date.
    UnreadableDate,
}

impl ProblemKind {
    /// The word for it in outcome files and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyOrder => "empty_order",
            Self::TooLong => "too_long",
            Self::ScientificNotation => "scientific_notation",
            Self::SpreadsheetError => "spreadsheet_error",
            Self::Formula => "formula",
            Self::DecimalTail => "decimal_tail",
            Self::LooksLikeDate => "looks_like_date",
            Self::LooksPadded => "looks_padded",
            Self::LeadingApostrophe => "leading_apostrophe",
            Self::ControlCharacters => "control_characters",
            Self::LostZeros => "lost_zeros",
            Self::AmbiguousDate => "ambiguous_date",
            Self::UnreadableDate => "unreadable_date",
        }
    }
}

/// One thing that is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowProblem {
    /// Which kind.
    pub kind: ProblemKind,
    /// What it does to the row.
    pub severity: Severity,
    /// The column it was found in.
    pub column: Column,
    /// A lower-case sentence without a full stop.
    pub message: String,
    /// What was probably meant, for a person. Never acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl RowProblem {
    pub(super) fn new(kind: ProblemKind, severity: Severity, column: Column, message: impl Into<String>) -> Self {
        Self { kind, severity, column, message: message.into(), suggestion: None }
    }

    pub(super) fn suggest(mut self, text: impl Into<String>) -> Self {
        self.suggestion = Some(text.into());
        self
    }
}

/// `order ID "1.00E+09" is in scientific notation, …`.
impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(text) => write!(f, " (meant: {text:?}?)"),
            None => Ok(()),
        }
    }
}
