//! The options of a crawl and their defaults.

use std::time::Duration;

use super::Source;

#[derive(Debug, Clone)]
pub struct Options {
    /// The source that the crawl reads; `None` lets the plan choose the source.
    pub source: Option<Source>,
    /// The number of participants on a page of `/users`.
    pub page_size: u32,
    /// The number of rows that two pages of `/users` share. A shared row proves that recoup has missed no row between
    /// the two pages of `/users`.
    pub overlap: u32,
    /// The maximum number of passes over the list of participants.
    pub max_sweeps: u32,
    /// The maximum number of requests in flight. The client of the vendor may allow fewer requests in flight.
    pub concurrency: usize,
    /// The request rate per second, for the cost estimate of a plan. The client of the vendor enforces the rate limit.
    pub rate: Option<f64>,
    /// The maximum number of rewards and participants that the writer has not committed.
    pub batch: usize,
    /// `true` makes the crawl wait for another crawl to end; `false` makes it fail instead.
    pub wait_for_lock: bool,
    /// `true` starts a new run even if an earlier run is unfinished or could be refreshed.
    pub full: bool,
    /// The number of rewards on a page of GraphQL. The crawler halves the page size while the vendor refuses pages.
    pub graphql_page_size: u32,
    /// The maximum wait for the vendor to create an export.
    pub export_wait: Duration,
    /// The maximum age of an account's reading. The crawler reads an account again before its reading exceeds the
    /// maximum age; `None` sets no maximum.
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
