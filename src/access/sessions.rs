//! Signing in at the page, and the sessions that come of it.
//!
//! A session is known by the hash of its cookie and ends by itself. Guessing is slowed down by where it comes from and by whose
//! password it is; nothing here says which of name and password was wrong.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{Access, By, Role, Who, check_name, secret, throttle};
use crate::error::Result;
use crate::model::Actor;
use crate::store::access::Counted;

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

impl Access {
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
}
