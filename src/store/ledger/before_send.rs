//! Before a request leaves: what the ledger says about it, read from the tables and held against the chain.
//!
//! The rules of sending ask the ledger through SQLite's indexes, and no hash covers an index: one stale page makes a
//! retraction that was sent read as *planned*. So the chain is computed from the tables, in the order of their rows, up to the
//! head that the file names; and everything that the indexes say about this target, its order and its rewards must be what
//! the tables say. What neither the chain nor these questions reach is found by SQLite's own check of all pages, because a
//! file that is damaged in one place may be in another. This module must never write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::{Connection, params};
use serde_json::json;

use super::chain::{self, Walk};
use super::{LAYOUT, Ledger, NewRetraction, Retraction, State, main_file, newest_of};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, Target};
use crate::store::soundness::first_finding;
use crate::store::{damaged, locked};

/// By what the rules of sending find the retractions that concern one.
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

    /// What was written down with a retraction; its rewards are those of its row.
    pub fn written(retraction: &'a Retraction, rewards: &BTreeMap<i64, Vec<String>>) -> Self {
        Self {
            target: retraction.road.key(&retraction.target().key()),
            order_id: &retraction.order_id,
            action_id: retraction.action_id.as_ref().map(crate::model::ActionId::as_str),
            rewards: rewards.get(&retraction.id).into_iter().flatten().cloned().collect(),
        }
    }
}

impl Ledger {
    /// Refuses to plan one if the ledger is not what was written, or if one of its indexes says something else about it than
    /// the tables.
    pub(super) fn check_before_planning(&self, new: &NewRetraction) -> Result<()> {
        self.check(|_| About::new(new))
    }

    /// The same before a request leaves.
    pub(super) fn check_before_sending(&self, retraction: &Retraction) -> Result<()> {
        self.check(|rewards| About::written(retraction, rewards))
    }

    /// The chain is computed once in a process; later calls go on from there.
    fn check<'a>(&self, about: impl FnOnce(&BTreeMap<i64, Vec<String>>) -> About<'a>) -> Result<()> {
        let found = self.read(|conn| {
            let tx = conn.unchecked_transaction()?;
            finding(&tx, &mut locked(&self.walked), about)
        })?;
        let Some(what) = found else { return self.check_sound() };
        Err(Error::new(Kind::Tampered, format!("the ledger is not what was written: {what}; nothing was sent")).hint(
            "run `recoup audit verify`, and keep the file as it is; bring the newest whole copy of it back, with its `-wal` \
             if there is one. If only an index is damaged, `sqlite3 FILE REINDEX` makes it anew",
        ))
    }

    /// Fails if SQLite finds a damaged page, or an index that is not what its table says. All pages are read once, and again if
    /// anything but this process has changed the file since: half a second for 100,000 events.
    pub fn check_sound(&self) -> Result<()> {
        if self.is_as_it_was_sound() {
            return Ok(());
        }
        let finding = self.read(|conn| {
            let before = Stamp::of(&self.path);
            let finding = first_finding(conn, "integrity_check")?;
            if finding.is_none() {
                keep_sound(&self.path, before);
            }
            Ok(finding)
        })?;
        finding.map_or(Ok(()), |finding| Err(damaged(&LAYOUT, &self.path, &finding)))
    }

    pub(super) fn is_as_it_was_sound(&self) -> bool {
        let known = SOUND.lock().unwrap_or_else(PoisonError::into_inner).get(&self.path).copied();
        known.is_some() && known == Stamp::of(&self.path)
    }

    /// What this process has written to a sound file leaves it sound.
    pub(super) fn stays_sound(&self, is_sound: bool) {
        keep_sound(&self.path, if is_sound { Stamp::of(&self.path) } else { None });
    }
}

/// Main files whose pages were all sound when this process last read them, as they were then, or after its own last write.
static SOUND: Mutex<BTreeMap<PathBuf, Stamp>> = Mutex::new(BTreeMap::new());

fn keep_sound(path: &Path, stamp: Option<Stamp>) {
    let mut sound = SOUND.lock().unwrap_or_else(PoisonError::into_inner);
    match stamp {
        Some(stamp) => drop(sound.insert(path.to_owned(), stamp)),
        None => drop(sound.remove(path)),
    }
}

/// Length of a file and when it was last written: other values mean that somebody has written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, SystemTime);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self(found.len(), found.modified().ok()?))
    }
}

