//! Audits, backups, moves and erasure of the stores.
//!
//! `audit` verifies the ledger's chain and exports its events. `table` writes events and retractions as CSV. `backup`
//! copies the index and the ledger. `move_stores` moves all stores to another place. `service_role` creates the stores
//! on a server with a user of few rights. `forget` deletes a person from the index and the ledger. This module sends no
//! request to the vendor, and never changes the recorded state of a retraction.

pub mod audit;
pub mod backup;
pub mod forget;
pub mod move_stores;
pub mod service_role;
pub mod table;
