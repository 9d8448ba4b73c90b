//! The access file in domain terms: users, sessions, tokens, failed attempts, and requests that are done once.
//!
//! `access.sql` says what every column means. A disabled user has no session and no token from the same transaction on. Nothing
//! here hashes a password or decides what a role may.

mod attempts;
mod once;
mod sessions;
mod tokens;
mod users;

use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::{Identity, Layout, locked, open_writer, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, hex};

pub use attempts::Counted;
pub use once::Once;
pub use sessions::SessionRow;
pub use tokens::{NewToken, TokenRow};
pub use users::UserRow;

pub(super) const LAYOUT: Layout = Layout {
    name: "access file",
    schema: include_str!("../../../access.sql"),
    version: 1,
    synchronous: "FULL",
    functions: |_| Ok(()),
    application_id: 0x7265_6361, // "reca"
};

/// A request is written down as the newest of its session or token at most this often.
const SEEN_EVERY_MS: i64 = 60_000;

/// The access file, open.
#[derive(Debug)]
pub struct AccessFile {
    conn: Mutex<Connection>,
    path: std::path::PathBuf,
    csrf_key: String,
}

impl AccessFile {
    /// Opens it; creates it where it is missing.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self> {
        let conn = open_writer(path, &LAYOUT, identity)?;
        conn.set_prepared_statement_cache_capacity(32);
        let csrf_key = csrf_key(&conn).map_err(|error| sql_error(&error, &LAYOUT, path))?;
        Ok(Self { conn: Mutex::new(conn), path: path.to_owned(), csrf_key })
    }

    /// Opens it; `None` where there is no user yet.
    pub fn open_existing(path: &Path, identity: &Identity) -> Result<Option<Self>> {
        // A file that cannot be seen is not a file that is not there.
        let there = path.try_exists().map_err(|error| {
            Error::new(Kind::Storage, format!("failed to open the access file at {}: {error}", path.display()))
                .hint("check who owns the file and its folder")
        })?;
        there.then(|| Self::open(path, identity)).transpose()
    }

    /// The key that CSRF tokens are made with.
    pub fn csrf_key(&self) -> &str {
        &self.csrf_key
    }

    /// Writes down what was done to users and tokens.
    pub fn log(&self, actor: &Actor, what: &str, now: Timestamp) -> Result<()> {
        self.write(|tx| {
            tx.execute(
                "INSERT INTO log (at, person, host, what) VALUES (?1, ?2, ?3, ?4)",
                [&text(now), &actor.person, &actor.host, what],
            )
            .map(drop)
        })
    }

    /// What was done to users and tokens, oldest first: when, by whom, what.
    pub fn logged(&self) -> Result<Vec<(String, String, String)>> {
        self.read(|conn| {
            let mut rows = conn.prepare_cached("SELECT at, person, what FROM log ORDER BY id")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
    }

    fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut conn = locked(&self.conn);
        let run = || {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        run().map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&locked(&self.conn)).map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

fn csrf_key(conn: &Connection) -> rusqlite::Result<String> {
    let mut key = [0_u8; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
        .map_err(|_cause| rusqlite::Error::ToSqlConversionFailure("the system gives no random bytes".into()))?;
    let get = || conn.query_row("SELECT value FROM identity WHERE key = 'csrf_key'", [], |row| row.get(0));
    match get() {
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            conn.execute(
                "INSERT INTO identity (key, value) VALUES ('csrf_key', ?1) ON CONFLICT DO NOTHING",
                [hex(&key)],
            )?;
            // Another process may have been faster.
            get()
        }
        found => found,
    }
}

fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}
