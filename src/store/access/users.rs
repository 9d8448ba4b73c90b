//! Users, as rows.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::{AccessFile, text};
use crate::error::Result;

/// One user. The role is a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// `viewer`, `agent`, `lead`, `admin`.
    pub role: String,
    /// The operating system's user that is the same person.
    pub os_user: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `None` while they may sign in.
    pub disabled_at: Option<String>,
}

const COLUMNS: &str = "name, role, os_user, created_at, disabled_at";

fn from_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        name: row.get(0)?,
        role: row.get(1)?,
        os_user: row.get(2)?,
        created_at: row.get(3)?,
        disabled_at: row.get(4)?,
    })
}

impl AccessFile {
    /// Adds a user; `false` where the name, or the operating system's user, is taken.
    pub fn add_user(&self, user: &UserRow, password: &str, now: Timestamp) -> Result<bool> {
        self.write(|tx| {
            let added = tx.execute(
                "INSERT INTO users (name, role, password, os_user, created_at, password_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
                params![user.name, user.role, password, user.os_user, text(now)],
            )?;
            Ok(added > 0)
        })
    }

    /// Every user, by name.
    pub fn users(&self) -> Result<Vec<UserRow>> {
        self.read(|conn| {
            let mut users = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY name"))?;
            users.query_map([], from_row)?.collect()
        })
    }

    /// One user by name.
    pub fn user(&self, name: &str) -> Result<Option<UserRow>> {
        self.user_where("name", name)
    }

    /// One user by the operating system's user.
    pub fn user_of_os(&self, os_user: &str) -> Result<Option<UserRow>> {
        self.user_where("os_user", os_user)
    }

    fn user_where(&self, column: &str, value: &str) -> Result<Option<UserRow>> {
        self.read(|conn| {
            let mut user = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE {column} = ?1"))?;
            user.query_row([value], from_row).optional()
        })
    }

    /// The hash of a user's password; `None` where there is no such user, or they are disabled.
    pub fn password_of(&self, name: &str) -> Result<Option<String>> {
        self.read(|conn| {
            let mut user = conn.prepare_cached("SELECT password FROM users WHERE name = ?1 AND disabled_at IS NULL")?;
            user.query_row([name], |row| row.get(0)).optional()
        })
    }

    /// Gives a user another role.
    pub fn set_role(&self, name: &str, role: &str) -> Result<()> {
        self.write(|tx| tx.execute("UPDATE users SET role = ?2 WHERE name = ?1", [name, role]).map(drop))
    }

    /// Gives a user another password, and ends their sessions.
    pub fn set_password(&self, name: &str, password: &str, now: Timestamp) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "UPDATE users SET password = ?2, password_at = ?3 WHERE name = ?1",
                params![name, password, text(now)],
            )?;
            tx.execute("DELETE FROM sessions WHERE user = ?1", [name])?;
            tx.execute("DELETE FROM attempts WHERE key = ?1", [format!("user:{name}")]).map(drop)
        })
    }

    /// Disables a user, and with them every session and token, at once.
    pub fn disable(&self, name: &str, now: Timestamp) -> Result<()> {
        self.write(|tx| {
            let now = text(now);
            tx.execute("UPDATE users SET disabled_at = ?2 WHERE name = ?1 AND disabled_at IS NULL", [name, &now])?;
            tx.execute("DELETE FROM sessions WHERE user = ?1", [name])?;
            tx.execute("UPDATE tokens SET revoked_at = ?2 WHERE user = ?1 AND revoked_at IS NULL", [name, &now])
                .map(drop)
        })
    }

    /// Lets a user sign in again. Their tokens stay revoked.
    pub fn enable(&self, name: &str) -> Result<()> {
        self.write(|tx| tx.execute("UPDATE users SET disabled_at = NULL WHERE name = ?1", [name]).map(drop))
    }
}
