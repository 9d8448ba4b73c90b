//! Estimates how long a number of requests takes, including the waits for the quota. `time_left` does no I/O.

use super::budget::QuotaState;

/// Returns how many seconds this number of requests takes at this rate. `held_ms` is the remaining time of the current
/// pause.
pub fn time_left(requests: u64, per_second: f64, quota: &QuotaState, held_ms: i64, now_ms: i64) -> f64 {
    let working = requests as f64 / per_second.max(0.001);
    let held = held_ms as f64 / 1_000.0;
    let (Some(left), Some(per_window)) = (quota.left_to_crawl(), quota.per_window()) else { return held + working };
    let beyond = requests.saturating_sub(left);
    if beyond == 0 || per_window == 0 {
        return held + working;
    }
    // Every further quota window takes its full length. The last window takes only the time of its requests.
    let window = quota.window_ms.unwrap_or(3_600_000) as f64 / 1_000.0;
    let reset = quota.window_ends_ms.map_or(window, |end| (end - now_ms).max(0) as f64 / 1_000.0);
    let whole = (beyond - 1) / per_window;
    let last = (beyond - whole * per_window) as f64 / per_second.max(0.001);
    let first = reset.max(left as f64 / per_second.max(0.001));
    first + whole as f64 * window.max(per_window as f64 / per_second.max(0.001)) + last
}

/// Formats a duration, such as `2h 01m`, `1m 01s` or `59s`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        for (seconds, text) in [(0.4, "0s"), (59.0, "59s"), (61.0, "1m 01s"), (7260.0, "2h 01m")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn the_time_left_includes_the_waits() {
        let account = QuotaState {
            limit: Some(1_000),
            reserve: 0.1,
            used: 800,
            window_ms: Some(3_600_000),
            window_ends_ms: Some(600_000),
            ..QuotaState::default()
        };
        for (requests, seconds) in [
            (50, 5.0),
            (100, 10.0),
            (200, 600.0 + 10.0),
            (1_000, 600.0 + 90.0),
            (1_001, 600.0 + 3_600.0 + 0.1),
            (2_000, 600.0 + 2.0 * 3_600.0 + 10.0),
        ] {
            let left = time_left(requests, 10.0, &account, 0, 0);
            assert!((left - seconds).abs() < 0.01, "{requests}: {left}, not {seconds}");
        }
        assert!((time_left(100, 10.0, &QuotaState::default(), 30_000, 0) - 40.0).abs() < 0.01);
    }
}
