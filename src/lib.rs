//! recoup finds the impact.com ActionId behind a merchant's order ID and retracts that action, with proof.
//!
//! The modules in reading order (the blank lines keep rustfmt from sorting them):

// The vocabulary of the domain as types.
pub mod model;

// The error type: kind, message, hint. The kind decides the exit code.
pub mod error;

// The current time and sleeping, replaceable in tests.
pub mod clock;

// Output files that a user names.
pub mod out_file;

// Reward JSON → links between orders and actions. Pure.
pub mod extract;

// Refund files of shops, plans, outcome files, and the vendor's reversal file.
pub mod refunds;

// The only code that speaks HTTP.
pub mod vendor;

// The only code that speaks SQL.
pub mod store;

// Use case: build or refresh the index.
pub mod crawl;

// Use case: look up an order.
pub mod lookup;

// Use case: reverse an order's actions and prove it.
pub mod retract;

// Use case: audit, backup, and forgetting a person.
pub mod records;
// Use case: compare the shop's refunds with rewards and ledger.
pub mod reconcile;

// Use case: freshness of the index, and open retractions.
pub mod status;

// Use case: show and clear the pause of a host.
pub mod quota;

// Use case: users, roles, sessions and tokens.
pub mod access;

// Use case: scheduled jobs.
pub mod schedule;

// Use case: verify webhooks and read the accounts that they name.
pub mod webhook;

// Use case: notices by webhook and e-mail.
pub mod notify;

// Use case: the page and the JSON API.
pub mod serve;

// Use case: the Model Context Protocol, for assistants.
pub mod mcp;

// Use case: check everything that recoup needs.
pub mod doctor;

// Use case: a retraction against the simulator.
pub mod demo;

// All output.
pub mod report;

// The first signal drains, the second exits.
pub mod signal;

// Protects tokens in memory: no core dump, no debugger.
pub mod memory;

// Crash points for tests; they do nothing in a normal build.
pub mod crash;

// Commands and flags as types.
pub mod cli;

// Flags over environment over `recoup.toml`.
pub mod config;

// One file per command: settings → use case → report.
pub mod commands;
