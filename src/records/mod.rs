//! Audits, backups and erasure of the index and the ledger.
//!
//! `audit` verifies the ledger's chain and exports its events. `table` writes events and retractions as CSV. `backup` copies the index
//! and the ledger. `forget` deletes a person from both. This module sends no request to the vendor, and never changes the
//! recorded state of a retraction.

pub mod audit;
pub mod backup;
pub mod forget;
pub mod table;
