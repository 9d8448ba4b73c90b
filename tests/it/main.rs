//! One integration crate: the real binary against the real simulator.
//!
//! Tests assert on what a user sees (standard output, exit code, rows) and on what the simulator was asked, never on
//! internals.

mod crawl;
mod index;
mod lookup;
mod odd;
mod quota;
mod reconcile;
mod retract;
mod safety;
mod sources;
mod status;
mod support;
mod tidy;
