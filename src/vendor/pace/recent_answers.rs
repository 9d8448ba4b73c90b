//! The most recent answers of a host. The recent answers distinguish a rate limit from stray 429s, which a host sends
//! at random below its limit.

use std::collections::VecDeque;

/// The number of newest answers by which recoup detects the limit of a host without stray 429s: a quarter of these
/// answers must be refusals.
const FEW: usize = 12;
const ONE_IN: usize = 4;

/// The number of newest answers by which recoup detects the limit of a host with stray 429s: 15 of these answers must
/// be refusals. A host that refuses 3 % of the requests at random reaches 15 refusals once in several hours.
const MANY: usize = 100;
const OF_MANY: usize = 15;

/// After this many consecutive answers without a 429, recoup again treats the host as a host without stray 429s.
const QUIET: u32 = 1_000;

/// The newest answers of the host: `true` for a 429 without a retry time.
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

    /// Returns `true` if the share of refused requests indicates a rate limit. Among fewer than four answers, one
    /// refusal is enough to indicate a rate limit.
    pub(super) fn indicate_limit(&self) -> bool {
        let refused = |newest: usize| self.answers.iter().rev().take(newest).filter(|refused| **refused).count();
        if self.has_strays {
            return refused(MANY) >= OF_MANY;
        }
        let refused = refused(FEW);
        refused > 0 && refused * ONE_IN >= self.answers.len().min(FEW)
    }

    /// Drops all recent answers after the pacer has lowered its pace, because these answers say nothing about the new
    /// pace.
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
