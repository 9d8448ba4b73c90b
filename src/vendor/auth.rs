//! The credentials for HTTP Basic: a user and a token.
//!
//! The token comes from an environment variable or from a file. After a 401 the clients read the token file again,
//! because an operator may rotate the token during a crawl. No message, log line or `Debug` text contains the token or
//! the user, because the user is the company's Account SID.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use reqwest::header::HeaderValue;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::credential_format::FormatProblems;
use crate::error::{Error, Kind, Result};

/// The source of a token. In debug output, the source of a token is `Secret(…)`.
#[derive(Clone)]
pub enum Secret {
    Value(SecretString),
    /// An environment variable and its value.
    Variable(&'static str, SecretString),
    /// A file that contains the token. recoup ignores line breaks at the end of the token file.
    File(PathBuf),
}

impl Secret {
    /// Reads the token from its environment variable or file.
    ///
    /// # Errors
    /// Fails with `Config` if the token file cannot be read, if the token is empty, or if it contains characters that
    /// are invalid in an HTTP header.
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
        FormatProblems::of(token.expose_secret()).refuse(&self.source())?;
        Ok(token)
    }

    /// Describes what is suspicious about the token without repeating any part of it. Returns `None` if the token is
    /// not suspicious, or if the token cannot be read.
    pub fn format_problems(&self) -> Option<String> {
        let what = FormatProblems::of(self.text().ok()?.expose_secret()).describe()?;
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

    /// Refuses a token that contains characters which are invalid in an HTTP header. If the token cannot be read, the
    /// check of its format succeeds, and [`Secret::read`] reports the failure later.
    ///
    /// # Errors
    /// Fails with `Config`.
    pub fn check_format(&self) -> Result<()> {
        self.text().map_or(Ok(()), |text| FormatProblems::of(text.expose_secret()).refuse(&self.source()))
    }

    /// Returns the name of the variable or file that contains the token, for messages.
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

/// The credentials for one host of the vendor. The Brand API requires Account SID and Auth Token. The Advocate API
/// accepts Account SID and Auth Token, or an empty user with the tenant's API key (`docs/vendor/advocate.md` §7).
#[derive(Clone)]
pub struct Credentials {
    /// The Account SID; empty if the token is an API key.
    pub user: String,
    pub secret: Secret,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The token that one request used. After a 401, the client compares this token with the token file to detect a new
/// token.
pub(crate) type Token = Arc<Signature>;

/// The Authorization header of a token. reqwest treats the header as sensitive. Therefore `Debug` hides the
/// Authorization header. recoup wipes the header's memory when the last request with this token ends.
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

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Builds the Authorization header from this memory without a copy, because nothing would wipe a copy.
fn header_of(value: Zeroizing<Vec<u8>>) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
        .map_err(|_bytes| Error::new(Kind::Config, "the token cannot be put into a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Refuses an HTTP Basic user with a colon, because HTTP Basic splits user and password at the first colon.
fn check_user(user: &str) -> Result<()> {
    FormatProblems::of(user).refuse("the Account SID")?;
    if user.contains(':') {
        return Err(Error::new(Kind::Config, "the Account SID has a colon in it: it cannot be sent to the vendor")
            .hint("RECOUP_ACCOUNT_SID is the Account SID alone; the token has a variable of its own"));
    }
    Ok(())
}

/// The credentials of one host, with their token in memory.
pub(crate) struct Keyring {
    credentials: Credentials,
    token: RwLock<Token>,
}

impl Keyring {
    pub(crate) fn new(credentials: Credentials) -> Result<Self> {
        let token = RwLock::new(Signature::read(&credentials)?);
        Ok(Self { credentials, token })
    }

    pub(crate) fn token(&self) -> Token {
        Arc::clone(&self.token.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Describes what is suspicious about the user and the token, without repeating any part of them.
    pub(crate) fn format_problems(&self) -> Option<String> {
        let user = FormatProblems::of(&self.credentials.user).describe().map(|what| format!("the Account SID {what}"));
        let all: Vec<String> = user.into_iter().chain(self.credentials.secret.format_problems()).collect();
        if all.is_empty() { None } else { Some(all.join("; ")) }
    }

    /// Returns `true` if the token is in a file, because the content of a file may change.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.credentials.secret, Secret::File(_))
    }

    /// Reads the token file again, and returns `true` if its token differs from `used`. The read of the token file
    /// blocks, which is acceptable for a few bytes.
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
    fn credentials_do_not_print() {
        let credentials = Credentials { user: "SID42".into(), secret: Secret::Value("hush".into()) };
        assert_eq!(format!("{credentials:?} {:?}", credentials.secret), "Credentials(…) Secret(…)");
    }

    #[test]
    fn a_token_file_loses_its_last_line_ends_only_and_can_be_read_again() -> std::io::Result<()> {
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
        assert_eq!(header.as_bytes().as_ptr(), place, "the header uses the same memory");
        assert_eq!(header.clone().as_bytes().as_ptr(), place, "each request uses the same memory");
    }

    #[test]
    fn an_empty_value_is_a_configuration_error() {
        assert_eq!(Secret::Value("".into()).read().map(|_| ()).map_err(|e| e.kind), Err(Kind::Config));
    }
}
