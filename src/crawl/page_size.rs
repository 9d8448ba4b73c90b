//! The page size for a server that does not publish its limit: halved after a refusal, doubled after many successes.
//!
//! Pure. After a refusal the larger size is tried again only rarely.

use serde::{Deserialize, Serialize};

/// Successful pages before a larger size is tried.
const PATIENCE: u32 = 8;
/// A server that refuses even this size refuses every page.
const SMALLEST: u32 = 10;

/// The current page size. It is stored with the cursor, so that a resumed run does not search for the limit again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageSize {
    size: u32,
    largest: u32,
    /// Successful pages at this size.
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

    /// Records that a page was refused or timed out. A refusal soon after a growth doubles the wait for the next
    /// growth.
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

    /// How often a server that refuses pages of more than `limit` rows refuses until it has returned `pages`.
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
