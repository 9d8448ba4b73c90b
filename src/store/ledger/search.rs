//! Finds retractions by order, action, ticket, person or state. This module never writes.

use super::read::STATE_OF_R;
use super::{Ledger, Retraction, State};
use crate::error::Result;
use crate::store::db::ToValue;

/// States that need a person's attention. A search returns retractions in these states first.
const OPEN: &str = "('planned', 'sending', 'queued', 'unknown', 'unconfirmed', 'handed_over')";

#[derive(Debug, Clone, Default)]
pub struct Search {
    /// An order ID, an ActionId, a ticket or a person. A search matches only the exact text in the ledger.
    pub text: Option<String>,
    pub state: Option<State>,
    /// Excludes retractions with this number or a larger one.
    pub before: Option<i64>,
    /// The maximum number of results.
    pub limit: usize,
}

impl Ledger {
    /// Returns matching retractions, newest first. Without `before`, open retractions precede all others, and the page
    /// contains each retraction once.
    pub fn search(&self, search: &Search) -> Result<Vec<Retraction>> {
        let (text, state, limit) = (&search.text, search.state.map(State::as_str), search.limit as u64);
        let before = search.before.unwrap_or(i64::MAX);
        let filter = format!(
            "(CAST(?1 AS TEXT) IS NULL OR r.order_id = ?1 OR r.action_id = ?1 OR r.ticket = ?1 OR r.person = ?1)
             AND (CAST(?2 AS TEXT) IS NULL OR {STATE_OF_R} = ?2) AND r.id < ?4"
        );
        let args: [&dyn ToValue; 4] = [text, &state, &limit, &before];
        let mut ids = Vec::new();
        if search.before.is_none() {
            ids.extend(self.ids(&format!("{filter} AND {STATE_OF_R} IN {OPEN}"), &args)?);
        }
        for id in self.ids(&filter, &args)? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().take(search.limit).map(|id| self.get(id)).collect()
    }

    fn ids(&self, filter: &str, args: &[&dyn ToValue]) -> Result<Vec<i64>> {
        let select = format!("SELECT r.id FROM retractions r WHERE {filter} ORDER BY r.id DESC LIMIT ?3");
        self.conn.read(|tx| tx.rows(&select, args, |row| row.get(0)))
    }
}
