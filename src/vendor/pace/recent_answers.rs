//! The most recent answers of a host. They distinguish a rate limit from stray 429s, which a host sends at random below
//! its limit.

use std::collections::VecDeque;

/// The number of newest answers that indicate a limit for a host without stray 429s, if a quarter of them are refusals.
const FEW: usize = 12;
const ONE_IN: usize = 4;

/// The number of newest answers that indicate a limit for a host with stray 429s, if they contain 15 refusals. A host
/// that refuses 3 % at random reaches 15 once in several hours.
const MANY: usize = 100;
const OF_MANY: usize = 15;

/// After this many consecutive answers without a 429, the host counts as one without stray 429s again.
const QUIET: u32 = 1_000;

/// The newest answers: true for a 429 without a retry time.
#[derive(Debug, Default)]
pub(super) struct RecentAnswers {
    answers: VecDeque<bool>,
    has_strays: bool,
    quiet: u32,
}

impl RecentAnswers {
    pub(super) fn push(&mut self, is_refused: bool) {
        if self.answers.len() == MANY {
            self.answers.pop_front();
        }
        self.answers.push_back(is_refused);
        self.quiet = if is_refused { 0 } else { self.quiet.saturating_add(1) };
        self.has_strays &= self.quiet < QUIET;
    }

    /// Whether the share of refusals indicates a rate limit. Among fewer than four answers, one refusal is enough.
    pub(super) fn indicate_limit(&self) -> bool {
        let refused = |newest: usize| self.answers.iter().rev().take(newest).filter(|refused| **refused).count();
        if self.has_strays {
            return refused(MANY) >= OF_MANY;
        }
        let refused = refused(FEW);
        refused > 0 && refused * ONE_IN >= self.answers.len().min(FEW)
    }

    /// Drops all answers after the pace was lowered, because they say nothing about the new pace.
    pub(super) fn clear(&mut self) {
        self.answers.clear();
    }

    /// Records that a refusal was random and did not come from a rate limit.
    pub(super) fn mark_stray(&mut self) {
        self.has_strays = true;
    }

    pub(super) fn has_strays(&self) -> bool {
        self.has_strays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(recent: &mut RecentAnswers, answers: &str) {
        answers.bytes().for_each(|answer| recent.push(answer == b'x'));
    }

    #[test]
    fn a_share_of_refusals_indicates_the_limit_and_a_single_one_does_not() {
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
            let mut recent = RecentAnswers::default();
            push(&mut recent, answers);
            assert_eq!(recent.indicate_limit(), expected, "{answers}");
            recent.clear();
            assert!(!recent.indicate_limit(), "{answers}");
        }
    }

    #[test]
    fn a_host_with_stray_429s_needs_more_refusals_until_it_is_quiet() {
        let mut recent = RecentAnswers::default();
        recent.mark_stray();
        push(&mut recent, &"......x".repeat(14));
        assert!(!recent.indicate_limit());
        push(&mut recent, "x");
        assert!(recent.indicate_limit());
        recent.clear();
        push(&mut recent, &".".repeat(QUIET as usize - 1));
        assert!(recent.has_strays());
        push(&mut recent, ".");
        assert!(!recent.has_strays());
    }
}
