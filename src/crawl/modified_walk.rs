//! Reads all rewards in the order of their modification, even if rewards are modified meanwhile.
//!
//! `modified_walk` does no I/O. [`ModifiedWalk`] returns the next query and receives the page, and its caller sends the
//! requests. If a reward is modified during the read, it moves to the end of the list, and shifts the offset of every
//! reward behind its old place. Therefore [`ModifiedWalk`] filters instead of skipping: each query begins at the newest
//! `dateModified` seen (inclusive), and uses an offset only among rewards with the same `dateModified`. Consecutive
//! pages with one `dateModified` share some rewards. If two pages with one `dateModified` share no reward,
//! [`ModifiedWalk`] returns to the first reward with that `dateModified`. When all rewards of one `dateModified` are
//! read, the index must have as many of them as the vendor's totals imply. The position in the list depends only on the
//! vendor's values, never on this machine's clock.

use serde::{Deserialize, Serialize};

/// The number of rewards that two consecutive pages with one `dateModified` share.
const OVERLAP: u64 = 10;
/// The number of restarts at one `dateModified` after which [`ModifiedWalk`] continues without proof.
const MAX_RESTARTS: u32 = 5;

/// A query for the rewards that were modified at `from` or later, without the first `offset` of these rewards. If
/// `from` is `None`, the query is for all rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The parameter `dateModified_gte` of the query, in Unix milliseconds.
    pub from: Option<i64>,
    pub offset: u64,
}

/// The number of rewards with one `dateModified` that the index should have after [`ModifiedWalk`] has read all of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The `dateModified` whose rewards are counted, in Unix milliseconds.
    pub modified_at: i64,
    /// The minimum number of rewards with this `dateModified` at the vendor.
    pub expected: u64,
}

/// The position in the list of rewards that is sorted by modification. The writer stores the position with each page.
/// Therefore a killed crawl resumes at the page after its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModifiedWalk {
    from: Option<i64>,
    offset: u64,
    /// The rewards of the last page that were modified at `from`, in order.
    tail: Vec<u64>,
    restarts: u32,
    /// The last `dateModified` before `from`, if its rewards took several pages.
    passed: Option<Passed>,
    newest: Option<i64>,
    done: bool,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    modified_at: i64,
    /// The number of rewards that were modified at the passed time or later.
    total: u64,
    /// The number of rewards that were modified after the passed time and before the new `from`.
    between: u64,
}

/// The reason why a read by modification may have missed rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The vendor's server does not sort or filter by `dateModified`.
    Order,
    /// recoup could not read all rewards with one `dateModified` without a gap.
    Ties,
    /// The vendor counts more rewards than it returns.
    Short,
}

impl Doubt {
    /// Returns the text of the doubt for the gaps of a run.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "the server does not sort rewards by dateModified: some may have been missed",
            Self::Ties => "rewards with the same dateModified could not be read without a gap",
            Self::Short => "the server counts more rewards than it returns",
        }
    }
}

impl ModifiedWalk {
    /// Starts a read of the rewards that were modified at `from` (Unix milliseconds) or later, or of all rewards if
    /// `from` is `None`.
    pub fn new(from: Option<i64>) -> Self {
        Self { from, offset: 0, tail: Vec::new(), restarts: 0, passed: None, newest: from, done: false, doubt: None }
    }

    /// Returns the next query for rewards; `None` at the end of the list.
    pub fn next(&self) -> Option<Query> {
        (!self.done).then_some(Query { from: self.from, offset: self.offset })
    }

