//! Estimates the rate limit of a host from the requests that the host accepted before it refused a request.
//!
//! The rate estimate does no I/O. The callers of the rate estimate pass the times of the requests. A host with a rate
//! limit first accepts a burst of about one second's requests. A host accepts a burst of one second's requests with a
//! token bucket and with a window of one second. Consider a period of *t* seconds that ends with a refused request. If
//! the host's token bucket was full at the start of a period of *t* seconds, the host accepted `rate * (1 + t)`
//! requests in the period; otherwise it accepted fewer. Therefore the maximum of `accepted / (1 + t)` over all periods
//! is the host's rate.

use std::collections::VecDeque;

/// The length of the intervals in which the estimate counts requests, in milliseconds.
const INTERVAL: i64 = 20;

/// The age at which the estimate drops a request, in milliseconds.
const KEPT: i64 = 30_000;

/// The minimum number of accepted requests for an estimate.
const ENOUGH: u64 = 5;

/// The number of accepted requests that started in each interval.
#[derive(Debug, Default)]
pub(super) struct RateEstimate(VecDeque<(i64, u64)>);

impl RateEstimate {
    /// Counts one request that the host accepted. The answers may arrive in a different order than the requests
    /// started.
    pub(super) fn count(&mut self, started_ms: i64) {
        let interval = started_ms.div_euclid(INTERVAL);
        match self.0.iter().rposition(|(earlier, _)| *earlier <= interval) {
            Some(at) if self.0[at].0 == interval => self.0[at].1 += 1,
            Some(at) => self.0.insert(at + 1, (interval, 1)),
            None => self.0.push_front((interval, 1)),
        }
        while self.0.front().is_some_and(|(earlier, _)| (interval - earlier) * INTERVAL > KEPT) {
            self.0.pop_front();
        }
    }

    /// Returns the estimated rate in requests per second, if the host refused a request that started at `refused_ms`.
    pub(super) fn rate_at(&self, refused_ms: i64) -> Option<f64> {
        let (mut accepted, mut rate) = (0, 0.0_f64);
        for (interval, count) in self.0.iter().rev() {
            // Also counts accepted requests that started just after the refused request.
            accepted += count;
            let seconds = (refused_ms - interval * INTERVAL).max(0) as f64 / 1_000.0;
            rate = rate.max(accepted as f64 / (1.0 + seconds));
        }
        (accepted >= ENOUGH).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests to a simulated token bucket at an even pace. Returns the rate estimate at the first refused
    /// request.
    fn estimate(rate: f64, depth: f64, pace: f64) -> f64 {
        let mut estimate = RateEstimate::default();
        let (mut tokens, mut ms) = (depth, 0.0_f64);
        loop {
            if tokens < 1.0 {
                return estimate.rate_at(ms as i64).expect("enough requests");
            }
            tokens = (tokens - 1.0 + rate / pace).min(depth);
            estimate.count(ms as i64);
            ms += 1_000.0 / pace;
        }
    }

    #[test]
    fn a_bucket_of_a_second_shows_its_rate_at_any_pace() {
        for rate in [10.0, 50.0, 1000.0] {
            for faster in [1.1, 1.5, 4.0, 100.0] {
                let off = estimate(rate, rate, rate * faster) / rate;
                assert!((0.9..=1.05).contains(&off), "{rate} at {faster} times the pace: {off}");
            }
        }
    }

    #[test]
    fn a_slow_past_does_not_hide_the_rate() {
        let mut estimate = RateEstimate::default();
        for second in 0..20 {
            estimate.count(second * 1_000);
        }
        for n in 0..100 {
            estimate.count(20_000 + n);
        }
        let rate = estimate.rate_at(20_100).expect("enough requests");
        assert!((88.0..=110.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_few_answers_give_no_estimate() {
        let mut estimate = RateEstimate::default();
        assert_eq!(estimate.rate_at(0), None);
        for _ in 0..4 {
            estimate.count(0);
        }
        assert_eq!(estimate.rate_at(0), None);
    }
}
