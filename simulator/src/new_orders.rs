//! Orders that are placed while the simulator runs, in addition to those of the formulas.
//!
//! They belong to the formulas and not to the world, so that everything that looks up an order (its reward, its action, either
//! direction) finds them. Without changes a look-up costs one atomic read. A placed order is never removed.

use std::{
    collections::HashMap,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::lock::{read, write};

/// Buyer → the times of their new orders in Unix milliseconds, in the order of placement.
#[derive(Debug, Default)]
pub(super) struct NewOrders {
    any: AtomicBool,
    placed: RwLock<HashMap<u64, Vec<i64>>>,
}

impl NewOrders {
    /// Number of new orders of this buyer.
    pub(super) fn count(&self, buyer: u64) -> u64 {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        read(&self.placed).get(&buyer).map_or(0, |placed| placed.len() as u64)
    }

    /// When a buyer's new order with this index, from 0, was placed.
    pub(super) fn at(&self, buyer: u64, place: u64) -> Option<i64> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        read(&self.placed).get(&buyer)?.get(place as usize).copied()
    }

    /// Whether there is any new order.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn place(&self, buyer: u64, at: i64) {
        write(&self.placed).entry(buyer).or_default().push(at);
        self.any.store(true, Ordering::Release);
    }
}
