//! Reads a list by offset without missing a row that stays in the list, even if rows are added and removed meanwhile.
//!
//! `offset_walk` does no I/O. [`OffsetWalk`] returns the next offset and receives the page, and its caller sends the
//! requests. If each page repeats rows of the previous page, the read of the list has no gap. A page of the list is a
//! snapshot of the list at one moment. If a page contains a row and recoup has seen all rows before that row, the page
//! continues the read without a gap. Rows that are inserted before the current offset push known rows into the page,
//! and only cost duplicates. Rows that are removed before the current offset pull unknown rows out of the page. If a
//! page repeats no known row, [`OffsetWalk`] steps back until it finds a known row, or starts again. A short page does
//! not end the read of the list, because the vendor may lower `limit`. [`OffsetWalk`] never uses the field `count` of a
//! page as a total.

mod prefetch;

use serde::{Deserialize, Serialize};

pub use prefetch::Prefetch;

/// The maximum number of steps back in the list, one page each, before the read starts again.
const MAX_STEPS_BACK: u32 = 20;
/// The number of restarts after which [`OffsetWalk`] accepts a page without proof.
const MAX_RESTARTS: u32 = 10;
/// The number of pages in a row without an identifiable row after which [`OffsetWalk`] gives up, if the list has no
/// total or the offset is past the total. This limit ends the read if a server returns the same page for every offset.
const MAX_BLIND: u32 = 20;
/// The number of pages without a new row after which [`OffsetWalk`] accepts the end of the list.
const MAX_STALLS: u32 = 3;

/// The position in a list that recoup reads by offset. The writer stores the position with each page. Therefore a
/// killed crawl resumes at the page after its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetWalk {
    overlap: u64,
    phase: Phase,
    offset: u64,
    /// The offset after the last proven row, at the time when recoup read the row's page.
    reached: u64,
    /// Fingerprints of the rows of the last proven page, in order.
    tail: Vec<u64>,
    /// The `totalCount` of the last proven page.
    total_then: Option<u64>,
    /// The number of rows on the longest page of the list.
    widest: u64,
    steps_back: u32,
    restarts: u32,
    stalls: u32,
    blind: u32,
    first_total: Option<u64>,
    last_total: Option<u64>,
    moved: bool,
    unproven: bool,
    short: bool,
}

/// The purpose of the next request for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// The request reads the first page of the list. The first page needs no proof, because no row precedes it.
    Start,
    /// The request reads new rows, after some rows that recoup knows.
    Forward,
    /// The request looks for a known row, because the last page repeated no row.
    Back,
    /// The request expects an empty page that confirms the end of the list, because recoup has seen `totalCount` rows.
    End,
    /// The request expects an empty page that confirms the end of the list, because the last page had no new row. The
    /// vendor's `totalCount` may be larger than the number of rows that recoup has seen.
    Stalled,
    Done,
}

impl OffsetWalk {
    /// Starts to read a list at its first row. Consecutive pages share `overlap` rows, or half of a page if that is
    /// less.
    pub fn new(overlap: u32) -> Self {
        Self {
            overlap: u64::from(overlap.max(1)),
            phase: Phase::Start,
            offset: 0,
            reached: 0,
            tail: Vec::new(),
            total_then: None,
            widest: 1,
            steps_back: 0,
            restarts: 0,
            stalls: 0,
            blind: 0,
            first_total: None,
            last_total: None,
            moved: false,
            unproven: false,
            short: false,
        }
    }

    /// Returns the offset of the next page; `None` at the end of the list.
    pub fn next_offset(&self) -> Option<u64> {
        (self.phase != Phase::Done).then_some(self.offset)
    }

    /// Returns the offsets of the pages after the next page, if each is as long as the longest page so far and the list
    /// does not change. The proof requires a row that two neighbouring pages share, in whatever order recoup requested
    /// them. Therefore a page that recoup requested early is as good as a page that it requested in order.
    fn likely_offsets(&self) -> impl Iterator<Item = u64> + use<> {
        let shared = self.shared_by(self.widest);
        let step = self.widest - shared;
        let total = self.last_total.filter(|_| self.phase == Phase::Forward && step > 0).unwrap_or(0);
        let first = self.offset.saturating_add(step);
        // If a page begins this close to the end of the list, the page before it contains all of its rows.
        std::iter::successors(Some(first), move |offset| Some(offset.saturating_add(step)))
            .take_while(move |offset| offset.saturating_add(shared) < total)
    }

    /// Returns the newest `totalCount` of the list.
    pub fn total(&self) -> Option<u64> {
        self.last_total
    }

    /// Returns `true` if it is proven that recoup has seen every row that was in the list throughout the read. The
    /// proof assumes that the list does not change its order.
    pub fn is_proven(&self) -> bool {
        self.phase == Phase::Done && !self.unproven && !self.short
    }

    /// Returns `true` if the read is proven, and neither a row nor the total of the list has changed meanwhile.
    pub fn is_still(&self) -> bool {
        self.is_proven() && !self.moved && self.first_total == self.last_total
    }

    /// Returns `true` if the first and the last page had the same total.
    pub fn kept_its_total(&self) -> bool {
        !self.short && self.first_total.is_some() && self.first_total == self.last_total
    }

