//! Orders that are placed while the simulator runs, in addition to the orders of the formulas.
//!
//! The simulator stores new orders with the formulas and not in `World`, because every function that looks up an order,
//! its reward or its action must find them. If there are no new orders, a look-up of new orders costs one atomic read.
//! The simulator never removes a new order.

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

    /// Returns when this buyer placed the new order with the zero-based index `place`.
    pub(super) fn at(&self, buyer: u64, place: u64) -> Option<i64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        read(&self.placed).get(&buyer)?.get(place as usize).copied()
    }

    /// Returns `true` if any buyer has a new order.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn place(&self, buyer: u64, at: i64) {
        write(&self.placed).entry(buyer).or_default().push(at);
        self.any.store(true, Ordering::Release);
    }
}
