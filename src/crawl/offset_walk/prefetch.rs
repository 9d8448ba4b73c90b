//! Requests the pages of a list that recoup will probably need next, before it needs them.
//!
//! `prefetch` does no I/O. The caller of the prefetch passes a function that requests a page. The prefetch returns only
//! the page at the current offset of the [`OffsetWalk`].

use std::collections::VecDeque;

use super::OffsetWalk;

/// The pages that recoup has requested and does not need yet, in the order of their offsets.
#[derive(Debug)]
pub struct Prefetch<P> {
    max: usize,
    requested: VecDeque<(u64, P)>,
}

impl<P> Prefetch<P> {
    /// Creates a prefetch that requests up to `max` pages at once, and at least one page.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), requested: VecDeque::new() }
    }

    /// Returns the page at the current offset of the [`OffsetWalk`]; `None` at the end of the list. Also requests the
    /// pages that are likely to follow, and drops requested pages that the [`OffsetWalk`] does not need.
    pub fn next(&mut self, walk: &OffsetWalk, mut request: impl FnMut(u64) -> P) -> Option<P> {
        let wanted: Vec<u64> = walk.next_offset().into_iter().chain(walk.likely_offsets()).take(self.max).collect();
        // If one predicted offset is wrong, all later predicted offsets are wrong as well.
        let predicted =
            self.requested.iter().zip(&wanted).take_while(|((offset, _), wanted)| offset == *wanted).count();
        self.requested.truncate(predicted);
        self.requested.extend(wanted.into_iter().skip(predicted).map(|offset| (offset, request(offset))));
        self.requested.pop_front().map(|(_, page)| page)
    }
}
