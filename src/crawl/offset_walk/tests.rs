//! Tests [`OffsetWalk`]: whatever else changes, it sees every row that stays in the list, and it always ends.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// A list behind an API that limits the page size.
struct List {
    rows: Vec<u64>,
    cap: usize,
    has_total: bool,
    next: u64,
}

impl List {
    fn of(people: u64, cap: usize, has_total: bool) -> Self {
        Self { rows: (0..people).collect(), cap, has_total, next: 1_000_000 }
    }

    fn page(&self, offset: u64) -> (Vec<u64>, Option<u64>) {
        let rows = self.rows.iter().skip(offset as usize).take(self.cap).copied().collect();
        (rows, self.has_total.then_some(self.rows.len() as u64))
    }
}

/// Reads the whole list with an [`OffsetWalk`]. `between` changes the list after each page. Returns the [`OffsetWalk`],
/// the rows that it saw, and the number of pages.
fn run(list: &mut List, overlap: u32, between: impl FnMut(&mut List, u64)) -> (OffsetWalk, HashSet<u64>, u64) {
    run_prefetching(list, overlap, 1, between)
}

/// Reads the list like [`run`], but requests `most` pages at once. Each page is a snapshot of the list at the time of
/// its response.
fn run_prefetching(
    list: &mut List,
    overlap: u32,
    most: usize,
    mut between: impl FnMut(&mut List, u64),
) -> (OffsetWalk, HashSet<u64>, u64) {
    let mut walk = OffsetWalk::new(overlap);
    let mut seen = HashSet::new();
    let mut pages = 0;
    let mut prefetch = Prefetch::new(most);
    loop {
        let mut asked = Vec::new();
        let page = prefetch.next(&walk, |offset| {
            let page = Rc::new(OnceCell::new());
            asked.push((offset, Rc::clone(&page)));
            page
        });
        let Some(page) = page else { break };
        // Answers the last request first, which is the worst order of responses.
        for (offset, page) in asked.into_iter().rev() {
            page.set(list.page(offset)).expect("it is answered once");
            between(list, pages + 1);
        }
        let (rows, total) = page.get().expect("it is answered");
        seen.extend(rows);
        walk.take(rows, rows.len() as u64, *total);
        // Stores and loads the position, as a killed crawl does when it resumes.
        let stored = serde_json::to_string(&walk).expect("serialises");
        walk = serde_json::from_str(&stored).expect("deserialises");
        pages += 1;
        assert!(pages < 20_000, "no end: {walk:?}");
    }
    (walk, seen, pages)
}

#[test]
fn a_still_list_is_seen_whole_in_few_pages() {
    for (people, cap, has_total, most) in [
        (0, 100, true, 2),
        (0, 100, false, 2),
        (1, 100, true, 3),
        (1, 100, false, 6),
        (1000, 100, true, 13),
        (1000, 100, false, 16),
        (1000, 7, true, 340),
        (1000, 2, false, 1010),
    ] {
        let mut list = List::of(people, cap, has_total);
        let (walk, seen, pages) = run(&mut list, 10, |_, _| {});
        assert_eq!(seen.len() as u64, people);
        assert!(walk.is_proven() && walk.is_still(), "{people} by {cap}: {walk:?}");
        assert!(pages <= most, "{people} by {cap} took {pages} pages");
    }
}

#[test]
fn a_still_list_is_prefetched_without_a_wasted_page() {
    for (people, cap) in [(1000, 100), (1000, 7), (95, 100), (0, 100)] {
        let list = List::of(people, cap, true);
        let mut walk = OffsetWalk::new(10);
        let (mut asked, mut guessed) = (Vec::new(), HashSet::new());
        while let Some(offset) = walk.next_offset() {
            let (rows, total) = list.page(offset);
            asked.push(offset);
            walk.take(&rows, rows.len() as u64, total);
            guessed.extend(walk.next_offset().into_iter().flat_map(|_| walk.likely_offsets().take(4)));
        }
        assert!(guessed.iter().all(|offset| asked.contains(offset)), "{people} by {cap}: {guessed:?} of {asked:?}");
        assert_eq!(guessed.is_empty(), people <= cap as u64, "{people} by {cap}");
        assert_eq!(walk.likely_offsets().count(), 0, "at the end");
    }
}

#[test]
fn pages_of_one_row_are_read_and_not_called_proven() {
    let (walk, seen, _) = run(&mut List::of(20, 1, true), 10, |_, _| {});
    assert_eq!(seen.len(), 20);
    assert!(!walk.is_proven());
}

