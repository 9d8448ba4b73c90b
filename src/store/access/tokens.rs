//! API tokens, known by their hash.

use jiff::Timestamp;

use super::{AccessFile, SEEN_EVERY_MS, text};
use crate::error::Result;
use crate::store::db::{DbError, Row};

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
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

/// What is known of a token; not the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: i64,
    pub user: String,
    /// The user's role now.
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
    /// The newest request, Unix milliseconds, to the minute.
    pub used_ms: Option<i64>,
    /// RFC 3339; `None` while it may be used.
    pub revoked_at: Option<String>,
}

const SELECT: &str =
    "SELECT t.id, t.user_name, u.role, u.os_user, t.name, t.scopes, t.created_at, t.expires_ms, t.used_ms,
    t.revoked_at FROM tokens t JOIN users u ON u.name = t.user_name";

fn from_row(row: &Row<'_>) -> Result<TokenRow, DbError> {
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
    /// Gives the number of the new token.
    pub fn add_token(&self, new: &NewToken<'_>, now: Timestamp) -> Result<i64> {
        self.conn.write(|tx| {
            tx.one(
                "INSERT INTO tokens (user_name, name, hash, scopes, created_at, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
                &[&new.user, &new.name, &new.hash, &new.scopes, &text(now), &new.expires_ms],
                |row| row.get(0),
            )
        })
    }

    /// The token with this hash, if it and its user are still valid. Writes at most once a minute.
    pub fn token(&self, hash: &[u8], now_ms: i64) -> Result<Option<TokenRow>> {
        let valid = "t.hash = ?1 AND t.revoked_at IS NULL AND u.disabled_at IS NULL AND t.expires_ms > ?2";
        let select = format!("{SELECT} WHERE {valid}");
        let found = self.conn.read(|tx| tx.opt(&select, &[&hash, &now_ms], from_row))?;
        if let Some(token) = &found
            && token.used_ms.is_none_or(|used| now_ms - used >= SEEN_EVERY_MS)
        {
            self.run("UPDATE tokens SET used_ms = ?2 WHERE id = ?1", &[&token.id, &now_ms])?;
        }
        Ok(found)
    }

    /// Every token, or those of one user.
    pub fn tokens(&self, user: Option<&str>) -> Result<Vec<TokenRow>> {
        let select = format!("{SELECT} WHERE CAST(?1 AS TEXT) IS NULL OR t.user_name = ?1 ORDER BY t.id");
        self.conn.read(|tx| tx.rows(&select, &[&user], from_row))
    }

    /// Ends a token; `false` if there is none of that number, or it has ended.
    pub fn revoke_token(&self, id: i64, now: Timestamp) -> Result<bool> {
        let update = "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        Ok(self.conn.write(|tx| tx.run(update, &[&id, &text(now)]))? > 0)
    }
}
