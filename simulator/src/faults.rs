//! Decides which GET requests break, and how, by a hash of the seed, the request, and the number of its earlier faults.
//!
//! The same requests break in any order of arrival, and a repeated request finally succeeds. The simulator stores only
//! requests that broke. Therefore the simulator stores and locks nothing without faults.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    lock::{hold, read, write},
    options::FaultKind,
    random::{Tag, hash},
};

#[derive(Debug)]
pub(super) struct Faults {
    seed: u64,
    on: AtomicBool,
    rates: RwLock<Vec<(FaultKind, f64)>>,
    broken: Mutex<HashMap<u64, u64>>,
}

impl Faults {
    pub(super) fn new(seed: u64, rates: Vec<(FaultKind, f64)>) -> Self {
        Self { seed, on: AtomicBool::new(!rates.is_empty()), rates: RwLock::new(rates), broken: Mutex::default() }
    }

    pub(super) fn set(&self, rates: Vec<(FaultKind, f64)>) {
        self.on.store(!rates.is_empty(), Ordering::Release);
        *write(&self.rates) = rates;
    }

    /// Returns the fault of this attempt of a request; `None` if the attempt succeeds.
    pub(super) fn draw(&self, path: &str, query: &str) -> Option<FaultKind> {
        if !self.on.load(Ordering::Acquire) {
            return None;
        }
        let key = request(path, query);
        let mut broken = hold(&self.broken);
        let attempt = broken.get(&key).copied().unwrap_or(0);
        let roll = hash(self.seed, Tag::Fault, key, attempt);
        let kind = pick(&read(&self.rates), (roll >> 11) as f64 / (1_u64 << 53) as f64);
        // Does not store a request that never broke, because every repetition of it succeeds.
        if kind.is_some() || attempt > 0 {
            broken.insert(key, attempt + 1);
        }
        kind
    }
}

fn pick(rates: &[(FaultKind, f64)], mut roll: f64) -> Option<FaultKind> {
    for (kind, rate) in rates {
        if roll < *rate {
            return Some(*kind);
        }
        roll -= rate;
    }
    None
}

/// Hashes a request by its path and query. The hash of a request has fixed keys, unlike the hasher of a `HashMap`.
/// Therefore every run of the simulator has the same faults.
fn request(path: &str, query: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_bytes());
    hasher.write_u8(b'?');
    hasher.write(query.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::even_mix;

    #[test]
    fn faults_repeat_from_the_seed_and_every_request_gets_through() {
        let run = |seed| {
            let faults = Faults::new(seed, even_mix(0.3));
            (0..500)
                .map(|n| {
                    let query = format!("accountId={n}");
                    let drawn: Vec<_> = (0..50).map(|_| faults.draw("/reward", &query)).collect();
                    assert!(drawn.contains(&None), "request {n} never gets through");
                    drawn
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let broken = run(1).iter().filter(|drawn| drawn[0].is_some()).count();
        assert!((100..200).contains(&broken), "{broken} of 500 at a rate of 0.3");
    }

    #[test]
    fn without_faults_nothing_is_remembered() {
        let faults = Faults::new(1, Vec::new());
        assert_eq!(faults.draw("/users", ""), None);
        assert!(hold(&faults.broken).is_empty());
    }
}
