//! Problems of a row: kind, severity, message and suggestion.
//!
//! recoup shows a suggestion and never applies it. It matches an order ID byte for byte.

use std::fmt;

use super::columns::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A warning. The row is used.
    Note,
    /// The row is used only if the index has exactly this order ID. Otherwise it stops.
    Doubt,
    /// The row stops.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    EmptyOrder,
    /// Longer than the vendor accepts.
    TooLong,
    /// `1.00E+09`: digits are lost.
    ScientificNotation,
    /// `#REF!`, `#NAME?`
    SpreadsheetError,
    /// `=…`
    Formula,
    /// `12345.0`: the ID was taken for a number.
    DecimalTail,
    /// `Mar-24`: the ID may have been taken for a date.
    LooksLikeDate,
    /// White space or invisible characters at an end.
    LooksPadded,
    /// `'1001`: the mark for text in a spreadsheet.
    LeadingApostrophe,
    ControlCharacters,
    /// Digits only, and shorter than all the others.
    LostZeros,
    /// `03/04/2024`
    AmbiguousDate,
    UnreadableDate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    pub kind: ProblemKind,
    pub severity: Severity,
    pub column: Column,
    /// A lower-case sentence without a full stop.
    pub message: String,
    /// The probable meaning, for the user. It is never applied.
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

/// `order ID "1.00E+09" is in scientific notation, …`
impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(text) => write!(f, " (meant: {text:?}?)"),
            None => Ok(()),
        }
    }
}