#[test]
fn rows_removed_or_inserted_before_the_position_are_noticed() {
    for crowd in [5, 50, 500, 3000] {
        let (walk, seen, _) = run(&mut List::of(10_000, 100, true), 10, |list, page| {
            if page == 60 {
                list.rows.drain(..crowd);
            }
        });
        assert!((0..10_000).filter(|n| *n >= crowd as u64).all(|n| seen.contains(&n)), "{crowd} left");
        assert!(walk.is_proven() && !walk.is_still());
        let (walk, seen, _) = run(&mut List::of(10_000, 100, true), 10, |list, page| {
            if page == 60 {
                let newcomers: Vec<u64> = (0..crowd as u64).map(|n| 1_000_000 + n).collect();
                list.rows.splice(..0, newcomers);
            }
        });
        assert!((0..10_000).all(|n| seen.contains(&n)), "{crowd} came");
        assert!(walk.is_proven() && !walk.is_still());
    }
}

#[test]
fn a_server_that_ignores_the_offset_or_ends_early_proves_nothing() {
    let mut walk = OffsetWalk::new(10);
    let page: Vec<u64> = (0..100).collect();
    let mut pages = 0;
    while walk.next_offset().is_some() {
        walk.take(&page, 100, Some(5000));
        pages += 1;
        assert!(pages < 300, "no end");
    }
    assert!(!walk.is_proven());

    let list = List::of(1000, 100, true);
    let mut walk = OffsetWalk::new(10);
    while let Some(offset) = walk.next_offset() {
        let (rows, _) = if offset < 500 { list.page(offset) } else { (Vec::new(), None) };
        walk.take(&rows, rows.len() as u64, Some(1000));
    }
    assert!(!walk.is_proven() && !walk.kept_its_total(), "the total says that there is more");
}

#[test]
fn a_list_without_usable_rows_ends() {
    for total in [None, Some(5000)] {
        let mut walk = OffsetWalk::new(10);
        let mut pages = 0;
        while walk.next_offset().is_some() {
            walk.take(&[], 100, total);
            pages += 1;
            assert!(pages < 300, "no end: {walk:?}");
        }
        assert!(!walk.is_proven() && !walk.kept_its_total());
    }
}

#[test]
fn a_total_that_is_too_small_does_not_end_the_walk() {
    let list = List::of(1000, 100, true);
    let mut walk = OffsetWalk::new(10);
    let mut seen: HashSet<u64> = HashSet::new();
    while let Some(offset) = walk.next_offset() {
        let (rows, _) = list.page(offset);
        seen.extend(&rows);
        walk.take(&rows, rows.len() as u64, Some(50));
    }
    assert_eq!(seen.len(), 1000);
}

#[test]
fn inserted_rows_that_fill_a_page_with_known_rows_do_not_end_the_walk() {
    let (walk, seen, _) = run(&mut List::of(60, 9, false), 3, |list, page| match page {
        2 => drop(list.rows.splice(..0, 1000..1006)),
        3 => drop(list.rows.drain(..50)),
        _ => {}
    });
    assert!((44..60).all(|n| seen.contains(&n)) || !walk.is_proven(), "{walk:?}");
}

#[derive(Debug, Clone)]
enum Move {
    Come(usize),
    Go(usize),
    Nothing,
}

fn moves() -> impl Strategy<Value = Vec<Vec<Move>>> {
    let one = prop_oneof![any::<usize>().prop_map(Move::Come), any::<usize>().prop_map(Move::Go), Just(Move::Nothing),];
    prop::collection::vec(prop::collection::vec(one, 0..30), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_row_that_stays_throughout_is_seen(
        people in 0_u64..600,
        cap in 2_usize..60,
        has_total in any::<bool>(),
        overlap in 1_u32..15,
        prefetch in 1_usize..6,
        moves in moves(),
    ) {
        let mut list = List::of(people, cap, has_total);
        let mut gone = HashSet::new();
        let mut moves = moves.into_iter();
        let (walk, seen, _) = run_prefetching(&mut list, overlap, prefetch, |list, _| {
            for one in moves.next().into_iter().flatten() {
                match one {
                    Move::Come(at) => {
                        let at = at % (list.rows.len() + 1);
                        list.rows.insert(at, list.next);
                        list.next += 1;
                    }
                    Move::Go(at) if !list.rows.is_empty() => {
                        let at = at % list.rows.len();
                        gone.insert(list.rows.remove(at));
                    }
                    Move::Go(_) | Move::Nothing => {}
                }
            }
        });
        let missed = (0..people).filter(|n| !gone.contains(n) && !seen.contains(n)).count();
        prop_assert!(missed == 0 || !walk.is_proven(), "{missed} missed by a walk that calls itself proven");
    }
}
