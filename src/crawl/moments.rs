//! How to walk all rewards in the order in which they were modified, while they are being modified.
//!
//! Pure: it says what to ask for next, is told what came, and never asks itself. A reward that is modified during the walk
//! moves to the end of the list and shifts every offset behind its old place. So the walk uses no offsets over the list: it
//! begins anew at the last moment it has seen (inclusive), and uses offsets only among rewards that were modified at one and
//! the same moment. There pages overlap, and a page that does not continue the one before sends the walk back to the first
//! reward of that moment; and when such a moment is left, what is kept of it is counted against what the server's totals say.
//! What it has seen moves forward by the server's values alone, never by a clock of this machine.

use serde::{Deserialize, Serialize};

/// Rewards that two pages inside one moment share.
const OVERLAP: u64 = 10;
/// Beginnings of one moment before it is left without proof.
const MAX_RESTARTS: u32 = 5;

/// What to ask for: rewards modified at `from` or later (all of them for `None`), after `offset` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// `dateModified_gte`, Unix milliseconds.
    pub from: Option<i64>,
    /// Rewards to skip.
    pub offset: u64,
}

/// Rewards that should be known of one moment, before the walk leaves it for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The moment, Unix milliseconds.
    pub at: i64,
    /// So many the server has of it, at least.
    pub expected: u64,
}

/// Where a walk stands. Stored with each page, so that a killed walk goes on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    from: Option<i64>,
    offset: u64,
    /// The last page inside the moment, in order.
    tail: Vec<u64>,
    restarts: u32,
    /// A moment of several pages that was just left: its total, and what stands between it and `from`.
    left: Option<Left>,
    newest: Option<i64>,
    done: bool,
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    at: i64,
    total: u64,
    between: u64,
}

/// Why a walk cannot vouch for what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The server does not sort by `dateModified`, or does not filter by it.
    Order,
    /// Rewards of one moment could not be read without a gap.
    Ties,
    /// The server says that there is more, and gives nothing.
    Short,
}

impl Doubt {
    /// A sentence for the gaps of a run.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Order => "the server does not keep rewards in the order of dateModified: some may not have been seen",
            Self::Ties => "rewards that were modified at the same moment could not be read without a gap",
            Self::Short => "the server counts more rewards than it gives",
        }
    }
}

impl Moments {
    /// A walk over everything that was modified at a moment or later; over everything for `None`.
    pub fn new(from: Option<i64>) -> Self {
        Self { from, offset: 0, tail: Vec::new(), restarts: 0, left: None, newest: from, done: false, doubt: None }
    }

    /// What to ask for; `None` at the end.
    pub fn next(&self) -> Option<Next> {
        (!self.done).then_some(Next { from: self.from, offset: self.offset })
    }

