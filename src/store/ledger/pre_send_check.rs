//! The check before a send: compares the ledger's tables with its chain, and its SQL indexes with its tables.
//!
//! Before a send, recoup looks up earlier retractions through SQLite's indexes, and no hash covers an SQL index: one
//! stale page can show a sent retraction as *planned*. Therefore the check before a send computes the chain from the
//! tables up to the stored head. The check also compares the SQL indexes with the tables for this target, its order and
//! its rewards. SQLite's check of all pages covers the rest of the file, because damage in one place suggests damage in
//! others. The check before a send never writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::chain::{self, Walk};
use super::{Ledger, NewRetraction, Retraction, State, accept_restored, main_file, newest_of};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, Target};
use crate::store::Place;
use crate::store::db::{Checks, DbError, Tx};
use crate::store::transfer::refuse_moved;

/// The target, order, action and rewards of a retraction, by which recoup finds related retractions.
pub(super) struct About<'a> {
    target: String,
    order_id: &'a OrderId,
    action_id: Option<&'a str>,
    rewards: BTreeSet<String>,
}

impl<'a> About<'a> {
    pub fn new(new: &'a NewRetraction) -> Self {
        let action_id = match &new.target {
            Target::Action(action_id) => Some(action_id.as_str()),
            Target::Order { .. } => None,
        };
        let rewards = new.rewards.iter().map(|reward| reward.as_str().to_owned()).collect();
        Self { target: new.key(), order_id: &new.order_id, action_id, rewards }
    }

    /// Returns the target, order, action and rewards of a retraction that is in the ledger.
    pub fn written(retraction: &'a Retraction, rewards: &BTreeMap<i64, Vec<String>>) -> Self {
        Self {
            target: retraction.channel.key(&retraction.target().key()),
            order_id: &retraction.order_id,
            action_id: retraction.action_id.as_ref().map(crate::model::ActionId::as_str),
            rewards: rewards.get(&retraction.id).into_iter().flatten().cloned().collect(),
        }
    }
}

impl Ledger {
    /// Fails if this ledger is a restored copy, if its chain has a fault, or if an index and the tables disagree about
    /// this retraction. Callers must run this check first in the transaction that writes *sending*. Each process
    /// verifies the whole chain once, and verifies only new events in later calls.
    pub(super) fn check_before_sending<'a>(
        &self,
        tx: &Tx<'_>,
        about: impl FnOnce(&BTreeMap<i64, Vec<String>>) -> About<'a>,
    ) -> Result<(), DbError> {
        // A process may have opened the ledger before a move began.
        refuse_moved(tx)?;
        accept_restored::refuse_copy(tx)?;
        let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = finding(tx, &mut walked, about)? {
            return Err(tampered(&what));
        }
        self.check_pages(tx)
    }

    /// Fails if SQLite finds damage anywhere in the ledger, or if an event is not what recoup wrote. Reads the ledger
    /// file again only if another process has changed it since the last check.
    pub fn check_integrity(&self) -> Result<()> {
        self.conn.read(|tx| {
            if self.is_known_intact() {
                return Ok(());
            }
            let before = Stamp::of(self.place());
            if let Some(finding) = tx.first_damage(Checks::All)? {
                return Err(DbError::Damaged(finding));
            }
            let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
            let rewards = chain::rewards_by_retraction(tx)?;
            match verify_chain(tx, &mut walked, &rewards)? {
                Ok(walk) => *walked = Some(walk),
                Err(what) => return Err(tampered(&what)),
            }
            keep_stamp(self.place(), before);
            Ok(())
        })
    }

    /// Fails if SQLite finds a damaged page, or an SQL index that differs from its table. Reads all pages of the ledger
    /// at the first call, and again after another process has changed the file. Reading all pages of a ledger with
    /// 100,000 events takes half a second.
    fn check_pages(&self, tx: &Tx<'_>) -> Result<(), DbError> {
        if self.is_known_intact() {
            return Ok(());
        }
        let before = Stamp::of(self.place());
        if let Some(finding) = tx.first_damage(Checks::All)? {
            return Err(DbError::Damaged(finding));
        }
        keep_stamp(self.place(), before);
        Ok(())
    }

    pub(super) fn is_known_intact(&self) -> bool {
        let Some(path) = self.place().path() else { return false };
        let known = INTACT.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        known.is_some() && known == Stamp::of(self.place())
    }

    /// Records the ledger file's new stamp after a write of this process. `was_intact` is `true` if the ledger file was
    /// intact before the write.
    pub(super) fn keep_intact(&self, was_intact: bool) {
        keep_stamp(self.place(), if was_intact { Stamp::of(self.place()) } else { None });
    }
}