/// What is wrong, as a sentence; `None` if nothing is.
fn finding<'a>(
    tx: &Connection,
    walked: &mut Option<Walk>,
    about: impl FnOnce(&BTreeMap<i64, Vec<String>>) -> About<'a>,
) -> rusqlite::Result<Option<String>> {
    let rewards = chain::rewards_by_retraction(tx)?;
    let mut walk = match walked.take() {
        Some(walk) if walk.still_holds(tx)? => walk,
        _ => Walk::from_the_beginning(tx)?,
    };
    walk.go_on(tx, &rewards, None)?;
    if let Some(fault) = walk.faults.first() {
        let place = fault.sequence.map(|sequence| format!("event {sequence}: ")).unwrap_or_default();
        return Ok(Some(format!("{place}{}", fault.what)));
    }
    if let Some(gap) = main_file::gap(tx, walk.at, &walk.before)? {
        return Ok(Some(gap));
    }
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

/// Retractions by what they have in common with this one.
type Related = BTreeMap<&'static str, BTreeSet<i64>>;

/// Retractions of the same target, order, action or reward: every row is looked at.
fn related_by_table(
    tx: &Connection,
    rewards: &BTreeMap<i64, Vec<String>>,
    about: &About<'_>,
) -> rusqlite::Result<Related> {
    let shares = |of: &Vec<String>| of.iter().any(|reward| about.rewards.contains(reward));
    let mut related = Related::from(["target", "order", "action", "reward"].map(|key| (key, BTreeSet::new())));
    let mut add = |key, id| related.entry(key).or_default().insert(id);
    for (id, _) in rewards.iter().filter(|(_, of)| shares(of)) {
        add("reward", *id);
    }
    let mut scan = tx.prepare_cached(
        "SELECT id, target = ?1, order_id = ?2, coalesce(action_id = ?3, 0) FROM retractions NOT INDEXED",
    )?;
    let mut rows = scan.query(params![about.target, about.order_id.as_str(), about.action_id])?;
    while let Some(row) = rows.next()? {
        for (column, key) in [(1, "target"), (2, "order"), (3, "action")] {
            if row.get(column)? {
                add(key, row.get(0)?);
            }
        }
    }
    Ok(related)
}

/// The same, as the rules of sending find them.
fn related_by_index(tx: &Connection, about: &About<'_>) -> rusqlite::Result<Related> {
    let by = |select: &str, value: Option<&str>| -> rusqlite::Result<BTreeSet<i64>> {
        tx.prepare_cached(select)?.query_map([value], |row| row.get(0))?.collect()
    };
    let rewards = json!(about.rewards).to_string();
    Ok(Related::from([
        ("target", by("SELECT id FROM retractions WHERE target = ?1", Some(&about.target))?),
        ("order", by("SELECT id FROM retractions WHERE order_id = ?1", Some(about.order_id.as_str()))?),
        ("action", by("SELECT id FROM retractions WHERE action_id = ?1", about.action_id)?),
        (
            "reward",
            by(
                "SELECT retraction_id FROM retraction_rewards WHERE reward_id IN (SELECT value FROM json_each(?1))",
                Some(&rewards),
            )?,
        ),
    ]))
}

/// A retraction's newest event, and its state, by the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// The number of the event.
    pub event: i64,
    /// The newest state that an event has.
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
    use crate::store::ledger::{NewRetraction, Road};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn open(path: &std::path::Path) -> Result<Ledger> {
        Ledger::open(path, &Identity::of_a_test(), &Actor::new("ann", "desk"))
    }

    fn retraction(action: &str) -> NewRetraction {
        NewRetraction {
            road: Road::Reversal,
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

    fn send(ledger: &mut Ledger, action: &str) -> Result<()> {
        let planned = ledger.begin(&retraction(action), NOW)?;
        ledger.append(&planned, State::Sending, "sending", &Value::Null, NOW).map(drop)
    }

    /// The page is of a table that neither the chain nor a question before the send reads.
    #[test]
    fn a_damaged_page_that_no_question_reads_lets_nothing_be_sent_also_after_this_process_has_looked() {
        for looks_before in [false, true] {
            let dir = TempDir::new().expect("a folder");
            let path = dir.path().join("l.db");
            let mut ledger = open(&path).expect("opens");
            send(&mut ledger, "1").expect("sent");
            let (at, _) = root(&path, "watched");
            if !looks_before {
                drop(ledger);
                ledger = open(&path).expect("opens");
            }
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at as u64)).expect("the page");
            std::io::Write::write_all(&mut file, &[0; 4096]).expect("damaged");
            // The clock of the file system ticks every few milliseconds, and this test is faster.
            let written = file.metadata().and_then(|found| found.modified()).expect("a moment");
            file.set_modified(written + std::time::Duration::from_secs(1)).expect("a moment");
            drop(file);
            let error = send(&mut ledger, "2").expect_err("the file is damaged");
            assert_eq!(error.kind, Kind::Storage, "{}", error.message);
            assert!(error.message.contains("is damaged"), "{}", error.message);
        }
    }

    /// The bytes of the page at which the b-tree of this name begins, and where they lie in the file.
    fn root(path: &std::path::Path, name: &str) -> (usize, Vec<u8>) {
        let conn = Connection::open(path).expect("opens");
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
            let mut ledger = open(&path).expect("opens");
            send(&mut ledger, "0.0.0").expect("sent");
            // As the index was when the first attempt was planned, or before.
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

            let mut ledger = open(&path).expect("opens");
            // The chain is whole, and says nothing of the index.
            assert_eq!(ledger.audit(None).expect("reads").faults, [], "{index}");
            let error = send(&mut ledger, "1.2.3").expect_err(index);
            assert_eq!(error.kind, Kind::Tampered, "{index}: {}", error.message);
            assert!(error.message.contains("index of"), "{index}: {}", error.message);
        }
    }

    #[test]
    fn an_altered_event_lets_nothing_be_sent_also_after_this_process_has_looked() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("l.db");
        let mut ledger = open(&path).expect("opens");
        for action in ["1", "2", "3"] {
            send(&mut ledger, action).expect("sent");
        }
        assert_eq!(locked(&ledger.walked).as_ref().map(|walk| walk.at), Some(5), "all but the event that says so");
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch("DROP TRIGGER events_stay; UPDATE events SET person = 'eve' WHERE id = 6")
            .expect("tampered");
        let error = send(&mut ledger, "4").expect_err("the chain does not hold");
        assert_eq!(error.kind, Kind::Tampered);
        assert!(error.message.contains("event 6") && error.message.contains("nothing was sent"), "{}", error.message);
        assert!(ledger.audit(None).expect("reads").faults.iter().all(|fault| fault.sequence == Some(6)));
    }
}
