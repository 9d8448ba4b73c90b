//! A shop's file → one decision for each order, with evidence; pure but for reading the file.
//!
//! In reading order: bytes become text (`text`), text a table (`table`, `json`), a header names the platform (`formats`) or a
//! person explains it (`explained`, `looks`), rows become one decision for each order (`decide`, `decision`). A file proves
//! refunds or nothing: what is missing, unknown or contradictory is *unclear*, never *refunded*. A file is read whole or refused
//! whole. Nothing here repairs what a spreadsheet did to a cell, guesses an amount or a date, or looks anything up.

pub mod amount;
pub mod cells;
pub mod columns;
pub mod damage;
pub mod dates;
pub mod decide;
pub mod decision;
pub mod explained;
pub mod formats;
pub mod looks;
pub mod plan;
pub mod problem;
pub mod read;
pub mod reversal_file;
pub mod row;
pub mod syntax;
pub mod table;
pub mod text;
pub mod write;

mod checks;
mod json;
#[cfg(test)]
mod tests;
mod words;

pub use amount::Decimal;
pub use columns::{Column, Columns};
pub use dates::When;
pub use decide::OrderRefund;
pub use decision::{Decision, DecisionKind, Evidence};
pub use explained::{AmountMeans, Explained};
pub use looks::shell_word;
pub use problem::{Problem, ProblemKind, Weight};
pub use read::{Options, Refunds};
pub use row::{OrderText, RefundRow};
pub use syntax::{Dialect, Syntax};

pub use crate::out_file::OutFile;
