//! Orders that are placed while the simulator runs, in addition to those of the formulas.
//!
//! New orders are stored with the formulas and not in `World`, so that every function that looks up an order, its reward or
//! its action finds them. Without new orders a look-up costs one atomic read. A new order is never removed.

use std::{
    collections::HashMap,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::lock::{read, write};

/// The times of each buyer's new orders in Unix milliseconds, in the order of placement.
#[derive(Debug, Default)]
pub(super) struct NewOrders {
    any: AtomicBool,
    placed: RwLock<HashMap<u64, Vec<i64>>>,
}

impl NewOrders {
    /// Returns the number of this buyer's new orders.
    pub(super) fn count(&self, buyer: u64) -> u64 {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        read(&self.placed).get(&buyer).map_or(0, |placed| placed.len() as u64)
    }

    /// Returns when this buyer's new order with the zero-based index `place` was placed.
    pub(super) fn at(&self, buyer: u64, place: u64) -> Option<i64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        read(&self.placed).get(&buyer)?.get(place as usize).copied()
    }

    /// Whether any buyer has a new order.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn place(&self, buyer: u64, at: i64) {
        write(&self.placed).entry(buyer).or_default().push(at);
        self.any.store(true, Ordering::Release);
    }
}
