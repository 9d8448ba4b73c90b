//! Use case: users, roles, sessions and tokens of the page and the API.
//!
//! `role` is the table of rights, `secret` makes and hashes passwords and tokens, `throttle` computes the delay after
//! failed sign-ins, and `network` determines which addresses count as one client. A session (`sessions`), an API token
//! (`tokens`) or the header of a trusted proxy (`proxy`) authenticates a request. [`crate::store::access`] stores
//! users, sessions and tokens.
//!
//! A disabled user cannot sign in. No error message says whether the name or the password was wrong. recoup stores no
//! secret in plain text.

mod network;
mod proxy;
mod role;
mod secret;
mod sessions;
mod throttle;
mod tokens;

use std::time::Duration;

use jiff::Timestamp;

pub use network::network_of;
pub use proxy::proxied;
pub use role::{Right, Role};
pub use secret::{PASSWORD_AT_LEAST, new_password, random_text};
pub use sessions::{LoginRefused, NewSession, OpenSession, Origin, Session};
pub use tokens::Token;

use crate::error::{Error, Kind, Result};
use crate::store::access::{AccessFile, UserRow};
pub use crate::store::access::{By, Idempotency};
use crate::store::ledger::Lost;
use crate::store::{Identity, Place};

/// Longest name of a user or a token, in bytes.
const NAME_AT_MOST: usize = 64;

/// The two time limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A session expires after this long without a request.
    pub idle: Duration,
    /// A session expires after this long even if the user keeps using it.
    pub absolute: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_hours(1), absolute: Duration::from_hours(12) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    Session,
    Token {
        id: i64,
        scopes: Vec<Right>,
    },
    /// The user signed in through a trusted reverse proxy, which sent the name in a header.
    Proxy,
}

impl AuthMethod {
    /// The number of the API token.
    pub fn token(&self) -> Option<i64> {
        match self {
            Self::Token { id, .. } => Some(*id),
            Self::Session | Self::Proxy => None,
        }
    }

