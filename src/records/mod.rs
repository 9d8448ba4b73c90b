//! Audits, backups and erasure of the index and the ledger.
//!
//! `audit` verifies the ledger's hash chain and exports the ledger's events. `table` writes the ledger's events and
//! retractions as CSV. `backup` copies the index and the ledger. `forget` deletes a person from the index and the
//! ledger. The `records` module sends no request to the vendor, and never changes the recorded state of a retraction.

pub mod audit;
pub mod backup;
pub mod forget;
pub mod table;
