//! Finds retractions for the history, newest first. The search never writes to the ledger.

use jiff::Timestamp;

use super::read::{STATE_OF_R, select};
use super::{Ledger, Retraction, State, text};
use crate::error::Result;
use crate::store::db::ToValue;

#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Finds retractions with this text in an order ID, an ActionId, a ticket, a person or a reason. The case of the
    /// letters A to Z does not matter.
    pub text: Option<String>,
    /// The newest state of the retraction; empty for every state.
    pub states: Vec<State>,
    /// The person who asked for the retraction.
    pub person: Option<String>,
    /// The search finds only retractions recorded at this time or later.
    pub since: Option<Timestamp>,
    /// The search finds only retractions recorded before this time.
    pub until: Option<Timestamp>,
    /// The minimum and the maximum value of the rewards, in hundredths of a currency. Rewards in another unit, such as
    /// a discount in percent, have no value in a currency.
    pub cents: (Option<i64>, Option<i64>),
    /// Excludes retractions with this number or a larger number.
    pub before: Option<i64>,
    /// The maximum number of results.
    pub limit: usize,
}

/// The result of a search.
#[derive(Debug, Clone, Default)]
pub struct SearchResult {
    /// The number of all matching retractions.
    pub count: u64,
    /// The matching retractions before [`Search::before`], newest first, at most [`Search::limit`].
    pub retractions: Vec<Retraction>,
    /// The largest retraction number on the next page, plus one; `None` if there is no further retraction.
    pub next: Option<i64>,
}

impl Ledger {
    pub fn search(&self, search: &Search) -> Result<SearchResult> {
        let pattern = search.text.as_deref().map(pattern);
        let (since, until) = (search.since.map(text), search.until.map(text));
        let quoted: Vec<String> = search.states.iter().map(|state| format!("'{}'", state.as_str())).collect();
        let states = match quoted.as_slice() {
            [] => String::new(),
            quoted => format!("AND {STATE_OF_R} IN ({})", quoted.join(", ")),
        };
        let like = |column: &str| format!("lower(coalesce({column}, '')) LIKE ?1 ESCAPE '!'");
        let ids = format!(
            "SELECT r.id, r.plan FROM retractions r
             WHERE (CAST(?1 AS TEXT) IS NULL OR {} OR {} OR {} OR {} OR EXISTS (
                     SELECT 1 FROM personal p WHERE p.commitment = r.reason AND p.kind = 'reason' AND {}))
                 AND (CAST(?2 AS TEXT) IS NULL OR r.person = ?2) AND (CAST(?3 AS TEXT) IS NULL OR r.created_at >= ?3)
                 AND (CAST(?4 AS TEXT) IS NULL OR r.created_at < ?4) {states}
             ORDER BY r.id DESC",
            like("r.order_id"),
            like("r.action_id"),
            like("r.ticket"),
            like("r.person"),
            like("p.value"),
        );
        let args: [&dyn ToValue; 4] = [&pattern, &search.person, &since, &until];
        let (least, most) = search.cents;
        self.conn.read(|tx| {
            let found = tx.rows(&ids, &args, |row| {
                let is_worth = (least.is_none() && most.is_none())
                    || cents_of(row.get(1)?).is_some_and(|cents| {
                        least.is_none_or(|least| cents >= least) && most.is_none_or(|most| cents <= most)
                    });
                Ok((row.get::<i64>(0)?, is_worth))
            })?;
            let matching: Vec<i64> = found.into_iter().filter_map(|(id, is_worth)| is_worth.then_some(id)).collect();
            let mut rest = matching.iter().filter(|id| search.before.is_none_or(|before| **id < before));
            let mut retractions = Vec::new();
            for id in rest.by_ref().take(search.limit) {
                retractions.extend(select(tx, "WHERE r.id = ?1", &[id])?);
            }
            let next = rest.next().and(retractions.last()).map(|last| last.id);
            Ok(SearchResult { count: matching.len() as u64, retractions, next })
        })
    }

    /// Returns every person who has asked for a retraction, in alphabetical order.
    pub fn persons(&self) -> Result<Vec<String>> {
        let persons = "SELECT DISTINCT person FROM retractions ORDER BY person";
        self.conn.read(|tx| tx.rows(persons, &[], |row| row.get(0)))
    }
}

/// Returns the SQL pattern that matches texts with this part.
fn pattern(text: &str) -> String {
    let mut escaped = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '!') {
            escaped.push('!');
        }
        escaped.push(letter.to_ascii_lowercase());
    }
    escaped.push('%');
    escaped
}

/// Returns the value of a plan's rewards in cents; `None` if no reward is in cents.
fn cents_of(plan: &str) -> Option<i64> {
    let plan: serde_json::Value = serde_json::from_str(plan).ok()?;
    let rewards = plan["rewards"].as_array()?.iter();
    let cents = rewards.filter(|reward| reward["unit"] == "CENTS" && reward["linked"] != false);
    cents.filter_map(|reward| reward["assigned"].as_i64()).reduce(i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_wildcards_as_they_are_written() {
        assert_eq!(pattern("A%b_c!"), "%a!%b!_c!!%");
    }

    #[test]
    fn only_rewards_in_cents_have_a_worth_in_cents() {
        let plan = |rewards: &str| cents_of(&format!("{{\"rewards\": {rewards}}}"));
        assert_eq!(plan(r#"[{"unit": "CENTS", "assigned": 100}, {"unit": "%", "assigned": 5}]"#), Some(100));
        assert_eq!(plan(r#"[{"unit": "CENTS", "assigned": 1}, {"unit": "CENTS", "assigned": 2}]"#), Some(3));
        assert_eq!(plan(r#"[{"unit": "CENTS", "assigned": 1, "linked": false}]"#), None);
        assert_eq!(plan(r#"[{"unit": "%", "assigned": 5}]"#), None);
        assert_eq!(cents_of("not JSON"), None);
    }
}
