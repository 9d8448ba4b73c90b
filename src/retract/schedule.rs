//! When to look again at a retraction that is open: soon at first, then ever more rarely.
//!
//! Pure. The pause grows with the time since something last happened, which the ledger knows, so that it goes on growing
//! over restarts. It must never make many open retractions use up the vendor's quota: what is asked of the Brand host has a
//! pause of its own, and an allowance.

use std::time::Duration;

use super::Follows;

/// How much longer each pause between two looks is than the one before.
pub const GROWTH: f64 = 1.6;

/// Of an age that is long past the longest pause, the part that is waited.
const PART_OF_AGE: u32 = 20;

/// The pause before the next look at one whose newest event is this old: growing up to the longest pause, and slowly beyond
/// it once that is a small part of its age.
pub fn pause_at(age: Duration, follows: &Follows) -> Duration {
    let most = follows.max_poll.max(age / PART_OF_AGE);
    age.mul_f64(GROWTH - 1.0).min(most).max(follows.first_poll).max(Duration::from_millis(1))
}

/// The pause before its submission is asked for again, where nothing points to its end: each 1.6 times the one before, with
/// no longest one, so that a thousand stuck submissions cost little more each day.
pub fn submission_pause_at(age: Duration, follows: &Follows) -> Duration {
    age.mul_f64(GROWTH - 1.0).max(follows.max_poll)
}

/// How many submissions may be asked for in one hour although nothing points to their end. The vendor's default limit is
/// 1,000 requests an hour, and retractions themselves need one each.
pub const SUBMISSIONS_AN_HOUR: u32 = 300;

/// What is left of the allowance of one process.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    left: f64,
    at: Duration,
}

impl Allowance {
    /// All of it, at this moment of the process's own clock.
    pub fn full(at: Duration) -> Self {
        Self { left: f64::from(SUBMISSIONS_AN_HOUR), at }
    }

    /// Takes one, where one is left.
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

    fn follows() -> Follows {
        Follows {
            first_poll: Duration::from_secs(1),
            max_poll: Duration::from_mins(1),
            settle: Duration::from_mins(10),
            ..Follows::default()
        }
    }

    /// The ages at which looks happen, from the beginning to an end.
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
