//! Tests [`ModifiedWalk`]: whatever is modified meanwhile, it reads the newest state of every reward, or reports a
//! doubt.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A list of rewards behind an API that sorts by modification time: (number, time). Rewards with the same modification
/// time are sorted by a hash of their numbers.
struct List {
    rewards: Vec<(u64, Option<i64>)>,
    now: i64,
    next: u64,
}

impl List {
    /// Creates a list with `times[t]` rewards modified at each time `t`.
    fn of(times: &[usize]) -> Self {
        let mut list = Self { rewards: Vec::new(), now: times.len() as i64, next: 0 };
        for (time, rewards) in times.iter().enumerate() {
            for _ in 0..*rewards {
                list.rewards.push((list.next, Some(time as i64)));
                list.next += 1;
            }
        }
        list
    }

    fn page(&self, next: Query, limit: usize) -> (Vec<(u64, Option<i64>)>, u64) {
        let fits = |modified: Option<i64>| next.from.is_none() || modified >= next.from;
        let mut fitting: Vec<_> = self.rewards.iter().copied().filter(|(_, modified)| fits(*modified)).collect();
        fitting.sort_by_key(|(id, modified)| (*modified, id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, *id));
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

/// Reads the whole list with a [`ModifiedWalk`]. `between` changes the list after each page. Returns the
/// [`ModifiedWalk`], the rewards that it saw, and the number of pages.
fn run(
    list: &mut List,
    from: Option<i64>,
    limit: usize,
    mut between: impl FnMut(&mut List, u64),
) -> (ModifiedWalk, HashMap<u64, Option<i64>>, u64) {
    let mut walk = ModifiedWalk::new(from);
    let (mut kept, mut pages, mut failures) = (HashMap::new(), 0, 0);
    while let Some(next) = walk.next() {
        let (page, total) = list.page(next, limit);
        kept.extend(page.iter().copied());
        let check = walk.take(&page, page.len() as u64, Some(total));
        if let Some(check) = check {
            let count = kept.values().filter(|modified| **modified == Some(check.modified_at)).count() as u64;
            failures = if count < check.expected { failures + 1 } else { 0 };
            walk.counted(check, count, failures);
        }
        // Stores and loads the position, as a killed crawl does when it resumes.
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
fn a_still_list_is_seen_whole_in_few_pages() {
    for (times, limit, most) in [
        (&[][..], 100, 1),
        (&[1], 100, 1),
        (&[1; 1000], 100, 12),
        (&[1000], 100, 12),
        (&[1, 5000, 1], 100, 60),
        (&[300, 0, 300, 700], 100, 20),
        (&[7; 300], 10, 1000),
    ] {
        let mut list = List::of(times);
        let (walk, kept, pages) = run(&mut list, None, limit, |_, _| {});
        assert_eq!(kept.len(), list.rewards.len());
        assert_eq!(walk.doubt(), None);
        assert!(pages <= most, "{times:?} by {limit} took {pages} pages");
        assert_eq!(walk.newest(), list.rewards.iter().map(|(_, modified)| *modified).max().flatten());
    }
}

#[test]
fn a_refresh_reads_only_what_was_modified_since() {
    let mut list = List::of(&vec![1; 5000]);
    let (walk, _, _) = run(&mut list, None, 1000, |_, _| {});
    for at in 0..40 {
        list.touch(at * 101);
    }
    let (walk, kept, pages) = run(&mut list, walk.newest(), 1000, |_, _| {});
    assert_eq!((kept.len(), pages, walk.doubt()), (41, 1, None), "the last one known, and the 40");
}

#[test]
fn rewards_modified_while_their_page_is_read_hide_no_other() {
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
fn a_modified_reward_on_the_last_page_does_not_count_as_overlap() {
    for leave in 1..20 {
        let mut list = List::of(&[28]);
        let (walk, kept, _) = run(&mut list, None, 8, |list, page| {
            // The modified rewards move to the end of the list, and the last page contains them.
            if page == 3 {
                (0..leave).for_each(|at| list.touch(at));
            }
        });
        let wrong = list.rewards.iter().filter(|(id, modified)| kept.get(id) != Some(modified)).count();
        assert!(wrong == 0 || walk.doubt().is_some(), "{leave} left, {wrong} are wrong");
    }
}

#[test]
fn a_server_that_does_not_sort_filter_or_count_puts_the_walk_in_doubt() {
    let mut walk = ModifiedWalk::new(None);
    assert_eq!(walk.take(&[(1, Some(5)), (2, Some(4))], 2, Some(10)), None);
    assert_eq!((walk.next(), walk.doubt()), (None, Some(Doubt::Order)));
    let mut walk = ModifiedWalk::new(Some(10));
    assert_eq!(walk.take(&[(1, Some(5))], 1, Some(10)), None);
    assert_eq!(walk.doubt(), Some(Doubt::Order));
    let mut walk = ModifiedWalk::new(None);
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
    let mut walk = ModifiedWalk::new(None);
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
    fn every_reward_is_kept_in_its_newest_state(
        times in prop::collection::vec(0_usize..120, 0..12),
        limit in 4_usize..60,
        moves in prop::collection::vec(
            prop::collection::vec(prop_oneof![any::<usize>().prop_map(Move::Touch), Just(Move::Add)], 0..12), 0..80),
    ) {
        let mut list = List::of(&times);
        let (walk, kept, _) = run(&mut list, None, limit, |list, page| {
            for one in moves.get(page as usize).into_iter().flatten() {
                match one {
                    Move::Touch(at) => list.touch(*at),
                    Move::Add => list.add(),
                }
            }
        });
        let wrong = list.rewards.iter().filter(|(id, modified)| kept.get(id) != Some(modified)).count();
        prop_assert!(wrong == 0 || walk.doubt().is_some(), "{wrong} of {} not as they are", list.rewards.len());
    }
}
