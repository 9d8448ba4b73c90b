//! Locks between processes on several machines.
//!
//! A lock on PostgreSQL is a row that its holder renews. Only the PostgreSQL server's clock decides whether a lock has
//! expired. A process that takes a lock raises the lock's epoch. By the epoch, a holder that was silent for too long
//! detects that it has lost the lock. The holder of a lock measures the lock's remaining time with a clock that also
//! counts while the machine sleeps.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::{DbError, Layout, Patience};
use super::pool::runtime;
use super::{Fence, Server, Session, schema};
use crate::model::hex;
use crate::store::random;

/// The share of a lock's time that must be left before recoup sends a request.
const LEFT_TO_SEND: u32 = 3;

const NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A lock that this process holds and renews until the value is dropped.
#[derive(Debug)]
pub struct ServerLock {
    session: Session,
    fence: Fence,
    /// Until when the lock is held for sure, by [`boot_time`].
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
        let holder = hex(&random::<16>()?);
        let ttl_ms = server.lock_ttl.as_millis() as i64;
        let take = format!(
            "INSERT INTO locks AS held (name, holder, epoch, until_ms) VALUES (?1, ?2, 1, {NOW_MS} + ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = held.epoch + 1, until_ms = excluded.until_ms
             WHERE held.until_ms < {NOW_MS} RETURNING epoch"
        );
        let asked_at = boot_time();
        // If the answer to the commit is lost, the lock expires.
        let taken = session.lock_rows(|tx| {
            let taken = match tx.rows(&take, &[&name, &holder, &ttl_ms]) {
                // The holder renews its lock, or commits.
                Err(DbError::Busy) => return Ok(None),
                taken => taken?,
            };
            let Some(row) = taken.first() else { return Ok(None) };
            Ok(Some((row.get::<_, i64>(0), tx.instance()?)))
        })?;
        let Some((epoch, instance)) = taken else { return Ok(None) };
        let fence = Fence { lock: name.to_owned(), holder, epoch, instance };
        let until = Arc::new(Mutex::new(asked_at + server.lock_ttl));
        let renewal = Renewal {
            server: Arc::clone(server),
            sql: format!(
                "UPDATE {}.locks SET until_ms = {NOW_MS} + $4 WHERE name = $1 AND holder = $2 AND epoch = $3 RETURNING epoch",
                session.schema
            ),
            fence: fence.clone(),
            until: Arc::clone(&until),
        };
        let renewal = runtime()?.spawn(renewal.run());
        Ok(Some(Self { session, fence, until, renewal }))
    }

    /// Returns `true` if no process holds the lock.
    pub fn is_free(server: &Arc<Server>, layout: &Layout, name: &str) -> Result<bool, DbError> {
        let session = Session::new(server, layout);
        if !schema::check_version(&session, layout)? {
            return Ok(true);
        }
        let held = format!("SELECT 1 FROM locks WHERE name = ?1 AND until_ms >= {NOW_MS}");
        session.read(Patience::Usual, |tx| Ok(tx.opt(&held, &[&name], |_| Ok(()))?.is_none()))
    }

    /// Returns `true` if enough of the lock's time is left to send a request.
    pub fn is_held(&self) -> bool {
        boot_time() + self.session.server.lock_ttl / LEFT_TO_SEND < *self.until.lock()
    }

    pub(super) fn as_fence(&self) -> Fence {
        self.fence.clone()
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        self.renewal.abort();
        // A row without a holder lets no session write that still uses this lock as its fence.
        let free = "UPDATE locks SET until_ms = 0, holder = '' WHERE name = ?1 AND holder = ?2 AND epoch = ?3";
        let Fence { lock, holder, epoch, .. } = &self.fence;
        // If this fails, the lock expires.
        drop(self.session.lock_rows(|tx| tx.run(free, &[lock, holder, epoch])));
    }
}

/// Renews a lock until the holder stops the renewal, or until another process has taken the lock.
struct Renewal {
    server: Arc<Server>,
    sql: String,
    fence: Fence,
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
                    tracing::warn!(lock = self.fence.lock, "another process has taken this lock");
                    *self.until.lock() = Duration::ZERO;
                    return;
                }
                // The next attempt to renew the lock uses a new connection. If no attempt succeeds, the lock expires.
                Ok(Err(_)) | Err(_) => client = None,
            }
        }
    }

    async fn renew(&self, kept: &mut Option<Client>) -> Result<bool, tokio_postgres::Error> {
        let ttl = self.server.lock_ttl;
        let client = if let Some(client) = kept {
            client
        } else {
            let (client, connection) = self.server.config_within(ttl / 3).connect(self.server.tls.clone()).await?;
            tokio::spawn(connection);
            kept.insert(client)
        };
        let ttl_ms = ttl.as_millis() as i64;
        let Fence { lock, holder, epoch, .. } = &self.fence;
        let args: [(&(dyn ToSql + Sync), Type); 4] =
            [(lock, Type::TEXT), (holder, Type::TEXT), (epoch, Type::INT8), (&ttl_ms, Type::INT8)];
        Ok(!client.query_typed(&self.sql, &args).await?.is_empty())
    }
}

/// The time since the machine started, including the time that it slept.
pub(super) fn boot_time() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
