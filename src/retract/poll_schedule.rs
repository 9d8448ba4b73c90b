//! Computes when recoup reads an open retraction again: soon at first, then with growing pauses.
//!
//! The pause before the next read grows with the time since the retraction's last ledger event. Therefore a restart
//! does not shorten the pause. Many open retractions must not use up the vendor's quota. Therefore requests to the
//! Brand host have longer pauses and an hourly allowance. `poll_schedule` does no I/O.

use std::time::Duration;

use super::FollowSettings;

/// Factor between one pause and the next pause of a retraction's reads.
pub const GROWTH: f64 = 1.6;

/// Divisor for old retractions: above `max_poll`, the pause between two reads is the retraction's age divided by this
/// number.
const PART_OF_AGE: u32 = 20;

/// Returns the pause before the next read of a retraction, by the age of its newest event. The pause between two reads
/// grows up to `max_poll`. For an old retraction, the pause between two reads grows further, in proportion to the age.
pub fn pause_at(age: Duration, follows: &FollowSettings) -> Duration {
    let most = follows.max_poll.max(age / PART_OF_AGE);
    age.mul_f64(GROWTH - 1.0).min(most).max(follows.first_poll).max(Duration::from_millis(1))
}

/// Returns the pause before the next read of the submission, for a retraction whose rewards show no change. The pause
/// between two reads of a submission has no upper bound. Therefore a thousand stuck submissions cost few requests a
/// day.
pub fn submission_pause_at(age: Duration, follows: &FollowSettings) -> Duration {
    age.mul_f64(GROWTH - 1.0).max(follows.max_poll)
}

/// Maximum number of submission reads per hour for retractions whose rewards show no change. The vendor's default limit
/// is 1,000 requests an hour. Each retraction needs one request to be sent.
pub const SUBMISSIONS_AN_HOUR: u32 = 300;

/// The number of submission reads that this process may still make within the hour.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    left: f64,
    at: Duration,
}

impl Allowance {
    pub fn full(at: Duration) -> Self {
        Self { left: f64::from(SUBMISSIONS_AN_HOUR), at }
    }

    pub fn take(&mut self, now: Duration) -> bool {
        let most = f64::from(SUBMISSIONS_AN_HOUR);
        let gained = now.saturating_sub(self.at).as_secs_f64() / 3_600.0 * most;
        (self.left, self.at) = ((self.left + gained).min(most), now);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follows() -> FollowSettings {
        FollowSettings {
            first_poll: Duration::from_secs(1),
            max_poll: Duration::from_mins(1),
            settle: Duration::from_mins(10),
            ..FollowSettings::default()
        }
    }

    /// Returns the ages at which recoup reads a retraction, from zero to `end`.
    fn ages(end: Duration, pause: impl Fn(Duration) -> Duration) -> Vec<Duration> {
        let mut ages = vec![Duration::ZERO];
        while let Some(age) = ages.last().copied().filter(|age| *age < end) {
            ages.push(age + pause(age));
        }
        ages
    }

    #[test]
    fn pauses_only_grow_and_looks_stay_few() {
        let looks = ages(Duration::from_hours(14 * 24), |age| pause_at(age, &follows()));
        let pauses: Vec<Duration> = looks.windows(2).map(|two| two[1].saturating_sub(two[0])).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(pauses[0], Duration::from_secs(1));
        let by = |end: Duration| looks.iter().filter(|age| **age <= end).count();
        assert!(by(Duration::from_mins(10)) < 25, "{}", by(Duration::from_mins(10)));
        assert!(looks.len() < 250, "{} in a fortnight", looks.len());
        let asked = ages(Duration::from_hours(14 * 24), |age| submission_pause_at(age, &follows()));
        assert!(asked.len() < 25, "{} questions to the Brand host in a fortnight", asked.len());
    }

    #[test]
    fn the_allowance_comes_back_with_the_hour() {
        let mut allowance = Allowance::full(Duration::ZERO);
        let taken = (0..1000).filter(|_| allowance.take(Duration::ZERO)).count();
        assert_eq!(taken, SUBMISSIONS_AN_HOUR as usize);
        assert!(!allowance.take(Duration::from_secs(1)));
        let taken = (0..1000).filter(|_| allowance.take(Duration::from_mins(30))).count();
        assert_eq!(taken, SUBMISSIONS_AN_HOUR as usize / 2);
    }
}
