//! The shop's files: a list of refunds read, outcomes written beside it, plans that show when they were changed, and the
//! vendor's reversal file.
//!
//! Everything that takes many orders at once speaks through here. A file is read whole or refused whole, with the line
//! that is wrong; a row that is wrong carries its [`Problem`]s and goes on through the books. Nothing here repairs what a
//! spreadsheet did to a cell, guesses an amount or a date, looks anything up, or decides what is sent.

pub mod amount;
pub mod cells;
pub mod columns;
pub mod damage;
pub mod dates;
pub mod format;
pub mod out_file;
pub mod plan;
pub mod problem;
pub mod read;
pub mod reversal_file;
pub mod row;
pub mod table;
pub mod text;
pub mod write;

mod ndjson;
#[cfg(test)]
mod tests;

pub use amount::{Amount, Decimal};
pub use columns::{Column, Columns};
pub use dates::When;
pub use format::{Dialect, Format};
pub use out_file::OutFile;
pub use problem::{Problem, ProblemKind, Weight};
pub use read::{Options, Refunds};
pub use row::RefundRow;
