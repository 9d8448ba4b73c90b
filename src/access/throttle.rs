//! How long a failed attempt to sign in costs. Pure.
//!
//! A few slips of the finger cost nothing, guessing does. A name is slowed down wherever the guesses come from, also one that no
//! user has: an answer must not tell which names are users. An address is slowed down whatever name it tries; it may be a whole
//! office, so it has more room. If too many people fail at once, everybody who fails waits from the first failure on.

/// Attempts of one name that cost nothing.
const FREE_OF_USER: u32 = 5;

/// Attempts of one address that cost nothing.
const FREE_OF_PEER: u32 = 20;

/// Failures of everybody together, less those that were forgotten, from which on no failure is free.
const TOO_MANY: u32 = 60;

/// One failure of everybody is forgotten after so long.
pub(super) const FORGOTTEN_EVERY_MS: i64 = 10_000;

/// Nobody waits longer: a person whose name somebody else tries must be able to get in.
const LONGEST_MS: i64 = 15 * 60_000;

/// An attempt that nobody has followed up is forgotten after this.
pub(super) const REMEMBERED_MS: i64 = 24 * 3_600_000;

/// The wait after so many failures of one name, while everybody together has so many.
pub(super) fn of_user(failures: u32, of_everybody: u32) -> i64 {
    after(failures, FREE_OF_USER, of_everybody)
}

/// The wait after so many failures from one address, while everybody together has so many.
pub(super) fn of_peer(failures: u32, of_everybody: u32) -> i64 {
    after(failures, FREE_OF_PEER, of_everybody)
}

/// The wait after so many failures of a browser that has signed in by this name before: what others do does not concern it.
pub(super) fn of_known_browser(failures: u32, _of_everybody: u32) -> i64 {
    after(failures, FREE_OF_USER, 0)
}

/// A second after the last free one, and twice as long each time; in milliseconds.
fn after(failures: u32, free: u32, of_everybody: u32) -> i64 {
    let free = if of_everybody > TOO_MANY { 1 } else { free };
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
            assert_eq!((of_user(failures, TOO_MANY), of_peer(failures, 0)), (user, peer), "{failures}");
            assert_eq!(of_known_browser(failures, u32::MAX), user, "{failures}");
        }
    }

    #[test]
    fn no_failure_is_free_while_too_many_people_fail() {
        for (failures, wait) in [(0, 0), (1, 1_000), (2, 2_000), (11, LONGEST_MS)] {
            let waits = [of_user(failures, TOO_MANY + 1), of_peer(failures, TOO_MANY + 1)];
            assert_eq!(waits, [wait, wait], "{failures}");
        }
    }
}
