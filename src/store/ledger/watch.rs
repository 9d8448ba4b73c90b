//! Refunds whose order nobody has seen yet: looked for after every crawl, until they turn up or expire.
//!
//! A list to work off and not a record: its rows come and go, and no event speaks of them. Nothing is ever sent from here.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};
use serde::Serialize;

use super::{Ledger, text};
use crate::error::Result;
use crate::model::OrderId;

/// A refund that waits for its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The order.
    pub order_id: OrderId,
    /// When it was put on the list, RFC 3339.
    pub added_at: String,
    /// When it is taken off again, RFC 3339.
    pub expires_at: String,
    /// When it was refunded, RFC 3339, where the shop said so.
    pub refunded_at: Option<String>,
    /// The code for the vendor.
    pub disposition: Option<String>,
    /// A ticket.
    pub ticket: Option<String>,
    /// Who put it there.
    pub person: String,
    /// Where.
    pub host: String,
    /// When it was last looked for, RFC 3339.
    pub looked_at: Option<String>,
    /// When its order turned up, RFC 3339.
    pub found_at: Option<String>,
}

/// A refund to be put on the list.
#[derive(Debug, Clone)]
pub struct NewWatched<'a> {
    /// The order.
    pub order_id: &'a OrderId,
    /// When it was refunded.
    pub refunded_at: Option<Timestamp>,
    /// The code for the vendor.
    pub disposition: Option<&'a str>,
    /// A ticket.
    pub ticket: Option<&'a str>,
}

/// What looking for the whole list came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Orders that have turned up now.
    pub found: Vec<OrderId>,
    /// Orders that were taken off the list: they have waited long enough.
    pub expired: Vec<OrderId>,
    /// Orders that turned up a month ago, and were taken off the list now.
    pub dropped: Vec<OrderId>,
    /// Orders that are still waited for.
    pub waiting: u64,
}

const COLUMNS: &str =
    "order_id, added_at, expires_at, refunded_at, disposition, ticket, person, host, looked_at, found_at";

/// So long an order that has turned up stays on the list.
const FOUND_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Ledger {
    /// Puts refunds on the list; one that is there stays as it is.
    pub fn watch(&self, new: &[NewWatched<'_>], until: Timestamp, now: Timestamp) -> Result<u64> {
        self.transact(|tx, actor| {
            let mut insert = tx.prepare_cached(
                "INSERT INTO watched (order_id, added_at, expires_at, refunded_at, disposition, ticket, person, host)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?;
            let mut added = 0;
            for one in new {
                added += insert.execute(params![
                    one.order_id.as_str(),
                    text(now),
                    text(until),
                    one.refunded_at.map(text),
                    one.disposition,
                    one.ticket,
                    actor.person,
                    actor.host
                ])? as u64;
            }
            Ok(added)
        })
    }

    /// The list, oldest first.
    pub fn watched(&self) -> Result<Vec<Watched>> {
        self.read(|conn| {
            let mut list =
                conn.prepare_cached(&format!("SELECT {COLUMNS} FROM watched ORDER BY added_at, order_id"))?;
            list.query_map([], from_row)?.collect()
        })
    }

    /// Takes orders off the list; how many were there.
    pub fn unwatch(&self, orders: &[OrderId]) -> Result<u64> {
        self.transact(|tx, _| {
            let mut delete = tx.prepare_cached("DELETE FROM watched WHERE order_id = ?1")?;
            let mut removed = 0;
            for order in orders {
                removed += delete.execute([order.as_str()])? as u64;
            }
            Ok(removed)
        })
    }

    /// Marks what `is_there` has, and takes off what has waited long enough without turning up, and what turned up a month ago.
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
            tx.execute("UPDATE watched SET looked_at = ?1", [&now_text])?;
            for order in &found {
                tx.execute("UPDATE watched SET found_at = ?2 WHERE order_id = ?1", [order.as_str(), &now_text])?;
            }
            for order in &off {
                tx.execute("DELETE FROM watched WHERE order_id = ?1", [order.as_str()])?;
            }
            Ok(())
        })?;
        Ok(looked)
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Watched> {
    Ok(Watched {
        order_id: OrderId::new(row.get::<_, String>(0)?),
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
