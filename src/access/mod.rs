//! Use case: who may do what at the page and the API.
//!
//! `role` is the one table of rights; `secret` makes and hashes what only its owner knows; `throttle` says how long a failed
//! attempt costs, and `network` which addresses are one. Somebody is known by a session (`sessions`), a token (`tokens`), or a
//! proxy's word (`proxy`). What is kept is in [`crate::store::access`]. Nobody who is disabled gets in, nothing here says which of
//! name and password was wrong, and no secret is kept as it is.

mod network;
mod proxy;
mod role;
mod secret;
mod sessions;
mod throttle;
mod tokens;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

pub use network::network_of;
pub use proxy::proxied;
pub use role::{Right, Role};
pub use secret::{PASSWORD_AT_LEAST, new_password, random_text};
pub use sessions::{LoginRefused, NewSession, Origin, Session};
pub use tokens::Token;

use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::store::Identity;
pub use crate::store::access::Once;
use crate::store::access::{AccessFile, UserRow};

/// The longest name of a user or a token, in bytes.
const NAME_AT_MOST: usize = 64;

/// When sessions end.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a request for this long.
    pub idle: Duration,
    /// After this time whatever happens.
    pub absolute: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_hours(1), absolute: Duration::from_hours(12) }
    }
}

/// By what somebody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A session of the page.
    Session,
    /// A token of the API.
    Token {
        /// Its number.
        id: i64,
        /// What it may be used for.
        scopes: Vec<Right>,
    },
    /// A proxy's word.
    Proxy,
}

impl By {
    /// The words for it, for the ledger.
    pub fn describe(&self) -> String {
        match self {
            Self::Session | Self::Proxy => "page".to_owned(),
            Self::Token { id, .. } => format!("API token {id}"),
        }
    }
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Their name.
    pub name: String,
    /// Their role now.
    pub role: Role,
    /// The operating system's user that is the same person.
    pub os_user: Option<String>,
    /// By what they are known.
    pub by: By,
}

impl Who {
    /// Whether they may: their role must, and a token must be for it.
    pub fn may(&self, right: Right) -> bool {
        let scoped = match &self.by {
            By::Token { scopes, .. } => scopes.contains(&right),
            By::Session | By::Proxy => true,
        };
        scoped && self.role.may(right)
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct User {
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// The operating system's user that is the same person.
    pub os_user: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `null` while they may sign in.
    pub disabled_at: Option<String>,
}

impl User {
    /// Every name of this person.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(&self.os_user).cloned().collect()
    }
}

/// Who may do what.
#[derive(Debug)]
pub struct Access {
    file: AccessFile,
    limits: Limits,
}

impl Access {
    /// Opens the file; creates it where it is missing.
    pub fn open(path: &Path, identity: &Identity, limits: Limits) -> Result<Self> {
        Ok(Self { file: AccessFile::open(path, identity)?, limits })
    }

    /// Opens the file; `None` where there is no user yet.
    pub fn open_existing(path: &Path, identity: &Identity, limits: Limits) -> Result<Option<Self>> {
        Ok(AccessFile::open_existing(path, identity)?.map(|file| Self { file, limits }))
    }

    /// Whether anybody can sign in at all.
    pub fn has_users(&self) -> Result<bool> {
        Ok(self.file.users()?.iter().any(|user| user.disabled_at.is_none()))
    }

    /// Every user.
    pub fn users(&self) -> Result<Vec<User>> {
        self.file.users()?.into_iter().map(user).collect()
    }

    /// One user.
    pub fn user(&self, name: &str) -> Result<User> {
        let found = self.file.user(name)?.ok_or_else(|| {
            Error::new(Kind::Failed, format!("there is no user {name:?}")).hint("`recoup user list` shows them")
        })?;
        user(found)
    }

    /// The user that is the same person as this user of the operating system, where they may still sign in.
    pub fn user_of_os(&self, os_user: &str) -> Result<Option<User>> {
        let found = self.file.user_of_os(os_user)?.filter(|user| user.disabled_at.is_none());
        found.map(user).transpose()
    }

