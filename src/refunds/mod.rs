//! A shop's file → one decision for each order, with evidence; pure but for reading the file.
//!
//! In reading order: bytes become text (`text`), text a table (`table`, `json`), a header names the platform (`formats`) or a
//! person explains it (`explained`, `looks`), rows become one decision for each order (`decide`, `decision`). A file proves
//! refunds or nothing: what is missing, unknown or contradictory is *unclear*, never *refunded*. A file is read whole or refused
//! whole. Nothing here repairs what a spreadsheet did to a cell, guesses an amount or a date, or looks anything up.

pub mod amount;
pub mod column_mapping;
pub mod columns;
pub mod csv_injection;
pub mod csv_table;
pub mod dates;
pub mod decide;
pub mod decision;
pub mod formats;
pub mod input;
pub mod outcome_file;
pub mod plan_file;
pub mod read;
pub mod reversal_file;
pub mod row;
pub mod row_problem;
pub mod spreadsheet_damage;
pub mod syntax;
pub mod unclear_columns;

mod file_checks;
mod json_table;
mod keywords;
#[cfg(test)]
mod tests;

pub use amount::Decimal;
pub use column_mapping::{AmountMeans, ColumnMapping};
pub use columns::{Column, Columns};
pub use dates::DateOrTime;
pub use decide::OrderRefund;
pub use decision::{Decision, DecisionKind, Evidence};
pub use read::{Options, Refunds};
pub use row::{OrderIdRewrite, RefundRow};
pub use row_problem::{ProblemKind, RowProblem, Severity};
pub use syntax::{Dialect, Syntax};
pub use unclear_columns::shell_quote;

pub use crate::out_file::OutFile;
