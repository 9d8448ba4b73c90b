//! Which pages of a walk to ask for before their turn comes.
//!
//! Pure, as the walk is: what asking means, and what comes of it, is the caller's. It must never hand out a page for another
//! offset than the one that the walk is at.

use std::collections::VecDeque;

use super::Walk;

/// Pages that are asked for: the next one, and those that are likely to be wanted after it. One after the other, a list of
/// millions would take as many answers' time as it has pages.
#[derive(Debug)]
pub struct Ahead<P> {
    most: usize,
    asked: VecDeque<(u64, P)>,
}

impl<P> Ahead<P> {
    /// So many pages at once, one at least.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), asked: VecDeque::new() }
    }

    /// The page that the walk is at, asked for now or earlier; `None` at its end. Those behind it are asked for as well, and
    /// those that turn out not to be wanted are dropped.
    pub fn next(&mut self, walk: &Walk, mut ask: impl FnMut(u64) -> P) -> Option<P> {
        let wanted: Vec<u64> = walk.next_offset().into_iter().chain(walk.likely_offsets()).take(self.most).collect();
        // From the first that is not where it was expected on, all are elsewhere.
        let expected = self.asked.iter().zip(&wanted).take_while(|((asked, _), wanted)| asked == *wanted).count();
        self.asked.truncate(expected);
        self.asked.extend(wanted.into_iter().skip(expected).map(|offset| (offset, ask(offset))));
        self.asked.pop_front().map(|(_, page)| page)
    }
}
