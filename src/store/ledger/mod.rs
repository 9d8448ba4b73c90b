//! The ledger: retractions and what happened to them, append-only.
//!
//! A retraction is written once; its state is the state of its newest event that has one. Every append names the event it
//! follows, in one immediate transaction, so that two processes can never both take a retraction from *planned* to *sending*.
//! Events are a chain of hashes (`chain`), and what is personal stands in them as a commitment (`seal`). This module must
//! never change or remove a row, and must never let `sending` follow anything but `planned`.

mod accept;
mod approvals;
mod before_send;
mod chain;
mod export;
mod forget;
mod main_file;
mod read;
mod rows;
mod seal;
mod search;
mod state;
mod survey;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde_json::{Value, json};

use super::{Identity, Layout, locked, open_reader, open_writer, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Target, hex};

pub use accept::{CopyOf, Found};
pub use approvals::{Approval, NewApproval, Policy, Stage};
pub use chain::{Audit, Fault, Head};
pub use export::{Exported, Whose};
pub use forget::{ForgottenHere, Tombstones, mac_of};
pub use rows::{Event, NewRetraction, Retraction, Road};
pub use seal::FORGOTTEN;
pub use search::Search;
pub use state::State;
pub use survey::{Outline, Reading, SeenReward};
pub use watch::{Looked, NewWatched, Watched};

pub(super) const LAYOUT: Layout = Layout {
    name: "ledger",
    schema: include_str!("../../../ledger.sql"),
    version: 1,
    synchronous: "FULL",
    functions: |_| Ok(()),
    application_id: 0x7265_636C, // "recl"
};

/// The kind of an event that has a state of its own.
const STATE: &str = "state";

/// The ledger, open. Tasks and threads share one handle; its methods take turns.
#[derive(Debug)]
pub struct Ledger {
    conn: Mutex<Connection>,
    path: PathBuf,
    actor: Actor,
    /// The chain, as far as this process has computed it before it sent something. Taken while `conn` is held, never the
    /// other way round.
    walked: Mutex<Option<chain::Walk>>,
}

impl Ledger {
    /// Opens it for writing; creates it where it is missing. Every event from here on is by `actor`.
    pub fn open(path: &Path, identity: &Identity, actor: &Actor) -> Result<Self> {
        let conn = open_writer(path, &LAYOUT, identity)?;
        make_names(&conn).map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Self::over(conn, path, actor.clone()))
    }

    /// Opens it for reading; `None` where nothing was ever retracted.
    pub fn open_read_only(path: &Path, identity: Option<&Identity>) -> Result<Option<Self>> {
        let nobody = Actor::new("", "");
        Ok(open_reader(path, &LAYOUT, identity)?.map(|conn| Self::over(conn, path, nobody)))
    }

    fn over(conn: Connection, path: &Path, actor: Actor) -> Self {
        Self { conn: Mutex::new(conn), path: path.to_owned(), actor, walked: Mutex::default() }
    }

    fn conn(&self) -> MutexGuard<'_, Connection> {
        locked(&self.conn)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a retraction down as *planned*, as the next attempt on its target. One that was planned before and never sent
    /// is *superseded* by it. Durable when it returns.
    ///
    /// [`Kind::Busy`] where the newest attempt may have been received by the vendor, and nobody may send again.
    pub fn begin(&self, new: &NewRetraction, now: Timestamp) -> Result<Retraction> {
        self.may_send()?;
        self.check_before_planning(new)?;
        match self.transact(|tx, actor| insert(tx, new, &First::PLANNED, actor, now))? {
            Begun::Written(id) => self.get(id),
            Begun::Refused(id, state) => Err(Error::new(
                Kind::Busy,
                format!("retraction {id} is {}: it may have been received, so it is not sent again", state.as_str()),
            )
            .hint("run `recoup verify` to see where it stands")),
        }
    }

    /// Appends an event after the newest one that `retraction` has; gives the retraction as it is then. When it becomes
    /// *sending* (or *handed over*), attempts on the same target that a person may send again are *superseded*.
    ///
    /// [`Kind::Busy`] where another process was faster, and where the step is not allowed from there.
    pub fn append(
        &self,
        retraction: &Retraction,
        state: State,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        if matches!(state, State::Sending | State::HandedOver) {
            self.may_send()?;
            self.check_before_sending(retraction)?;
        }
        let appended = self.transact(|tx, actor| {
            let (newest, from) = newest_of(tx, retraction.id)?;
            let expected = retraction.events.last().map(|event| event.id);
            if newest != expected || !from.is_some_and(|from| from.may_become(state)) {
                return Ok(false);
            }
            let entry = Entry { retraction_id: Some(retraction.id), state: Some(state), kind: STATE, message, details };
            insert_event(tx, &entry, actor, now)?;
            if matches!(state, State::Sending | State::HandedOver) {
                supersede(tx, retraction.id, retraction.road, actor, now)?;
            }
            Ok(true)
        })?;
        Self::appended(retraction, appended)?;
        // The words may be the vendor's, and name somebody: they are for the ledger, and no log's by itself.
        tracing::info!(retraction = retraction.id, state = state.as_str(), "the ledger goes on");
        tracing::debug!(retraction = retraction.id, "{message}");
        self.get(retraction.id)
    }

    /// Writes something down about a retraction, whose state stays as it is.
    ///
    /// [`Kind::Busy`] where another process was faster.
    pub fn note(
        &self,
        retraction: &Retraction,
        kind: &str,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        let appended = self.transact(|tx, actor| {
            if newest_of(tx, retraction.id)?.0 != retraction.events.last().map(|event| event.id) {
                return Ok(false);
            }
            let entry = Entry { retraction_id: Some(retraction.id), state: None, kind, message, details };
            insert_event(tx, &entry, actor, now).map(|()| true)
        })?;
        Self::appended(retraction, appended)?;
        self.get(retraction.id)
    }

    /// Writes down something that concerns the ledger as a whole.
    pub fn note_ledger(&self, kind: &str, message: &str, details: &Value, now: Timestamp) -> Result<()> {
        let entry = Entry { retraction_id: None, state: None, kind, message, details };
        self.transact(|tx, actor| insert_event(tx, &entry, actor, now))
    }

    fn appended(retraction: &Retraction, appended: bool) -> Result<()> {
        if appended {
            return Ok(());
        }
        Err(Error::new(Kind::Busy, format!("retraction {} was carried on by another process meanwhile", retraction.id))
            .hint("run `recoup verify` to see where it stands"))
    }

    fn transact<T>(&self, work: impl FnOnce(&Connection, &Actor) -> rusqlite::Result<T>) -> Result<T> {
        let mut conn = self.conn();
        let is_sound = self.is_as_it_was_sound();
        let run = || {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx, &self.actor)?;
            tx.commit()?;
            main_file::checkpoint(&conn);
            Ok(value)
        };
        let done = run().map_err(|error| sql_error(&error, &LAYOUT, &self.path));
        self.stays_sound(is_sound);
        done
    }
}

