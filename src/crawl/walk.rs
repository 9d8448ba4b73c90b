//! How to walk a list by offset while it moves.
//!
//! Pure: it says which offset to ask for next, is told what came, and never asks itself. The rule it stands on: a page that
//! contains someone whose predecessors are all seen continues the walk without a gap, because one page is one moment. So
//! pages overlap; rows that came before us push known rows into the page, which costs duplicates; rows that went before us
//! pull unknown rows out of it, which is noticed, and the walk steps back until it finds its place again or begins anew.
//! It never takes a short page for the end (the server may lower `limit`), nor `count` for a total.

mod ahead;

use serde::{Deserialize, Serialize};

pub use ahead::Ahead;

/// Steps back by a page before the walk begins anew.
const MAX_STEPS_BACK: u32 = 20;
/// New beginnings before a page is taken without proof.
const MAX_RESTARTS: u32 = 10;
/// Pages in a row without a row that could be recognised, on a list that names no total or has passed it, before the walk
/// gives up: nothing else would end it where the server gives the same page whatever is asked.
const MAX_BLIND: u32 = 20;
/// Pages without anything new before the end is taken as the end.
const MAX_STALLS: u32 = 3;

/// Where a walk stands. Stored with each page, so that a killed walk goes on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    overlap: u64,
    phase: Phase,
    offset: u64,
    /// Right behind the last row that is proven, as the rows stood then.
    reached: u64,
    /// The rows of the last proven page, in order.
    tail: Vec<u64>,
    /// `totalCount` as the last proven page gave it.
    total_then: Option<u64>,
    /// The most rows that one page had.
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

/// What the next page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// The first row. Needs no proof: nobody stands before it.
    Start,
    /// More rows, and the last known ones with them.
    Forward,
    /// The place that was lost.
    Back,
    /// An empty page, because `totalCount` says that all rows are seen.
    End,
    /// An empty page, because nothing new came; `totalCount` may say more.
    Stalled,
    /// Nothing.
    Done,
}

impl Walk {
    /// A walk from the first row. Pages share `overlap` rows where they are long enough.
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

    /// The offset to ask for; `None` at the end.
    pub fn next_offset(&self) -> Option<u64> {
        (self.phase != Phase::Done).then_some(self.offset)
    }

    /// Where the pages behind the next one will begin if they are as long as the longest so far and nothing moves: what may be
    /// asked for ahead. One page is one moment, and the proof needs someone whom two neighbouring pages share, whichever of the
    /// two was read first; so a page that was asked for early is as good as one that was not.
    fn likely_offsets(&self) -> impl Iterator<Item = u64> + use<> {
        let shared = self.shared_by(self.widest);
        let step = self.widest - shared;
        let total = self.last_total.filter(|_| self.phase == Phase::Forward && step > 0).unwrap_or(0);
        let first = self.offset.saturating_add(step);
        // The page before one that begins so close to the end has seen it.
        std::iter::successors(Some(first), move |offset| Some(offset.saturating_add(step)))
            .take_while(move |offset| offset.saturating_add(shared) < total)
    }

    /// The total that the list gave last.
    pub fn total(&self) -> Option<u64> {
        self.last_total
    }

    /// Everything that was there throughout has been seen, as far as an ordered list can prove it.
    pub fn is_proven(&self) -> bool {
        self.phase == Phase::Done && !self.unproven && !self.short
    }

    /// Nothing was seen to move: no row, and not the total.
    pub fn is_still(&self) -> bool {
        self.is_proven() && !self.moved && self.first_total == self.last_total
    }

    /// The total was the same throughout.
    pub fn kept_its_total(&self) -> bool {
        !self.short && self.first_total.is_some() && self.first_total == self.last_total
    }

    /// Takes the page at [`Walk::next_offset`]: who was on it, how many rows it had (unusable ones included), `totalCount`.
    pub fn take(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
        self.first_total = self.first_total.or(total);
        self.last_total = total.or(self.last_total);
        match self.phase {
            Phase::Start => self.accept(keys, rows, total),
            Phase::Forward | Phase::Back => {
                if self.is_continued_by(keys) {
                    self.accept(keys, rows, total);
                } else if self.tail.is_empty() && rows > 0 {
                    // The last page had no usable row to recognise anything by.
                    self.unproven = true;
                    self.accept(keys, rows, total);
                } else {
                    self.step_back(keys, rows, total);
                }
            }
            Phase::End if rows > 0 && self.stalls == 0 => {
                // The total was too small, or has grown since.
                self.stalls += 1;
                self.moved = true;
                self.forward();
            }
            Phase::End | Phase::Stalled if rows > 0 => {
                // Pages too short to overlap. Go on without proof, unless the server gives the same page whatever is asked.
                self.unproven = true;
                self.moved = true;
                if !keys.is_empty() && keys.iter().all(|key| self.tail.contains(key)) {
                    self.stall();
                } else {
                    self.accept(keys, rows, total);
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

    /// Nothing new came although there should be more: look again a few times, then say that the list is short.
    fn stall(&mut self) {
        self.stalls += 1;
        if self.stalls < MAX_STALLS {
            self.forward();
        } else {
            self.short = true;
            self.phase = Phase::Done;
        }
    }

    /// Whether the page holds someone whose predecessors are all seen.
    fn is_continued_by(&mut self, keys: &[u64]) -> bool {
        // `tail` ends right before `reached`, so everyone in it has a place to be expected at.
        let shift =
            |nth: usize, place: usize| self.reached + nth as u64 != self.offset + place as u64 + self.tail.len() as u64;
        let known = self.tail.iter().enumerate();
        let places = known.filter_map(|(nth, known)| Some((nth, keys.iter().position(|key| key == known)?)));
        let mut before = None;
        for (nth, place) in places {
            self.moved |= shift(nth, place);
            if before.is_some_and(|before| place < before) {
                // The order itself changed, and order is what the proof stands on.
                self.unproven = true;
                self.moved = true;
            }
            before = Some(place);
        }
        before.is_some()
    }

    fn accept(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
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
            // A full page of known rows: so many came before us that they pushed all new ones out of it.
            self.stalls += 1;
            self.forward();
        } else {
            (self.phase, self.offset) = (Phase::Stalled, next);
        }
    }

    /// The next rows, with some known ones before them.
    fn forward(&mut self) {
        let shared = self.shared_by(self.tail.len() as u64);
        (self.phase, self.offset) = (Phase::Forward, self.reached.saturating_sub(shared));
    }

    /// Rows that the page behind one of so many shares with it: never more than half of them, so that even short pages get
    /// on.
    fn shared_by(&self, rows: u64) -> u64 {
        self.overlap.min((rows / 2).max(1))
    }

    /// The place is lost: look where the total says that it moved to, then page by page further back, then begin anew.
    fn step_back(&mut self, keys: &[u64], rows: u64, total: Option<u64>) {
        self.moved = true;
        if self.restarts >= MAX_RESTARTS && rows > 0 {
            self.unproven = true;
            self.accept(keys, rows, total);
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
            self.begin_anew();
        } else {
            (self.phase, self.offset) = (Phase::Back, guess);
        }
    }

    fn begin_anew(&mut self) {
        self.restarts += 1;
        self.steps_back = 0;
        (self.phase, self.offset) = (Phase::Start, 0);
    }
}

#[cfg(test)]
mod tests;
