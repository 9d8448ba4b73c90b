//! Deterministic random numbers of the simulator: hashes of the seed, and an invertible permutation.
//!
//! The simulator's random numbers are not suitable for secrets. A change in the module of random numbers changes the
//! data of every seed.

/// The purpose of a hash of the seed. Each decision has its own hash purpose, because decisions must be independent of
/// each other.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(super) enum Tag {
    Differences = 1,
    Heavy,
    Special,
    Share,
    Orders,
    Class,
    When,
    Sides,
    Manual,
    Kind,
    State,
    Value,
    Shape,
    Look,
    Name,
    Twin,
    Tracker,
    Fail,
    Churn,
    Fault,
    Batch,
    Export,
    Migration,
    Change,
    Partial,
    Item,
    File,
}

/// Returns a multiplier near the golden ratio that is invertible modulo `people`, and the multiplier's inverse.
pub(super) fn permutation(people: u64) -> (u64, u64) {
    let mut step = (people as f64 * 0.618) as u64 + 1;
    loop {
        if let Some(back) = inverse(step, people) {
            return (step, back);
        }
        step += 1;
    }
}

/// Returns the inverse of `a` modulo `m` by Euclid's algorithm; `None` if `a` and `m` share a divisor.
fn inverse(a: u64, m: u64) -> Option<u64> {
    let (mut r, mut next_r) = (i128::from(m), i128::from(a % m));
    let (mut t, mut next_t) = (0_i128, 1_i128);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (next_t, t - quotient * next_t);
    }
    (r == 1).then(|| t.rem_euclid(i128::from(m)) as u64)
}

/// Hashes the seed, a purpose and two numbers to a well-mixed number (two rounds of splitmix64).
pub(super) fn hash(seed: u64, tag: Tag, a: u64, b: u64) -> u64 {
    splitmix(splitmix(seed ^ (tag as u64) << 56 ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ b)
}

fn splitmix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
