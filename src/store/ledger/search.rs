//! Finding retractions: by order, action, ticket, person or state. Nothing here writes.

use rusqlite::{ToSql, params};

use super::{Ledger, Retraction, State};
use crate::error::Result;

/// The newest state of a retraction `r`.
const STANDS: &str =
    "(SELECT e.state FROM events e WHERE e.retraction_id = r.id AND e.state IS NOT NULL ORDER BY e.id DESC LIMIT 1)";

/// States that want somebody's eye: they come first.
const EYE: &str = "('planned', 'sending', 'queued', 'unknown', 'unconfirmed', 'handed_over')";

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// An order ID, an ActionId, a ticket or a person, exactly as the ledger has it.
    pub text: Option<String>,
    /// Those that stand there.
    pub state: Option<State>,
    /// Those of a smaller number.
    pub before: Option<i64>,
    /// So many at most.
    pub limit: usize,
}

impl Ledger {
    /// Retractions that fit, the newest first; open and doubtful ones before all others where no `before` is given. Those come
    /// again among the older ones, in their place.
    pub fn search(&self, search: &Search) -> Result<Vec<Retraction>> {
        let text = search.text.as_deref();
        let state = search.state.map(State::as_str);
        let fits = "(?1 IS NULL OR r.order_id = ?1 OR r.action_id = ?1 OR r.ticket = ?1 OR r.person = ?1)";
        let stands = format!("(?2 IS NULL OR {STANDS} = ?2)");
        let limit = search.limit as i64;
        let mut ids = Vec::new();
        if search.before.is_none() {
            let first = format!("{fits} AND {stands} AND {STANDS} IN {EYE}");
            ids.extend(self.ids(&first, params![text, state, limit])?);
        }
        let rest = format!("{fits} AND {stands} AND r.id < coalesce(?4, 9223372036854775807)");
        for id in self.ids(&rest, params![text, state, limit, search.before])? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().take(search.limit).map(|id| self.get(id)).collect()
    }

    fn ids(&self, filter: &str, values: &[&dyn ToSql]) -> Result<Vec<i64>> {
        self.read(|conn| {
            let question = format!("SELECT r.id FROM retractions r WHERE {filter} ORDER BY r.id DESC LIMIT ?3");
            let mut statement = conn.prepare_cached(&question)?;
            statement.query_map(values, |row| row.get(0))?.collect()
        })
    }
}
