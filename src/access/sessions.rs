//! Signs users in on the page, and stores their sessions.
//!
//! The database stores a session under the hash of its cookie, and a session expires even without a sign-out. Failed
//! sign-ins delay further attempts from the same network and for the same user name, even if no user has that name. A
//! browser in which the user has signed in before has its own counter of failed sign-ins, so that a stranger's guesses
//! cannot lock the user out.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{AccessControl, AuthMethod, By, Principal, Role, check_name, secret, throttle};
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::store::access::CountedKey;

#[derive(Debug, Clone)]
pub struct Session {
    pub principal: Principal,
    /// The CSRF token for the forms of this session.
    pub csrf: String,
}

/// A session as other users may see it, without its cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Names the session, and is no secret.
    pub id: String,
    pub user: String,
    /// When the user signed in, RFC 3339.
    pub began_at: String,
    /// The time of the session's newest request, RFC 3339, to the minute.
    pub seen_at: String,
}

#[derive(Debug)]
pub struct NewSession {
    /// The session cookie, of which the server stores only the hash.
    pub cookie: SecretString,
    /// A long-lived cookie, which shows that this user has signed in with this browser.
    pub browser: String,
}

#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The client's network.
    pub peer: String,
    /// The cookie [`NewSession::browser`] of an earlier session, if the browser sent it.
    pub browser: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefused {
    /// The name or the password is wrong, or the user is disabled.
    Wrong,
    Throttled {
        /// Sign-in is throttled; the next attempt is allowed at this time.
        until: Timestamp,
    },
}

impl AccessControl {
    /// Signs a user in. Signing in takes tens of milliseconds, because it hashes a password.
    pub fn login(
        &mut self,
        name: &str,
        password: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<std::result::Result<NewSession, LoginRefused>> {
        let browser = match self.check_password(name, password, origin, now)? {
            Ok(browser) => browser,
            Err(refused) => return Ok(Err(refused)),
        };
        let now_ms = now.as_millisecond();
        let (idle, absolute) = (self.limits.idle.as_millis() as i64, self.limits.absolute.as_millis() as i64);
        self.file.delete_expired_sessions(now_ms - absolute, now_ms - idle)?;
        let cookie = secret::random_secret()?;
        self.file.begin_session(&secret::hash(&cookie), name, now_ms)?;
        let number = browser.map_or_else(secret::random_text, Ok)?;
        let browser = format!("{number}.{}", secret::sign(self.file.csrf_key(), &browser_subject(name, &number)));
        Ok(Ok(NewSession { cookie: SecretString::from(cookie.as_str()), browser }))
    }

    /// Checks the password of a signed-in user before a change that a stranger at an unattended browser must not make.
    /// Delays further attempts after wrong guesses, as at sign-in. Hashes a password.
    pub fn confirm_password(
        &mut self,
        name: &str,
        password: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<std::result::Result<(), LoginRefused>> {
        Ok(self.check_password(name, password, origin, now)?.map(drop))
    }

    /// Checks a password. Returns the database's number of the browser if the user has signed in with this browser
    /// before.
    fn check_password(
        &mut self,
        name: &str,
        password: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<std::result::Result<Option<String>, LoginRefused>> {
        let now_ms = now.as_millisecond();
        let is_name = check_name("user", name).is_ok();
        let browser = origin.browser.as_deref().filter(|_| is_name).and_then(|word| self.known_browser(name, word));
        let mut keys: Vec<CountedKey> = Vec::new();
        if let Some(number) = browser {
            keys.push((format!("browser:{number}"), throttle::known_browser_delay));
        } else {
            keys.push((format!("peer:{}", origin.peer), throttle::network_delay));
            // Failures for unknown names count too, because otherwise the responses would reveal which names are users.
            if is_name {
                keys.push((format!("user:{name}"), throttle::user_delay));
            }
        }
        if let Some(until_ms) = self.file.attempt(&keys, throttle::FORGOTTEN_EVERY_MS, now_ms)? {
            let until = Timestamp::from_millisecond(until_ms).unwrap_or(now);
            return Ok(Err(LoginRefused::Throttled { until }));
        }
        let can_be = is_name && password.len() <= secret::PASSWORD_AT_MOST;
        let stored = if can_be { self.file.password_of(name)? } else { None };
        // recoup verifies a password even for an unknown name, so that timing does not reveal which names are users.
        let fits = secret::verify_password(if can_be { password } else { "" }, stored.as_deref())?;
        if !fits {
            return Ok(Err(LoginRefused::Wrong));
        }
        let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
        self.file.forget_attempts(&keys, now_ms - throttle::REMEMBERED_MS)?;
        Ok(Ok(browser.map(str::to_owned)))
    }

    /// Returns the database's number of a browser in which this user has signed in before.
    fn known_browser<'a>(&self, name: &str, word: &'a str) -> Option<&'a str> {
        let (number, given) = word.split_once('.')?;
        secret::is_signature(self.file.csrf_key(), &browser_subject(name, number), given).then_some(number)
    }

    /// Changes the user's own password. Requires the current password, and delays further attempts after wrong guesses.
    /// Ends all sessions of the user and starts a new one. Hashes a password several times; each hash takes tens of
    /// milliseconds.
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
        let by = By { actor: &Actor::new(name, "page"), at: now };
        self.replace_password(name, new, "changed their own password", &by)?;
        self.login(name, new, origin, now)
    }

