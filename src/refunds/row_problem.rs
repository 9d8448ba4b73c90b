//! Problems of a row: kind, severity, message and suggestion.
//!
//! recoup shows a suggestion to the user and never applies it, because the vendor compares order IDs byte for byte.

use std::fmt;

use super::columns::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A warning only: recoup uses the row.
    Note,
    /// recoup uses the row only if the index contains exactly this order ID. Otherwise the problem blocks the row.
    Doubt,
    /// The problem blocks the row.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    EmptyOrder,
    /// The ID is longer than the vendor accepts.
    TooLong,
    /// The ID is in scientific notation, such as `1.00E+09`, so digits are lost.
    ScientificNotation,
    /// The cell contains a spreadsheet's error, such as `#REF!` or `#NAME?`.
    SpreadsheetError,
    /// The cell contains a formula, such as `=A1`.
    Formula,
    /// The ID ends like a decimal number, such as `12345.0`: a program has read it as a number.
    DecimalTail,
    /// The ID looks like a date, such as `Mar-24`: a spreadsheet may have converted it.
    LooksLikeDate,
    /// The ID starts or ends with white space or an invisible character.
    LooksPadded,
    /// The ID starts with an apostrophe, such as `'1001`: the mark by which a spreadsheet treats a cell as text.
    LeadingApostrophe,
    ControlCharacters,
    /// The ID has only digits and is shorter than the others, so leading zeros may be lost.
    LostZeros,
    /// The order of day and month is unknown, as in `03/04/2024`.
    AmbiguousDate,
    UnreadableDate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    pub kind: ProblemKind,
    pub severity: Severity,
    pub column: Column,
    /// What is wrong, as a lower-case sentence without a full stop.
    pub message: String,
    /// The probable correct value, which recoup shows to the user and never applies.
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

/// Formats the problem: `order ID "1.00E+09" is in scientific notation, …`.
impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(text) => write!(f, " (meant: {text:?}?)"),
            None => Ok(()),
        }
    }
}
