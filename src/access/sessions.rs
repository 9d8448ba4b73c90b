//! Signing in at the page, and the sessions that come of it.
//!
//! A session is known by the hash of its cookie and ends by itself. Guessing is slowed down by where it comes from and by the
//! name that is tried, whether a user has it or not; nothing here says which of name and password was wrong. A browser in which
//! somebody has signed in before is counted by itself: a stranger's guesses must not lock the owner of a name out.

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
    /// What the browser keeps for longer: that somebody has signed in by this name in it.
    pub browser: String,
}

/// Where an attempt to sign in comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The network of the client.
    pub peer: String,
    /// [`NewSession::browser`] of an earlier session, as the browser says it.
    pub browser: Option<String>,
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
    /// Signs somebody in. Hashes, so it takes tens of milliseconds.
    pub fn login(
        &mut self,
        name: &str,
        password: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<std::result::Result<NewSession, LoginRefused>> {
        let now_ms = now.as_millisecond();
        let is_name = check_name("user", name).is_ok();
        let browser = origin.browser.as_deref().filter(|_| is_name).and_then(|word| self.known_browser(name, word));
        let mut keys: Vec<Counted> = Vec::new();
        if let Some(number) = browser {
            keys.push((format!("browser:{number}"), throttle::of_known_browser));
        } else {
            keys.push((format!("peer:{}", origin.peer), throttle::of_peer));
            // Also a name that no user has, or the answers would differ.
            if is_name {
                keys.push((format!("user:{name}"), throttle::of_user));
            }
        }
        if let Some(until_ms) = self.file.attempt(&keys, throttle::FORGOTTEN_EVERY_MS, now_ms)? {
            let until = Timestamp::from_millisecond(until_ms).unwrap_or(now);
            return Ok(Err(LoginRefused::Throttled { until }));
        }
        let can_be = is_name && password.len() <= secret::PASSWORD_AT_MOST;
        let stored = if can_be { self.file.password_of(name)? } else { None };
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
        let number = browser.map_or_else(secret::random_text, |number| Ok(number.to_owned()))?;
        let browser = format!("{number}.{}", secret::seal(self.file.csrf_key(), &browser_subject(name, &number)));
        Ok(Ok(NewSession { cookie: SecretString::from(cookie.as_str()), browser }))
    }

    /// The number of a browser in which somebody has signed in by this name before.
    fn known_browser<'a>(&self, name: &str, word: &'a str) -> Option<&'a str> {
        let (number, given) = word.split_once('.')?;
        secret::is_seal(self.file.csrf_key(), &browser_subject(name, number), given).then_some(number)
    }

    /// Gives somebody another password, which they choose themselves: the one they have is asked for, and guessing it is slowed
    /// down like signing in. Their sessions end, and a new one begins. Hashes several times.
    pub fn change_password(
        &mut self,
        name: &str,
        old: &str,
        new: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<std::result::Result<NewSession, LoginRefused>> {
        secret::check_password(new)?;
        if let Err(refused) = self.login(name, old, origin, now)? {
            return Ok(Err(refused));
        }
        self.set_password(name, new, now)?;
        self.log(&Actor::new(name, "page"), &format!("user {name}: another password, by themselves"), now)?;
        self.login(name, new, origin, now)
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

/// What the word of a browser is made from.
fn browser_subject(name: &str, number: &str) -> String {
    format!("browser:{name}:{number}")
}
