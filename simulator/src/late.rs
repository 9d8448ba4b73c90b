//! Orders that were placed while the simulator runs, over those that the formulas know.
//!
//! Kept beside the formulas and not over the world, so that whatever asks the formulas for an order (its reward, its
//! action, either direction) finds these too. Nobody who never changes anything pays more than one atomic read, and an
//! order that was placed is never taken back.

use std::{
    collections::HashMap,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::lock::{read, write};

/// The late orders: buyer → when each was placed, in Unix milliseconds, in the order in which they were placed.
#[derive(Debug, Default)]
pub(super) struct Late {
    any: AtomicBool,
    placed: RwLock<HashMap<u64, Vec<i64>>>,
}

impl Late {
    /// How many orders this buyer has placed late.
    pub(super) fn count(&self, buyer: u64) -> u64 {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        read(&self.placed).get(&buyer).map_or(0, |placed| placed.len() as u64)
    }

    /// When a buyer's late order of this place, from 0, was placed.
    pub(super) fn at(&self, buyer: u64, place: u64) -> Option<i64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        read(&self.placed).get(&buyer)?.get(place as usize).copied()
    }

    /// Whether there is any late order at all.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Places one more.
    pub(super) fn place(&self, buyer: u64, at: i64) {
        write(&self.placed).entry(buyer).or_default().push(at);
        self.any.store(true, Ordering::Release);
    }
}
