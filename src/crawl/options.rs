//! The options of a crawl and their defaults.

use std::time::Duration;

use super::Source;

#[derive(Debug, Clone)]
pub struct Options {
    /// `None` to let the plan choose.
    pub source: Option<Source>,
    /// Participants per page of `/users`.
    pub page_size: u32,
    /// Rows that two pages of `/users` share, so that the walk notices a list that moves.
    pub overlap: u32,
    /// Passes over the list of participants, at most.
    pub max_sweeps: u32,
    /// Requests in flight; the client may allow fewer.
    pub concurrency: usize,
    /// Requests per second, for the cost estimate of a plan. The client enforces the limit.
    pub rate: Option<f64>,
    /// Rows that may be uncommitted at once.
    pub batch: usize,
    /// Wait for another crawl to end instead of failing.
    pub wait_for_lock: bool,
    /// Start a new run even if one is unfinished or could be refreshed.
    pub full: bool,
    /// Rewards per page of GraphQL; halved while the server refuses.
    pub graphql_page_size: u32,
    /// How long to wait until the vendor has made an export.
    pub export_wait: Duration,
    /// Read each account again before its last reading is this old; `None` to read none for its age.
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
