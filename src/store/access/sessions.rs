//! Sessions, known by the hash of their cookie.

use rusqlite::{OptionalExtension, params};

use super::{AccessFile, SEEN_EVERY_MS};
use crate::error::Result;

/// A session of somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Whose it is.
    pub user: String,
    /// Their role now.
    pub role: String,
    /// The operating system's user that is the same person.
    pub os_user: Option<String>,
    /// When it began, Unix milliseconds.
    pub created_ms: i64,
    /// Its newest request, Unix milliseconds, to the minute.
    pub seen_ms: i64,
}

impl AccessFile {
    /// Begins a session.
    pub fn begin_session(&self, hash: &[u8], user: &str, now_ms: i64) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO sessions (hash, user, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)",
                params![hash, user, now_ms],
            )
            .map(drop)
        })
    }

    /// The session of this hash, where its user may still sign in. Reads, and writes at most once a minute.
    pub fn session(&self, hash: &[u8], now_ms: i64) -> Result<Option<SessionRow>> {
        let found = self.read(|conn| {
            let mut session = conn.prepare_cached(
                "SELECT u.name, u.role, u.os_user, s.created_ms, s.seen_ms FROM sessions s JOIN users u ON u.name = s.user
                 WHERE s.hash = ?1 AND u.disabled_at IS NULL",
            )?;
            let row = session.query_row([hash], |row| {
                Ok(SessionRow {
                    user: row.get(0)?,
                    role: row.get(1)?,
                    os_user: row.get(2)?,
                    created_ms: row.get(3)?,
                    seen_ms: row.get(4)?,
                })
            });
            row.optional()
        })?;
        Ok(found.filter(|session| now_ms >= session.created_ms - SEEN_EVERY_MS))
    }

    /// Writes down that a session was used; at most once a minute.
    pub fn touch_session(&self, hash: &[u8], seen_ms: i64, now_ms: i64) -> Result<()> {
        if now_ms - seen_ms < SEEN_EVERY_MS {
            return Ok(());
        }
        self.write(|tx| tx.execute("UPDATE sessions SET seen_ms = ?2 WHERE hash = ?1", params![hash, now_ms]).map(drop))
    }

    /// Ends a session.
    pub fn end_session(&self, hash: &[u8]) -> Result<()> {
        self.write(|tx| tx.execute("DELETE FROM sessions WHERE hash = ?1", [hash]).map(drop))
    }

    /// Takes sessions away that have ended by themselves.
    pub fn sweep_sessions(&self, created_before_ms: i64, seen_before_ms: i64) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "DELETE FROM sessions WHERE created_ms < ?1 OR seen_ms < ?2",
                [created_before_ms, seen_before_ms],
            )
            .map(drop)
        })
    }
}