    /// The newest moment seen.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Why it cannot vouch for what it saw.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Takes the page at [`Moments::next`]: each reward by a number of its own and its moment, in order; how many rows the
    /// page had (damaged ones included); `totalCount` of what was asked for. A check is to be made before the next page is
    /// asked for, and its answer given to [`Moments::counted`].
    #[must_use]
    pub fn take(&mut self, page: &[(u64, Option<i64>)], rows: u64, total: Option<u64>) -> Option<Check> {
        let check = self.settle(page, total);
        let is_ordered = page.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let is_filtered = page.iter().all(|(_, moment)| self.from.is_none() || *moment >= self.from);
        if !is_ordered || !is_filtered {
            self.end(Some(Doubt::Order));
            return None;
        }
        let is_first = self.offset == 0;
        // One that was modified meanwhile stands further on, at a moment of its own: it continues nothing.
        let still_here = |(key, moment): &(u64, Option<i64>)| *moment == self.from && self.tail.contains(key);
        let continues = is_first || self.tail.is_empty() || page.iter().any(still_here);
        if !continues {
            self.restart();
            return check;
        }
        let seen = self.offset + rows;
        let last = page.last().and_then(|(_, moment)| *moment);
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
            let between = page.iter().filter(|(_, moment)| *moment > self.from && *moment < last).count() as u64;
            // One page of a moment is one moment of the server: nothing can have shifted in it.
            self.left = match (self.from, total) {
                (Some(at), Some(total)) if !is_first => Some(Left { at, total, between }),
                _ => None,
            };
            (self.from, self.offset, self.tail, self.restarts) = (last, 0, Vec::new(), 0);
        } else {
            self.tail = page.iter().map(|(key, _)| *key).collect();
            // Never the whole page: short ones must get on as well.
            self.offset = seen - OVERLAP.min(rows / 2);
            if rows == 1 {
                self.tail.clear();
            }
        }
        check
    }

    /// How many rewards are kept of a checked moment: too few, and it is walked again.
    pub fn counted(&mut self, check: Check, kept: u64, again: u32) {
        if kept >= check.expected {
            return;
        }
        if again >= MAX_RESTARTS {
            self.doubt = self.doubt.or(Some(Doubt::Ties));
            return;
        }
        (self.from, self.offset, self.tail, self.left, self.done) = (Some(check.at), 0, Vec::new(), None, false);
    }

    /// What the totals of two pages say of the moment between them. What came to the list meanwhile makes it less, never
    /// more: a check may miss something that shifted, and the count at the end of the walk is there for that.
    fn settle(&mut self, page: &[(u64, Option<i64>)], total: Option<u64>) -> Option<Check> {
        let left = self.left.take()?;
        // An empty page says nothing of what is behind it.
        let behind = total.filter(|_| !page.is_empty())?;
        let expected = left.total.saturating_sub(behind).saturating_sub(left.between);
        Some(Check { at: left.at, expected })
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.tail = Vec::new();
        if self.restarts > MAX_RESTARTS {
            // Go on where it stands, without proof.
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
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Rewards behind an API that sorts by moment: (number, moment), ties in the order of a scramble of their numbers.
    struct List {
        rewards: Vec<(u64, Option<i64>)>,
        now: i64,
        next: u64,
    }

    impl List {
        /// So many rewards at each of the moments 0, 1, 2 …
        fn of(moments: &[usize]) -> Self {
            let mut list = Self { rewards: Vec::new(), now: moments.len() as i64, next: 0 };
            for (moment, rewards) in moments.iter().enumerate() {
                for _ in 0..*rewards {
                    list.rewards.push((list.next, Some(moment as i64)));
                    list.next += 1;
                }
            }
            list
        }

        fn page(&self, next: Next, limit: usize) -> (Vec<(u64, Option<i64>)>, u64) {
            let fits = |moment: Option<i64>| next.from.is_none() || moment >= next.from;
            let mut fitting: Vec<_> = self.rewards.iter().copied().filter(|(_, moment)| fits(*moment)).collect();
            fitting.sort_by_key(|(id, moment)| (*moment, id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, *id));
            let total = fitting.len() as u64;
            (fitting.into_iter().skip(next.offset as usize).take(limit).collect(), total)
        }

        fn touch(&mut self, at: usize) {
            if self.rewards.is_empty() {
                return;
            }
            let at = at % self.rewards.len();
            self.now += 1;
            self.rewards[at].1 = Some(self.now);
        }

        fn add(&mut self) {
            self.now += 1;
            self.rewards.push((self.next, Some(self.now)));
            self.next += 1;
        }
    }

    /// Walks to the end; `between` moves the list after each page. Gives the walk, what was kept, and how many pages it took.
    fn run(
        list: &mut List,
        from: Option<i64>,
        limit: usize,
        mut between: impl FnMut(&mut List, u64),
    ) -> (Moments, HashMap<u64, Option<i64>>, u64) {
        let mut walk = Moments::new(from);
        let (mut kept, mut pages, mut again) = (HashMap::new(), 0, 0);
        while let Some(next) = walk.next() {
            let (page, total) = list.page(next, limit);
            kept.extend(page.iter().copied());
            let check = walk.take(&page, page.len() as u64, Some(total));
            if let Some(check) = check {
                let count = kept.values().filter(|moment| **moment == Some(check.at)).count() as u64;
                again = if count < check.expected { again + 1 } else { 0 };
                walk.counted(check, count, again);
            }
            // A walk goes on after a kill from what was stored.
            let stored = serde_json::to_string(&walk).expect("serialises");
            walk = serde_json::from_str(&stored).expect("deserialises");
            pages += 1;
            assert!(pages < 20_000, "no end: {walk:?}");
            if walk.next().is_some() {
                between(list, pages);
            }
        }
        (walk, kept, pages)
    }

    #[test]
    fn a_still_list_is_seen_whole_at_little_cost() {
        for (moments, limit, most) in [
            (&[][..], 100, 1),
            (&[1], 100, 1),
            (&[1; 1000], 100, 12),
            (&[1000], 100, 12),
            (&[1, 5000, 1], 100, 60),
            (&[300, 0, 300, 700], 100, 20),
            (&[7; 300], 10, 1000),
        ] {
            let mut list = List::of(moments);
            let (walk, kept, pages) = run(&mut list, None, limit, |_, _| {});
            assert_eq!(kept.len(), list.rewards.len());
            assert_eq!(walk.doubt(), None);
            assert!(pages <= most, "{moments:?} by {limit} took {pages} pages");
            assert_eq!(walk.newest(), list.rewards.iter().map(|(_, moment)| *moment).max().flatten());
        }
    }

    #[test]
    fn a_refresh_sees_what_was_modified_since_and_little_else() {
        let mut list = List::of(&vec![1; 5000]);
        let (walk, _, _) = run(&mut list, None, 1000, |_, _| {});
        for at in 0..40 {
            list.touch(at * 101);
        }
        let (walk, kept, pages) = run(&mut list, walk.newest(), 1000, |_, _| {});
        assert_eq!((kept.len(), pages, walk.doubt()), (41, 1, None), "the last one known, and the 40");
    }

    #[test]
    fn rewards_that_leave_a_moment_while_it_is_walked_hide_nobody() {
        for leave in [1, 9, 50, 300] {
            let mut list = List::of(&[2000, 10]);
            let (walk, kept, _) = run(&mut list, None, 100, |list, page| {
                if page == 7 {
                    (0..leave).for_each(|at| list.touch(at));
                }
            });
            assert_eq!((kept.len(), walk.doubt()), (2010, None), "{leave} left");
        }
    }

    #[test]
    fn a_reward_that_moved_to_the_last_page_does_not_hide_those_that_shifted() {
        for leave in 1..20 {
            let mut list = List::of(&[28]);
            let (walk, kept, _) = run(&mut list, None, 8, |list, page| {
                // The last page reaches the end of the list, where those that were modified stand now.
                if page == 3 {
                    (0..leave).for_each(|at| list.touch(at));
                }
            });
            let wrong = list.rewards.iter().filter(|(id, moment)| kept.get(id) != Some(moment)).count();
            assert!(wrong == 0 || walk.doubt().is_some(), "{leave} left, {wrong} are wrong");
        }
    }

    #[test]
    fn a_server_that_does_not_sort_filter_or_count_is_not_believed() {
        let mut walk = Moments::new(None);
        assert_eq!(walk.take(&[(1, Some(5)), (2, Some(4))], 2, Some(10)), None);
        assert_eq!((walk.next(), walk.doubt()), (None, Some(Doubt::Order)));
        let mut walk = Moments::new(Some(10));
        assert_eq!(walk.take(&[(1, Some(5))], 1, Some(10)), None);
        assert_eq!(walk.doubt(), Some(Doubt::Order));
        let mut walk = Moments::new(None);
        let mut pages = 0;
        while walk.next().is_some() {
            assert_eq!(walk.take(&[], 0, Some(10)), None);
            pages += 1;
            assert!(pages < 50, "no end");
        }
        assert_eq!(walk.doubt(), Some(Doubt::Short));
    }

    #[test]
    fn without_totals_it_ends_on_an_empty_page() {
        let list = List::of(&[3, 500, 3]);
        let mut walk = Moments::new(None);
        let (mut kept, mut pages) = (HashMap::new(), 0);
        while let Some(next) = walk.next() {
            let (page, _) = list.page(next, 100);
            kept.extend(page.iter().copied());
            assert_eq!(walk.take(&page, page.len() as u64, None), None);
            pages += 1;
            assert!(pages < 100, "no end: {walk:?}");
        }
        assert_eq!(kept.len(), 506);
    }

    #[derive(Debug, Clone)]
    enum Move {
        Touch(usize),
        Add,
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
        #[test]
        fn everything_is_kept_as_it_is_in_the_end(
            moments in prop::collection::vec(0_usize..120, 0..12),
            limit in 4_usize..60,
            moves in prop::collection::vec(
                prop::collection::vec(prop_oneof![any::<usize>().prop_map(Move::Touch), Just(Move::Add)], 0..12), 0..80),
        ) {
            let mut list = List::of(&moments);
            let (walk, kept, _) = run(&mut list, None, limit, |list, page| {
                for one in moves.get(page as usize).into_iter().flatten() {
                    match one {
                        Move::Touch(at) => list.touch(*at),
                        Move::Add => list.add(),
                    }
                }
            });
            let wrong = list.rewards.iter().filter(|(id, moment)| kept.get(id) != Some(moment)).count();
            prop_assert!(wrong == 0 || walk.doubt().is_some(), "{wrong} of {} not as they are", list.rewards.len());
        }
    }
}