/// The stamp of each ledger file that is intact, from this process's last check or its newest write.
static INTACT: Mutex<BTreeMap<PathBuf, Stamp>> = Mutex::new(BTreeMap::new());

fn keep_stamp(place: &Place, stamp: Option<Stamp>) {
    let Some(path) = place.path() else { return };
    let mut intact = INTACT.lock().unwrap_or_else(PoisonError::into_inner);
    match stamp {
        Some(stamp) => drop(intact.insert(path.to_owned(), stamp)),
        None => drop(intact.remove(path)),
    }
}

/// The length and modification time of a file. If the stamp of a file has changed, a process has written to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, SystemTime);

impl Stamp {
    /// Returns the stamp of a ledger file; `None` for a ledger on a PostgreSQL server.
    fn of(place: &Place) -> Option<Self> {
        let found = std::fs::metadata(place.path()?).ok()?;
        Some(Self(found.len(), found.modified().ok()?))
    }
}

fn tampered(what: &str) -> DbError {
    Error::new(Kind::Tampered, format!("the ledger is not what was written: {what}; nothing was sent"))
        .hint(
            "run `recoup audit verify`, and keep the file as it is; restore the newest intact copy of it, with its `-wal` if \
             there is one. If only an index is damaged, `sqlite3 FILE REINDEX` rebuilds it",
        )
        .into()
}

/// Verifies the events since the last verification. Returns the first fault in the chain as a sentence.
fn verify_chain(
    tx: &Tx<'_>,
    walked: &mut Option<Walk>,
    rewards: &BTreeMap<i64, Vec<String>>,
) -> Result<Result<Walk, String>, DbError> {
    let mut walk = match walked.take() {
        Some(walk) if walk.still_holds(tx)? => walk,
        // Another file may have replaced the ledger file, so recoup reads the file from the beginning. A ledger on a
        // PostgreSQL server only grows.
        Some(walk) if tx.server_instance()?.is_some() => {
            let what = format!("event {}, which this process has seen, is not there any more", walk.at);
            *walked = Some(walk);
            return Ok(Err(what));
        }
        _ => Walk::from_the_beginning(tx)?,
    };
    walk.go_on(tx, rewards, None)?;
    if let Some(fault) = walk.faults.first() {
        let place = fault.sequence.map(|sequence| format!("event {sequence}: ")).unwrap_or_default();
        return Ok(Err(format!("{place}{}", fault.what)));
    }
    Ok(main_file::gap(tx, walk.at, &walk.before)?.map_or(Ok(walk), Err))
}

/// Returns the first fault of a verification as a sentence; `None` if there is no fault.
fn finding<'a>(
    tx: &Tx<'_>,
    walked: &mut Option<Walk>,
    about: impl FnOnce(&BTreeMap<i64, Vec<String>>) -> About<'a>,
) -> Result<Option<String>, DbError> {
    let rewards = chain::rewards_by_retraction(tx)?;
    let walk = match verify_chain(tx, walked, &rewards)? {
        Ok(walk) => walk,
        Err(what) => return Ok(Some(what)),
    };
    let about = about(&rewards);
    let by_table = related_by_table(tx, &rewards, &about)?;
    for (key, by_index) in related_by_index(tx, &about)? {
        if by_table.get(key) != Some(&by_index) {
            let what =
                format!("the index of retractions by {key} leaves out or adds one about order {}", about.order_id);
            return Ok(Some(what));
        }
    }
    let by_table: BTreeSet<i64> = by_table.into_values().flatten().collect();
    for id in by_table {
        let by_chain = walk.newest.get(&id).map(|newest| (Some(newest.event), newest.state));
        if by_chain != Some(newest_of(tx, id)?) {
            let what = format!("the index of events says something else about retraction {id} than the events");
            return Ok(Some(what));
        }
    }
    *walked = Some(walk);
    Ok(None)
}

