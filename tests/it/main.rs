//! End-to-end tests: the real binary against the real simulator. Each file has the name of what it tests.
//!
//! Tests assert what a user sees (standard output, exit code, rows) and what the simulator received, never internals.

mod adjust;
mod admin;
mod api_clients;
mod api_description;
mod api_errors;
mod api_lists;
mod approval;
mod audit;
mod backup;
mod batch;
mod batch_page;
mod batch_rows;
mod browser;
mod browser_orders;
mod cancel_reward;
mod chrome;
mod clocks;
mod copied_ledger;
mod crawl;
mod crawl_edge_cases;
mod crawl_sources;
mod credentials;
mod damaged_index;
mod database_down;
mod deploy_examples;
#[cfg(unix)]
mod documented_commands;
mod forget;
#[cfg(unix)]
mod help_examples;
mod history;
mod http_client;
mod index;
mod looking;
mod lookup;
mod malformed_requests;
mod mcp;
mod metrics;
mod move_stores;
mod never_send_twice;
mod notices;
mod order_page;
mod packaging;
mod postgres;
mod postgres_cluster;
mod postgres_failover;
mod postgres_proxy;
mod program_rule;
mod proof;
mod quota;
mod random_walks;
mod reconcile;
mod referral;
mod refund_files;
mod refunds_check;
mod retract;
mod reversal_files;
mod rights;
mod schedule;
mod serve;
mod service;
mod service_role;
mod service_security;
#[cfg(unix)]
mod setup;
mod status;
mod support;
mod tidy;
mod unknown_outcomes;
#[cfg(unix)]
mod unwritable_output;
mod upload;
mod users;
mod webhook;
mod work_queue;
