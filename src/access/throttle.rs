//! How long a failed attempt to sign in costs. Pure.
//!
//! A few slips of the finger cost nothing, guessing does. A person is slowed down wherever the guesses come from, an address
//! whatever names it tries; an address may be a whole office, so it has more room.

/// Attempts of one user that cost nothing.
const FREE_OF_USER: u32 = 5;

/// Attempts of one address that cost nothing.
const FREE_OF_PEER: u32 = 20;

/// Nobody waits longer: a person whose name somebody else tries must be able to get in.
const LONGEST_MS: i64 = 15 * 60_000;

/// An attempt that nobody has followed up is forgotten after this.
pub(super) const REMEMBERED_MS: i64 = 24 * 3_600_000;

/// The wait after so many failures of one user, in milliseconds.
pub(super) fn of_user(failures: u32) -> i64 {
    after(failures, FREE_OF_USER)
}

/// The wait after so many failures from one address, in milliseconds.
pub(super) fn of_peer(failures: u32) -> i64 {
    after(failures, FREE_OF_PEER)
}

/// A second after the last free one, and twice as long each time.
fn after(failures: u32, free: u32) -> i64 {
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
            assert_eq!((of_user(failures), of_peer(failures)), (user, peer), "{failures}");
        }
    }
}