    /// Receives the page at [`OffsetWalk::next_offset`]: the fingerprints of its usable rows, the number of all its
    /// rows, and its `totalCount`.
    pub fn take(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
        self.first_total = self.first_total.or(total);
        self.last_total = total.or(self.last_total);
        match self.phase {
            Phase::Start => self.advance(keys, rows, total),
            Phase::Forward | Phase::Back => {
                if self.is_continued_by(keys) {
                    self.advance(keys, rows, total);
                } else if self.tail.is_empty() && rows > 0 {
                    // The last page had no usable row. Therefore the next page cannot repeat a row of the last page.
                    self.unproven = true;
                    self.advance(keys, rows, total);
                } else {
                    self.step_back(keys, rows, total);
                }
            }
            Phase::End if rows > 0 && self.stalls == 0 => {
                // Either the total of the list was too small, or the list has grown.
                self.stalls += 1;
                self.moved = true;
                self.forward();
            }
            Phase::End | Phase::Stalled if rows > 0 => {
                // The pages of the list are too short to share a row. The read of the list continues without proof, if
                // the server does not return the same page for every offset.
                self.unproven = true;
                self.moved = true;
                if !keys.is_empty() && keys.iter().all(|key| self.tail.contains(key)) {
                    self.stall();
                } else {
                    self.advance(keys, rows, total);
                }
            }
            Phase::End | Phase::Stalled => {
                if total.is_some_and(|total| total > self.offset) {
                    self.moved = true;
                    self.stall();
                } else {
                    self.phase = Phase::Done;
                }
            }
            Phase::Done => {}
        }
    }

    /// Handles a page without a new row although the total is larger than the number of rows seen. Repeats
    /// the request a few times, then records that the vendor listed fewer rows than it counted.
    fn stall(&mut self) {
        self.stalls += 1;
        if self.stalls < MAX_STALLS {
            self.forward();
        } else {
            self.short = true;
            self.phase = Phase::Done;
        }
    }

    /// Returns `true` if the page repeats a row of the last proven page.
    fn is_continued_by(&mut self, keys: &[u64]) -> bool {
        // `tail` has the rows up to `reached`. Therefore the offset of each row in `tail` is known. A row that is now
        // at another offset has shifted.
        let shift =
            |nth: usize, place: usize| self.reached + nth as u64 != self.offset + place as u64 + self.tail.len() as u64;
        let known = self.tail.iter().enumerate();
        let places = known.filter_map(|(nth, known)| Some((nth, keys.iter().position(|key| key == known)?)));
        let mut before = None;
        for (nth, place) in places {
            self.moved |= shift(nth, place);
            if before.is_some_and(|before| place < before) {
                // The proof requires a stable order of the list, and the order has changed.
                self.unproven = true;
                self.moved = true;
            }
            before = Some(place);
        }
        before.is_some()
    }

    fn advance(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
        let is_new = self.phase == Phase::Start || keys.last().is_none_or(|last| !self.tail.contains(last));
        let next = self.offset + rows;
        self.moved |= self.phase == Phase::Back;
        self.unproven |= keys.is_empty() && rows > 0;
        self.widest = self.widest.max(rows);
        self.reached = next;
        self.tail = keys.to_vec();
        self.total_then = total;
        self.steps_back = 0;
        if is_new && rows > 0 {
            self.stalls = 0;
        }
        self.blind = if keys.is_empty() { self.blind + 1 } else { 0 };
        if self.blind >= MAX_BLIND && total.is_none_or(|total| next >= total) {
            self.short = true;
            self.phase = Phase::Done;
        } else if total.is_some_and(|total| next >= total) {
            (self.phase, self.offset) = (Phase::End, next);
        } else if is_new && rows > 0 {
            self.forward();
        } else if rows >= self.widest && self.stalls < MAX_STALLS {
            // The page is full of known rows, because rows inserted before the current offset have pushed every new row
            // out of it.
            self.stalls += 1;
            self.forward();
        } else {
            (self.phase, self.offset) = (Phase::Stalled, next);
        }
    }

    /// Requests the next rows of the list, with some known rows before them.
    fn forward(&mut self) {
        let shared = self.shared_by(self.tail.len() as u64);
        (self.phase, self.offset) = (Phase::Forward, self.reached.saturating_sub(shared));
    }

    /// Returns how many rows of a page the next page repeats. The number is at most half of the page, because the read
    /// must progress even with short pages.
    fn shared_by(&self, rows: u64) -> u64 {
        self.overlap.min((rows / 2).max(1))
    }

    /// Handles a page that repeats no known row. First requests the offset that the change of the total suggests, then
    /// steps back page by page, then starts the list again.
    fn step_back(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
        self.moved = true;
        if self.restarts >= MAX_RESTARTS && rows > 0 {
            self.unproven = true;
            self.advance(keys, rows, total);
            return;
        }
        self.steps_back += 1;
        let before = self.offset;
        let guess = match (self.total_then, total) {
            (Some(then), Some(now)) if self.steps_back == 1 && then != now => {
                (self.reached + now).saturating_sub(then + self.widest / 2)
            }
            _ => self.offset.min(self.reached).saturating_sub((self.widest - 1).max(1)),
        };
        if guess == 0 || guess == before || self.steps_back > MAX_STEPS_BACK {
            self.restart();
        } else {
            (self.phase, self.offset) = (Phase::Back, guess);
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.steps_back = 0;
        (self.phase, self.offset) = (Phase::Start, 0);
    }
}

#[cfg(test)]
mod tests;
