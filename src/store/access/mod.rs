//! The users' database: users, sessions, tokens, sign-in attempts and idempotency keys.
//!
//! `access.sql` describes every column. Disabling a user ends their sessions and tokens in the same transaction. This
//! module neither hashes passwords nor defines the rights of a role.

mod idempotency;
mod sessions;
mod sign_in_attempts;
mod tokens;
mod users;

use jiff::Timestamp;

use super::db::{Conn, DbError, ToValue, Tx};
use super::{Identity, Layout, Place};
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, hex};

pub use idempotency::Idempotency;
pub use sessions::SessionRow;
pub use sign_in_attempts::CountedKey;
pub use tokens::{NewToken, TokenRow};
pub use users::{UserCheck, UserRow};

pub(super) const LAYOUT: Layout = Layout {
    name: "access file",
    schema: include_str!("../../../access.sql"),
    version: 1,
    synchronous: "FULL",
    autocheckpoint_pages: 1000,
    application_id: 0x7265_6361, // "reca"
};

/// The minimum interval between two updates of a session's or token's last use.
const SEEN_EVERY_MS: i64 = 60_000;

/// Who changes users or tokens, and when. The log has both.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub actor: &'a Actor,
    pub at: Timestamp,
}

/// The open users' database. Tasks and threads share one `AccessFile`; a mutex serialises their access.
#[derive(Debug)]
pub struct AccessFile {
    conn: Conn,
    csrf_key: String,
}

impl AccessFile {
    /// Opens the users' database; creates it if it is missing.
    pub fn open(place: impl Into<Place>, identity: &Identity) -> Result<Self> {
        let conn = Conn::open(&place.into(), &LAYOUT, identity)?;
        let csrf_key = csrf_key(&conn)?;
        Ok(Self { conn, csrf_key })
    }

    /// Opens the users' database. Returns `None` if the database does not exist, because recoup then has no user yet.
    pub fn open_existing(place: &Place, identity: &Identity) -> Result<Option<Self>> {
        let exists = match place {
            // Fails if the folder cannot be searched, because the users' database may still exist.
            Place::File(path) => path.try_exists().map_err(|error| {
                Error::new(Kind::Storage, format!("failed to open the access file at {place}: {error}"))
                    .hint("check who owns the file and its folder")
            })?,
            Place::Server(_) => Conn::open_read_only(place, &LAYOUT, Some(identity))?.is_some(),
        };
        exists.then(|| Self::open(place, identity)).transpose()
    }

    /// Returns the secret key with which CSRF tokens are computed.
    pub fn csrf_key(&self) -> &str {
        &self.csrf_key
    }

    /// Records a change to something that is not in this file.
    pub fn log(&self, by: &By<'_>, what: &str) -> Result<()> {
        self.conn.write(|tx| log(tx, by, what))
    }

    /// Changes users or tokens, and records the change in the same transaction. `work` returns its result and the text for the
    /// log; without a text, it has changed nothing.
    fn change<T>(
        &self,
        by: &By<'_>,
        mut work: impl FnMut(&Tx<'_>) -> Result<(T, Option<String>), DbError>,
    ) -> Result<T> {
        self.conn.write(|tx| {
            let (done, what) = work(tx)?;
            if let Some(what) = what {
                log(tx, by, &what)?;
            }
            Ok(done)
        })
    }

    /// Returns the changes to users and tokens, oldest first. Each returned change has its time, its person, and a
    /// description.
    pub fn logged(&self) -> Result<Vec<(String, String, String)>> {
        let select = "SELECT at, person, what FROM log ORDER BY id";
        self.conn.read(|tx| tx.rows(select, &[], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
    }

    /// Runs one statement in its own transaction.
    fn run(&self, sql: &str, args: &[&dyn ToValue]) -> Result<()> {
        self.conn.write(|tx| tx.run(sql, args)).map(drop)
    }
}

fn log(tx: &Tx<'_>, by: &By<'_>, what: &str) -> Result<(), DbError> {
    let insert = "INSERT INTO log (at, person, host, what) VALUES (?1, ?2, ?3, ?4)";
    tx.run(insert, &[&text(by.at), &by.actor.person, &by.actor.host, &what]).map(drop)
}

/// Reads the secret key of CSRF tokens. A new users' database gets a random key.
fn csrf_key(conn: &Conn) -> Result<String> {
    let select = "SELECT value FROM identity WHERE key = 'csrf_key'";
    // Reads the key before writing a new one, so that opening the users' database never waits for a writer.
    if let Some(key) = conn.read(|tx| tx.opt(select, &[], |row| row.get(0)))? {
        return Ok(key);
    }
    let key = hex(&super::random::<32>()?);
    conn.write(|tx| {
        let insert = "INSERT INTO identity (key, value) VALUES ('csrf_key', ?1) ON CONFLICT (key) DO NOTHING";
        tx.run(insert, &[&key])?;
        // Reads the secret key again, because another process may have written its key first.
        tx.one(select, &[], |row| row.get(0))
    })
}

fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}
