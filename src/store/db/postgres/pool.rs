//! Connections to PostgreSQL servers: one thread that transfers the bytes of all connections, and a pool for each
//! server.
//!
//! The callers of the pool are ordinary threads or threads of an async runtime. A caller waits for each statement with
//! a deadline, so a server that does not answer cannot block the caller for ever.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::super::DbError;
use super::Server;

/// The most connections of one process to one server.
pub const MOST: usize = 16;

/// The runtime of the thread that transfers the bytes of all connections.
static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().thread_name("recoup-postgres").build());

static POOLS: LazyLock<Mutex<HashMap<String, Arc<Pool>>>> = LazyLock::new(Mutex::default);

pub fn runtime() -> Result<&'static Handle, DbError> {
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(DbError::Lost(format!("the thread of the connections cannot be started: {error}"))),
    }
}

/// Waits on this thread for a future of the driver, at most this long.
pub fn wait<T>(limit: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, DbError> {
    let handle = runtime()?;
    let waited = or_block_in_place(|| {
        let _timers = handle.enter();
        futures::executor::block_on(async { tokio::time::timeout(limit, work).await })
    });
    match waited {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(DbError::Lost(format!("no answer within {} s", limit.as_secs_f32()))),
    }
}

/// Runs `work`. Before that, lets an async runtime that owns this thread move its other tasks to another thread.
fn or_block_in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The connections of this process to one PostgreSQL server.
#[derive(Default)]
pub struct Pool {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Client>,
    /// The number of existing connections, including those in use.
    open: usize,
}

/// A connection in use. If [`Lease::keep`] was called, the connection returns to its pool. A connection that is not
/// kept is closed, so that no connection in an unknown state is used again.
pub struct Lease {
    pool: Arc<Pool>,
    client: Option<Client>,
    /// `true` if the connection was already open, so the server may have closed it.
    pub was_idle: bool,
    is_kept: AtomicBool,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    pub fn of(server: &Server) -> Arc<Self> {
        Arc::clone(POOLS.lock().entry(server.key().to_owned()).or_default())
    }

    /// Closes the idle connections, after one of them did not answer.
    pub fn close_idle(&self) {
        let mut state = self.state.lock();
        state.open -= state.idle.len();
        state.idle.clear();
    }

    /// Returns the number of open connections, and how many of them are idle.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.open, state.idle.len())
    }

    /// Takes a connection, or opens one. Waits at most `limit` for another user to return one and for the server.
    pub fn take(self: &Arc<Self>, server: &Server, limit: Duration) -> Result<Lease, DbError> {
        let until = Instant::now() + limit;
        let mut state = self.state.lock();
        loop {
            while let Some(client) = state.idle.pop() {
                if !client.is_closed() {
                    return Ok(Lease::new(self, Some(client)));
                }
                state.open -= 1;
            }
            if state.open < MOST {
                state.open += 1;
                break;
            }
            if self.returned.wait_for(&mut state, left(until)).timed_out() {
                return Err(DbError::Busy);
            }
        }
        drop(state);
        // From now on, dropping the lease frees its place in the pool.
        let mut lease = Lease::new(self, None);
        lease.client = Some(connect(server, left(until))?);
        Ok(lease)
    }
}

/// Returns the time that is left.
pub fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// Opens a connection outside of the pool.
pub fn connect(server: &Server, limit: Duration) -> Result<Client, DbError> {
    let handle = runtime()?;
    let (client, connection) = wait(limit, server.config_within(limit).connect(server.tls.clone()))?;
    handle.spawn(async move {
        // The error needs no report here, because the client of this connection returns it to the waiting caller.
        drop(connection.await);
    });
    Ok(client)
}

impl Lease {
    fn new(pool: &Arc<Pool>, client: Option<Client>) -> Self {
        Self { pool: Arc::clone(pool), was_idle: client.is_some(), client, is_kept: AtomicBool::new(false) }
    }

    pub fn client(&self) -> Result<&Client, DbError> {
        self.client.as_ref().ok_or_else(|| DbError::Lost("the connection is closed".to_owned()))
    }

    /// Returns the connection to its pool. The caller must have ended the transaction on the connection.
    pub fn keep(&self) {
        self.is_kept.store(true, Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        match self.client.take() {
            Some(client) if self.is_kept.load(Relaxed) && !client.is_closed() => state.idle.push(client),
            _ => state.open -= 1,
        }
        self.pool.returned.notify_one();
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        // The error uses only the server's message, because the server's detail may quote a row.
        let Some(answer) = error.as_db_error() else {
            return if error.is_closed() || is_io(&error) {
                Self::Lost(text_of(&error))
            } else {
                Self::Engine(text_of(&error))
            };
        };
        let text = || answer.message().to_owned();
        let code = answer.code();
        if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code) {
            return Self::Retry;
        }
        if [SqlState::LOCK_NOT_AVAILABLE, SqlState::TOO_MANY_CONNECTIONS].contains(code) {
            return Self::Busy;
        }
        if [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::INSUFFICIENT_PRIVILEGE].contains(code) {
            return Self::ReadOnly(text());
        }
        if *code == SqlState::DISK_FULL {
            return Self::Full(text());
        }
        if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT {
            return Self::Lost(text());
        }
        match code.code().get(..2) {
            // Error codes about the connection, the name of the database, and a server that starts, stops or cancels.
            Some("08" | "3D" | "57") => Self::Lost(text()),
            // Constraint violations, and exceptions that a trigger of the ledger raises.
            Some("23" | "P0") => Self::Constraint(text()),
            Some("28") => Self::Lost(format!("the server refuses the user or the password: {}", text())),
            Some("58") => Self::Io(text()),
            Some("XX") => Self::Damaged(text()),
            _ => Self::Engine(text()),
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<std::io::Error>() {
            return true;
        }
        cause = one.source();
    }
    error.to_string().starts_with("error connecting")
}

/// Returns the driver's text with its cause. The driver's errors quote no password.
fn text_of(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
