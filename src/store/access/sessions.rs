//! Sessions of users on the page, identified by the hash of their cookie.

use super::{AccessFile, By, SEEN_EVERY_MS};
use crate::error::Result;
use crate::model::{counted, hex};
use crate::store::db::{DbError, Row};

/// A session of a user who may sign in. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Names the session and reveals nothing of its cookie: the start of the hash, in hexadecimal.
    pub id: String,
    pub user: String,
    /// The user's current role in recoup.
    pub role: String,
    /// The user's name in the operating system.
    pub os_user: Option<String>,
    pub created_ms: i64,
    /// The time of the session's newest request, to the minute.
    pub seen_ms: i64,
}

const SELECT: &str = "SELECT u.name, u.role, u.os_user, s.created_ms, s.seen_ms, s.hash FROM sessions s
    JOIN users u ON u.name = s.user_name";

fn from_row(row: &Row<'_>) -> Result<SessionRow, DbError> {
    Ok(SessionRow {
        user: row.get(0)?,
        role: row.get(1)?,
        os_user: row.get(2)?,
        created_ms: row.get(3)?,
        seen_ms: row.get(4)?,
        id: id_of(row.get(5)?),
    })
}

/// Number of bytes of a hash that name a session.
const ID_BYTES: usize = 8;

fn id_of(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(ID_BYTES)])
}

impl AccessFile {
    pub fn begin_session(&self, hash: &[u8], user: &str, now_ms: i64) -> Result<()> {
        let insert = "INSERT INTO sessions (hash, user_name, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)";
        self.run(insert, &[&hash, &user, &now_ms])
    }

    /// Returns the session whose cookie has this hash, if its user is not disabled.
    pub fn session(&self, hash: &[u8], now_ms: i64) -> Result<Option<SessionRow>> {
        let select = format!("{SELECT} WHERE s.hash = ?1 AND u.disabled_at IS NULL");
        let found = self.conn.read(|tx| tx.opt(&select, &[&hash], from_row))?;
        Ok(found.filter(|session| now_ms >= session.created_ms - SEEN_EVERY_MS))
    }

    /// Returns every session, the newest first.
    pub fn sessions(&self) -> Result<Vec<SessionRow>> {
        let select = format!("{SELECT} WHERE u.disabled_at IS NULL ORDER BY s.created_ms DESC");
        self.conn.read(|tx| tx.rows(&select, &[], from_row))
    }

    /// Ends every session of a user. Returns the number of ended sessions.
    pub fn end_sessions_of(&self, name: &str, by: &By<'_>) -> Result<u64> {
        let delete = "DELETE FROM sessions WHERE user_name = ?1";
        self.change(by, |tx| {
            let ended = tx.run(delete, &[&name])?;
            Ok((ended, Some(format!("user {name}: {} ended", counted(ended, "session")))))
        })
    }

    /// Ends one session of a user; returns `false` if it has ended already.
    pub fn end_session_of(&self, name: &str, id: &str, by: &By<'_>) -> Result<bool> {
        self.change(by, |tx| {
            let select = "SELECT hash FROM sessions WHERE user_name = ?1";
            let hashes = tx.rows(select, &[&name], |row| row.get::<Vec<u8>>(0))?;
            let Some(hash) = hashes.into_iter().find(|hash| id_of(hash) == id) else { return Ok((false, None)) };
            tx.run("DELETE FROM sessions WHERE hash = ?1", &[&hash.as_slice()])?;
            Ok((true, Some(format!("user {name}: 1 session ended"))))
        })
    }

    /// Records that a user used a session, at most once a minute.
    pub fn touch_session(&self, hash: &[u8], seen_ms: i64, now_ms: i64) -> Result<()> {
        if now_ms - seen_ms < SEEN_EVERY_MS {
            return Ok(());
        }
        self.run("UPDATE sessions SET seen_ms = ?2 WHERE hash = ?1", &[&hash, &now_ms])
    }

    pub fn end_session(&self, hash: &[u8]) -> Result<()> {
        self.run("DELETE FROM sessions WHERE hash = ?1", &[&hash])
    }

    /// Deletes sessions that began before `created_before_ms`, or were last used before `seen_before_ms`.
    pub fn delete_expired_sessions(&self, created_before_ms: i64, seen_before_ms: i64) -> Result<()> {
        let delete = "DELETE FROM sessions WHERE created_ms < ?1 OR seen_ms < ?2";
        self.run(delete, &[&created_before_ms, &seen_before_ms])
    }
}
