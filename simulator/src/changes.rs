//! Changes accounts while the simulator runs: adds orders and cancels rewards, at the request of a control path or
//! while a client reads rewards.
//!
//! The seed and the number of earlier changes decide which accounts change, never the time. The `changes` module does
//! not decide how the simulator writes a changed reward.

use std::sync::atomic::Ordering;

use super::{random::Tag, time, world::World};

/// The number of reads of rewards between two changes of accounts. One read of all rewards counts as the number of
/// reads between two changes.
pub(super) const READS: u64 = 3;

impl World {
    /// Changes one reward in each of `wanted` accounts: alternately adds an order and cancels a reward. Returns the
    /// number of changed accounts. The number of changed accounts is smaller than `wanted` only if the tenant has fewer
    /// accounts.
    pub(super) fn change_accounts(&self, wanted: u64) -> u64 {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let data = &self.data;
        let start = data.hash(Tag::Change, turn, 0) % data.people;
        let mut changed = 0;
        for place in 0..data.people {
            if changed == wanted {
                break;
            }
            let person = data.hop(start, place);
            if data.owner(person) == person && self.is_here(person) && !self.fails(person) {
                changed += u64::from(self.change_account(person, (turn + changed).is_multiple_of(2)));
            }
        }
        changed
    }

    fn change_account(&self, owner: u64, orders: bool) -> bool {
        let mut cancellable = Vec::new();
        if !orders {
            self.rewards(owner, |key, touch| {
                if self.data.facts(key, touch, self.style.tidy).cancellable {
                    cancellable.push(key);
                }
            });
        }
        if let Some(key) = cancellable.first() {
            return self.cancel_reward(*key, time::now_ms());
        }
        let buyer = self.data.members(owner).find(|person| self.data.orders(*person) > 0).unwrap_or(owner);
        self.place_order(buyer, time::now_ms()).is_some()
    }

    /// Adds a number of changes that happen while a client reads rewards.
    pub(super) fn churn_rewards(&self, changes: u64) {
        self.churn_left.fetch_add(changes, Ordering::Relaxed);
    }

    /// Counts `weight` reads of rewards, and changes a reward if a change is due.
    pub(super) fn rewards_read(&self, weight: u64) {
        if self.churn_left.load(Ordering::Relaxed) == 0 {
            return;
        }
        let reads = self.reads.fetch_add(weight, Ordering::Relaxed);
        if (reads + weight) / READS > reads / READS {
            let taken = self.churn_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if taken.is_ok() {
                self.change_accounts(1);
            }
        }
    }
}
