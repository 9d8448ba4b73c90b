//! Reads retractions, events and the head of the ledger. Reading never writes to the ledger.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::rows::{EVENT, RETRACTION, read_event, read_retraction, state_of};
use super::{Audit, Channel, Event, Head, Ledger, Retraction, State, chain, hex};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};
use crate::store::db::{DbError, Keys, ToValue, Tx};

/// The SQL expression for the newest state of a retraction `r`.
pub(super) const STATE_OF_R: &str =
    "(SELECT e.state FROM events e WHERE e.retraction_id = r.id AND e.state IS NOT NULL ORDER BY e.id DESC LIMIT 1)";

impl Ledger {
    pub fn get(&self, id: i64) -> Result<Retraction> {
        self.select("WHERE r.id = ?1", &[&id])?.pop().ok_or_else(|| {
            Error::new(Kind::Failed, format!("there is no retraction {id} in this ledger"))
                .hint("`recoup status` lists the open ones, and `recoup audit export` has all of them")
        })
    }

    /// Returns the newest attempt to reverse a target by the API; `None` if there is no attempt.
    pub fn newest(&self, target: &Target) -> Result<Option<Retraction>> {
        Ok(self.attempts(target)?.pop())
    }

    /// Returns every attempt to reverse a target by the API, oldest first.
    pub fn attempts(&self, target: &Target) -> Result<Vec<Retraction>> {
        self.attempts_by(Channel::Reversal, &target.key())
    }

    /// Returns every attempt on a target through one channel, oldest first. For a single reward, `target` is the reward ID.
    pub fn attempts_by(&self, channel: Channel, target: &str) -> Result<Vec<Retraction>> {
        self.select("WHERE r.target = ?1", &[&channel.key(target)])
    }

    /// Returns every retraction of an order, through any channel, oldest first.
    pub fn of_order(&self, order_id: &OrderId) -> Result<Vec<Retraction>> {
        self.select("WHERE r.order_id = ?1", &[&order_id.as_str()])
    }

