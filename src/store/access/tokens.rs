//! API tokens, known by their hash.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::{AccessFile, SEEN_EVERY_MS, text};
use crate::error::Result;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// Whose it is.
    pub user: &'a str,
    /// What it is for.
    pub name: &'a str,
    /// SHA-256 of it.
    pub hash: &'a [u8],
    /// Words, with a space between two.
    pub scopes: &'a str,
    /// Unix milliseconds.
    pub expires_ms: i64,
}

/// A token, without itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// Their role now.
    pub role: String,
    /// The operating system's user that is the same person.
    pub os_user: Option<String>,
    /// What it is for.
    pub name: String,
    /// Words, with a space between two.
    pub scopes: String,
    /// RFC 3339.
    pub created_at: String,
    /// Unix milliseconds.
    pub expires_ms: i64,
    /// Its newest request, Unix milliseconds, to the minute.
    pub used_ms: Option<i64>,
    /// RFC 3339; `None` while it may be used.
    pub revoked_at: Option<String>,
}

const COLUMNS: &str =
    "t.id, t.user, u.role, u.os_user, t.name, t.scopes, t.created_at, t.expires_ms, t.used_ms, t.revoked_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        id: row.get(0)?,
        user: row.get(1)?,
        role: row.get(2)?,
        os_user: row.get(3)?,
        name: row.get(4)?,
        scopes: row.get(5)?,
        created_at: row.get(6)?,
        expires_ms: row.get(7)?,
        used_ms: row.get(8)?,
        revoked_at: row.get(9)?,
    })
}

impl AccessFile {
    /// Makes a token; its number.
    pub fn add_token(&self, new: &NewToken<'_>, now: Timestamp) -> Result<i64> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO tokens (user, name, hash, scopes, created_at, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![new.user, new.name, new.hash, new.scopes, text(now), new.expires_ms],
            )?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// The token of this hash, where it and its user may still be. Reads, and writes at most once a minute.
    pub fn token(&self, hash: &[u8], now_ms: i64) -> Result<Option<TokenRow>> {
        let found = self.read(|conn| {
            let mut token = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens t JOIN users u ON u.name = t.user
                 WHERE t.hash = ?1 AND t.revoked_at IS NULL AND u.disabled_at IS NULL AND t.expires_ms > ?2"
            ))?;
            token.query_row(params![hash, now_ms], from_row).optional()
        })?;
        if let Some(token) = &found
            && token.used_ms.is_none_or(|used| now_ms - used >= SEEN_EVERY_MS)
        {
            let id = token.id;
            self.write(|tx| tx.execute("UPDATE tokens SET used_ms = ?2 WHERE id = ?1", [id, now_ms]).map(drop))?;
        }
        Ok(found)
    }

    /// Every token, or those of one user.
    pub fn tokens(&self, user: Option<&str>) -> Result<Vec<TokenRow>> {
        self.read(|conn| {
            let mut tokens = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens t JOIN users u ON u.name = t.user WHERE ?1 IS NULL OR t.user = ?1 ORDER BY t.id"
            ))?;
            tokens.query_map([user], from_row)?.collect()
        })
    }

    /// Ends a token; `false` where there is none of that number, or it has ended.
    pub fn revoke_token(&self, id: i64, now: Timestamp) -> Result<bool> {
        self.write(|tx| {
            let ended = tx.execute(
                "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
                params![id, text(now)],
            )?;
            Ok(ended > 0)
        })
    }
}