    /// Somebody by their name, where they may still sign in: for what was asked for in their name.
    pub fn who(&self, name: &str) -> Result<Option<Who>> {
        let Some(found) = self.file.user(name)?.filter(|user| user.disabled_at.is_none()) else { return Ok(None) };
        let found = user(found)?;
        Ok(Some(Who { name: found.name, role: found.role, os_user: found.os_user, by: By::Session }))
    }

    /// Somebody by a proxy's word.
    pub fn by_proxy(&self, name: &str) -> Result<Option<Who>> {
        Ok(self.who(name)?.map(|who| Who { by: By::Proxy, ..who }))
    }

    /// Adds a user.
    pub fn add_user(
        &mut self,
        name: &str,
        role: Role,
        password: &str,
        os_user: Option<&str>,
        now: Timestamp,
    ) -> Result<User> {
        check_name("user", name)?;
        secret::check_password(password)?;
        if let Some(os_user) = os_user {
            check_name("operating system's user", os_user)?;
        }
        let row = UserRow {
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            os_user: os_user.map(str::to_owned),
            created_at: String::new(),
            disabled_at: None,
        };
        if !self.file.add_user(&row, &secret::hash_password(password)?, now)? {
            let taken = if self.file.user(name)?.is_some() { "the name" } else { "the operating system's user" };
            return Err(Error::new(Kind::Usage, format!("{taken} is taken")).hint("`recoup user list` shows them"));
        }
        self.user(name)
    }

    /// Gives a user another role.
    pub fn set_role(&mut self, name: &str, role: Role) -> Result<User> {
        self.user(name)?;
        self.file.set_role(name, role.as_str())?;
        self.user(name)
    }

    /// Gives a user another password, and ends their sessions.
    pub fn set_password(&mut self, name: &str, password: &str, now: Timestamp) -> Result<User> {
        secret::check_password(password)?;
        self.user(name)?;
        self.file.set_password(name, &secret::hash_password(password)?, now)?;
        self.user(name)
    }

    /// Disables a user: their sessions and tokens end at once.
    pub fn disable(&mut self, name: &str, now: Timestamp) -> Result<User> {
        self.user(name)?;
        self.file.disable(name, now)?;
        self.user(name)
    }

    /// Lets a user sign in again.
    pub fn enable(&mut self, name: &str) -> Result<User> {
        self.user(name)?;
        self.file.enable(name)?;
        self.user(name)
    }

    /// Writes down what was done to users and tokens.
    pub fn log(&mut self, actor: &Actor, what: &str, now: Timestamp) -> Result<()> {
        self.file.log(actor, what, now)
    }

    /// What was done to users and tokens, oldest first: when, by whom, what.
    pub fn logged(&self) -> Result<Vec<(String, String, String)>> {
        self.file.logged()
    }

    /// Takes an Idempotency-Key for a request.
    pub fn begin_once(&mut self, user: &str, key: &str, hash: &str, now: Timestamp) -> Result<Once> {
        self.file.begin_once(user, key, hash, now.as_millisecond())
    }

    /// Keeps the answer of a request.
    pub fn finish_once(&mut self, user: &str, key: &str, status: u16, body: &str) -> Result<()> {
        self.file.finish_once(user, key, status, body)
    }

    /// Frees a key: nothing was done by its request.
    pub fn forget_once(&mut self, user: &str, key: &str) -> Result<()> {
        self.file.forget_once(user, key)
    }
}

fn user(row: UserRow) -> Result<User> {
    let role = Role::named(&row.role)
        .ok_or_else(|| Error::new(Kind::Storage, format!("user {:?} has no known role", row.name)))?;
    let UserRow { name, os_user, created_at, disabled_at, .. } = row;
    Ok(User { name, role, os_user, created_at, disabled_at })
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if !name.is_empty() && name.len() <= NAME_AT_MOST && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("the name of a {what} has 1 to {NAME_AT_MOST} letters, digits, and . _ - @")))
}

#[cfg(test)]
mod tests;