/// What came of writing a retraction down.
enum Begun {
    Written(i64),
    /// The attempt before it, and where that stands.
    Refused(i64, State),
}

/// An event to be written.
struct Entry<'a> {
    retraction_id: Option<i64>,
    state: Option<State>,
    kind: &'a str,
    message: &'a str,
    details: &'a Value,
}

/// The first event of a retraction.
struct First<'a> {
    state: State,
    message: &'a str,
    details: &'a Value,
}

impl First<'_> {
    const PLANNED: First<'static> =
        First { state: State::Planned, message: "written down; nothing sent yet", details: &Value::Null };
}

/// Writes a retraction and its first event, which holds a hash over it.
fn insert(
    tx: &Connection,
    new: &NewRetraction,
    first: &First<'_>,
    actor: &Actor,
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let (action_id, tracker) = match &new.target {
        Target::Action(action_id) => (Some(action_id.as_str()), None),
        Target::Order { action_tracker_id, .. } => (None, Some(action_tracker_id.as_str())),
    };
    let target = new.key();
    let before: Option<(i64, i64)> = tx
        .query_row(
            "SELECT id, attempt FROM retractions WHERE target = ?1 ORDER BY attempt DESC LIMIT 1",
            [&target],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let stands = match before {
        Some((id, _)) => Some((id, newest_of(tx, id)?.1.unwrap_or(State::Unknown))),
        None => None,
    };
    // Where it is only written down that the vendor has a modification, nothing is sent beside one that is open.
    let is_record = new.road == Road::Modification && first.state == State::Queued;
    if let Some((id, state)) = stands
        && !state.may_be_sent_again(new.road)
        && !is_record
    {
        return Ok(Begun::Refused(id, state));
    }
    if let Some((id, State::Planned)) = stands {
        let message = "it was never sent; a later attempt takes its place";
        let entry = Entry {
            retraction_id: Some(id),
            state: Some(State::Superseded),
            kind: STATE,
            message,
            details: &Value::Null,
        };
        insert_event(tx, &entry, actor, now)?;
    }
    // The number is needed for the commitments, which the row holds.
    let id: i64 = tx.query_row("SELECT coalesce(max(id), 0) + 1 FROM retractions", [], |row| row.get(0))?;
    let reason = new.reason.as_deref().map(|reason| seal::seal_text(tx, Some(id), "reason", reason)).transpose()?;
    tx.execute(
        "INSERT INTO retractions (id, road, target, attempt, order_id, action_id, action_tracker_id, program_id, disposition,
             reason, ticket, batch, person, host, created_at, plan)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            id,
            new.road.as_str(),
            target,
            before.map_or(1, |(_, attempt)| attempt + 1),
            new.order_id.as_str(),
            action_id,
            tracker,
            new.program_id,
            new.disposition,
            reason,
            new.ticket,
            new.batch,
            actor.person,
            actor.host,
            text(now),
            seal::seal(tx, Some(id), &new.plan)?.to_string()
        ],
    )?;
    let mut link = tx.prepare_cached(
        "INSERT INTO retraction_rewards (reward_id, retraction_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for reward_id in &new.rewards {
        link.execute(params![reward_id.as_str(), id])?;
    }
    let mut details = if first.details.is_object() { first.details.clone() } else { json!({}) };
    details[chain::ROW] = chain::row_hash(tx, id)?.into();
    let (state, message) = (Some(first.state), first.message);
    let entry = Entry { retraction_id: Some(id), state, kind: STATE, message, details: &details };
    insert_event(tx, &entry, actor, now)?;
    Ok(Begun::Written(id))
}