    /// Returns the session that a cookie identifies; `None` if the session has expired.
    pub fn session(&mut self, cookie: &str, now: Timestamp) -> Result<Option<Session>> {
        let (hash, now_ms) = (secret::hash(cookie), now.as_millisecond());
        let Some(row) = self.file.session(&hash, now_ms)? else { return Ok(None) };
        let (idle, absolute) = (self.limits.idle.as_millis() as i64, self.limits.absolute.as_millis() as i64);
        if now_ms - row.seen_ms > idle || now_ms - row.created_ms > absolute {
            self.file.end_session(&hash)?;
            return Ok(None);
        }
        self.file.touch_session(&hash, row.seen_ms, now_ms)?;
        let Some(role) = Role::parse(&row.role) else { return Ok(None) };
        let principal = Principal { name: row.user, role, os_user: row.os_user, by: AuthMethod::Session };
        Ok(Some(Session { principal, csrf: self.csrf_of(cookie) }))
    }

    /// Returns the sessions that have not expired, the newest first.
    pub fn sessions(&self, now: Timestamp) -> Result<Vec<OpenSession>> {
        let now_ms = now.as_millisecond();
        let (idle, absolute) = (self.limits.idle.as_millis() as i64, self.limits.absolute.as_millis() as i64);
        let moment = |ms: i64| Timestamp::from_millisecond(ms).map(|at| format!("{at:.0}")).unwrap_or_default();
        let open = self.file.sessions()?.into_iter();
        let open = open.filter(|row| now_ms - row.seen_ms <= idle && now_ms - row.created_ms <= absolute);
        Ok(open
            .map(|row| OpenSession {
                id: row.id,
                user: row.user,
                began_at: moment(row.created_ms),
                seen_at: moment(row.seen_ms),
            })
            .collect())
    }

    /// Ends every session of a user. Returns the number of ended sessions.
    pub fn end_sessions_of(&mut self, name: &str, by: &By<'_>) -> Result<u64> {
        self.user(name)?;
        self.file.end_sessions_of(name, by)
    }

    /// Ends one session of a user.
    pub fn end_session_of(&mut self, name: &str, id: &str, by: &By<'_>) -> Result<()> {
        self.user(name)?;
        if self.file.end_session_of(name, id, by)? {
            return Ok(());
        }
        Err(Error::new(Kind::NotIndexed, "this session has ended already").hint("reload the page of the user"))
    }

    pub fn end_session(&mut self, cookie: &str) -> Result<()> {
        self.file.end_session(&secret::hash(cookie))
    }

    /// Returns the CSRF token that belongs to a cookie, or to another value that identifies the client.
    pub fn csrf_of(&self, subject: &str) -> String {
        secret::sign(self.file.csrf_key(), subject)
    }

    /// Checks a form's CSRF token in constant time.
    pub fn check_csrf(&self, subject: &str, given: &str) -> bool {
        secret::is_signature(self.file.csrf_key(), subject, given)
    }
}

/// Returns the text that is signed in a browser's long-lived cookie.
fn browser_subject(name: &str, number: &str) -> String {
    format!("browser:{name}:{number}")
}
