//! The options of a crawl and their defaults.

use std::time::Duration;

use super::Source;

#[derive(Debug, Clone)]
pub struct Options {
    /// The source to read; `None` lets the plan choose.
    pub source: Option<Source>,
    /// The number of participants per page of `/users`.
    pub page_size: u32,
    /// The number of rows that two pages of `/users` share. A shared row proves that the walk has missed no row between the
    /// pages.
    pub overlap: u32,
    /// The maximum number of passes over the list of participants.
    pub max_sweeps: u32,
    /// The maximum number of requests in flight. The client may allow fewer requests.
    pub concurrency: usize,
    /// The request rate per second for a plan's cost estimate. The client enforces the limit.
    pub rate: Option<f64>,
    /// The maximum number of uncommitted rows.
    pub batch: usize,
    /// `true` waits for another crawl to end; `false` fails instead.
    pub wait_for_lock: bool,
    /// `true` starts a new run even if an earlier run is unfinished or could be refreshed.
    pub full: bool,
    /// The number of rewards per page of GraphQL. The crawler halves this number while the server refuses pages.
    pub graphql_page_size: u32,
    /// The maximum wait for the vendor to create an export.
    pub export_wait: Duration,
    /// The maximum age of an account's reading. The crawler reads an account again before its reading is older; `None` sets
    /// no maximum.
    pub reread_after: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size: 100,
            overlap: 10,
            max_sweeps: 5,
            concurrency: 8,
            rate: None,
            batch: 24_000,
            wait_for_lock: false,
            full: false,
            source: None,
            graphql_page_size: 1000,
            export_wait: Duration::from_hours(3),
            reread_after: None,
        }
    }
}
