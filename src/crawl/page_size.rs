//! How many rows to ask for, where the server's limit is not published: less after a refusal, more again after successes.
//!
//! Pure. A size that was refused is not tried again until much has gone well, and then seldom.

use serde::{Deserialize, Serialize};

/// Pages that must go well before a larger one is tried.
const PATIENCE: u32 = 8;
/// The smallest page: a server that refuses this refuses everything.
const SMALLEST: u32 = 10;

/// Rows to ask for. Stored with the cursor, so that a run that goes on does not begin at the top again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageSize {
    size: u32,
    largest: u32,
    went_well: u32,
    patience: u32,
}

impl PageSize {
    pub(super) fn new(largest: u32) -> Self {
        let largest = largest.max(SMALLEST);
        Self { size: largest, largest, went_well: 0, patience: PATIENCE }
    }

    /// Rows to ask for now.
    pub(super) fn get(&self) -> u32 {
        self.size
    }

    /// Whether nothing smaller can be asked for.
    pub(super) fn is_smallest(&self) -> bool {
        self.size <= SMALLEST
    }

    /// The page came.
    pub(super) fn went_well(&mut self) {
        self.went_well += 1;
        if self.went_well >= self.patience && self.size < self.largest {
            self.size = (self.size * 2).min(self.largest);
            self.went_well = 0;
        }
    }

    /// The page was refused, or took too long. Each refusal after a growth makes the next growth later.
    pub(super) fn refused(&mut self) {
        if self.size < self.largest && self.went_well < PATIENCE {
            self.patience = self.patience.saturating_mul(2).min(1024);
        }
        self.size = (self.size / 2).max(SMALLEST);
        self.went_well = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages until a server that refuses more than `limit` has given `pages`; and how often it refused.
    fn refusals(limit: u32, pages: u32) -> u32 {
        let mut size = PageSize::new(1000);
        let (mut good, mut bad) = (0, 0);
        while good < pages {
            if size.get() > limit {
                size.refused();
                bad += 1;
            } else {
                size.went_well();
                good += 1;
            }
            assert!(bad < 100, "it goes on being refused");
        }
        bad
    }

    #[test]
    fn a_limit_is_found_and_seldom_tried_again() {
        assert_eq!(refusals(1000, 100), 0);
        assert_eq!(refusals(500, 7), 1);
        assert!(refusals(300, 1000) <= 9, "{}", refusals(300, 1000));
        assert!(refusals(10, 1000) <= 14, "{}", refusals(10, 1000));
    }

    #[test]
    fn after_a_bad_hour_it_grows_again() {
        let mut size = PageSize::new(1000);
        for _ in 0..5 {
            size.refused();
        }
        assert_eq!(size.get(), 31);
        for _ in 0..2000 {
            size.went_well();
        }
        assert_eq!(size.get(), 1000);
        for _ in 0..20 {
            size.refused();
        }
        assert!(size.is_smallest());
    }
}
