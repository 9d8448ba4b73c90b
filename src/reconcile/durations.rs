//! How long something took, over many: the median and the 95th percentile, in hours; pure.
//!
//! Percentiles are values that occurred, by the nearest rank, except that the median of an even number lies between the two
//! in the middle. Of nothing there is no percentile, and never 0.

use serde::Serialize;

const HOUR_MS: f64 = 3_600_000.0;

/// A summary of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct DurationSummary {
    /// How many were measured.
    pub count: usize,
    /// The middle, in hours; `null` where there was nothing to measure.
    pub median: Option<f64>,
    /// What 95 of 100 did not take longer than, in hours.
    pub p95: Option<f64>,
}

impl DurationSummary {
    /// The summary of these times in milliseconds. One that is negative, as of a retraction before its refund, took no time.
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

/// To a thousandth of an hour: three and a half seconds.
fn hours(ms: f64) -> f64 {
    (ms / HOUR_MS * 1000.0).round() / 1000.0
}

fn median(sorted: &[i64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower as f64, upper as f64))
}

/// The smallest value that `percent` of all do not exceed.
fn nearest_rank(sorted: &[i64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).map(|ms| *ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_of_many() {
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
