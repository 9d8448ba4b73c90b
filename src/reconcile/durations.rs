//! Computes the median and 95th percentile of durations, in hours.
//!
//! The percentiles use the nearest rank. Therefore each percentile is an observed duration. The median of an even
//! number of durations is the mean of the middle two. An empty list of durations has no percentile.

use serde::Serialize;

const HOUR_MS: f64 = 3_600_000.0;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct DurationSummary {
    pub count: usize,
    /// The median of the durations, in hours; `null` without durations.
    pub median: Option<f64>,
    /// The 95th percentile of the durations, in hours.
    pub p95: Option<f64>,
}

impl DurationSummary {
    /// Summarises durations in milliseconds. A negative duration, such as that of a retraction before its refund,
    /// counts as 0.
    pub fn of(mut times_ms: Vec<i64>) -> Self {
        for time in &mut times_ms {
            *time = (*time).max(0);
        }
        times_ms.sort_unstable();
        Self {
            count: times_ms.len(),
            median: median(&times_ms).map(hours),
            p95: nearest_rank(&times_ms, 95).map(hours),
        }
    }
}

/// Rounds a duration to a thousandth of an hour, 3.6 seconds.
fn hours(ms: f64) -> f64 {
    (ms / HOUR_MS * 1000.0).round() / 1000.0
}

fn median(sorted: &[i64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower as f64, upper as f64))
}

/// Returns the smallest value `v` such that at least `percent` % of the values are at most `v`.
fn nearest_rank(sorted: &[i64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).map(|ms| *ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_many_values() {
        let hour = 3_600_000;
        for (times, median, p95) in [
            (vec![], None, None),
            (vec![0], Some(0.0), Some(0.0)),
            (vec![5 * hour], Some(5.0), Some(5.0)),
            (vec![hour, 2 * hour], Some(1.5), Some(2.0)),
            (vec![3 * hour, hour, 2 * hour], Some(2.0), Some(3.0)),
            (vec![hour, 2 * hour, 3 * hour, 10 * hour], Some(2.5), Some(10.0)),
            (vec![-hour, hour], Some(0.5), Some(1.0)),
            (vec![3_600, 3_600], Some(0.001), Some(0.001)),
            ((1..=19).map(|n| n * hour).collect(), Some(10.0), Some(19.0)),
            ((1..=20).map(|n| n * hour).collect(), Some(10.5), Some(19.0)),
            ((1..=21).map(|n| n * hour).collect(), Some(11.0), Some(20.0)),
            ((1..=100).rev().map(|n| n * hour).collect(), Some(50.5), Some(95.0)),
            (vec![i64::MAX, i64::MAX], Some(hours(i64::MAX as f64)), Some(hours(i64::MAX as f64))),
        ] {
            let count = times.len();
            assert_eq!(DurationSummary::of(times.clone()), DurationSummary { count, median, p95 }, "{times:?}");
        }
    }
}
