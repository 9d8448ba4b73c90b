//! Requests the pages that an offset walk will probably need next, before the walk needs them.
//!
//! This module does no I/O, like the walk: the caller passes a function that requests a page. The prefetch returns only the
//! page at the walk's current offset.

use std::collections::VecDeque;

use super::OffsetWalk;

/// The pages that were requested but not yet needed, in the order of their offsets.
#[derive(Debug)]
pub struct Prefetch<P> {
    max: usize,
    requested: VecDeque<(u64, P)>,
}

impl<P> Prefetch<P> {
    /// Creates a prefetch that requests up to `max` pages at once, at least one.
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), requested: VecDeque::new() }
    }

    /// Returns the page at the current offset of the walk; `None` at the end of the walk. Also requests the pages that are
    /// likely to follow, and drops requested pages that the walk does not need.
    pub fn next(&mut self, walk: &OffsetWalk, mut request: impl FnMut(u64) -> P) -> Option<P> {
        let wanted: Vec<u64> = walk.next_offset().into_iter().chain(walk.likely_offsets()).take(self.max).collect();
        // If one predicted offset is wrong, all later predictions are wrong as well.
        let predicted =
            self.requested.iter().zip(&wanted).take_while(|((offset, _), wanted)| offset == *wanted).count();
        self.requested.truncate(predicted);
        self.requested.extend(wanted.into_iter().skip(predicted).map(|offset| (offset, request(offset))));
        self.requested.pop_front().map(|(_, page)| page)
    }
}