    /// Returns every retraction that takes one of these rewards back, through any channel, oldest first.
    pub fn of_rewards(&self, rewards: &[RewardId]) -> Result<Vec<Retraction>> {
        self.conn.read(|tx| {
            let mut ids = BTreeSet::new();
            if tx.is_remote() {
                let by_rewards = "SELECT retraction_id FROM retraction_rewards WHERE reward_id = ANY (?1)";
                let rewards: Vec<&str> = rewards.iter().map(RewardId::as_str).collect();
                ids.extend(tx.rows_in(by_rewards, Keys::Texts(&rewards), |row| row.get::<i64>(0))?);
            } else {
                let by_reward = "SELECT retraction_id FROM retraction_rewards WHERE reward_id = ?1";
                for reward in rewards {
                    ids.extend(tx.rows(by_reward, &[&reward.as_str()], |row| row.get::<i64>(0))?);
                }
            }
            let found = ids.iter().map(|id| select(tx, "WHERE r.id = ?1", &[id]));
            Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    /// Returns every retraction, oldest first.
    pub fn all(&self) -> Result<Vec<Retraction>> {
        self.select("", &[])
    }

    /// Returns the retractions that are planned but not sent (for example after refused credentials), oldest first.
    pub fn unsent_ones(&self) -> Result<Vec<Retraction>> {
        self.select(&format!("WHERE {STATE_OF_R} = 'planned'"), &[])
    }

    /// Returns the retractions whose outcome is open, oldest first.
    pub fn open_ones(&self) -> Result<Vec<Retraction>> {
        self.select(
            &format!("WHERE {STATE_OF_R} IN ('sending', 'queued', 'unknown', 'unconfirmed', 'handed_over')"),
            &[],
        )
    }

    /// Returns the number of retractions in each state except *superseded*.
    pub fn counts(&self) -> Result<Vec<(State, u64)>> {
        let counts = "SELECT e.state, count(*) FROM events e
             WHERE e.id IN (SELECT max(id) FROM events WHERE state IS NOT NULL GROUP BY retraction_id)
                 AND e.retraction_id IS NOT NULL AND e.state <> 'superseded'
             GROUP BY e.state";
        self.conn.read(|tx| tx.rows(counts, &[], |row| Ok((state_of(row, 0)?, row.get(1)?))))
    }

    /// Returns `true` if any retraction was ever confirmed. Until the first confirmed retraction, the proposal of a
    /// retraction explains the program rule.
    pub fn has_confirmed(&self) -> Result<bool> {
        let exists = "SELECT EXISTS (SELECT 1 FROM events WHERE state IN ('confirmed', 'partial'))";
        self.conn.read(|tx| tx.one(exists, &[], |row| row.get(0)))
    }

    /// Returns the programs with a reversal that was confirmed at `since` or later.
    pub fn confirmed_programs(&self, since: Timestamp) -> Result<BTreeSet<String>> {
        let programs =
            "SELECT DISTINCT coalesce(r.program_id, '') FROM events e JOIN retractions r ON r.id = e.retraction_id
             WHERE e.state IN ('confirmed', 'partial') AND e.at >= ?1 AND r.road = 'reversal'";
        let found = self.conn.read(|tx| tx.rows(programs, &[&super::text(since)], |row| row.get(0)))?;
        Ok(found.into_iter().collect())
    }

    /// Returns the random ID of the ledger. The index stores the ledger ID, and recoup refuses to use the index with
    /// another ledger.
    pub fn ledger_id(&self) -> Result<String> {
        self.conn.read(super::ledger_id)
    }

    /// Returns the number and hash of the ledger's newest event. If an index or a receipt contains a later event, this
    /// ledger is an older copy.
    pub fn head(&self) -> Result<Head> {
        let (sequence, hash) = self.conn.read(chain::newest)?;
        Ok(Head { sequence, hash: hex(&hash) })
    }

    /// Returns the hash of one event, in hexadecimal; `None` if the ledger has no event of that number.
    pub fn hash_at(&self, sequence: i64) -> Result<Option<String>> {
        self.conn.read(|tx| chain::hash_at(tx, sequence))
    }

    /// Verifies the whole chain of the ledger. `expected` is the hash of a head stored elsewhere.
    pub fn audit(&self, expected: Option<&str>) -> Result<Audit> {
        self.conn.read(|tx| chain::audit(tx, expected))
    }

    /// Returns the events that concern the ledger as a whole, oldest first.
    pub fn ledger_events(&self) -> Result<Vec<Event>> {
        let events = format!("SELECT {EVENT} FROM events WHERE retraction_id IS NULL ORDER BY id");
        self.conn.read(|tx| tx.rows(&events, &[], |row| read_event(tx, row, State::Planned)))
    }

    fn select(&self, filter: &str, args: &[&dyn ToValue]) -> Result<Vec<Retraction>> {
        self.conn.read(|tx| select(tx, filter, args))
    }
}

/// Returns the retractions that match the SQL filter, with their events, oldest first. The SQL filter calls a
/// retraction `r`.
pub(super) fn select(tx: &Tx<'_>, filter: &str, args: &[&dyn ToValue]) -> Result<Vec<Retraction>, DbError> {
    let retractions = format!("SELECT {RETRACTION} FROM retractions r {filter} ORDER BY r.id");
    let events = format!("SELECT {EVENT} FROM events WHERE retraction_id = ?1 ORDER BY id");
    let mut found = tx.rows(&retractions, args, |row| read_retraction(tx, row))?;
    for retraction in &mut found {
        let id = retraction.id;
        tx.each(&events, &[&id], |row| {
            let event = read_event(tx, row, retraction.state)?;
            retraction.state = event.state;
            retraction.events.push(event);
            Ok(())
        })?;
    }
    Ok(found)
}