/// Attempts on the same target whose place this one takes, now that it goes out. A modification takes no place: it is one of
/// several, and what is in doubt about the others stays in doubt.
fn supersede(tx: &Connection, by: i64, road: Road, actor: &Actor, now: Timestamp) -> rusqlite::Result<()> {
    if road == Road::Modification {
        return Ok(());
    }
    let earlier: Vec<i64> = tx
        .prepare_cached(
            "SELECT id FROM retractions WHERE target = (SELECT target FROM retractions WHERE id = ?1) AND id <> ?1 ORDER BY id",
        )?
        .query_map([by], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in earlier {
        if newest_of(tx, id)?.1.is_some_and(|state| state.may_become(State::Superseded)) {
            let message = format!("retraction {by} takes its place");
            let details = json!({ "by": by });
            let entry = Entry {
                retraction_id: Some(id),
                state: Some(State::Superseded),
                kind: STATE,
                message: &message,
                details: &details,
            };
            insert_event(tx, &entry, actor, now)?;
        }
    }
    Ok(())
}

/// The number of a retraction's newest event, and its state.
fn newest_of(tx: &Connection, retraction_id: i64) -> rusqlite::Result<(Option<i64>, Option<State>)> {
    let newest = tx
        .prepare_cached("SELECT max(id) FROM events WHERE retraction_id = ?1")?
        .query_row([retraction_id], |row| row.get(0))?;
    let state = tx
        .prepare_cached(
            "SELECT state FROM events WHERE retraction_id = ?1 AND state IS NOT NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row([retraction_id], |row| rows::state_of(row, 0))
        .optional()?;
    Ok((newest, state))
}

/// Writes an event as the next link of the chain.
fn insert_event(tx: &Connection, entry: &Entry<'_>, actor: &Actor, now: Timestamp) -> rusqlite::Result<()> {
    let (last, before) = main_file::newest_to_follow(tx)?;
    let (at, details) = (text(now), seal::seal(tx, entry.retraction_id, entry.details)?.to_string());
    let link = chain::Link {
        id: last + 1,
        retraction_id: entry.retraction_id,
        at: &at,
        state: entry.state.map(State::as_str),
        kind: entry.kind,
        message: entry.message,
        details: &details,
        person: &actor.person,
        host: &actor.host,
    };
    let hash = link.hash(&before);
    tx.prepare_cached(
        "INSERT INTO events (id, retraction_id, at, state, kind, message, details, person, host, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        link.id,
        link.retraction_id,
        link.at,
        link.state,
        link.kind,
        link.message,
        link.details,
        link.person,
        link.host,
        hash
    ])?;
    main_file::set_head(tx, link.id, &hash)
}

/// The ledger's own name, and the key of its tombstones, made at random with the file.
fn make_names(conn: &Connection) -> rusqlite::Result<()> {
    let names = "SELECT count(*) FROM identity WHERE key IN ('ledger_id', 'tombstone_key')";
    if conn.query_row(names, [], |row| row.get::<_, i64>(0))? == 2 {
        // A process that only opens the ledger does not wait for one that writes.
        return Ok(());
    }
    let insert = "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    conn.execute(insert, ["ledger_id", &hex(&seal::random::<16>()?)])?;
    conn.execute(insert, ["tombstone_key", &hex(&seal::random::<32>()?)])?;
    Ok(())
}

fn ledger_id(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("SELECT value FROM identity WHERE key = 'ledger_id'", [], |row| row.get(0))
}

fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}
