//! The ledger: an append-only record of retractions and their events.
//!
//! The row of a retraction is written once and never changed. The state of a retraction is the newest state among its
//! events. Every append to the ledger checks, in the same transaction, that the new event follows the newest event.
//! Therefore two processes can never both move a retraction from *planned* to *sending*. Events form a hash chain
//! (`chain`). Personal data is stored outside of the chain, behind commitments (`redaction`). This module never changes
//! or removes a row of retractions or events. A retraction may become *sending* only after *planned*.

mod accept_restored;
mod approvals;
mod chain;
mod export;
mod for_transfer;
mod forget;
mod list;
mod main_file;
mod of_batch;
mod pre_send_check;
mod read;
mod redaction;
mod rows;
mod search;
mod state;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::db::{Conn, DbError, Tx};
use super::{Identity, Layout, Place, random};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Target, hex};

pub use accept_restored::{CopyOf, Found};
pub use approvals::{Approval, Lost, NewApproval, Policy, Stage};
pub use chain::{Audit, Fault, Head};
pub use export::{Exported, PersonalIds};
pub(super) use for_transfer::{
    audit_of, belongs_to_this_server, create_for_transfer, id_of, needs_acceptance, refuse_copy_of,
};
pub use forget::{ForgottenHere, Tombstones, mac_of};
pub use list::Filter;
pub use of_batch::StateLine;
use pre_send_check::About;
pub use redaction::FORGOTTEN;
pub use rows::{Channel, Event, NewRetraction, Retraction};
pub use search::{Search, SearchResult};
pub use state::State;
pub use summary::{Outline, Reading, SeenReward};
pub use watch::{Looked, NewWatched, Watched};

pub(super) const LAYOUT: Layout = Layout {
    name: "ledger",
    schema: include_str!("../../../ledger.sql"),
    version: 1,
    synchronous: "FULL",
    autocheckpoint_pages: 1000,
    application_id: 0x7265_636C, // "recl"
};

/// The kind of an event that changes the state.
const STATE: &str = "state";

