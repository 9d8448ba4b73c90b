//! recoup finds the impact.com ActionId behind a merchant's order ID and retracts that action, with proof.
//!
//! The modules in reading order (the blank lines keep rustfmt from sorting them):

// The words of the domain as types.
pub mod model;

// One error type: kind, sentence, hint; the kind decides the exit code.
pub mod error;

// Now and sleep, injectable.
pub mod clock;

// A file that a user names for output: whole, or written straight through.
pub mod out_file;

// Any reward JSON → links between orders and actions; pure.
pub mod extract;

// The shop's files: refunds in, outcomes out, plans, the vendor's reversal file.
pub mod refunds;

// The only code that speaks HTTP.
pub mod vendor;

// The only code that speaks SQL.
pub mod store;

// Use case: build or refresh the index.
pub mod crawl;

// Use case: what is known of an order.
pub mod lookup;

// Use case: from order to proof.
pub mod retract;

// Use case: looking after the two files: audit, backup, forgetting.
pub mod records;
// Use case: the shop's refunds against rewards and ledger.
pub mod reconcile;

// Use case: how fresh the index is, and what is still open.
pub mod status;

// Use case: what makes recoup wait for a host, and ending it.
pub mod quota;

// Use case: who may do what at the page and the API.
pub mod access;

// Use case: what runs when, one at a time across processes.
pub mod schedule;

// Use case: what a webhook says, verified: a hint which account to read again.
pub mod webhook;

// Use case: page and JSON API for the support team.
pub mod serve;

// Use case: does everything that recoup needs work.
pub mod doctor;

// Use case: the whole job against the simulator.
pub mod demo;

// All output.
pub mod report;

// The first signal drains, the second leaves.
pub mod signal;

// No core dump, and no reading of the memory that holds the tokens.
pub mod memory;

// Crash points for tests; nothing in a normal build.
pub mod crash;

// Commands and flags as types.
pub mod cli;

// Flags over environment over `recoup.toml`.
pub mod config;

// One file per command: settings → use case → report.
pub mod commands;
