//! Every reward in the order in which it was last modified: a sorted list of the formulas' own moments, and over it what
//! has changed since.
//!
//! The list is made once, when someone asks for it first, and never changed; the differences are two sorted lists beside
//! it, so a page anywhere costs a few binary searches and its own length. Rewards of one moment come in an order that is
//! always the same and means nothing. Nothing here knows what a reward is.

/// A moment in Unix milliseconds, and which reward it is of: a number that leads back to the reward and orders those of
/// one moment.
pub(super) type Entry = (i64, u64);

/// What differs from the list.
#[derive(Debug, Default)]
pub(super) struct Shift {
    /// Entries that the list does not have, sorted.
    came: Vec<Entry>,
    /// Entries of the list that are not true any more, sorted.
    went: Vec<Entry>,
}

impl Shift {
    /// Puts an entry in the place of another; `None` where there was none or is none any more.
    pub(super) fn put(&mut self, old: Option<Entry>, new: Option<Entry>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            match self.came.binary_search(&old) {
                Ok(at) => drop(self.came.remove(at)),
                Err(_) => insert(&mut self.went, old),
            }
        }
        if let Some(new) = new {
            match self.went.binary_search(&new) {
                Ok(at) => drop(self.went.remove(at)),
                Err(_) => insert(&mut self.came, new),
            }
        }
    }
}

fn insert(list: &mut Vec<Entry>, entry: Entry) {
    if let Err(at) = list.binary_search(&entry) {
        list.insert(at, entry);
    }
}

fn before(list: &[Entry], entry: Entry) -> usize {
    list.partition_point(|one| *one < entry)
}

/// The list as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline<'a> {
    /// Sorted.
    pub(super) list: &'a [Entry],
    pub(super) shift: &'a Shift,
}

impl Timeline<'_> {
    pub(super) fn total(&self) -> usize {
        self.list.len() + self.shift.came.len() - self.shift.went.len()
    }

    /// How many stand before this moment.
    pub(super) fn rank(&self, moment: i64) -> usize {
        self.before((moment, 0))
    }

    fn before(&self, entry: Entry) -> usize {
        before(self.list, entry) + before(&self.shift.came, entry) - before(&self.shift.went, entry)
    }

    /// The entries from place `from` up to place `to`, in order.
    pub(super) fn slice(&self, from: usize, to: usize) -> Vec<Entry> {
        let mut slice = Vec::with_capacity(to.saturating_sub(from));
        if from >= to {
            return slice;
        }
        // The last entry of the list before which no more than `from` stand.
        let (mut low, mut high) = (0, self.list.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            let stand = self.list.get(middle).map_or(self.total(), |entry| self.before(*entry));
            if stand <= from {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let first = self.list.get(low).copied().unwrap_or((i64::MAX, u64::MAX));
        let mut came = before(&self.shift.came, first);
        let mut skip = from.saturating_sub(self.before(first));
        // What came after the end of the list, or before its first entry, is found by stepping back.
        if self.before(first) > from {
            (low, came, skip) = (0, 0, from);
        }
        while slice.len() < to - from {
            let next = match (self.list.get(low), self.shift.came.get(came)) {
                (Some(old), Some(new)) if new < old => {
                    came += 1;
                    *new
                }
                (Some(old), _) => {
                    low += 1;
                    if self.shift.went.binary_search(old).is_ok() {
                        continue;
                    }
                    *old
                }
                (None, Some(new)) => {
                    came += 1;
                    *new
                }
                (None, None) => break,
            };
            if skip > 0 {
                skip -= 1;
            } else {
                slice.push(next);
            }
        }
        slice
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_stands_for(
            list in prop::collection::btree_set((0_i64..20, 0_u64..20), 0..60),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), (0_i64..30, 20_u64..40)), 0..40),
        ) {
            let sorted: Vec<Entry> = list.iter().copied().collect();
            let (mut set, mut shift) = (list, Shift::default());
            for (which, stays, new) in changes {
                let known: Vec<Entry> = set.iter().copied().collect();
                let old = if known.is_empty() { None } else { Some(known[which.index(known.len())]) };
                let new = (stays && !set.contains(&new)).then_some(new);
                if let Some(old) = old {
                    set.remove(&old);
                }
                set.extend(new);
                shift.put(old, new);
            }
            let all: Vec<Entry> = set.iter().copied().collect();
            let timeline = Timeline { list: &sorted, shift: &shift };
            prop_assert_eq!(timeline.total(), all.len());
            for from in 0..=all.len() {
                for to in from..=all.len() {
                    prop_assert_eq!(&timeline.slice(from, to)[..], &all[from..to]);
                }
            }
            for moment in 0..32 {
                prop_assert_eq!(timeline.rank(moment), set.range(..(moment, 0)).count());
            }
        }
    }
}
