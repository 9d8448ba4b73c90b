//! The users of the page and the API.

use jiff::Timestamp;

use super::{AccessFile, text};
use crate::error::Result;
use crate::store::db::{DbError, Row, ToValue};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    pub name: String,
    /// The role: `viewer`, `agent`, `lead` or `admin`.
    pub role: String,
    /// The user's name in the operating system.
    pub os_user: Option<String>,
    /// When the user was added, RFC 3339.
    pub created_at: String,
    /// When the user was disabled, RFC 3339; `None` if the user may sign in.
    pub disabled_at: Option<String>,
}

const COLUMNS: &str = "name, role, os_user, created_at, disabled_at";

fn from_row(row: &Row<'_>) -> Result<UserRow, DbError> {
    Ok(UserRow {
        name: row.get(0)?,
        role: row.get(1)?,
        os_user: row.get(2)?,
        created_at: row.get(3)?,
        disabled_at: row.get(4)?,
    })
}

impl AccessFile {
    /// Adds a user. Returns `false` if another user has the name or the `os_user`.
    pub fn add_user(&self, user: &UserRow, password: &str, now: Timestamp) -> Result<bool> {
        // ON CONFLICT has no target, because either of the two unique columns may conflict.
        let insert = "INSERT INTO users (name, role, password, os_user, created_at, password_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING";
        let args: [&dyn ToValue; 5] = [&user.name, &user.role, &password, &user.os_user, &text(now)];
        Ok(self.conn.write(|tx| tx.run(insert, &args))? > 0)
    }

    /// Returns every user, ordered by name.
    pub fn users(&self) -> Result<Vec<UserRow>> {
        self.conn.read(|tx| tx.rows(&format!("SELECT {COLUMNS} FROM users ORDER BY name"), &[], from_row))
    }

    pub fn user(&self, name: &str) -> Result<Option<UserRow>> {
        self.conn.read(|tx| tx.opt(&format!("SELECT {COLUMNS} FROM users WHERE name = ?1"), &[&name], from_row))
    }

    /// Returns the user linked to this user of the operating system.
    pub fn user_of_os(&self, os_user: &str) -> Result<Option<UserRow>> {
        self.conn.read(|tx| tx.opt(&format!("SELECT {COLUMNS} FROM users WHERE os_user = ?1"), &[&os_user], from_row))
    }

    /// Returns the hash of a user's password; `None` if the user does not exist or is disabled.
    pub fn password_of(&self, name: &str) -> Result<Option<String>> {
        let select = "SELECT password FROM users WHERE name = ?1 AND disabled_at IS NULL";
        self.conn.read(|tx| tx.opt(select, &[&name], |row| row.get(0)))
    }

    pub fn set_role(&self, name: &str, role: &str) -> Result<()> {
        self.run("UPDATE users SET role = ?2 WHERE name = ?1", &[&name, &role])
    }

    /// Changes a user's password, and ends their sessions.
    pub fn set_password(&self, name: &str, password: &str, now: Timestamp) -> Result<()> {
        self.conn.write(|tx| {
            let update = "UPDATE users SET password = ?2, password_at = ?3 WHERE name = ?1";
            tx.run(update, &[&name, &password, &text(now)])?;
            tx.run("DELETE FROM sessions WHERE user_name = ?1", &[&name])?;
            tx.run("DELETE FROM sign_in_attempts WHERE key = ?1", &[&format!("user:{name}")]).map(drop)
        })
    }

    /// Disables a user, and ends all their sessions and tokens.
    pub fn disable(&self, name: &str, now: Timestamp) -> Result<()> {
        let now = text(now);
        self.conn.write(|tx| {
            tx.run("UPDATE users SET disabled_at = ?2 WHERE name = ?1 AND disabled_at IS NULL", &[&name, &now])?;
            tx.run("DELETE FROM sessions WHERE user_name = ?1", &[&name])?;
            let revoke = "UPDATE tokens SET revoked_at = ?2 WHERE user_name = ?1 AND revoked_at IS NULL";
            tx.run(revoke, &[&name, &now]).map(drop)
        })
    }

    /// Lets a user sign in again. The user's tokens stay revoked.
    pub fn enable(&self, name: &str) -> Result<()> {
        self.run("UPDATE users SET disabled_at = NULL WHERE name = ?1", &[&name])
    }
}
