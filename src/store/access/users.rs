//! The users of the page and the API.

use super::{AccessFile, By, text};
use crate::error::Result;
use crate::store::db::{DbError, Row, ToValue, Tx};

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

/// Decides in the transaction of a change whether the users may be changed. Gets all users before the change.
pub type UserCheck<'a> = dyn Fn(&[UserRow]) -> Result<()> + 'a;

impl AccessFile {
    /// Adds a user. Returns `false` if another user has the name or the `os_user`.
    pub fn add_user(&self, user: &UserRow, password: &str, by: &By<'_>) -> Result<bool> {
        // ON CONFLICT has no target, because either of the two unique columns may conflict.
        let insert = "INSERT INTO users (name, role, password, os_user, created_at, password_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING";
        let at = text(by.at);
        let args: [&dyn ToValue; 5] = [&user.name, &user.role, &password, &user.os_user, &at];
        self.change(by, |tx| {
            let is_added = tx.run(insert, &args)? > 0;
            Ok((is_added, is_added.then(|| format!("user {}: added as {}", user.name, user.role))))
        })
    }

    /// Returns every user, ordered by name.
    pub fn users(&self) -> Result<Vec<UserRow>> {
        self.conn.read(all)
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

    pub fn set_role(&self, name: &str, role: &str, check: &UserCheck<'_>, by: &By<'_>) -> Result<()> {
        self.change(by, |tx| {
            check(&all(tx)?)?;
            tx.run("UPDATE users SET role = ?2 WHERE name = ?1", &[&name, &role])?;
            Ok(((), Some(format!("user {name}: role {role}"))))
        })
    }

    /// Changes a user's password, and ends their sessions. `what` describes the change for the log.
    pub fn set_password(&self, name: &str, password: &str, what: &str, by: &By<'_>) -> Result<()> {
        self.change(by, |tx| {
            let update = "UPDATE users SET password = ?2, password_at = ?3 WHERE name = ?1";
            tx.run(update, &[&name, &password, &text(by.at)])?;
            tx.run("DELETE FROM sessions WHERE user_name = ?1", &[&name])?;
            tx.run("DELETE FROM sign_in_attempts WHERE key = ?1", &[&format!("user:{name}")])?;
            Ok(((), Some(format!("user {name}: {what}"))))
        })
    }

    /// Disables a user, and ends all their sessions and tokens.
    pub fn disable(&self, name: &str, check: &UserCheck<'_>, by: &By<'_>) -> Result<()> {
        let now = text(by.at);
        self.change(by, |tx| {
            check(&all(tx)?)?;
            tx.run("UPDATE users SET disabled_at = ?2 WHERE name = ?1 AND disabled_at IS NULL", &[&name, &now])?;
            tx.run("DELETE FROM sessions WHERE user_name = ?1", &[&name])?;
            let revoke = "UPDATE tokens SET revoked_at = ?2 WHERE user_name = ?1 AND revoked_at IS NULL";
            tx.run(revoke, &[&name, &now])?;
            Ok(((), Some(format!("user {name}: disabled"))))
        })
    }

    /// Lets a user sign in again. The user's tokens stay revoked.
    pub fn enable(&self, name: &str, by: &By<'_>) -> Result<()> {
        self.change(by, |tx| {
            tx.run("UPDATE users SET disabled_at = NULL WHERE name = ?1", &[&name])?;
            Ok(((), Some(format!("user {name}: enabled"))))
        })
    }
}

fn all(tx: &Tx<'_>) -> Result<Vec<UserRow>, DbError> {
    tx.rows(&format!("SELECT {COLUMNS} FROM users ORDER BY name"), &[], from_row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;
    use crate::store::Identity;
    use crate::store::access::NewToken;

    #[test]
    fn nothing_is_changed_if_the_log_cannot_be_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = AccessFile::open(folder.path().join("a.db"), &Identity::of_a_test()).expect("opens");
        let actor = Actor::new("boss", "a test");
        let by = By { actor: &actor, at: jiff::Timestamp::UNIX_EPOCH };
        let row = |name: &str| UserRow {
            name: name.to_owned(),
            role: "agent".to_owned(),
            os_user: None,
            created_at: String::new(),
            disabled_at: None,
        };
        assert!(file.add_user(&row("ann"), "hash", &by).expect("adds"));
        file.begin_session(b"a session", "ann", 0).expect("begins");
        file.conn.raw().execute_batch("DROP TABLE log").expect("the log is gone");
        let before = (file.users().expect("reads"), file.sessions().expect("reads"));
        let token = NewToken { user: "ann", name: "desk", hash: b"h", scopes: "lookup", expires_ms: 1 };
        assert!(file.add_user(&row("bob"), "hash", &by).is_err());
        assert!(file.set_role("ann", "admin", &|_| Ok(()), &by).is_err());
        assert!(file.set_password("ann", "other", "another password", &by).is_err());
        assert!(file.add_token(&token, &by).is_err());
        assert!(file.end_sessions_of("ann", &by).is_err());
        assert!(file.end_session_of("ann", &before.1[0].id, &by).is_err());
        assert!(file.disable("ann", &|_| Ok(()), &by).is_err());
        assert_eq!((file.users().expect("reads"), file.sessions().expect("reads")), before);
        assert_eq!(file.password_of("ann").expect("reads").as_deref(), Some("hash"));
        assert!(file.tokens(None).expect("reads").is_empty());
    }
}
