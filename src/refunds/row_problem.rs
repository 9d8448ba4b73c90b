//! Problems of a row: kind, severity, message and suggestion.
//!
//! recoup shows a suggested order ID to the user and never applies it, because the vendor compares order IDs byte for
//! byte.

use std::fmt;

use super::columns::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The problem is only a warning: recoup uses the row.
    Note,
    /// recoup uses the row only if the index contains exactly this order ID. If the index lacks the order ID, the
    /// problem blocks the row.
    Doubt,
    /// The problem always blocks the row.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    EmptyOrder,
    /// The ID is longer than the vendor accepts.
    TooLong,
    /// The ID is in scientific notation, such as `1.00E+09`. Therefore digits of the ID are lost.
    ScientificNotation,
    /// The cell contains a spreadsheet's error, such as `#REF!` or `#NAME?`.
    SpreadsheetError,
    /// The cell contains a formula, such as `=A1`.
    Formula,
    /// The ID ends like a decimal number, such as `12345.0`, because a program has read it as a number.
    DecimalTail,
    /// The ID looks like a date, such as `Mar-24`. A spreadsheet may have converted the ID.
    LooksLikeDate,
    /// The ID starts or ends with white space or an invisible character.
    LooksPadded,
    /// The ID starts with an apostrophe, such as `'1001`. An apostrophe makes a spreadsheet treat a cell as text.
    LeadingApostrophe,
    ControlCharacters,
    /// The ID has only digits and is shorter than the other IDs. Therefore leading zeros of the ID may be lost.
    LostZeros,
    /// The order of day and month in the date is unknown, as in `03/04/2024`.
    AmbiguousDate,
    UnreadableDate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    pub kind: ProblemKind,
    pub severity: Severity,
    pub column: Column,
    /// What is wrong with the cell, as a lower-case sentence without a full stop.
    pub message: String,
    /// The probable correct value of the cell. recoup shows a suggested value to the user and never applies it.
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

/// Formats the problem of a cell: `order ID "1.00E+09" is in scientific notation, …`.
impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(text) => write!(f, " (meant: {text:?}?)"),
            None => Ok(()),
        }
    }
}