    /// Returns the newest `dateModified` that the read has seen, in Unix milliseconds.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Receives the page for the query from [`ModifiedWalk::next`]. `page` has a number that identifies each reward,
    /// and the reward's `dateModified`, in order. `rows` is the number of rows on the page, including unreadable rows.
    /// `total` is the `totalCount` of the query. If [`ModifiedWalk::take`] returns a check, the caller must call
    /// [`ModifiedWalk::counted`] before the next query.
    #[must_use]
    pub fn take(&mut self, page: &[(u64, Option<i64>)], rows: u64, total: Option<u64>) -> Option<Check> {
        let check = self.check_passed(page, total);
        let is_ordered = page.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let is_filtered = page.iter().all(|(_, modified)| self.from.is_none() || *modified >= self.from);
        if !is_ordered || !is_filtered {
            self.end(Some(Doubt::Order));
            return None;
        }
        let is_first = self.offset == 0;
        // A reward that was modified during the read has a newer `dateModified`. Therefore two pages do not share a
        // reward that was modified during the read.
        let is_overlap = |(key, modified): &(u64, Option<i64>)| *modified == self.from && self.tail.contains(key);
        let continues = is_first || self.tail.is_empty() || page.iter().any(is_overlap);
        if !continues {
            self.restart();
            return check;
        }
        let seen = self.offset + rows;
        let last = page.last().and_then(|(_, modified)| *modified);
        self.newest = self.newest.max(last);
        if total.map_or(rows == 0, |total| seen >= total) {
            self.end(None);
        } else if rows == 0 {
            self.restarts += 1;
            if self.restarts >= MAX_RESTARTS {
                self.end(Some(Doubt::Short));
            } else {
                (self.offset, self.tail) = (0, Vec::new());
            }
        } else if last > self.from {
            let between = page.iter().filter(|(_, modified)| *modified > self.from && *modified < last).count() as u64;
            // If the rewards of one `dateModified` fit on one page, they need no check, because no reward can shift
            // within a page.
            self.passed = match (self.from, total) {
                (Some(modified_at), Some(total)) if !is_first => Some(Passed { modified_at, total, between }),
                _ => None,
            };
            (self.from, self.offset, self.tail, self.restarts) = (last, 0, Vec::new(), 0);
        } else {
            self.tail = page.iter().map(|(key, _)| *key).collect();
            // Two pages share at most half of a page, because the read must progress even with short pages.
            self.offset = seen - OVERLAP.min(rows / 2);
            if rows == 1 {
                self.tail.clear();
            }
        }
        check
    }

    /// Receives the result of a check: the index has `kept` rewards, and the check has failed `failures` times in a
    /// row, including this time. If `kept` is too small, [`ModifiedWalk`] returns to the checked `dateModified`.
    pub fn counted(&mut self, check: Check, kept: u64, failures: u32) {
        if kept >= check.expected {
            return;
        }
        if failures >= MAX_RESTARTS {
            self.doubt = self.doubt.or(Some(Doubt::Ties));
            return;
        }
        (self.from, self.offset, self.tail, self.passed, self.done) =
            (Some(check.modified_at), 0, Vec::new(), None, false);
    }

    /// Returns the expected number of rewards with the previous `dateModified`, from the totals of the pages before and
    /// after that time. Rewards that the vendor adds between two pages make the expected number too small, never too
    /// large. Therefore a count at one `dateModified` may miss a gap, but the count at the end of the read detects it.
    fn check_passed(&mut self, page: &[(u64, Option<i64>)], total: Option<u64>) -> Option<Check> {
        let passed = self.passed.take()?;
        // The total on an empty page is unreliable.
        let after = total.filter(|_| !page.is_empty())?;
        let expected = passed.total.saturating_sub(after).saturating_sub(passed.between);
        Some(Check { modified_at: passed.modified_at, expected })
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.tail = Vec::new();
        if self.restarts > MAX_RESTARTS {
            // Continues from the current offset without proof.
            self.doubt = self.doubt.or(Some(Doubt::Ties));
        } else {
            self.offset = 0;
        }
    }

    fn end(&mut self, doubt: Option<Doubt>) {
        self.done = true;
        self.doubt = self.doubt.or(doubt);
    }
}

#[cfg(test)]
mod tests;
