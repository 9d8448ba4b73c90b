//! Use case: who may do what at the page and the API.
//!
//! `role` is the one table of rights; `secret` makes and hashes what only its owner knows; `throttle` says how long a failed
//! attempt costs; `proxy` takes a proxy's word for who somebody is. What is kept is in [`crate::store::access`]. Nobody who is
//! disabled gets in, nothing here says which of name and password was wrong, and no secret is kept as it is.

mod proxy;
mod role;
mod secret;
mod throttle;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

pub use proxy::proxied;
pub use role::{Right, Role};
pub use secret::{PASSWORD_AT_LEAST, new_password, random_text};

use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::store::Identity;
pub use crate::store::access::Once;
use crate::store::access::{AccessFile, Counted, NewToken, TokenRow, UserRow};

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

/// A session of the page.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose it is.
    pub who: Who,
    /// The token that its forms carry.
    pub csrf: String,
}

/// A session that has just begun.
#[derive(Debug)]
pub struct NewSession {
    /// What the browser keeps. It is kept nowhere else.
    pub cookie: SecretString,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefused {
    /// The name or the password is wrong, or the user is disabled.
    Wrong,
    /// There were too many attempts.
    Throttled {
        /// No attempt before this.
        until: Timestamp,
    },
}

/// A token, without itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Right>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// Its newest request, RFC 3339, to the minute.
    pub used_at: Option<String>,
    /// RFC 3339; `null` while it may be used.
    pub revoked_at: Option<String>,
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

    /// Signs somebody in. `peer` is where they come from. Hashes, so it takes tens of milliseconds.
    pub fn login(
        &mut self,
        name: &str,
        password: &str,
        peer: &str,
        now: Timestamp,
    ) -> Result<std::result::Result<NewSession, LoginRefused>> {
        let now_ms = now.as_millisecond();
        // A name that cannot be one is counted under its peer alone: nobody fills the file with names.
        let mut keys: Vec<Counted> = vec![(format!("peer:{peer}"), throttle::of_peer)];
        let can_be = check_name("user", name).is_ok() && password.len() <= secret::PASSWORD_AT_MOST;
        let stored = if can_be { self.file.password_of(name)? } else { None };
        if stored.is_some() {
            keys.push((format!("user:{name}"), throttle::of_user));
        }
        if let Some(until_ms) = self.file.attempt(&keys, now_ms)? {
            let until = Timestamp::from_millisecond(until_ms).unwrap_or(now);
            return Ok(Err(LoginRefused::Throttled { until }));
        }
        // Somebody who does not exist takes as long as a wrong password.
        let fits = secret::verify(if can_be { password } else { "" }, stored.as_deref())?;
        if !fits {
            return Ok(Err(LoginRefused::Wrong));
        }
        let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
        self.file.forget_attempts(&keys, now_ms - throttle::REMEMBERED_MS)?;
        let (idle, absolute) = (self.limits.idle.as_millis() as i64, self.limits.absolute.as_millis() as i64);
        self.file.sweep_sessions(now_ms - absolute, now_ms - idle)?;
        let cookie = secret::random_secret()?;
        self.file.begin_session(&secret::hash(&cookie), name, now_ms)?;
        Ok(Ok(NewSession { cookie: SecretString::from(cookie) }))
    }

    /// Gives somebody another password, which they choose themselves: the one they have is asked for, and guessing it is slowed
    /// down like signing in. Their sessions end, and a new one begins. Hashes several times.
    pub fn change_password(
        &mut self,
        name: &str,
        old: &str,
        new: &str,
        peer: &str,
        now: Timestamp,
    ) -> Result<std::result::Result<NewSession, LoginRefused>> {
        secret::check_password(new)?;
        if let Err(refused) = self.login(name, old, peer, now)? {
            return Ok(Err(refused));
        }
        self.set_password(name, new, now)?;
        self.log(&Actor::new(name, "page"), &format!("user {name}: another password, by themselves"), now)?;
        self.login(name, new, peer, now)
    }

