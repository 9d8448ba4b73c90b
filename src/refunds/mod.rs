//! The shop's files.
//!
//! Everything that takes many orders at once speaks through here. Nothing here repairs what a spreadsheet did to a cell,
//! guesses an amount or a date, looks anything up, or decides what is sent.

pub mod amount;
pub mod cells;
pub mod dates;
pub mod out_file;
pub mod text;

pub use amount::{Amount, Decimal};
pub use dates::When;
pub use out_file::OutFile;
