//! Who we are to a host: a user and a secret for HTTP Basic.
//!
//! A secret is a value or a file; a file is read again when the host says 401, so that a token can be rotated under a
//! running crawl. It must never print, log or format a secret, nor the user, which is the company's Account SID.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::oddity::Oddities;
use crate::error::{Error, Kind, Result};

/// Where a token comes from. Prints as `Secret(…)`.
#[derive(Clone)]
pub enum Secret {
    /// The token itself.
    Value(SecretString),
    /// A variable of the environment, and its value.
    Variable(&'static str, SecretString),
    /// A file whose text, without trailing line ends, is the token.
    File(PathBuf),
}

impl Secret {
    /// The token as it is now.
    ///
    /// # Errors
    /// `Kind::Config` where the file is missing, unreadable or empty, or the value is empty; and for a token that can never be
    /// sent.
    pub fn read(&self) -> Result<SecretString> {
        let token = self.text()?;
        if token.expose_secret().trim().is_empty() {
            return Err(match self {
                Self::File(_) => Error::new(Kind::Config, format!("{} is empty", self.source()))
                    .hint("write the token into it, on one line"),
                _ => Error::new(Kind::Config, "the token is empty")
                    .hint("set RECOUP_AUTH_TOKEN or RECOUP_AUTH_TOKEN_FILE"),
            });
        }
        Oddities::of(token.expose_secret()).refuse(&self.source())?;
        Ok(token)
    }

    /// What is odd about it, as a sentence without a part of it; `None` if nothing is, or if it cannot be read.
    pub fn what_is_odd(&self) -> Option<String> {
        let what = Oddities::of(self.text().ok()?.expose_secret()).describe()?;
        Some(format!("{} {what}", self.source()))
    }

    fn text(&self) -> Result<SecretString> {
        let path = match self {
            Self::Value(value) | Self::Variable(_, value) => return Ok(value.clone()),
            Self::File(path) => path,
        };
        let bytes = std::fs::read(path).map_err(|e| {
            Error::new(Kind::Config, format!("cannot read the token file {}: {e}", path.display()))
                .hint("check the path in the _FILE variable and who may read it")
        })?;
        let text = SecretString::from(String::from_utf8(bytes).map_err(|_bytes| {
            Error::new(Kind::Config, format!("{} is not UTF-8 text", self.source()))
                .hint("save it as plain text: some editors write UTF-16")
        })?);
        Ok(SecretString::from(text.expose_secret().trim_end_matches(['\r', '\n'])))
    }

    /// Refuses one that can never be sent; one that cannot be read is not judged.
    ///
    /// # Errors
    /// `Kind::Config`.
    pub fn refuse_odd(&self) -> Result<()> {
        self.text().map_or(Ok(()), |text| Oddities::of(text.expose_secret()).refuse(&self.source()))
    }

