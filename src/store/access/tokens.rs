//! API tokens, identified by their hash.

use super::{AccessFile, By, SEEN_EVERY_MS, text};
use crate::error::Result;
use crate::store::db::{DbError, Row};

/// The values of a token to create.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    pub user: &'a str,
    /// The purpose of the token.
    pub name: &'a str,
    /// The SHA-256 hash of the token.
    pub hash: &'a [u8],
    /// The scopes, separated by spaces.
    pub scopes: &'a str,
    /// The time at which the token expires, Unix milliseconds.
    pub expires_ms: i64,
}

/// The metadata of a token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: i64,
    pub user: String,
    /// The user's current role.
    pub role: String,
    /// The name of the token's user in the operating system.
    pub os_user: Option<String>,
    /// The purpose of the token.
    pub name: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// When the token was created, RFC 3339.
    pub created_at: String,
    /// When the token expires, Unix milliseconds.
    pub expires_ms: i64,
    /// The time of the token's newest request, in Unix milliseconds, to the minute.
    pub used_ms: Option<i64>,
    /// When the token was revoked, RFC 3339; `None` if it was not revoked.
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
    /// Adds a token. Returns the token's number.
    pub fn add_token(&self, new: &NewToken<'_>, by: &By<'_>) -> Result<i64> {
        self.change(by, |tx| {
            let id: i64 = tx.one(
                "INSERT INTO tokens (user_name, name, hash, scopes, created_at, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
                &[&new.user, &new.name, &new.hash, &new.scopes, &text(by.at), &new.expires_ms],
                |row| row.get(0),
            )?;
            Ok((id, Some(format!("token {id} of {} added for {}", new.user, new.scopes.replace(' ', ", ")))))
        })
    }

    /// Returns the token with this hash, if the token is valid and its user is not disabled. Updates the token's time
    /// of last use at most once a minute.
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

    /// Returns every token, or the tokens of `user`.
    pub fn tokens(&self, user: Option<&str>) -> Result<Vec<TokenRow>> {
        let select = format!("{SELECT} WHERE CAST(?1 AS TEXT) IS NULL OR t.user_name = ?1 ORDER BY t.id");
        self.conn.read(|tx| tx.rows(&select, &[&user], from_row))
    }

    /// Revokes a token. Returns `false` if there is no such token, or if it is already revoked.
    pub fn revoke_token(&self, id: i64, by: &By<'_>) -> Result<bool> {
        let update = "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        self.change(by, |tx| {
            let is_revoked = tx.run(update, &[&id, &text(by.at)])? > 0;
            Ok((is_revoked, is_revoked.then(|| format!("token {id} revoked"))))
        })
    }
}
