//! The newest answers of a host, which tell a limit that is met from a 429 now and then.

use std::collections::VecDeque;

/// Of so many answers …
const FEW: usize = 12;
/// … one in so many refused means the limit, while nothing is known of the host.
const ONE_IN: usize = 4;

/// Of so many answers …
const MANY: usize = 100;
/// … so many refused mean the limit of a host that refuses requests now and then. If it refuses 3 of 100, chance makes that 15
/// once in several hours.
const OF_MANY: usize = 15;

/// After so many answers without a 429 the host counts as one that refuses nothing by chance.
const QUIET: u32 = 1_000;

/// Whether each of the newest answers was a 429 that named no moment.
#[derive(Debug, Default)]
pub(super) struct Newest {
    answers: VecDeque<bool>,
    is_stray: bool,
    quiet: u32,
}

impl Newest {
    pub(super) fn push(&mut self, is_refused: bool) {
        if self.answers.len() == MANY {
            self.answers.pop_front();
        }
        self.answers.push_back(is_refused);
        self.quiet = if is_refused { 0 } else { self.quiet.saturating_add(1) };
        self.is_stray &= self.quiet < QUIET;
    }

    /// Whether so many were refused that the host must mean its limit. Of the first few, one is enough.
    pub(super) fn say_limit(&self) -> bool {
        let refused = |newest: usize| self.answers.iter().rev().take(newest).filter(|refused| **refused).count();
        if self.is_stray {
            return refused(MANY) >= OF_MANY;
        }
        let refused = refused(FEW);
        refused > 0 && refused * ONE_IN >= self.answers.len().min(FEW)
    }

    /// The pressure was taken off: what comes now is judged anew.
    pub(super) fn forget(&mut self) {
        self.answers.clear();
    }

    /// The host refuses requests at a rate that it takes.
    pub(super) fn stray(&mut self) {
        self.is_stray = true;
    }

    pub(super) fn is_stray(&self) -> bool {
        self.is_stray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(newest: &mut Newest, answers: &str) {
        answers.bytes().for_each(|answer| newest.push(answer == b'x'));
    }

    #[test]
    fn a_share_of_refusals_says_limit_and_one_now_and_then_does_not() {
        for (answers, expected) in [
            ("", false),
            ("x", true),
            ("...x", true),
            ("....x", false),
            ("......xx", true),
            ("..........xx", false),
            (".........xxx", true),
            ("x.........xx", true),
            ("x..........xx", false),
            ("xxxx............", false),
        ] {
            let mut newest = Newest::default();
            push(&mut newest, answers);
            assert_eq!(newest.say_limit(), expected, "{answers}");
            newest.forget();
            assert!(!newest.say_limit(), "{answers}");
        }
    }

    #[test]
    fn a_host_that_refuses_by_chance_has_to_refuse_more_until_it_has_been_quiet() {
        let mut newest = Newest::default();
        newest.stray();
        push(&mut newest, &"......x".repeat(14));
        assert!(!newest.say_limit());
        push(&mut newest, "x");
        assert!(newest.say_limit());
        newest.forget();
        push(&mut newest, &".".repeat(QUIET as usize - 1));
        assert!(newest.is_stray());
        push(&mut newest, ".");
        assert!(!newest.is_stray());
    }
}
