//! How many requests a host took lately, and what rate that speaks of when it takes no more.
//!
//! Pure: moments come from the caller. A host that limits a rate lets a burst of about one second's worth through first (a
//! token bucket; a window of one second does the same). So over any stretch of time *t* that began with an untouched bucket
//! and ends with a refusal it has taken `rate * (1 s + t)`; over every other stretch that ends there it has taken less. The
//! rate is therefore the largest of what the stretches say, without knowing which of them began with a full bucket.

use std::collections::VecDeque;

/// Requests are counted in stretches of this length, in milliseconds.
const GRAIN: i64 = 20;

/// What is older is forgotten, in milliseconds.
const KEPT: i64 = 30_000;

/// Fewer say nothing.
const ENOUGH: u64 = 5;

/// Accepted requests by the moment at which they were started.
#[derive(Debug, Default)]
pub(super) struct Accepted(VecDeque<(i64, u64)>);

impl Accepted {
    /// Counts one. Answers come in no order, but nearly so.
    pub(super) fn count(&mut self, started_ms: i64) {
        let grain = started_ms.div_euclid(GRAIN);
        let at = self.0.iter().rposition(|(earlier, _)| *earlier <= grain);
        match at {
            Some(at) if self.0[at].0 == grain => self.0[at].1 += 1,
            Some(at) => self.0.insert(at + 1, (grain, 1)),
            None => self.0.push_front((grain, 1)),
        }
        while self.0.front().is_some_and(|(earlier, _)| (grain - earlier) * GRAIN > KEPT) {
            self.0.pop_front();
        }
    }

    /// Requests per second that the host seems to take, given that it refused one that was started at this moment.
    pub(super) fn rate_at(&self, refused_ms: i64) -> Option<f64> {
        let (mut taken, mut rate) = (0, 0.0_f64);
        for (grain, count) in self.0.iter().rev() {
            // Also what was started in the same moment, and what of it is still on its way and was taken.
            taken += count;
            let stretch = (refused_ms - grain * GRAIN).max(0) as f64 / 1_000.0;
            rate = rate.max(taken as f64 / (1.0 + stretch));
        }
        (taken >= ENOUGH).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a bucket takes of requests at an even pace, and the estimate at its first refusal.
    fn estimate(rate: f64, depth: f64, pace: f64) -> f64 {
        let mut accepted = Accepted::default();
        let (mut tokens, mut ms) = (depth, 0.0_f64);
        loop {
            if tokens < 1.0 {
                return accepted.rate_at(ms as i64).expect("enough was seen");
            }
            tokens = (tokens - 1.0 + rate / pace).min(depth);
            accepted.count(ms as i64);
            ms += 1_000.0 / pace;
        }
    }

    #[test]
    fn a_bucket_of_a_second_shows_its_rate_however_fast_it_is_emptied() {
        for rate in [10.0, 50.0, 1000.0] {
            for faster in [1.1, 1.5, 4.0, 100.0] {
                let off = estimate(rate, rate, rate * faster) / rate;
                assert!((0.9..=1.05).contains(&off), "{rate} at {faster} times the pace: {off}");
            }
        }
    }

    #[test]
    fn a_quiet_past_does_not_hide_the_rate() {
        let mut accepted = Accepted::default();
        for second in 0..20 {
            accepted.count(second * 1_000);
        }
        for n in 0..100 {
            accepted.count(20_000 + n);
        }
        let rate = accepted.rate_at(20_100).expect("enough");
        assert!((88.0..=110.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_few_answers_say_nothing() {
        let mut accepted = Accepted::default();
        assert_eq!(accepted.rate_at(0), None);
        for _ in 0..4 {
            accepted.count(0);
        }
        assert_eq!(accepted.rate_at(0), None);
    }
}
