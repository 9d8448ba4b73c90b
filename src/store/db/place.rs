//! The location of the stores: local files, or schemas on a PostgreSQL server.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::postgres::Server;

/// The location of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL server. Each store has its own schema on the server, so all stores of a tenant share one `Place`
    /// value.
    Server(Arc<Server>),
}

impl Place {
    /// Returns the path of a file; `None` for a PostgreSQL server.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }

    pub fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// Returns the place of another store: the path that `beside` derives from this path, or the same PostgreSQL
    /// server.
    #[must_use]
    pub fn beside(&self, beside: impl FnOnce(&Path) -> PathBuf) -> Self {
        match self {
            Self::File(path) => Self::File(beside(path)),
            Self::Server(server) => Self::Server(Arc::clone(server)),
        }
    }
}

/// Formats the place without a password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

/// Returns `true` for a text that is an address or parts of one, such as libpq's `host=…`, and that nobody means as a path.
pub(super) fn is_like_an_address(text: &OsStr) -> bool {
    let text = text.to_string_lossy().to_lowercase();
    let is_uri = ["://", "postgres:", "postgresql:"].iter().any(|part| text.contains(part));
    let is_pair = |word: &str| ["host=", "dbname=", "password="].iter().any(|key| word.starts_with(key));
    let quotes = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    is_uri || text.split(quotes).any(is_pair)
}
