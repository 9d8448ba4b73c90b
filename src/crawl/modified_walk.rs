//! Reads all rewards in the order of their modification, while rewards are being modified.
//!
//! Pure: the walk returns the next query and takes the received page; the caller sends the requests. A reward that is
//! modified during the walk moves to the end of the list and shifts every offset behind its old place. So the walk
//! filters instead of skipping: each query begins at the newest `dateModified` seen (inclusive), and offsets are used
//! only among rewards with one and the same `dateModified`. Pages overlap there, and a page without overlap sends the
//! walk back to the first reward of that time. After such a time is passed, the index must hold as many of its rewards
//! as the server's totals imply. The cursor only moves by the server's values, never by the clock of this machine.

use serde::{Deserialize, Serialize};

/// Rewards that two pages of one `dateModified` share.
const OVERLAP: u64 = 10;
/// Restarts at one `dateModified` before the walk passes it without proof.
const MAX_RESTARTS: u32 = 5;

/// A query: rewards modified at `from` or later, all rewards if it is `None`, without the first `offset` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// `dateModified_gte`, Unix milliseconds.
    pub from: Option<i64>,
    pub offset: u64,
}

/// How many rewards with one `dateModified` the index should hold after the walk has passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Unix milliseconds.
    pub modified_at: i64,
    /// The server has at least this many.
    pub expected: u64,
}

/// The position of a walk. It is stored with each page, so that a killed crawl resumes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModifiedWalk {
    from: Option<i64>,
    offset: u64,
    /// The last page of rewards modified at `from`, in order.
    tail: Vec<u64>,
    restarts: u32,
    /// A `dateModified` of several pages that the walk has just passed.
    passed: Option<Passed>,
    newest: Option<i64>,
    done: bool,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    modified_at: i64,
    /// Rewards modified then or later.
    total: u64,
    /// Rewards modified after that and before the new `from`.
    between: u64,
}

/// Why a walk may have missed rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The server does not sort by `dateModified` or does not filter by it.
    Order,
    /// Rewards with the same `dateModified` could not be read without a gap.
    Ties,
    /// The server counts more rewards than it returns.
    Short,
}

impl Doubt {
    /// The sentence for the gaps of a run.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "the server does not sort rewards by dateModified: some may have been missed",
            Self::Ties => "rewards with the same dateModified could not be read without a gap",
            Self::Short => "the server counts more rewards than it returns",
        }
    }
}

impl ModifiedWalk {
    /// Reads rewards modified at `from` (Unix milliseconds) or later; all rewards if it is `None`.
    pub fn new(from: Option<i64>) -> Self {
        Self { from, offset: 0, tail: Vec::new(), restarts: 0, passed: None, newest: from, done: false, doubt: None }
    }

    /// The next query; `None` at the end.
    pub fn next(&self) -> Option<Query> {
        (!self.done).then_some(Query { from: self.from, offset: self.offset })
    }

    /// The newest `dateModified` seen, Unix milliseconds.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Takes the page that answers [`ModifiedWalk::next`]: for each reward a number that identifies it and its `dateModified`, in
    /// order; the number of rows of the page, unreadable ones included; and the `totalCount` of the query. The caller answers
    /// a returned check by [`ModifiedWalk::counted`] before the next query.
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
        // A reward that was modified during the walk has a newer `dateModified`, so it does not count as overlap.
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
            // Rewards that fit on one page are a snapshot, in which nothing can shift: they need no check.
            self.passed = match (self.from, total) {
                (Some(modified_at), Some(total)) if !is_first => Some(Passed { modified_at, total, between }),
                _ => None,
            };
            (self.from, self.offset, self.tail, self.restarts) = (last, 0, Vec::new(), 0);
        } else {
            self.tail = page.iter().map(|(key, _)| *key).collect();
            // At most half of the page overlaps, so that short pages make progress as well.
            self.offset = seen - OVERLAP.min(rows / 2);
            if rows == 1 {
                self.tail.clear();
            }
        }
        check
    }

    /// Takes the answer to a check: the index holds `kept` rewards, and the check has failed `failures` times in a row, this
    /// time included. If it holds too few, the walk returns to that time.
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

    /// The number of rewards at the passed time, from the totals of the pages before and after it. Rewards that were added in
    /// between make it smaller, never larger. So the check may miss a gap, and the count at the end of the walk finds it.
    fn check_passed(&mut self, page: &[(u64, Option<i64>)], total: Option<u64>) -> Option<Check> {
        let passed = self.passed.take()?;
        // The total of an empty page is not trusted.
        let after = total.filter(|_| !page.is_empty())?;
        let expected = passed.total.saturating_sub(after).saturating_sub(passed.between);
        Some(Check { modified_at: passed.modified_at, expected })
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.tail = Vec::new();
        if self.restarts > MAX_RESTARTS {
            // Continues from the current offset, without proof.
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