    /// Returns the text by which the ledger records this user.
    pub fn describe(&self) -> String {
        match self {
            Self::Session | Self::Proxy => "page".to_owned(),
            Self::Token { id, .. } => format!("API token {id}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    /// The user's role at the time of this request, which may differ from the role at sign-in.
    pub role: Role,
    /// The user's name in the operating system.
    pub os_user: Option<String>,
    pub by: AuthMethod,
}

impl Principal {
    /// Returns `true` if both the user's role and the token's scopes allow the right.
    pub fn may(&self, right: Right) -> bool {
        let scoped = match &self.by {
            AuthMethod::Token { scopes, .. } => scopes.contains(&right),
            AuthMethod::Session | AuthMethod::Proxy => true,
        };
        scoped && self.role.may(right)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct User {
    pub name: String,
    pub role: Role,
    /// The user's name in the operating system.
    pub os_user: Option<String>,
    /// When the user was created, RFC 3339.
    pub created_at: String,
    /// When the user was disabled, RFC 3339; `null` if the user may sign in.
    pub disabled_at: Option<String>,
}

impl User {
    /// Returns every name that the ledger may contain for this person.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(&self.os_user).cloned().collect()
    }

    /// Returns which approvals and approval requests of this person must not stay in force.
    pub fn lost(&self) -> Lost {
        let (is_disabled, may) = (self.disabled_at.is_some(), |right| self.role.may(right));
        Lost {
            requests: is_disabled || !may(Right::Retract),
            approvals: is_disabled || !may(Right::Approve),
            why: if is_disabled { "their user was disabled" } else { "their role was reduced" },
        }
    }
}

#[derive(Debug)]
pub struct AccessControl {
    file: AccessFile,
    limits: Limits,
}

impl AccessControl {
    /// Opens the users' database, or creates it.
    pub fn open(place: impl Into<Place>, identity: &Identity, limits: Limits) -> Result<Self> {
        Ok(Self { file: AccessFile::open(place, identity)?, limits })
    }

    /// Opens the users' database. Returns `None` if the database does not exist.
    pub fn open_existing(place: &Place, identity: &Identity, limits: Limits) -> Result<Option<Self>> {
        Ok(AccessFile::open_existing(place, identity)?.map(|file| Self { file, limits }))
    }

    pub fn has_users(&self) -> Result<bool> {
        Ok(self.file.users()?.iter().any(|user| user.disabled_at.is_none()))
    }

    pub fn users(&self) -> Result<Vec<User>> {
        self.file.users()?.into_iter().map(user).collect()
    }

    pub fn user(&self, name: &str) -> Result<User> {
        let found = self.file.user(name)?.ok_or_else(|| {
            Error::new(Kind::Failed, format!("there is no user {name:?}")).hint("`recoup user list` shows them")
        })?;
        user(found)
    }

    /// Returns the enabled user of recoup that belongs to a user of the operating system.
    pub fn user_of_os(&self, os_user: &str) -> Result<Option<User>> {
        let found = self.file.user_of_os(os_user)?.filter(|user| user.disabled_at.is_none());
        found.map(user).transpose()
    }

    /// Returns an enabled user by name, so that the service can run the user's scheduled or earlier requests.
    pub fn principal(&self, name: &str) -> Result<Option<Principal>> {
        let Some(found) = self.file.user(name)?.filter(|user| user.disabled_at.is_none()) else { return Ok(None) };
        let found = user(found)?;
        Ok(Some(Principal { name: found.name, role: found.role, os_user: found.os_user, by: AuthMethod::Session }))
    }

    /// Returns an enabled user by the name that a trusted proxy sent.
    pub fn by_proxy(&self, name: &str) -> Result<Option<Principal>> {
        Ok(self.principal(name)?.map(|user| Principal { by: AuthMethod::Proxy, ..user }))
    }

    pub fn add_user(
        &mut self,
        name: &str,
        role: Role,
        password: &str,
        os_user: Option<&str>,
        by: &By<'_>,
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
        if !self.file.add_user(&row, &secret::hash_password(password)?, by)? {
            let taken = if self.file.user(name)?.is_some() { "the name" } else { "the operating system's user" };
            return Err(Error::new(Kind::Usage, format!("{taken} is taken")).hint("`recoup user list` shows them"));
        }
        self.user(name)
    }

    /// Fails if no user would have the right to manage users afterwards.
    pub fn set_role(&mut self, name: &str, role: Role, by: &By<'_>) -> Result<User> {
        self.user(name)?;
        let hint = (!role.may(Right::Administer)).then_some("make another user admin first");
        self.file.set_role(name, role.as_str(), &|users: &[UserRow]| check_admin_is_left(users, name, hint), by)?;
        self.user(name)
    }

    /// Changes the password and ends all sessions of the user.
    pub fn set_password(&mut self, name: &str, password: &str, by: &By<'_>) -> Result<User> {
        self.replace_password(name, password, "another password", by)
    }

    fn replace_password(&mut self, name: &str, password: &str, what: &str, by: &By<'_>) -> Result<User> {
        secret::check_password(password)?;
        self.user(name)?;
        self.file.set_password(name, &secret::hash_password(password)?, what, by)?;
        self.user(name)
    }

    /// Disables a user and ends their sessions and tokens at once. If no user would have the right to manage users afterwards,
    /// fails with `hint`; `None` allows that.
    pub fn disable(&mut self, name: &str, hint: Option<&str>, by: &By<'_>) -> Result<User> {
        self.user(name)?;
        self.file.disable(name, &|users: &[UserRow]| check_admin_is_left(users, name, hint), by)?;
        self.user(name)
    }

    pub fn enable(&mut self, name: &str, by: &By<'_>) -> Result<User> {
        self.user(name)?;
        self.file.enable(name, by)?;
        self.user(name)
    }

    /// Records a change to something that is not in the users' database.
    pub fn log(&mut self, what: &str, by: &By<'_>) -> Result<()> {
        self.file.log(by, what)
    }

    /// Returns the recorded changes to users and tokens, oldest first: time, actor, description.
    pub fn log_entries(&self) -> Result<Vec<(String, String, String)>> {
        self.file.logged()
    }

    /// Reserves an Idempotency-Key for an API request.
    pub fn begin_idempotent(&mut self, user: &str, key: &str, hash: &str, now: Timestamp) -> Result<Idempotency> {
        self.file.begin_idempotent(user, key, hash, now.as_millisecond())
    }

    /// Stores the response to an API request, so that a repeated request gets the same response.
    pub fn finish_idempotent(&mut self, user: &str, key: &str, status: u16, body: &str) -> Result<()> {
        self.file.finish_idempotent(user, key, status, body)
    }

    /// Releases an Idempotency-Key whose API request had no effect.
    pub fn forget_idempotent(&mut self, user: &str, key: &str) -> Result<()> {
        self.file.forget_idempotent(user, key)
    }
}

/// Fails if no user would have the right to manage users without this one. The check runs in the transaction of the change:
/// otherwise two administrators could take the right from each other at the same time.
fn check_admin_is_left(users: &[UserRow], name: &str, hint: Option<&str>) -> Result<()> {
    let may = |row: &&UserRow| {
        row.disabled_at.is_none() && Role::parse(&row.role).is_some_and(|role| role.may(Right::Administer))
    };
    let is_last = users.iter().filter(may).all(|row| row.name == name) && users.iter().any(|row| may(&row));
    match hint {
        Some(hint) if is_last => {
            Err(Error::new(Kind::Refused, format!("{name} is the last user who may manage users")).hint(hint))
        }
        _ => Ok(()),
    }
}

fn user(row: UserRow) -> Result<User> {
    let role = Role::parse(&row.role)
        .ok_or_else(|| Error::new(Kind::Storage, format!("user {:?} has no known role", row.name)))?;
    let UserRow { name, os_user, created_at, disabled_at, .. } = row;
    Ok(User { name, role, os_user, created_at, disabled_at })
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if !name.is_empty() && name.len() <= NAME_AT_MOST && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        format!("the name of a {what} must have 1 to {NAME_AT_MOST} letters, digits, and . _ - @"),
    ))
}

#[cfg(test)]
mod tests;
