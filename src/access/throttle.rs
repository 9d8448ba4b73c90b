//! Computes the delay after failed sign-ins, without I/O.
//!
//! A few failed sign-ins cause no delay. Failed sign-ins for a name count across all networks. Failed sign-ins for an
//! unknown name count too, because otherwise the response would reveal which names are users. Failed sign-ins from a
//! network count across all names. A network has more free attempts than a name, because a whole office may share a
//! network. If too many sign-ins fail overall, every failed sign-in causes a delay.

/// Number of failed sign-ins for one name that cause no delay.
const FREE_FOR_NAME: u32 = 5;

/// Number of failed sign-ins from one network that cause no delay.
const FREE_FOR_NETWORK: u32 = 20;

/// Number of recent failed sign-ins overall above which every failure causes a delay.
const TOO_MANY: u32 = 60;

/// The overall counter of failed sign-ins decreases by one in each interval of this length, in milliseconds.
pub(super) const FORGOTTEN_EVERY_MS: i64 = 10_000;

/// Longest delay of a sign-in, in milliseconds. A longer delay would let an attacker lock a user out.
const LONGEST_MS: i64 = 15 * 60_000;

/// The counter of failed sign-ins of a name or network expires after this time without a failure.
pub(super) const REMEMBERED_MS: i64 = 24 * 3_600_000;

/// Returns the delay after `failures` sign-ins for one name failed, with `overall` recent failures for all names.
pub(super) fn user_delay(failures: u32, overall: u32) -> i64 {
    after(failures, FREE_FOR_NAME, overall)
}

/// Returns the delay after `failures` sign-ins from one network failed, with `overall` recent failures from all
/// networks.
pub(super) fn network_delay(failures: u32, overall: u32) -> i64 {
    after(failures, FREE_FOR_NETWORK, overall)
}

/// Returns the delay after `failures` sign-ins in a browser in which this user has signed in before. Failed sign-ins in
/// other browsers do not count.
pub(super) fn known_browser_delay(failures: u32, _of_everybody: u32) -> i64 {
    after(failures, FREE_FOR_NAME, 0)
}

/// Returns the delay in milliseconds: one second after the last free attempt, then doubled for each further failure.
fn after(failures: u32, free: u32, overall: u32) -> i64 {
    let free = if overall > TOO_MANY { 1 } else { free };
    match failures.checked_sub(free) {
        None => 0,
        Some(more) => 1_000_i64.checked_shl(more.min(30)).unwrap_or(LONGEST_MS).min(LONGEST_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_has_an_end() {
        for (failures, user, peer) in [
            (0, 0, 0),
            (4, 0, 0),
            (5, 1_000, 0),
            (6, 2_000, 0),
            (7, 4_000, 0),
            (14, 512_000, 0),
            (15, LONGEST_MS, 0),
            (20, LONGEST_MS, 1_000),
            (u32::MAX, LONGEST_MS, LONGEST_MS),
        ] {
            assert_eq!((user_delay(failures, TOO_MANY), network_delay(failures, 0)), (user, peer), "{failures}");
            assert_eq!(known_browser_delay(failures, u32::MAX), user, "{failures}");
        }
    }

    #[test]
    fn no_failure_is_free_while_too_many_people_fail() {
        for (failures, wait) in [(0, 0), (1, 1_000), (2, 2_000), (11, LONGEST_MS)] {
            let waits = [user_delay(failures, TOO_MANY + 1), network_delay(failures, TOO_MANY + 1)];
            assert_eq!(waits, [wait, wait], "{failures}");
        }
    }
}
