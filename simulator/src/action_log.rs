//! The changes of actions since the simulator's start, and the log of these changes that the vendor calls action
//! updates.
//!
//! The simulator computes an unchanged action from a formula. A modified or reversed action has an entry in a map under
//! a lock. An action of a Performance program cannot change after its locking date. The vendor does not publish what
//! the locking date of an Advocate program's event means. The simulator ignores the locking date of an Advocate
//! program's event. The module of the action log does not know rewards or HTTP.

use std::{collections::HashMap, sync::RwLock};

use super::{
    data::{DAY, Data},
    items::{self, Item, Wanted},
    keys::ActionKey,
    lock::{read, write},
};

/// The ID of the Performance program.
pub(super) const PERFORMANCE: u64 = 20_817;
/// The lowest ID of an action update in the simulator.
const FIRST_UPDATE: u64 = 95_000_000;

#[derive(Debug, Clone, Default)]
struct Entry {
    /// The current items of the action's order; empty if the action is unchanged.
    items: Vec<Item>,
    reversed: Option<i64>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    at: i64,
    code: String,
    delta: i64,
    reversed: bool,
    sku: String,
    quantity: u64,
}

/// One entry in the log of an action.
#[derive(Debug, Clone)]
pub(super) struct Update {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) state: &'static str,
    pub(super) code: String,
    pub(super) delta: i64,
    pub(super) sku: String,
    pub(super) quantity: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ActionState {
    pub(super) items: Vec<Item>,
    pub(super) state: &'static str,
    pub(super) reversed: Option<i64>,
    pub(super) cents: i64,
    /// The amount by which the last change raised or lowered the action. For an unchanged action, the whole amount of
    /// the action.
    pub(super) delta: i64,
}

/// The actions that have changed since the simulator's start.
#[derive(Debug, Default)]
pub(super) struct ActionLog(RwLock<HashMap<ActionKey, Entry>>);

impl Data {
    /// Returns when an action locks: 15 days after a Performance event, 27 days after an Advocate event.
    pub(super) fn locks(&self, key: ActionKey) -> i64 {
        let days = if self.campaign(key.buyer) == PERFORMANCE { 15 } else { 27 };
        self.ordered(key.buyer, key.order) + days * DAY
    }

    pub(super) fn is_locked(&self, key: ActionKey, now: i64) -> bool {
        self.campaign(key.buyer) == PERFORMANCE && self.locks(key) < now
    }

    /// Returns the currency of an action's amount. A few simulated buyers pay in another currency than the others.
    pub(super) fn currency(&self, buyer: u64) -> &'static str {
        match self.hash(super::random::Tag::Item, buyer, u64::MAX) % 10 {
            0 => "EUR",
            1 => "GBP",
            _ => "USD",
        }
    }
}

impl ActionLog {
    /// Reverses an action in the simulator. Returns `true` if Advocate then takes back the action's event and rewards.
    /// If the action's amount was 0 from the start, Advocate takes nothing back, because the vendor treats the reversal
    /// as a modification that changes nothing.
    pub(super) fn reverse(&self, data: &Data, key: ActionKey, at: i64, code: &str) -> bool {
        let intended = data.amount(key.buyer, key.order) as i64;
        let mut entries = write(&self.0);
        let entry = entries.entry(key).or_default();
        let before = if entry.items.is_empty() { intended } else { items::total(&entry.items) };
        if entry.reversed.is_none() && !data.is_locked(key, at) {
            let reverses = intended > 0;
            entry.reversed = reverses.then_some(at);
            entry.changes.push(Change {
                at,
                code: code.to_owned(),
                delta: -before,
                reversed: reverses,
                sku: String::new(),
                quantity: 0,
            });
        }
        intended > 0
    }

    /// Modifies an action in the simulator. Returns `true` if the action's amount is now 0. If the amount of an action
    /// is 0, Advocate takes its event back.
    pub(super) fn modify(&self, data: &Data, key: ActionKey, at: i64, code: &str, wanted: &Wanted) -> bool {
        let mut entries = write(&self.0);
        let entry = entries.entry(key).or_default();
        if entry.items.is_empty() {
            entry.items = data.items(key);
        }
        let before = items::total(&entry.items);
        if entry.reversed.is_some() {
            return false;
        }
        let mut after = entry.items.clone();
        items::apply(&mut after, wanted, at, code);
        let left = items::total(&after);
        let is_taken_back = before > 0 && left == 0;
        // The locking date applies to the Brand API only. Therefore the prices of the Advocate event may still change.
        if data.is_locked(key, at) {
            return is_taken_back;
        }
        entry.items = after;
        entry.reversed = is_taken_back.then_some(at);
        let first = match wanted {
            Wanted::Items(items) => items.first().map(|item| item.sku.clone()),
            _ => None,
        };
        let item = first.and_then(|sku| entry.items.iter().find(|item| item.sku == sku).cloned());
        let (sku, quantity) = item.map(|item| (item.sku, item.quantity)).unwrap_or_default();
        let delta = left - before;
        entry.changes.push(Change { at, code: code.to_owned(), delta, reversed: is_taken_back, sku, quantity });
        is_taken_back
    }

    pub(super) fn state(&self, data: &Data, key: ActionKey) -> ActionState {
        let entry = read(&self.0).get(&key).cloned().unwrap_or_default();
        let intended = data.amount(key.buyer, key.order) as i64;
        let items = if entry.items.is_empty() { data.items(key) } else { entry.items };
        let cents = if entry.reversed.is_some() { 0 } else { items::total(&items) };
        let state = match entry.reversed {
            Some(_) => "REVERSED",
            None if data.locks(key) < data.today => "APPROVED",
            None => "PENDING",
        };
        let delta = entry.changes.last().map_or(intended, |change| change.delta);
        ActionState { items, state, reversed: entry.reversed, cents, delta }
    }

    /// Returns the log of one action, oldest entry first: recorded, approved at its locking date, then its changes.
    pub(super) fn updates(&self, data: &Data, key: ActionKey) -> Vec<Update> {
        let recorded = data.ordered(key.buyer, key.order) + 60_000;
        let first = data.items(key).swap_remove(0);
        let line = |at, state, code: &str, delta, sku, quantity| Update {
            number: 0,
            at,
            state,
            code: code.to_owned(),
            delta,
            sku,
            quantity,
        };
        let intended = data.amount(key.buyer, key.order) as i64;
        let mut log = vec![line(recorded, "PENDING", "IR_BLANK", intended, first.sku, first.quantity)];
        if data.locks(key) < data.today {
            log.push(line(data.locks(key), "APPROVED", "IR_BLANK", 0, String::new(), 0));
        }
        let locked = log.len() > 1;
        for change in read(&self.0).get(&key).map(|entry| entry.changes.clone()).unwrap_or_default() {
            let state = match (change.reversed, locked) {
                (true, _) => "REVERSED",
                (false, true) => "APPROVED",
                (false, false) => "PENDING",
            };
            log.push(line(change.at, state, &change.code, change.delta, change.sku, change.quantity));
        }
        // The IDs of action updates are unique and increase with time.
        let number = Data::number(key.buyer, key.order) * 2 + key.action;
        for (place, update) in log.iter_mut().enumerate() {
            update.number = FIRST_UPDATE + number * 2000 + place as u64;
        }
        log
    }
}
