//! Use case: looking after the two files, so that they can be accounted for a year later.
//!
//! `audit` computes the ledger's chain again and hands its events out; `table` writes them as CSV; `backup` copies both while everything runs; `forget` takes a person out of both. Nothing here asks the vendor or sends anything, and nothing here may
//! change what the ledger says of a retraction.

pub mod audit;
pub mod backup;
pub mod forget;
mod table;
