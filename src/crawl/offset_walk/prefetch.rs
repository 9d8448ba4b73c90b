//! Requests the pages that an offset walk is likely to need next, before it asks for them.
//!
//! Pure, like the walk: the caller says how to request a page. The prefetch returns only the page at the current offset
//! of the walk.

use std::collections::VecDeque;

use super::OffsetWalk;

/// Requested pages, in the order of their offsets.
#[derive(Debug)]
pub struct Prefetch<P> {
    max: usize,
    requested: VecDeque<(u64, P)>,
}

impl<P> Prefetch<P> {
    /// Up to `max` pages at once, at least one.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), requested: VecDeque::new() }
    }

    /// Returns the page at the current offset of the walk; `None` at its end. Also requests the likely pages after it,
    /// and drops requested pages that turn out not to be needed.
    pub fn next(&mut self, walk: &OffsetWalk, mut request: impl FnMut(u64) -> P) -> Option<P> {
        let wanted: Vec<u64> = walk.next_offset().into_iter().chain(walk.likely_offsets()).take(self.max).collect();
        // After the first offset that differs from its prediction, all later predictions are wrong as well.
        let predicted =
            self.requested.iter().zip(&wanted).take_while(|((offset, _), wanted)| offset == *wanted).count();
        self.requested.truncate(predicted);
        self.requested.extend(wanted.into_iter().skip(predicted).map(|offset| (offset, request(offset))));
        self.requested.pop_front().map(|(_, page)| page)
    }
}