/// The numbers of related retractions, for each property that they share with this retraction.
type Related = BTreeMap<&'static str, BTreeSet<i64>>;

/// Finds retractions of the same target, order, action or reward by reading every row. No SQL index has all columns of
/// this query, so SQLite reads the table itself.
fn related_by_table(tx: &Tx<'_>, rewards: &BTreeMap<i64, Vec<String>>, about: &About<'_>) -> Result<Related, DbError> {
    let shares = |of: &Vec<String>| of.iter().any(|reward| about.rewards.contains(reward));
    let mut related = Related::from(["target", "order", "action", "reward"].map(|key| (key, BTreeSet::new())));
    let mut add = |key, id| related.entry(key).or_default().insert(id);
    for (id, _) in rewards.iter().filter(|(_, of)| shares(of)) {
        add("reward", *id);
    }
    tx.each("SELECT id, target, order_id, action_id FROM retractions", &[], |row| {
        let id = row.get(0)?;
        for (key, is_same) in [
            ("target", row.get::<&str>(1)? == about.target),
            ("order", row.get::<&str>(2)? == about.order_id.as_str()),
            ("action", about.action_id.is_some() && row.get::<Option<&str>>(3)? == about.action_id),
        ] {
            if is_same {
                add(key, id);
            }
        }
        Ok(())
    })?;
    Ok(related)
}

/// Finds retractions of the same target, order, action or reward by SQL index, as recoup does before a send.
fn related_by_index(tx: &Tx<'_>, about: &About<'_>) -> Result<Related, DbError> {
    let by = |select: &str, value: Option<&str>| -> Result<BTreeSet<i64>, DbError> {
        Ok(tx.rows(select, &[&value], |row| row.get(0))?.into_iter().collect())
    };
    let mut by_reward = BTreeSet::new();
    for reward in &about.rewards {
        by_reward.extend(by("SELECT retraction_id FROM retraction_rewards WHERE reward_id = ?1", Some(reward))?);
    }
    Ok(Related::from([
        ("target", by("SELECT id FROM retractions WHERE target = ?1", Some(&about.target))?),
        ("order", by("SELECT id FROM retractions WHERE order_id = ?1", Some(about.order_id.as_str()))?),
        ("action", by("SELECT id FROM retractions WHERE action_id = ?1", about.action_id)?),
        ("reward", by_reward),
    ]))
}

