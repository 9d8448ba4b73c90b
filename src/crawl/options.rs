//! How a crawl goes about it, and the defaults where nobody says otherwise.

use std::path::PathBuf;
use std::time::Duration;

use super::Source;

/// How a crawl goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to read from; `None` to choose.
    pub source: Option<Source>,
    /// Participants asked for in one page.
    pub page_size: u32,
    /// Rows that pages share, so that a shift is noticed.
    pub overlap: u32,
    /// Walks over the list at most.
    pub max_sweeps: u32,
    /// Accounts read at once; the client may hold back more than this.
    pub concurrency: usize,
    /// Requests per second at most, for the price of a plan; the client keeps to it.
    pub rate: Option<f64>,
    /// Rows in one commit.
    pub batch: usize,
    /// Wait for another crawl to end, instead of leaving.
    pub wait_for_lock: bool,
    /// Begin a new run even where one is unfinished, and read everything even where a refresh would do.
    pub full: bool,
    /// Rewards asked for in one page of GraphQL; less where the server refuses.
    pub graphql_page_size: u32,
    /// How long to wait for an export to be made.
    pub export_wait: Duration,
    /// Every account is read again before its last reading is older than this; `None` to read none for its age.
    pub reread_after: Option<Duration>,
    /// Where a file may lie for a while: beside the index.
    pub folder: PathBuf,
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
            folder: PathBuf::new(),
        }
    }
}