/// A note on a retraction: its kind, its text and its details.
pub type Note = (&'static str, String, Value);

/// The open ledger. Tasks and threads share one `Ledger`; a mutex serialises their access.
#[derive(Debug)]
pub struct Ledger {
    conn: Conn,
    actor: Actor,
    /// The verified part of the chain. To avoid a deadlock, lock this mutex only inside a transaction.
    walked: Mutex<Option<chain::Walk>>,
    /// The identity of the opened ledger file, to detect that another file has replaced it.
    file: Option<main_file::FileId>,
}

impl Ledger {
    /// Opens the ledger for writing; creates it if it is missing. Every event records `actor`.
    pub fn open(place: impl Into<Place>, identity: &Identity, actor: &Actor) -> Result<Self> {
        let ledger = Self::over(Conn::open(&place.into(), &LAYOUT, identity)?, actor.clone());
        ledger.make_names()?;
        Ok(ledger)
    }

    /// Opens the ledger for reading; returns `None` if there is no ledger.
    pub fn open_read_only(place: impl Into<Place>, identity: Option<&Identity>) -> Result<Option<Self>> {
        let conn = Conn::open_read_only(&place.into(), &LAYOUT, identity)?;
        let Some(ledger) = conn.map(|conn| Self::over(conn, Actor::new("", ""))) else { return Ok(None) };
        Ok(ledger.has_begun()?.then_some(ledger))
    }

    /// Returns whether the ledger has its ID or an event. On a server, the first lock creates the tables, and a process may die
    /// between the tables and the ID.
    fn has_begun(&self) -> Result<bool> {
        let has = "SELECT EXISTS (SELECT 1 FROM identity WHERE key = 'ledger_id') OR EXISTS (SELECT 1 FROM events)
                 OR EXISTS (SELECT 1 FROM retractions)";
        self.conn.read(|tx| tx.one(has, &[], |row| row.get(0)))
    }

    fn over(conn: Conn, actor: Actor) -> Self {
        let file = conn.place().path().and_then(main_file::file_id);
        Self { conn, actor, walked: Mutex::default(), file }
    }

    pub fn place(&self) -> &Place {
        self.conn.place()
    }

    /// Records that a request is about to be sent. Checks the ledger, then writes the retraction, its notes and
    /// *sending*, in one transaction. The commit of the intent is durable when this function returns. Callers must send
    /// the request only if this function succeeds.
    ///
    /// # Errors
    /// [`Kind::Busy`] if the vendor may have received an earlier attempt on the same target; [`Kind::Tampered`] or
    /// [`Kind::Storage`] if the ledger is damaged or was altered; [`Kind::Identity`] if it is a restored copy.
    pub fn intend(
        &self,
        new: &NewRetraction,
        notes: &[Note],
        message: &str,
        request: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        self.record_send(new, notes, State::Sending, message, request, now)
    }

    /// Records that a line is about to be written into a reversal file, like [`Ledger::intend`] for a request. The
    /// state of the retraction becomes *handed over*. Callers must write the line only if this function succeeds. The
    /// errors are those of [`Ledger::intend`].
    pub fn hand_over(
        &self,
        new: &NewRetraction,
        notes: &[Note],
        message: &str,
        line: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        self.record_send(new, notes, State::HandedOver, message, line, now)
    }

    fn record_send(
        &self,
        new: &NewRetraction,
        notes: &[Note],
        state: State,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        let id = self.transact(|tx, actor| {
            let id = self.plan(tx, new, actor, now)?;
            for (kind, message, details) in notes {
                let note = Entry { retraction_id: Some(id), state: None, kind, message, details };
                insert_event(tx, &note, actor, now)?;
            }
            insert_event(tx, &Entry::state(id, state, message, details), actor, now)?;
            supersede(tx, id, new.channel, actor, now)?;
            crash::point("planned");
            Ok(id)
        })?;
        log_step(id, state, message);
        self.get(id)
    }

    /// Writes a retraction as *planned*, the next attempt on its target. An earlier attempt that is still *planned*
    /// becomes *superseded*. Code that sends uses [`Ledger::intend`], which writes *planned* and *sending* in one
    /// transaction.
    ///
    /// # Errors
    /// [`Kind::Busy`] if the vendor may have received an earlier attempt, which prevents another attempt.
    #[cfg(test)]
    pub fn begin(&self, new: &NewRetraction, now: Timestamp) -> Result<Retraction> {
        let id = self.transact(|tx, actor| self.plan(tx, new, actor, now))?;
        self.get(id)
    }

    fn plan(&self, tx: &Tx<'_>, new: &NewRetraction, actor: &Actor, now: Timestamp) -> Result<i64, DbError> {
        self.check_before_sending(tx, |_| About::new(new))?;
        match insert(tx, new, &First::PLANNED, actor, now)? {
            Begun::Written(id) => Ok(id),
            Begun::Refused(id, state) => Err(Error::new(
                Kind::Busy,
                format!("retraction {id} is {}: it may have been received, so it is not sent again", state.as_str()),
            )
            .hint("run `recoup verify` to see its state")
            .into()),
        }
    }

    /// Appends an event after the newest event of `retraction`. Returns the updated retraction. If the new state is *sending* or
    /// *handed over*, earlier attempts that may be sent again become *superseded*.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another process has appended an event first, or if the new state may not follow the current one.
    pub fn append(
        &self,
        retraction: &Retraction,
        state: State,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        let is_sent = matches!(state, State::Sending | State::HandedOver);
        self.transact(|tx, actor| {
            if is_sent {
                self.check_before_sending(tx, |rewards| About::written(retraction, rewards))?;
            }
            let from = state_to_follow(tx, retraction)?;
            if !from.is_some_and(|from| from.may_become(state)) {
                return Err(overtaken(retraction));
            }
            insert_event(tx, &Entry::state(retraction.id, state, message, details), actor, now)?;
            if is_sent {
                supersede(tx, retraction.id, retraction.channel, actor, now)?;
            }
            Ok(())
        })?;
        log_step(retraction.id, state, message);
        self.get(retraction.id)
    }

    /// Adds a note to a retraction, and leaves the retraction's state unchanged.
    ///
    /// # Errors
    /// [`Kind::Busy`] if another process has appended an event first.
    pub fn note(
        &self,
        retraction: &Retraction,
        kind: &str,
        message: &str,
        details: &Value,
        now: Timestamp,
    ) -> Result<Retraction> {
        self.transact(|tx, actor| {
            state_to_follow(tx, retraction)?;
            let entry = Entry { retraction_id: Some(retraction.id), state: None, kind, message, details };
            insert_event(tx, &entry, actor, now)
        })?;
        self.get(retraction.id)
    }

    /// Adds an event that concerns the ledger as a whole.
    pub fn note_ledger(&self, kind: &str, message: &str, details: &Value, now: Timestamp) -> Result<()> {
        self.transact(|tx, actor| insert_event(tx, &Entry::of_ledger(kind, message, details), actor, now).map(drop))
    }

    fn transact<T>(&self, mut work: impl FnMut(&Tx<'_>, &Actor) -> Result<T, DbError>) -> Result<T> {
        let mut was_intact = false;
        let value = self.conn.write(|tx| {
            let value = work(tx, &self.actor)?;
            // This transaction has the write lock, so no other process writes before it ends, and its own writes leave
            // the ledger intact.
            was_intact = self.is_known_intact();
            Ok(value)
        })?;
        self.conn.checkpoint();
        self.keep_intact(was_intact);
        Ok(value)
    }

    /// Writes the random ledger ID and the key of tombstones into a new ledger.
    fn make_names(&self) -> Result<()> {
        let names = "SELECT count(*) FROM identity WHERE key IN ('ledger_id', 'tombstone_key')";
        // Reads before writing, so that opening the ledger never waits for a writer.
        if self.conn.read(|tx| tx.one(names, &[], |row| row.get::<i64>(0)))? == 2 {
            return Ok(());
        }
        let (id, key) = (hex(&random::<16>()?), hex(&random::<32>()?));
        self.conn.write(|tx| {
            let insert = "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
            if let Some(server) = tx.server_instance()?
                && tx.run(insert, &[&"ledger_id", &id])? == 1
            {
                // A new ledger belongs to this PostgreSQL server. For any other ledger, a person must accept the
                // server.
                accept_restored::set_server(tx, &server)?;
            }
            tx.run(insert, &[&"ledger_id", &id])?;
            tx.run(insert, &[&"tombstone_key", &key]).map(drop)
        })
    }
}

/// Logs a new event of the ledger. The message of the event is only in the debug log, because the message may quote the
/// vendor and name a person.
fn log_step(retraction: i64, state: State, message: &str) {
    tracing::info!(retraction, state = state.as_str(), "ledger event");
    tracing::debug!(retraction, "{message}");
}

/// Returns the current state of `retraction`. Fails if the ledger has a newer event of this retraction.
fn state_to_follow(tx: &Tx<'_>, retraction: &Retraction) -> Result<Option<State>, DbError> {
    let (newest, state) = newest_of(tx, retraction.id)?;
    if newest == retraction.events.last().map(|event| event.id) { Ok(state) } else { Err(overtaken(retraction)) }
}

fn overtaken(retraction: &Retraction) -> DbError {
    Error::new(Kind::Busy, format!("another process has continued retraction {} meanwhile", retraction.id))
        .hint("run `recoup verify` to see its state")
        .into()
}

/// The result of [`insert`].
enum Begun {
    Written(i64),
    /// The number and the state of the earlier attempt that prevents the insert.
    Refused(i64, State),
}

/// An event to append to the ledger.
struct Entry<'a> {
    retraction_id: Option<i64>,
    state: Option<State>,
    kind: &'a str,
    message: &'a str,
    details: &'a Value,
}

impl<'a> Entry<'a> {
    fn state(retraction: i64, state: State, message: &'a str, details: &'a Value) -> Self {
        Self { retraction_id: Some(retraction), state: Some(state), kind: STATE, message, details }
    }

    fn of_ledger(kind: &'a str, message: &'a str, details: &'a Value) -> Self {
        Self { retraction_id: None, state: None, kind, message, details }
    }
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

/// Writes a retraction and its first event, which holds a hash over the retraction's row.
fn insert(
    tx: &Tx<'_>,
    new: &NewRetraction,
    first: &First<'_>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Begun, DbError> {
    let (action_id, tracker) = match &new.target {
        Target::Action(action_id) => (Some(action_id.as_str()), None),
        Target::Order { action_tracker_id, .. } => (None, Some(action_tracker_id.as_str())),
    };
    let target = new.key();
    let before: Option<(i64, i64)> = tx.opt(
        "SELECT id, attempt FROM retractions WHERE target = ?1 ORDER BY attempt DESC LIMIT 1",
        &[&target],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let earlier = match before {
        Some((id, _)) => Some((id, newest_of(tx, id)?.1.unwrap_or(State::Unknown))),
        None => None,
    };
    // A modification that was found at the vendor is recorded but not sent, so another open modification does not prevent it.
    let is_record = new.channel == Channel::Modification && first.state == State::Queued;
    if let Some((id, state)) = earlier
        && !state.may_be_sent_again(new.channel)
        && !is_record
    {
        return Ok(Begun::Refused(id, state));
    }
    if let Some((id, State::Planned)) = earlier {
        let message = "it was never sent, and a later attempt supersedes it";
        insert_event(tx, &Entry::state(id, State::Superseded, message, &Value::Null), actor, now)?;
    }
    // Chooses the retraction's number first, because the row needs the commitments, and the commitments need the
    // number.
    let id: i64 = tx.one("SELECT coalesce(max(id), 0) + 1 FROM retractions", &[], |row| row.get(0))?;
    let reason =
        new.reason.as_deref().map(|reason| redaction::redact_text(tx, Some(id), "reason", reason)).transpose()?;
    let plan = redaction::redact(tx, Some(id), &new.plan)?.to_string();
    tx.run(
        "INSERT INTO retractions (id, road, target, attempt, order_id, action_id, action_tracker_id, program_id, disposition,
             reason, ticket, batch, person, host, created_at, plan)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        &[
            &id,
            &new.channel.as_str(),
            &target,
            &before.map_or(1, |(_, attempt)| attempt + 1),
            &new.order_id.as_str(),
            &action_id,
            &tracker,
            &new.program_id,
            &new.disposition,
            &reason,
            &new.ticket,
            &new.batch,
            &actor.person,
            &actor.host,
            &text(now),
            &plan,
        ],
    )?;
    for reward_id in &new.rewards {
        tx.run(
            "INSERT INTO retraction_rewards (reward_id, retraction_id) VALUES (?1, ?2)
             ON CONFLICT (reward_id, retraction_id) DO NOTHING",
            &[&reward_id.as_str(), &id],
        )?;
    }
    let mut details = if first.details.is_object() { first.details.clone() } else { json!({}) };
    details[chain::ROW] = chain::row_hash(tx, id)?.into();
    insert_event(tx, &Entry::state(id, first.state, first.message, &details), actor, now)?;
    Ok(Begun::Written(id))
}

/// Supersedes earlier attempts on the same target when attempt `by` is sent. A modification supersedes no attempt,
/// because an action can be modified several times, and an earlier modification with an unknown outcome stays unknown.
fn supersede(tx: &Tx<'_>, by: i64, channel: Channel, actor: &Actor, now: Timestamp) -> Result<(), DbError> {
    if channel == Channel::Modification {
        return Ok(());
    }
    let earlier: Vec<i64> = tx.rows(
        "SELECT id FROM retractions WHERE target = (SELECT target FROM retractions WHERE id = ?1) AND id <> ?1 ORDER BY id",
        &[&by],
        |row| row.get(0),
    )?;
    for id in earlier {
        if newest_of(tx, id)?.1.is_some_and(|state| state.may_become(State::Superseded)) {
            let (message, details) = (format!("superseded by retraction {by}"), json!({ "by": by }));
            insert_event(tx, &Entry::state(id, State::Superseded, &message, &details), actor, now)?;
        }
    }
    Ok(())
}

/// Returns the number of a retraction's newest event, and the retraction's state.
fn newest_of(tx: &Tx<'_>, retraction_id: i64) -> Result<(Option<i64>, Option<State>), DbError> {
    let newest = "SELECT max(id) FROM events WHERE retraction_id = ?1";
    let state = "SELECT state FROM events WHERE retraction_id = ?1 AND state IS NOT NULL ORDER BY id DESC LIMIT 1";
    Ok((
        tx.one(newest, &[&retraction_id], |row| row.get(0))?,
        tx.opt(state, &[&retraction_id], |row| rows::state_of(row, 0))?,
    ))
}

/// Appends an event to the chain. Returns the number of the new event.
fn insert_event(tx: &Tx<'_>, entry: &Entry<'_>, actor: &Actor, now: Timestamp) -> Result<i64, DbError> {
    let (last, before) = main_file::newest_to_follow(tx)?;
    let (at, details) = (text(now), redaction::redact(tx, entry.retraction_id, entry.details)?.to_string());
    // A message may quote the vendor. PostgreSQL cannot store NUL, and then an outcome would be lost.
    let message = entry.message.replace('\0', "\u{fffd}");
    let link = chain::Link {
        id: last + 1,
        retraction_id: entry.retraction_id,
        at: &at,
        state: entry.state.map(State::as_str),
        kind: entry.kind,
        message: &message,
        details: &details,
        person: &actor.person,
        host: &actor.host,
    };
    let hash = link.hash(&before);
    tx.run(
        "INSERT INTO events (id, retraction_id, at, state, kind, message, details, person, host, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        &[
            &link.id,
            &link.retraction_id,
            &link.at,
            &link.state,
            &link.kind,
            &link.message,
            &link.details,
            &link.person,
            &link.host,
            &hash,
        ],
    )?;
    main_file::set_head(tx, link.id, &hash)?;
    Ok(link.id)
}

fn ledger_id(tx: &Tx<'_>) -> Result<String, DbError> {
    tx.one("SELECT value FROM identity WHERE key = 'ledger_id'", &[], |row| row.get(0))
}

fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}