/// A retraction's newest event and state, according to the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// The number of the newest event.
    pub event: i64,
    /// The newest state among the retraction's events.
    pub state: Option<State>,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::model::{ActionId, Actor, OrderId, RewardId, Target};
    use crate::store::Identity;
    use crate::store::db::RawConnection;
    use crate::store::ledger::{Channel, NewRetraction};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn open(path: &std::path::Path) -> Result<Ledger> {
        Ledger::open(path, &Identity::of_a_test(), &Actor::new("ann", "desk"))
    }

    fn retraction(action: &str) -> NewRetraction {
        NewRetraction {
            channel: Channel::Reversal,
            target: Target::Action(ActionId::new(action)),
            order_id: OrderId::new("1001"),
            disposition: "RETRACTION".into(),
            reason: None,
            ticket: None,
            batch: None,
            program_id: None,
            rewards: vec![RewardId::new(format!("reward of {action}"))],
            plan: Value::Null,
        }
    }

    fn send(ledger: &Ledger, action: &str) -> Result<()> {
        ledger.intend(&retraction(action), &[], "sending", &Value::Null, NOW).map(drop)
    }

    /// The damaged page belongs to a table that the chain does not cover and that no query before the send reads.
    #[test]
    fn a_damaged_page_that_no_query_reads_lets_nothing_be_sent_also_after_this_process_has_looked() {
        for looks_before in [false, true] {
            let dir = TempDir::new().expect("a folder");
            let path = dir.path().join("l.db");
            let mut ledger = open(&path).expect("opens");
            send(&ledger, "1").expect("sent");
            let (at, _) = root(&path, "watched");
            if !looks_before {
                drop(ledger);
                ledger = open(&path).expect("opens");
            }
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at as u64)).expect("the page");
            std::io::Write::write_all(&mut file, &[0; 4096]).expect("damaged");
            // Sets the file's modification time, because the test is faster than the file system's clock, which ticks
            // every few milliseconds.
            let written = file.metadata().and_then(|found| found.modified()).expect("a moment");
            file.set_modified(written + std::time::Duration::from_secs(1)).expect("a moment");
            drop(file);
            let error = send(&ledger, "2").expect_err("the file is damaged");
            assert_eq!(error.kind, Kind::Storage, "{}", error.message);
            assert!(error.message.contains("is damaged"), "{}", error.message);
        }
    }

    /// Returns the offset and the bytes of the root page of the b-tree with this name.
    fn root(path: &std::path::Path, name: &str) -> (usize, Vec<u8>) {
        let conn = RawConnection::open(path).expect("opens");
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
        let page: usize = conn
            .query_row("SELECT rootpage FROM sqlite_master WHERE name = ?1", [name], |row| row.get::<_, i64>(0))
            .expect("a page") as usize;
        let at = (page - 1) * 4096;
        (at, std::fs::read(path).expect("the file")[at..at + 4096].to_vec())
    }

    #[test]
    fn a_stale_page_of_an_index_lets_nothing_be_sent() {
        for index in
            ["events_by_retraction", "sqlite_autoindex_retractions_1", "retractions_by_order", "retractions_by_action"]
        {
            let dir = TempDir::new().expect("a folder");
            let path = dir.path().join("l.db");
            let ledger = open(&path).expect("opens");
            send(&ledger, "0.0.0").expect("sent");
            // Saves the page of the SQL index from before the first attempt was planned.
            let before = root(&path, index).1;
            let planned = ledger.begin(&retraction("1.2.3"), NOW).expect("planned");
            let only_planned = root(&path, index).1;
            ledger.append(&planned, State::Sending, "sending", &Value::Null, NOW).expect("sent");
            drop(ledger);
            let at = root(&path, index).0;
            let stale = if index == "events_by_retraction" { only_planned } else { before };
            let mut file = std::fs::read(&path).expect("the file");
            file[at..at + 4096].copy_from_slice(&stale);
            std::fs::write(&path, file).expect("damaged");

            let ledger = open(&path).expect("opens");
            // The chain is intact, because it does not cover the SQL index.
            assert_eq!(ledger.audit(None).expect("reads").faults, [], "{index}");
            let error = send(&ledger, "1.2.3").expect_err(index);
            assert_eq!(error.kind, Kind::Tampered, "{index}: {}", error.message);
            assert!(error.message.contains("index of"), "{index}: {}", error.message);
        }
    }

    #[test]
    fn an_altered_event_lets_nothing_be_sent_also_after_this_process_has_looked() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("l.db");
        let ledger = open(&path).expect("opens");
        for action in ["1", "2", "3"] {
            send(&ledger, action).expect("sent");
        }
        assert_eq!(
            ledger.walked.lock().expect("sound").as_ref().map(|walk| walk.at),
            Some(4),
            "up to the last retraction"
        );
        let conn = RawConnection::open(&path).expect("opens");
        conn.execute_batch("DROP TRIGGER events_stay; UPDATE events SET person = 'eve' WHERE id = 6")
            .expect("tampered");
        let error = send(&ledger, "4").expect_err("the chain does not hold");
        assert_eq!(error.kind, Kind::Tampered);
        assert!(error.message.contains("event 6") && error.message.contains("nothing was sent"), "{}", error.message);
        assert!(ledger.audit(None).expect("reads").faults.iter().all(|fault| fault.sequence == Some(6)));
    }
}
