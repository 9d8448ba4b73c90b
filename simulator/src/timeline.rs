//! All simulated rewards sorted by their last modification: a sorted list from the formulas, and the differences since
//! the start.
//!
//! The timeline's list is built on first use and never changes. The differences from the list are two sorted lists.
//! Therefore a page of the timeline costs a few binary searches and its own length. Rewards that were modified in the
//! same millisecond have an arbitrary and stable order. The timeline does not know what a reward is.

/// An entry of the timeline: a time in Unix milliseconds, and the number of the reward. The simulator decodes the
/// number to the reward, and sorts the rewards of the same millisecond by it.
pub(super) type Entry = (i64, u64);

/// The differences between the timeline's list and the current rewards.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The current entries of the timeline that are not in its list, sorted.
    added: Vec<Entry>,
    /// The outdated entries of the timeline's list, sorted.
    removed: Vec<Entry>,
}

impl Differences {
    /// Replaces an entry of the timeline. `old` is `None` for a new reward, and `new` is `None` for a removed reward.
    pub(super) fn put(&mut self, old: Option<Entry>, new: Option<Entry>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            match self.added.binary_search(&old) {
                Ok(at) => drop(self.added.remove(at)),
                Err(_) => insert(&mut self.removed, old),
            }
        }
        if let Some(new) = new {
            match self.removed.binary_search(&new) {
                Ok(at) => drop(self.removed.remove(at)),
                Err(_) => insert(&mut self.added, new),
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

/// All rewards by modification time: the list from the formulas, and the differences from that list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline<'a> {
    /// The entries that the formulas computed, sorted.
    pub(super) list: &'a [Entry],
    pub(super) shift: &'a Differences,
}

impl Timeline<'_> {
    pub(super) fn total(&self) -> usize {
        self.list.len() + self.shift.added.len() - self.shift.removed.len()
    }

    /// Returns the number of timeline entries before this time.
    pub(super) fn rank(&self, moment: i64) -> usize {
        self.before((moment, 0))
    }

    fn before(&self, entry: Entry) -> usize {
        before(self.list, entry) + before(&self.shift.added, entry) - before(&self.shift.removed, entry)
    }

    /// Returns the timeline entries from position `from` up to position `to` (exclusive), in order.
    pub(super) fn slice(&self, from: usize, to: usize) -> Vec<Entry> {
        let mut slice = Vec::with_capacity(to.saturating_sub(from));
        if from >= to {
            return slice;
        }
        // Searches for the last entry of the timeline's list that has at most `from` entries before it.
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
        let mut added = before(&self.shift.added, first);
        let mut skip = from.saturating_sub(self.before(first));
        // Starts at the beginning of the timeline and skips `from` entries, because the position is before the list's
        // first entry or after its last entry.
        if self.before(first) > from {
            (low, added, skip) = (0, 0, from);
        }
        while slice.len() < to - from {
            let next = match (self.list.get(low), self.shift.added.get(added)) {
                (Some(old), Some(new)) if new < old => {
                    added += 1;
                    *new
                }
                (Some(old), _) => {
                    low += 1;
                    if self.shift.removed.binary_search(old).is_ok() {
                        continue;
                    }
                    *old
                }
                (None, Some(new)) => {
                    added += 1;
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
            let (mut set, mut shift) = (list, Differences::default());
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
