//! Watched refunds: refunds whose order is not in the index yet. After every crawl, recoup looks up the orders of
//! watched refunds, until the index has the order or the wait expires.
//!
//! The list of watched refunds is not part of the append-only record: recoup deletes its rows, and no event mentions
//! the watched refunds. Watching a refund never sends a request to the vendor.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Ledger, text};
use crate::error::Result;
use crate::model::OrderId;
use crate::store::db::{DbError, Row};

/// A refund whose order is not in the index yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    pub order_id: OrderId,
    /// When the refund was added to the watched refunds, RFC 3339.
    pub added_at: String,
    pub expires_at: String,
    /// The time of the refund; `None` if the shop did not give it.
    pub refunded_at: Option<String>,
    /// The disposition code for the vendor.
    pub disposition: Option<String>,
    pub ticket: Option<String>,
    /// The person who added the refund.
    pub person: String,
    pub host: String,
    /// The time at which recoup last looked the order up.
    pub looked_at: Option<String>,
    /// The time at which a look-up first found the order in the index.
    pub found_at: Option<String>,
}

/// The values of a refund to watch.
#[derive(Debug, Clone)]
pub struct NewWatched<'a> {
    pub order_id: &'a OrderId,
    pub refunded_at: Option<Timestamp>,
    /// The disposition code for the vendor.
    pub disposition: Option<&'a str>,
    pub ticket: Option<&'a str>,
}

/// The result of looking up all watched refunds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Watched orders that the index has for the first time.
    pub found: Vec<OrderId>,
    /// Watched orders that were removed because their wait expired.
    pub expired: Vec<OrderId>,
    /// Watched orders that were removed because the index found them a month ago.
    pub dropped: Vec<OrderId>,
    pub waiting: u64,
}

const COLUMNS: &str =
    "order_id, added_at, expires_at, refunded_at, disposition, ticket, person, host, looked_at, found_at";

/// The time for which a found order stays on the list of watched refunds.
const FOUND_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Ledger {
    /// Adds refunds to the list of watched refunds. Leaves a refund that is already on the list unchanged.
    pub fn watch(&self, new: &[NewWatched<'_>], until: Timestamp, now: Timestamp) -> Result<u64> {
        self.transact(|tx, actor| {
            let insert =
                "INSERT INTO watched (order_id, added_at, expires_at, refunded_at, disposition, ticket, person, host)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (order_id) DO NOTHING";
            let mut added = 0;
            for one in new {
                added += tx.run(
                    insert,
                    &[
                        &one.order_id.as_str(),
                        &text(now),
                        &text(until),
                        &one.refunded_at.map(text),
                        &one.disposition,
                        &one.ticket,
                        &actor.person,
                        &actor.host,
                    ],
                )?;
            }
            Ok(added)
        })
    }

    /// Returns the watched refunds, oldest first.
    pub fn watched(&self) -> Result<Vec<Watched>> {
        let list = format!("SELECT {COLUMNS} FROM watched ORDER BY added_at, order_id");
        self.conn.read(|tx| tx.rows(&list, &[], from_row))
    }

    /// Stops watching orders. Returns how many of the given orders were watched.
    pub fn unwatch(&self, orders: &[OrderId]) -> Result<u64> {
        self.transact(|tx, _| {
            let mut removed = 0;
            for order in orders {
                removed += tx.run("DELETE FROM watched WHERE order_id = ?1", &[&order.as_str()])?;
            }
            Ok(removed)
        })
    }

    /// Marks the watched orders that `is_there` finds in the index. Removes watched orders whose wait expired, or that
    /// were found a month ago.
    pub fn look_for_watched(
        &self,
        now: Timestamp,
        mut is_there: impl FnMut(&OrderId) -> Result<bool>,
    ) -> Result<Looked> {
        let mut looked = Looked::default();
        let now_text = text(now);
        let long_found = text(now.saturating_sub(FOUND_FOR).unwrap_or(Timestamp::MIN));
        for one in self.watched()? {
            if let Some(found_at) = one.found_at {
                looked.dropped.extend((found_at <= long_found).then_some(one.order_id));
            } else if is_there(&one.order_id)? {
                looked.found.push(one.order_id);
            } else if one.expires_at <= now_text {
                looked.expired.push(one.order_id);
            } else {
                looked.waiting += 1;
            }
        }
        let found = looked.found.clone();
        let off: Vec<OrderId> = looked.expired.iter().chain(&looked.dropped).cloned().collect();
        self.transact(|tx, _| {
            tx.run("UPDATE watched SET looked_at = ?1", &[&now_text])?;
            for order in &found {
                tx.run("UPDATE watched SET found_at = ?2 WHERE order_id = ?1", &[&order.as_str(), &now_text])?;
            }
            for order in &off {
                tx.run("DELETE FROM watched WHERE order_id = ?1", &[&order.as_str()])?;
            }
            Ok(())
        })?;
        Ok(looked)
    }
}

fn from_row(row: &Row<'_>) -> Result<Watched, DbError> {
    Ok(Watched {
        order_id: OrderId::new(row.get::<&str>(0)?),
        added_at: row.get(1)?,
        expires_at: row.get(2)?,
        refunded_at: row.get(3)?,
        disposition: row.get(4)?,
        ticket: row.get(5)?,
        person: row.get(6)?,
        host: row.get(7)?,
        looked_at: row.get(8)?,
        found_at: row.get(9)?,
    })
}
