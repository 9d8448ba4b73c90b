//! Use case: keep index and ledger accountable: audit, backup, forgetting.
//!
//! `audit` verifies the ledger's chain and exports its events, `table` writes them as CSV, `backup` copies both files, and
//! `forget` deletes a person from both. Nothing here sends a request, and nothing here changes what the ledger says of a
//! retraction.

pub mod audit;
pub mod backup;
pub mod forget;
mod table;
