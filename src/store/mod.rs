//! The only code that contains SQL: the index, the ledger, the users' database and the notice queue.
//!
//! [`index`], [`ledger`], [`access`] and [`notices`] describe the content of each store. `db` runs the SQL of all
//! stores. This module contains the common parts of the stores: owner, paths and locks. Each store is a separate file
//! with its own connection, and no transaction spans two stores. recoup writes to the ledger before the index, because
//! it can rebuild the index.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

pub mod access;
pub mod backup_copy;
pub mod batch_parts;
pub mod budget;
mod db;
pub mod index;
mod integrity_check;
pub mod ledger;
mod lock;
pub mod notices;
pub mod server_facts;
pub mod service_role;
mod store_file;
pub mod transfer;
mod writable;

pub use db::{Place, Server, no_files};
use db::{create_private, damaged};
pub use lock::ProcessLock;
pub use store_file::StoreFile;
pub use writable::check_writable;

/// A kind of store: its name in messages, its schema and its durability.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The name of the store in messages, for example `index` or `ledger`.
    pub name: &'static str,
    /// The SQL that creates the tables of a new store.
    pub schema: &'static str,
    /// The schema version, stored in `PRAGMA user_version`. Each release that changes the schema increases the version
    /// by one.
    pub version: usize,
    /// The value of `PRAGMA synchronous`: `FULL` for a store that cannot be rebuilt, `NORMAL` for the index.
    pub synchronous: &'static str,
    /// The number of pages in the write-ahead log at which a commit triggers a checkpoint.
    pub autocheckpoint_pages: u32,
    /// The value of `PRAGMA application_id`, which identifies a file of recoup.
    pub application_id: i32,
}

/// The owner of a store. The first use records the owner. recoup later refuses another owner, so that simulator, test
/// and live data never mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The alias of the tenant.
    pub tenant: String,
    pub account_sid: String,
    pub advocate_url: String,
    pub brand_url: String,
}

impl Identity {
    #[cfg(test)]
    pub(crate) fn of_a_test() -> Self {
        let text = |text: &str| text.to_owned();
        Self { tenant: text("t"), account_sid: text("s"), advocate_url: text("http://a"), brand_url: text("http://b") }
    }

    fn pairs(&self) -> [(&'static str, &str); 4] {
        [
            ("tenant", &self.tenant),
            ("account_sid", &self.account_sid),
            ("advocate_url", &self.advocate_url),
            ("brand_url", &self.brand_url),
        ]
    }
}

/// Returns random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_cause| Error::new(Kind::Failed, "the operating system gives no random bytes"))?;
    Ok(bytes)
}

/// Fails if recoup cannot create files beside a database, which crawls and retractions require. The first writer of a
/// store creates a missing folder.
pub fn check_folder(database: &Path) -> Result<()> {
    // Numbers the probes: two threads must not use the same name, because one would remove the file of the other.
    static PROBES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        return Ok(());
    }
    let n = PROBES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let probe = folder.join(format!(".recoup-{}-{n}.probe", std::process::id()));
    create_private(&probe).and_then(|()| std::fs::remove_file(&probe)).map_err(|error| {
        Error::new(Kind::Storage, format!("nothing can be written in {}: {error}", folder.display())).hint(
            "check who owns the folder, or name a place that can be written to with --database or RECOUP_DATABASE",
        )
    })
}

/// Returns the canonical path of a file, so that two paths of one ledger lead to one lock.
pub fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// The longest path of a database, in bytes. SQLite's limit on Unix is 512 bytes, and the suffix of a journal takes 8
/// bytes.
pub const LONGEST_PATH: usize = 504;

/// The longest name of a database file, in bytes. Most file systems allow 255 bytes, and the names of lock files beside
/// the database are up to 24 bytes longer.
const LONGEST_NAME: usize = 231;

/// Refuses a path that is too long for SQLite or for a lock file beside the database, because the errors of SQLite and
/// the operating system would not name the cause. The message names the file by `what`, and the setting to change by
/// `setting`.
///
/// # Errors
/// [`Kind::Config`] if the path is too long.
pub fn check_length(path: &Path, what: &str, setting: &str) -> Result<()> {
    let path = real_path(path);
    let (bytes, name) = (path.as_os_str().len(), path.file_name().map_or(0, std::ffi::OsStr::len));
    let too_long = if cfg!(unix) && bytes > LONGEST_PATH {
        format!("the path of the {what} has {bytes} bytes, and SQLite takes at most {LONGEST_PATH}")
    } else if name > LONGEST_NAME {
        format!("the name of the file of the {what} has {name} bytes, and at most {LONGEST_NAME} are possible")
    } else {
        return Ok(());
    };
    // The message shows only the start of the path, because the whole path would fill a screen.
    let start: String = path.display().to_string().chars().take(60).collect();
    Err(Error::new(Kind::Config, format!("{too_long}: {start}…")).hint(format!("name a shorter path with {setting}")))
}

/// Returns the default path of the ledger: `NAME-ledger.db` beside the index.
pub fn ledger_beside(index: &Path) -> PathBuf {
    let stem = index.file_stem().unwrap_or_default().to_string_lossy();
    index.with_file_name(format!("{stem}-ledger.db"))
}

/// Returns the folder of the page's batches: `NAME-batches` beside the ledger.
pub fn batches_beside(ledger: &Path) -> PathBuf {
    let stem = ledger.file_stem().unwrap_or_default().to_string_lossy();
    ledger.with_file_name(format!("{}-batches", stem.strip_suffix("-ledger").unwrap_or(&stem)))
}

/// Returns the default path of the access file: `NAME-access.db` beside the ledger.
pub fn access_beside(ledger: &Path) -> PathBuf {
    let stem = ledger.file_stem().unwrap_or_default().to_string_lossy();
    ledger.with_file_name(format!("{}-access.db", stem.strip_suffix("-ledger").unwrap_or(&stem)))
}
