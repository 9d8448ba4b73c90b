//! Locks between processes on several machines.
//!
//! A lock is a row that its holder renews. Only the PostgreSQL server's clock decides whether a lock has expired. A
//! process that takes a lock raises the lock's epoch. By the epoch, a holder that was silent for too long detects that
//! it has lost the lock. The holder measures its own time with a clock that also counts while the machine sleeps.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::super::{DbError, Layout};
use super::pool::{Pool, runtime, wait};
use super::{Server, Session, WRITE_LIMIT, schema};
use crate::model::hex;
use crate::store::random;

/// The share of a lock's time that must be left before recoup sends a request.
const LEFT_TO_SEND: u32 = 3;

const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A lock that this process holds and renews until the value is dropped.
#[derive(Debug)]
pub struct ServerLock {
    server: Arc<Server>,
    table: String,
    name: String,
    holder: String,
    epoch: i64,
    /// The time until which this process certainly holds the lock, by [`boot_time`].
    until: Arc<Mutex<Duration>>,
    renewal: JoinHandle<()>,
}

impl ServerLock {
    /// Takes a lock of a store, and creates the store's tables if they are missing. Returns `None` if another process
    /// holds the lock.
    pub fn try_take(server: &Arc<Server>, layout: &Layout, name: &str) -> Result<Option<Self>, DbError> {
        let session = Session::new(server, layout);
        if !schema::check_version(&session, layout)? {
            schema::create(&session, layout)?;
        }
        let table = format!("{}.locks", session.schema);
        let holder = hex(&random::<16>()?);
        let ttl_ms = server.lock_ttl.as_millis() as i64;
        let take = format!(
            "INSERT INTO {table} AS held (name, holder, epoch, until_ms) VALUES ($1, $2, 1, {NOW_MS} + $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = held.epoch + 1, until_ms = excluded.until_ms
             WHERE held.until_ms < {NOW_MS} RETURNING epoch"
        );
        let asked_at = boot_time();
        let args: [(&(dyn ToSql + Sync), Type); 3] =
            [(&name, Type::TEXT), (&holder, Type::TEXT), (&ttl_ms, Type::INT8)];
        let taken = statement(server, &take, &args)?;
        let Some(epoch) = taken.first().map(|row| row.get(0)) else { return Ok(None) };
        let until = Arc::new(Mutex::new(asked_at + server.lock_ttl));
        let renewal = Renewal {
            server: Arc::clone(server),
            sql: format!("UPDATE {table} SET until_ms = {NOW_MS} + $3 WHERE name = $1 AND epoch = $2 RETURNING epoch"),
            name: name.to_owned(),
            epoch,
            until: Arc::clone(&until),
        };
        let renewal = runtime()?.spawn(renewal.run());
        Ok(Some(Self { server: Arc::clone(server), table, name: name.to_owned(), holder, epoch, until, renewal }))
    }

    /// Returns `true` if no process holds the lock.
    pub fn is_free(server: &Arc<Server>, layout: &Layout, name: &str) -> Result<bool, DbError> {
        let session = Session::new(server, layout);
        if !schema::check_version(&session, layout)? {
            return Ok(true);
        }
        let held = format!("SELECT 1 FROM {}.locks WHERE name = $1 AND until_ms >= {NOW_MS}", session.schema);
        Ok(statement(server, &held, &[(&name, Type::TEXT)])?.is_empty())
    }

    /// Returns `true` if enough of the lock's time is left to send a request.
    pub fn is_held(&self) -> bool {
        boot_time() + self.server.lock_ttl / LEFT_TO_SEND < *self.until.lock()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        self.renewal.abort();
        // If the release fails, the lock expires later.
        let free = format!("UPDATE {} SET until_ms = 0 WHERE name = $1 AND holder = $2 AND epoch = $3", self.table);
        let args: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.name, Type::TEXT), (&self.holder, Type::TEXT), (&self.epoch, Type::INT8)];
        drop(statement(&self.server, &free, &args));
    }
}

/// Runs one statement in a transaction of its own.
fn statement(server: &Server, sql: &str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, DbError> {
    loop {
        let lease = Pool::of(server).take(server, WRITE_LIMIT)?;
        match wait(WRITE_LIMIT, lease.client()?.query_typed(sql, args)) {
            Ok(rows) => {
                lease.keep();
                return Ok(rows);
            }
            // The server has closed the idle connection. If the lost statement has taken the lock, that lock expires.
            Err(DbError::Lost(_)) if lease.was_idle => {}
            Err(error) => return Err(error),
        }
    }
}

/// Renews a lock until the holder stops the renewal, or until another process has taken the lock.
struct Renewal {
    server: Arc<Server>,
    sql: String,
    name: String,
    epoch: i64,
    until: Arc<Mutex<Duration>>,
}

impl Renewal {
    async fn run(self) {
        let ttl = self.server.lock_ttl;
        let mut client = None;
        loop {
            tokio::time::sleep(ttl / 3).await;
            let asked_at = boot_time();
            match tokio::time::timeout(ttl / 3, self.renew(&mut client)).await {
                Ok(Ok(true)) => *self.until.lock() = asked_at + ttl,
                Ok(Ok(false)) => {
                    tracing::warn!(lock = self.name, "another process has taken this lock");
                    *self.until.lock() = Duration::ZERO;
                    return;
                }
                // The next attempt to renew the lock uses a new connection. The lock expires if no attempt succeeds.
                Ok(Err(_)) | Err(_) => client = None,
            }
        }
    }

    async fn renew(&self, kept: &mut Option<Client>) -> Result<bool, tokio_postgres::Error> {
        let client = if let Some(client) = kept {
            client
        } else {
            let (client, connection) = self.server.config.connect(self.server.tls.clone()).await?;
            tokio::spawn(connection);
            kept.insert(client)
        };
        let ttl_ms = self.server.lock_ttl.as_millis() as i64;
        let args: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.name, Type::TEXT), (&self.epoch, Type::INT8), (&ttl_ms, Type::INT8)];
        Ok(!client.query_typed(&self.sql, &args).await?.is_empty())
    }
}

/// Returns the time since the machine started, including the time that it slept.
fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
