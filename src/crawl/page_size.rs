//! Finds the page size that a server accepts, if the server does not publish its limit. A refused page halves the page
//! size, and many successful pages double it.
//!
//! `page_size` does no I/O. After a server has refused a page size, the crawler rarely tries that size again.

use serde::{Deserialize, Serialize};

/// The number of successful pages after which the crawler tries a larger page size.
const PATIENCE: u32 = 8;
/// The smallest page size that the crawler tries. If a server refuses the smallest page size, it refuses every page.
const SMALLEST: u32 = 10;

/// The current page size. The cursor of a run contains the page size. Therefore a resumed run need not find the
/// server's limit again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageSize {
    size: u32,
    largest: u32,
    /// The number of successful pages at the current page size.
    successes: u32,
    patience: u32,
}

impl PageSize {
    pub(super) fn new(largest: u32) -> Self {
        let largest = largest.max(SMALLEST);
        Self { size: largest, largest, successes: 0, patience: PATIENCE }
    }

    pub(super) fn get(&self) -> u32 {
        self.size
    }

    pub(super) fn is_smallest(&self) -> bool {
        self.size <= SMALLEST
    }

    pub(super) fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= self.patience && self.size < self.largest {
            self.size = (self.size * 2).min(self.largest);
            self.successes = 0;
        }
    }

    /// Records that the server refused a page, or that the page timed out. If the server refuses a page soon after the
    /// page size has grown, the next growth waits twice as long.
    pub(super) fn refused(&mut self) {
        if self.size < self.largest && self.successes < PATIENCE {
            self.patience = self.patience.saturating_mul(2).min(1024);
        }
        self.size = (self.size / 2).max(SMALLEST);
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the refusals of a server that accepts at most `limit` rows per page, until it has returned `pages` pages.
    fn refusals(limit: u32, pages: u32) -> u32 {
        let mut size = PageSize::new(1000);
        let (mut good, mut bad) = (0, 0);
        while good < pages {
            if size.get() > limit {
                size.refused();
                bad += 1;
            } else {
                size.succeeded();
                good += 1;
            }
            assert!(bad < 100, "the size does not shrink");
        }
        bad
    }

    #[test]
    fn a_limit_is_found_and_rarely_tried_again() {
        assert_eq!(refusals(1000, 100), 0);
        assert_eq!(refusals(500, 7), 1);
        assert!(refusals(300, 1000) <= 9, "{}", refusals(300, 1000));
        assert!(refusals(10, 1000) <= 14, "{}", refusals(10, 1000));
    }

    #[test]
    fn after_refusals_the_size_grows_again() {
        let mut size = PageSize::new(1000);
        for _ in 0..5 {
            size.refused();
        }
        assert_eq!(size.get(), 31);
        for _ in 0..2000 {
            size.succeeded();
        }
        assert_eq!(size.get(), 1000);
        for _ in 0..20 {
            size.refused();
        }
        assert!(size.is_smallest());
    }
}