    /// The variable or file, for messages.
    fn source(&self) -> String {
        match self {
            Self::Value(_) => "the token".to_owned(),
            Self::Variable(name, _) => (*name).to_owned(),
            Self::File(path) => format!("the token file {}", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// User and secret of one host. The Brand API takes Account SID and Auth Token; the Advocate API takes the same pair, or
/// an empty user with the tenant's API key (`docs/vendor/advocate.md` §7).
#[derive(Clone)]
pub struct Credentials {
    /// The Account SID, or empty.
    pub user: String,
    /// The token.
    pub secret: Secret,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The token that one request was signed with, to tell later whether the file holds another one now.
pub(crate) type Token = Arc<Signature>;

/// The Authorization header that a token makes: the same for every request. Marked as sensitive, so that it does not print; its
/// memory is wiped when the last request that has it is done.
#[derive(PartialEq, Eq)]
pub(crate) struct Signature(HeaderValue);

impl Signature {
    fn read(credentials: &Credentials) -> Result<Token> {
        let token = credentials.secret.read()?;
        check_user(&credentials.user)?;
        let pair = SecretString::from(format!("{}:{}", credentials.user, token.expose_secret()));
        let encoded = Zeroizing::new(Base64::encode_string(pair.expose_secret().as_bytes()));
        Ok(Arc::new(Self(header_of(Zeroizing::new([b"Basic ", encoded.as_bytes()].concat()))?)))
    }

    /// The value of the Authorization header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// A header over this very memory, without a copy.
fn header_of(value: Zeroizing<Vec<u8>>) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
        .map_err(|_bytes| Error::new(Kind::Config, "the token cannot be put into a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// HTTP Basic ends the user at the first colon.
fn check_user(user: &str) -> Result<()> {
    Oddities::of(user).refuse("the Account SID")?;
    if user.contains(':') {
        return Err(Error::new(Kind::Config, "the Account SID has a colon in it: it cannot be sent to the vendor")
            .hint("RECOUP_ACCOUNT_SID is the Account SID alone; the token has a variable of its own"));
    }
    Ok(())
}

/// Credentials with the token in memory.
pub(crate) struct Keyring {
    credentials: Credentials,
    token: RwLock<Token>,
}

impl Keyring {
    /// Reads the token for the first time.
    pub(crate) fn new(credentials: Credentials) -> Result<Self> {
        let token = RwLock::new(Signature::read(&credentials)?);
        Ok(Self { credentials, token })
    }

    /// The token in memory.
    pub(crate) fn token(&self) -> Token {
        Arc::clone(&self.token.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is odd about user and token, as a sentence without a part of either.
    pub(crate) fn what_is_odd(&self) -> Option<String> {
        let user = Oddities::of(&self.credentials.user).describe().map(|what| format!("the Account SID {what}"));
        let odd: Vec<String> = user.into_iter().chain(self.credentials.secret.what_is_odd()).collect();
        if odd.is_empty() { None } else { Some(odd.join("; ")) }
    }

    /// Whether the token lies in a file, so that reading it again can help.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.credentials.secret, Secret::File(_))
    }

    /// Reads the token again and says whether it differs from the one that was used. The file is a few bytes, so the
    /// blocking read is not worth a thread.
    pub(crate) fn reread(&self, used: &Token) -> Result<bool> {
        let fresh = Signature::read(&self.credentials)?;
        let differs = fresh != *used;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints() {
        let credentials = Credentials { user: "SID42".into(), secret: Secret::Value("hush".into()) };
        assert_eq!(format!("{credentials:?} {:?}", credentials.secret), "Credentials(…) Secret(…)");
    }

    #[test]
    fn a_file_is_trimmed_of_line_ends_only_and_read_again() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("token");
        std::fs::write(&path, " to ken \r\n\n")?;
        let keyring = Keyring::new(Credentials { user: String::new(), secret: Secret::File(path.clone()) })
            .expect("the file is readable");
        let used = keyring.token();
        assert_eq!(used.header(), format!("Basic {}", Base64::encode_string(b": to ken ")));
        assert_eq!(keyring.reread(&used), Ok(false));
        std::fs::write(&path, "fresh")?;
        assert_eq!(keyring.reread(&used), Ok(true));
        assert_eq!(keyring.token().header(), format!("Basic {}", Base64::encode_string(b":fresh")));
        std::fs::write(&path, "\n")?;
        assert_eq!(keyring.reread(&used).map_err(|e| e.kind), Err(Kind::Config));
        std::fs::remove_file(&path)?;
        assert_eq!(keyring.reread(&used).map_err(|e| e.kind), Err(Kind::Config));
        Ok(())
    }

    #[test]
    fn the_memory_of_a_token_is_wiped_when_it_is_dropped() {
        fn is_wiped<T: secrecy::zeroize::ZeroizeOnDrop>(_value: &T) {}

        is_wiped(&Secret::Value("hush".into()).read().expect("a token"));
        let value = Zeroizing::new(b"Basic hush".to_vec());
        is_wiped(&value);
        let place = value.as_ptr();
        let header = header_of(value).expect("a header");
        assert_eq!(header.as_bytes().as_ptr(), place, "the header is that memory, and no copy of it");
        assert_eq!(header.clone().as_bytes().as_ptr(), place, "and so is that of each request");
    }

    #[test]
    fn an_empty_value_is_a_configuration_error() {
        assert_eq!(Secret::Value("".into()).read().map(|_| ()).map_err(|e| e.kind), Err(Kind::Config));
    }
}
