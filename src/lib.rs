//! recoup finds the impact.com ActionId behind a merchant's order ID and retracts that action, with proof.
//!
//! The modules in reading order (the blank lines keep rustfmt from sorting them):

// The domain's types: order IDs, ActionIds, rewards.
pub mod model;

// The error type: kind, message, hint. The kind decides the exit code.
pub mod error;

// The clock: gives the current time and sleeps. Tests replace the clock.
pub mod clock;

// Writes output files to paths that a user gives.
pub mod out_file;

// Extracts the links between orders and actions from reward JSON, without I/O.
pub mod extract;

// Parses the refund files of shops. Reads and writes plans, outcome files, and the vendor's reversal file.
pub mod refunds;

// The HTTP client of the vendor's APIs.
pub mod vendor;

// The databases. Only this module contains SQL.
pub mod store;

// Use case: build or refresh the index.
pub mod crawl;

// Use case: look up an order.
pub mod lookup;

// Use case: reverse an order's actions and prove the reversal.
pub mod retract;

// Use case: audit, backup, and removal of a person's data.
pub mod records;
// Use case: compare the shop's refunds with the vendor's rewards and the ledger.
pub mod reconcile;

// Use case: report the freshness of the index, and the open retractions.
pub mod status;

// Use case: show and clear the pause that a host's rate limit has set.
pub mod quota;

// Use case: manage users, roles, sessions and tokens.
pub mod access;

// Use case: run the scheduled jobs.
pub mod schedule;

// Use case: verify webhooks and read the accounts in them again.
pub mod webhook;

// Use case: send notices by webhook and e-mail.
pub mod notify;

// Use case: serve the web page and the JSON API.
pub mod serve;

// Use case: serve AI assistants by the Model Context Protocol.
#[cfg(feature = "mcp")]
pub mod mcp;

// Use case: check everything that recoup needs.
pub mod doctor;

// Use case: demonstrate a retraction against the simulator.
pub mod demo;

// Formats all output.
pub mod report;

// Handles signals: the first one finishes the work in progress, the second one exits at once.
pub mod signal;

// Protects tokens in memory: disables core dumps and debuggers.
pub mod memory;

// Crash points for tests; they do nothing in a normal build.
pub mod crash;

// The version, the commit and the optional parts of this build.
pub mod version;

// Commands and flags as types.
pub mod cli;

// Settings: flags override the environment, which overrides `recoup.toml`.
pub mod config;

// One file per command: reads the settings, runs the use case, and writes the report.
pub mod commands;
