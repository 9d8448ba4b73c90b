//! recoup finds the impact.com ActionId behind a merchant's order ID and retracts that action, with proof.
//!
//! The modules in reading order (the blank lines keep rustfmt from sorting them):

// The words of the domain as types.
pub mod model;

// One error type: kind, sentence, hint; the kind decides the exit code.
pub mod error;

// Now and sleep, injectable.
pub mod clock;

// Any reward JSON → links between orders and actions; pure.
pub mod extract;

// The only code that speaks HTTP.
pub mod api;

// The only code that speaks SQL.
pub mod store;

// Use case: build or refresh the index.
pub mod crawl;

// Use case: what is known of an order.
pub mod lookup;

// Use case: from order to proof.
pub mod retract;

// Both vendor APIs in one process; imports no other module.
#[expect(clippy::disallowed_methods, reason = "it stands alone and imports no clock; it is the other side of the wire")]
pub mod simulator;

// All output.
pub mod report;

// Crash points for tests; nothing in a normal build.
pub mod crash;
