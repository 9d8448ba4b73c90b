//! Turns a shop's file into one decision for each order, with the evidence. Only the submodule `input` does I/O.
//!
//! The steps are: `input` decodes bytes to text, `csv_table` and `json_table` parse the text into rows, `formats`
//! detects the platform, `row_orders` finds the order of each row, and `decide` adds up the rows of each order into a
//! `decision`. A refund file of unknown format is a plain list. The user maps the columns of a plain list
//! (`column_mapping`, `unclear_columns`).
//!
//! An order whose evidence is missing, unknown or contradictory is *unclear*, never *refunded*. recoup accepts or
//! refuses a refund file as a whole. When recoup reads a refund file, it never repairs a damaged cell, guesses an
//! amount or a date, or makes a request.

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
mod row_orders;
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
