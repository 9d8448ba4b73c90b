//! Lists retractions page by page, oldest first. Listing never writes to the ledger.
//!
//! A new retraction has the largest number, so it never shifts a page that was read before.

use jiff::Timestamp;

use super::read::{STATE_OF_R, select};
use super::{Ledger, Retraction, State, text};
use crate::error::Result;
use crate::model::OrderId;
use crate::store::db::ToValue;

/// The retractions to list. A missing field of the filter matches every retraction.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub order_id: Option<OrderId>,
    pub ticket: Option<String>,
    pub person: Option<String>,
    /// The newest state of the retraction; empty for every state.
    pub states: Vec<State>,
    /// The list has only retractions recorded at this time or later.
    pub since: Option<Timestamp>,
    /// The list has only retractions recorded before this time.
    pub until: Option<Timestamp>,
    /// The list has only retractions with a larger number.
    pub after: i64,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// The maximum number of results.
    pub limit: usize,
}

impl Ledger {
    /// Returns the matching retractions in the order of the filter.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Retraction>> {
        let order = filter.order_id.as_ref().map(OrderId::as_str);
        let (since, until, limit) = (filter.since.map(text), filter.until.map(text), filter.limit as u64);
        let quoted: Vec<String> = filter.states.iter().map(|state| format!("'{}'", state.as_str())).collect();
        let states = match quoted.as_slice() {
            [] => String::new(),
            quoted => format!("AND {STATE_OF_R} IN ({})", quoted.join(", ")),
        };
        let order_of_ids = if filter.newest_first { "DESC" } else { "ASC" };
        let ids = format!(
            "SELECT r.id FROM retractions r
             WHERE r.id > ?1 AND (CAST(?2 AS TEXT) IS NULL OR r.order_id = ?2)
                 AND (CAST(?3 AS TEXT) IS NULL OR r.ticket = ?3) AND (CAST(?4 AS TEXT) IS NULL OR r.person = ?4)
                 AND (CAST(?5 AS TEXT) IS NULL OR r.created_at >= ?5)
                 AND (CAST(?6 AS TEXT) IS NULL OR r.created_at < ?6) {states}
             ORDER BY r.id {order_of_ids} LIMIT ?7"
        );
        let args: [&dyn ToValue; 7] = [&filter.after, &order, &filter.ticket, &filter.person, &since, &until, &limit];
        self.conn.read(|tx| {
            let mut found = Vec::new();
            for id in tx.rows(&ids, &args, |row| row.get::<i64>(0))? {
                found.extend(select(tx, "WHERE r.id = ?1", &[&id])?);
            }
            Ok(found)
        })
    }
}
