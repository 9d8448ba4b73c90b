//! One integration crate: the real binary against the real simulator.
//!
//! Tests assert on what a user sees (standard output, exit code, rows) and on what the simulator was asked, never on
//! internals.

mod adjust;
mod approval;
mod audit;
mod backup;
mod batch;
mod batch_rows;
mod browser;
mod cancel_reward;
mod chrome;
mod clocks;
mod copies;
mod crawl;
mod credentials;
mod damage;
mod doubt;
mod file_road;
mod forget;
mod hostile;
mod http_client;
mod index;
mod lookup;
mod model;
mod odd;
mod operation;
#[cfg(unix)]
mod output;
mod program_rule;
mod proof;
mod quota;
mod reconcile;
mod referral;
mod refund_files;
mod refunds;
mod retract;
mod rights;
mod safety;
mod schedule;
mod serve;
mod served;
mod sources;
mod status;
mod strangers;
mod support;
mod tidy;
mod upload;
mod user;
mod webhook;
