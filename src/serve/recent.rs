//! The orders that each user has opened last, for the start page.
//!
//! The service keeps a user's opened orders in memory only, because no other person may learn which orders a user looks
//! at. A restart of the service clears the list of opened orders.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::model::OrderId;

/// Maximum number of opened orders that the service keeps for one user.
const ORDERS_AT_MOST: usize = 10;

/// The time after which the service forgets an opened order.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(12);

type Opened = VecDeque<(OrderId, Timestamp)>;

#[derive(Debug, Default)]
pub(super) struct RecentOrders(Mutex<HashMap<String, Opened>>);

impl RecentOrders {
    /// Records that a user has opened an order.
    pub(super) fn opened(&self, user: &str, order: &OrderId, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = all.entry(user.to_owned()).or_default();
        opened.retain(|(known, _)| known != order);
        opened.push_front((order.clone(), now));
        opened.truncate(ORDERS_AT_MOST);
    }

    /// Returns the orders that a user has opened, each with the time of the last opening, the newest first.
    pub(super) fn of(&self, user: &str, now: Timestamp) -> Vec<(OrderId, Timestamp)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, opened| {
            opened.retain(|(_, at)| now.duration_since(*at) < KEPT_FOR);
            !opened.is_empty()
        });
        all.get(user).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_orders_of_a_user_are_kept_for_half_a_day() {
        let recent = RecentOrders::default();
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        for n in 0..12 {
            recent.opened("ann", &OrderId::new(n.to_string()), at(0));
        }
        recent.opened("ann", &OrderId::new("5"), at(1));
        let ids = |user: &str, hours: i64| -> Vec<String> {
            recent.of(user, at(hours)).into_iter().map(|(order, _)| order.to_string()).collect()
        };
        assert_eq!(ids("ann", 2), ["5", "11", "10", "9", "8", "7", "6", "4", "3", "2"]);
        assert!(ids("bob", 2).is_empty(), "another user's orders are not shown");
        assert_eq!(ids("ann", 12), ["5"]);
        assert!(ids("ann", 13).is_empty());
    }
}
