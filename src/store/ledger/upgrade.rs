//! The ledger's way from one version to the next, each within one transaction. No row may be lost on it.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::chain::{Hash, Link, ROW, genesis, newest, row_hash};
use super::main_file::set_head;
use super::seal::{seal, seal_text};
use super::{ledger_id, make_names};

/// Version 2: what is personal is committed to, and the events are a chain.
pub(super) fn to_version_2(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(include_str!("../../../migrations/ledger-2.sql"))?;
    make_names(conn)?;
    seal_retractions(conn)?;
    chain_events(conn)?;
    conn.execute_batch(include_str!("../../../migrations/ledger-2-end.sql"))
}

/// Version 3: the list of refunds that wait for their orders holds no reasons.
pub(super) fn to_version_3(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(include_str!("../../../migrations/ledger-3.sql"))
}

/// Version 4: the file names its newest event, so that half a copy is told from an older one that is whole.
pub(super) fn to_version_4(conn: &Connection) -> rusqlite::Result<()> {
    match newest(conn)? {
        (0, _) => Ok(()),
        (sequence, hash) => set_head(conn, sequence, &hash),
    }
}

fn seal_retractions(conn: &Connection) -> rusqlite::Result<()> {
    let mut retractions = conn.prepare("SELECT id, reason, plan FROM retractions ORDER BY id")?;
    let rows = retractions.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for row in rows.collect::<rusqlite::Result<Vec<(i64, Option<String>, String)>>>()? {
        let (id, reason, plan) = row;
        let reason = reason.map(|reason| seal_text(conn, Some(id), "reason", &reason)).transpose()?;
        let plan = seal(conn, Some(id), &parse(&plan)?)?.to_string();
        conn.execute("UPDATE retractions SET reason = ?2, plan = ?3 WHERE id = ?1", params![id, reason, plan])?;
    }
    Ok(())
}

fn chain_events(conn: &Connection) -> rusqlite::Result<()> {
    // Numbers that a crash left out must not look like rows that somebody took.
    let mut update =
        conn.prepare("UPDATE events SET id = ?2, details = ?3, hash = ?4 WHERE id = ?1 AND length(hash) = 0")?;
    let mut before: Hash = genesis(&ledger_id(conn)?);
    let ids: Vec<i64> = conn
        .prepare("SELECT id FROM events ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut one = conn.prepare(
        "SELECT retraction_id, at, state, message, details, person, host,
             id = (SELECT min(id) FROM events first WHERE first.retraction_id = events.retraction_id)
         FROM events WHERE id = ?1",
    )?;
    for (old, new) in ids.into_iter().zip(1_i64..) {
        let (retraction_id, at, state, message, details, person, host, is_first) = one.query_row([old], |row| {
            let text = |n| row.get::<_, String>(n);
            Ok((
                row.get::<_, i64>(0)?,
                text(1)?,
                text(2)?,
                text(3)?,
                text(4)?,
                text(5)?,
                text(6)?,
                row.get::<_, bool>(7)?,
            ))
        })?;
        let mut details = seal(conn, Some(retraction_id), &parse(&details)?)?;
        if is_first {
            if !details.is_object() {
                details = json!({});
            }
            details[ROW] = row_hash(conn, retraction_id)?.into();
        }
        let details = details.to_string();
        let link = Link {
            id: new,
            retraction_id: Some(retraction_id),
            at: &at,
            state: Some(&state),
            kind: super::STATE,
            message: &message,
            details: &details,
            person: &person,
            host: &host,
        };
        before = link.hash(&before);
        update.execute(params![old, new, details, before])?;
    }
    Ok(())
}

fn parse(text: &str) -> rusqlite::Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}