    /// The session of a cookie, where it has not ended.
    pub fn session(&mut self, cookie: &str, now: Timestamp) -> Result<Option<Session>> {
        let (hash, now_ms) = (secret::hash(cookie), now.as_millisecond());
        let Some(row) = self.file.session(&hash, now_ms)? else { return Ok(None) };
        let (idle, absolute) = (self.limits.idle.as_millis() as i64, self.limits.absolute.as_millis() as i64);
        if now_ms - row.seen_ms > idle || now_ms - row.created_ms > absolute {
            self.file.end_session(&hash)?;
            return Ok(None);
        }
        self.file.touch_session(&hash, row.seen_ms, now_ms)?;
        let Some(role) = Role::named(&row.role) else { return Ok(None) };
        let who = Who { name: row.user, role, os_user: row.os_user, by: By::Session };
        Ok(Some(Session { who, csrf: self.csrf_of(cookie) }))
    }

    /// Ends a session.
    pub fn end_session(&mut self, cookie: &str) -> Result<()> {
        self.file.end_session(&secret::hash(cookie))
    }

    /// The token that forms carry, for a cookie or for whatever else stands for one.
    pub fn csrf_of(&self, subject: &str) -> String {
        secret::seal(self.file.csrf_key(), subject)
    }

    /// Whether a form's token is the one for this cookie; takes as long whatever it is.
    pub fn check_csrf(&self, subject: &str, given: &str) -> bool {
        secret::is_seal(self.file.csrf_key(), subject, given)
    }

    /// Makes a token: its number and itself, which is kept nowhere.
    pub fn add_token(
        &mut self,
        owner: &str,
        name: &str,
        scopes: &[Right],
        expires_in: Duration,
        now: Timestamp,
    ) -> Result<(i64, SecretString)> {
        check_name("token", name)?;
        let owner = self.user(owner)?;
        if owner.disabled_at.is_some() {
            return Err(Error::new(Kind::Refused, format!("user {:?} is disabled", owner.name)));
        }
        if let Some(right) = scopes.iter().find(|right| !owner.role.may(**right)) {
            let (right, role) = (right.as_str(), owner.role.as_str());
            return Err(Error::new(
                Kind::Usage,
                format!("a token for {right} would do nothing: {} is {role}", owner.name),
            )
            .hint("leave the scope out, or give the user another role first"));
        }
        let secret = format!("{}{}", secret::TOKEN_PREFIX, secret::random_secret()?);
        let words: Vec<&str> = scopes.iter().map(|right| right.as_str()).collect();
        let expires = now.checked_add(expires_in).unwrap_or(Timestamp::MAX);
        let new = NewToken {
            user: &owner.name,
            name,
            hash: &secret::hash(&secret),
            scopes: &words.join(" "),
            expires_ms: expires.as_millisecond(),
        };
        Ok((self.file.add_token(&new, now)?, SecretString::from(secret)))
    }

    /// Every token, or those of one user.
    pub fn tokens(&self, owner: Option<&str>) -> Result<Vec<Token>> {
        Ok(self.file.tokens(owner)?.into_iter().map(token).collect())
    }

    /// Ends a token.
    pub fn revoke_token(&mut self, id: i64, now: Timestamp) -> Result<()> {
        if self.file.revoke_token(id, now)? {
            return Ok(());
        }
        Err(Error::new(Kind::Failed, format!("there is no token {id} that could be ended"))
            .hint("`recoup user token list` shows them"))
    }

    /// Who holds this token, where it and its user may still be.
    pub fn token(&mut self, secret: &str, now: Timestamp) -> Result<Option<Who>> {
        if !secret.starts_with(secret::TOKEN_PREFIX) {
            return Ok(None);
        }
        let Some(row) = self.file.token(&secret::hash(secret), now.as_millisecond())? else { return Ok(None) };
        let Some(role) = Role::named(&row.role) else { return Ok(None) };
        let by = By::Token { id: row.id, scopes: scopes_of(&row.scopes) };
        Ok(Some(Who { name: row.user, role, os_user: row.os_user, by }))
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

fn token(row: TokenRow) -> Token {
    let moment = |ms: i64| Timestamp::from_millisecond(ms).map(|at| format!("{at:.0}")).unwrap_or_default();
    Token {
        id: row.id,
        user: row.user,
        name: row.name,
        scopes: scopes_of(&row.scopes),
        created_at: row.created_at,
        expires_at: moment(row.expires_ms),
        used_at: row.used_ms.map(moment),
        revoked_at: row.revoked_at,
    }
}

fn scopes_of(words: &str) -> Vec<Right> {
    words.split(' ').filter_map(Right::named).collect()
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
