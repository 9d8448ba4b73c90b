//! PostgreSQL: transactions on a server, in which each store has its own schema.
//!
//! recoup works behind a connection pooler in transaction mode, because no connection keeps state between two
//! transactions: every transaction sets its schema itself, and no statement has a name.
//!
//! A write transaction first locks the only row of `store_state`. Therefore the write transactions of a store run one
//! after another, as on SQLite. Every write transaction also inserts a random number into `commits`. If the connection
//! is lost while the server commits, the next connection locks the row of `store_state`, which waits for the end of the
//! lost transaction. With the row locked, the next connection looks for the lost transaction's number in `commits`.

mod facts;
mod locks;
mod pool;
mod queue;
mod schema;
mod server;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use parking_lot::{Mutex, ReentrantMutex};
use tokio::time::Instant;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::{BUSY_POLL, DbError, Identity, Layout, Patience, ToValue, Tx, Value};
use crate::error::{Error, Kind};
use crate::model::hex;
use crate::store::random;

use facts::INSTANCE;
pub use locks::ServerLock;
use pool::{Lease, Pool, left, wait};
use queue::Queue;
pub use server::Server;
pub use tokio_postgres::Row as PgRow;

/// How long a read waits for a connection and for the start of its transaction, because a person waits for the result.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// How long a write waits for a connection.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a statement may take. The longest statement reads a whole table.
const STATEMENT_LIMIT: Duration = Duration::from_mins(5);

/// How long a commit may take before recoup reads its outcome by another connection.
const COMMIT_LIMIT: Duration = Duration::from_secs(15);

/// How long recoup tries to find out whether a lost commit succeeded.
const RESOLVE_LIMIT: Duration = Duration::from_secs(30);

/// How long the row of a lock is waited for. Its holder keeps it locked only while it renews the lock or commits.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// How long the server keeps the number of a commit. A process that slept for longer cannot find out whether it committed.
const NONCES_KEPT: Duration = Duration::from_hours(24);

/// The number of rows that a query for a large result reads at once.
const ROWS_AT_ONCE: u32 = 1000;

/// A store on a PostgreSQL server. Threads share one `Session`; a mutex serialises their access, and several reads of a
/// thread join one read transaction.
#[derive(Debug)]
pub struct Session {
    server: Arc<Server>,
    pool: Arc<Pool>,
    schema: String,
    active: ReentrantMutex<RefCell<Option<Arc<PgTx>>>>,
    /// The lock that this session must hold to write.
    fence: Mutex<Option<Fence>>,
    interrupted: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Fence {
    lock: String,
    holder: String,
    epoch: i64,
    /// The store in which the lock was taken.
    instance: String,
}

/// The statements with which a transaction begins.
enum Begin<'a> {
    Read,
    Write {
        nonce: &'a str,
        fence: Option<Fence>,
    },
    /// A transaction on the table of locks, which waits for no writer of the store.
    Lock,
}

impl Session {
    fn new(server: &Arc<Server>, layout: &Layout) -> Self {
        Self {
            server: Arc::clone(server),
            pool: Pool::of(server),
            schema: server.schema(layout.name),
            active: ReentrantMutex::default(),
            fence: Mutex::default(),
            interrupted: Arc::default(),
        }
    }

    /// Opens a store, creates it if it is missing, and checks its owner.
    pub fn open_writer(server: &Arc<Server>, layout: &Layout, identity: &Identity) -> Result<Self, DbError> {
        let session = Self::new(server, layout);
        if !schema::check_version(&session, layout)? {
            schema::create(&session, layout)?;
        }
        schema::bind(&session, identity)?;
        Ok(session)
    }

    /// Opens a store; returns `None` if it does not exist yet. Compares the store's owner with `identity` if `identity`
    /// is `Some`.
    pub fn open_existing(
        server: &Arc<Server>,
        layout: &Layout,
        identity: Option<&Identity>,
    ) -> Result<Option<Self>, DbError> {
        let session = Self::new(server, layout);
        if !schema::check_version(&session, layout)? {
            return Ok(None);
        }
        if let Some(identity) = identity {
            session.read(Patience::Usual, |tx| schema::check_identity(tx, identity))?;
        }
        Ok(Some(session))
    }

    pub fn read<T>(
        &self,
        patience: Patience,
        mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let active = self.active.lock();
        let joined = active.borrow().clone();
        if let Some(tx) = joined {
            return work(&Tx::postgres(&tx));
        }
        // One limit for all attempts, because a person waits for the answer.
        let until = Instant::now() + READ_LIMIT;
        repeat(patience, || {
            let tx = self.begin(&Begin::Read, patience, until)?;
            let value = run_in(&active, &tx, &mut work);
            tx.end_read();
            value
        })
    }

    pub fn write<T>(
        &self,
        patience: Patience,
        mut work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let active = self.active.lock();
        if active.borrow().is_some() {
            return Err(DbError::Engine("a write began inside another transaction".to_owned()));
        }
        repeat(patience, || {
            let nonce = hex(&random::<16>()?);
            let begin = Begin::Write { nonce: &nonce, fence: self.fence.lock().clone() };
            let tx = self.begin(&begin, patience, Instant::now() + WRITE_LIMIT)?;
            let value = match run_in(&active, &tx, &mut work).and_then(|value| tx.flush().map(|()| value)) {
                Ok(value) => value,
                Err(error) => {
                    tx.end("ROLLBACK");
                    return Err(error);
                }
            };
            // If a statement has failed, the server answers a commit with a rollback and reports success.
            if tx.failed.load(Relaxed) {
                return Err(DbError::Engine("a statement of this transaction failed".to_owned()));
            }
            let began = locks::boot_time();
            match wait(COMMIT_LIMIT, tx.lease.client()?.batch_execute("COMMIT")) {
                Ok(()) => {
                    tx.lease.keep();
                    Ok(value)
                }
                // With these two error codes, the server has rolled the transaction back.
                Err(error @ (DbError::Retry | DbError::Constraint(_))) => Err(error),
                Err(error) => {
                    // Closes the lost connection before the next connection looks for its commit.
                    drop(tx);
                    match self.was_committed(&nonce, began) {
                        Ok(true) => Ok(value),
                        Ok(false) => Err(error),
                        Err(_) => Err(DbError::Unresolved(cause_of(&error))),
                    }
                }
            }
        })
    }

    /// Tests whether the store is writable: takes the write lock, writes, and rolls back.
    pub fn try_to_write(&self, patience: Patience) -> Result<(), DbError> {
        let nonce = hex(&random::<16>()?);
        let begin = Begin::Write { nonce: &nonce, fence: None };
        let tx = self.begin(&begin, patience, Instant::now() + WRITE_LIMIT)?;
        let tried = tx.run("UPDATE identity SET value = value", &[]).map(drop);
        tx.end("ROLLBACK");
        tried
    }

    /// Removes deleted rows from the tables.
    pub fn rewrite(&self) -> Result<(), DbError> {
        let tables = "SELECT quote_ident(relname) FROM pg_class
             WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(current_schema()))";
        let tables = self.read(Patience::Usual, |tx| tx.rows(tables, &[], |row| row.get::<String>(0)))?;
        let lease = self.pool.take(&self.server, WRITE_LIMIT)?;
        for table in tables {
            // The server refuses VACUUM inside a transaction.
            wait(STATEMENT_LIMIT, lease.client()?.batch_execute(&format!("VACUUM {}.{table}", self.schema)))?;
        }
        lease.keep();
        Ok(())
    }

    /// Lets this session write only while the process holds `lock`.
    pub fn fence(&self, lock: &ServerLock) {
        *self.fence.lock() = Some(lock.as_fence());
    }

    /// Runs `work` in a transaction on the table of locks.
    fn lock_rows<T>(&self, work: impl FnOnce(&PgTx) -> Result<T, DbError>) -> Result<T, DbError> {
        let tx = self.begin(&Begin::Lock, Patience::None, Instant::now() + WRITE_LIMIT)?;
        let done = work(&tx);
        if done.is_ok() {
            wait(COMMIT_LIMIT, tx.lease.client()?.batch_execute("COMMIT"))?;
            tx.lease.keep();
        } else {
            tx.end("ROLLBACK");
        }
        done
    }

    /// Returns a function that stops the next statement of this session.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        let interrupted = Arc::clone(&self.interrupted);
        move || interrupted.store(true, Relaxed)
    }

    /// Begins a transaction before `until`. A write also waits for other writers, as long as `patience` says.
    fn begin(&self, begin: &Begin<'_>, patience: Patience, until: Instant) -> Result<Arc<PgTx>, DbError> {
        let wait_for_lock = match begin {
            Begin::Read => Duration::ZERO,
            Begin::Write { .. } => patience.limit().max(Duration::from_millis(1)),
            Begin::Lock => LOCK_LIMIT,
        };
        let sql = self.begin_sql(begin, wait_for_lock);
        loop {
            let lease = self.pool.take(&self.server, left(until))?;
            let was_idle = lease.was_idle;
            match wait(left(until) + wait_for_lock, lease.client()?.batch_execute(&sql)) {
                Ok(()) => {}
                // The connection was lost while no one used it, and so were the other idle ones. The loop ends, because a new
                // connection is not tried twice.
                Err(DbError::Lost(_)) if was_idle && !left(until).is_zero() => {
                    self.pool.close_idle();
                    continue;
                }
                Err(error) => {
                    if matches!(error, DbError::Lost(_)) {
                        self.pool.close_idle();
                    }
                    return Err(error);
                }
            }
            let tx = Arc::new(PgTx {
                lease,
                failed: AtomicBool::new(false),
                cursors: AtomicU64::new(0),
                interrupted: Arc::clone(&self.interrupted),
                queue: Mutex::default(),
            });
            if let Begin::Write { fence: Some(fence), .. } = begin {
                check_fence(&tx, fence)?;
            }
            return Ok(tx);
        }
    }

    /// All statements are in one message, because each message costs a round trip.
    fn begin_sql(&self, begin: &Begin<'_>, wait_for_lock: Duration) -> String {
        let schema = &self.schema;
        match begin {
            Begin::Read => {
                format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {schema}, pg_temp")
            }
            Begin::Write { .. } | Begin::Lock => {
                let sql = format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL search_path TO {schema}, pg_temp;
                     SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = '60s';
                     SET LOCAL synchronous_commit = 'on'",
                    wait_for_lock.as_millis()
                );
                if let Begin::Write { nonce, .. } = begin {
                    // The version comes from the random number, because a counter of a promoted standby could reach a version
                    // again that this process knows with other content.
                    let version = i64::from_str_radix(nonce.get(..15).unwrap_or_default(), 16).unwrap_or_default();
                    let kept = NONCES_KEPT.as_secs();
                    return format!(
                        "{sql}; UPDATE store_state SET version = {version};
                         DELETE FROM commits WHERE at < clock_timestamp() - interval '{kept} s';
                         INSERT INTO commits (nonce, at) VALUES ('{nonce}', clock_timestamp())"
                    );
                }
                sql
            }
        }
    }

    /// Returns whether the transaction with this number was committed. Waits for its end first. `committed_at` is when this
    /// process asked for the commit, by [`locks::boot_time`].
    fn was_committed(&self, nonce: &str, committed_at: Duration) -> Result<bool, DbError> {
        let began = Instant::now();
        loop {
            match self.look_for(nonce) {
                Err(DbError::Lost(_) | DbError::Busy | DbError::Retry) if began.elapsed() < RESOLVE_LIMIT => {
                    std::thread::park_timeout(Duration::from_millis(200));
                }
                // The server may have deleted the number.
                Ok(false) if locks::boot_time().saturating_sub(committed_at) > NONCES_KEPT / 2 => {
                    return Err(DbError::Lost("this process slept for too long".to_owned()));
                }
                found => return found,
            }
        }
    }

    fn look_for(&self, nonce: &str) -> Result<bool, DbError> {
        let client = pool::connect(&self.server, WRITE_LIMIT)?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL search_path TO {}, pg_temp;
             SET LOCAL lock_timeout = '10s'; SELECT version FROM store_state FOR UPDATE",
            self.schema
        );
        wait(WRITE_LIMIT + Duration::from_secs(10), client.batch_execute(&begin))?;
        // The query is a separate statement, because its snapshot must be newer than the lock.
        let find = "SELECT EXISTS (SELECT 1 FROM commits WHERE nonce = $1)";
        let rows = wait(WRITE_LIMIT, client.query_typed(find, &[(&nonce, Type::TEXT)]))?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }
}

/// Runs a closure in a transaction, which nested reads join.
fn run_in<T>(
    active: &RefCell<Option<Arc<PgTx>>>,
    tx: &Arc<PgTx>,
    work: &mut impl FnMut(&Tx<'_>) -> Result<T, DbError>,
) -> Result<T, DbError> {
    /// Ends the transaction for nested reads, even if the closure panics.
    struct Ended<'a>(&'a RefCell<Option<Arc<PgTx>>>);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().take();
        }
    }
    *active.borrow_mut() = Some(Arc::clone(tx));
    let _ended = Ended(active);
    work(&Tx::postgres(tx))
}

/// Fails if another process has taken the lock since, or if this is another store than the one in which it was taken. The
/// row stays locked until the commit, so no process takes it meanwhile.
fn check_fence(tx: &PgTx, fence: &Fence) -> Result<(), DbError> {
    let held = format!("SELECT epoch = ?2 AND holder = ?3, ({INSTANCE}) = ?4 FROM locks WHERE name = ?1 FOR SHARE");
    let rows = tx.rows(&held, &[&fence.lock, &fence.epoch, &fence.holder, &fence.instance])?;
    let (is_held, is_same) = rows.first().map_or((false, true), |row| (row.get(0), row.get(1)));
    if is_held && is_same {
        return Ok(());
    }
    tx.end("ROLLBACK");
    if !is_same {
        let message =
            "the server is not the one on which this work began: a standby was promoted, or a backup restored";
        return Err(Error::new(Kind::Storage, message)
            .hint("run the command again: it continues from what this server has, which may be older")
            .into());
    }
    Err(Error::new(Kind::Busy, "another process has taken over this work, because this one was silent for too long")
        .hint("nothing is lost: the other process continues from the last commit")
        .into())
}

/// Returns the driver's text about a failed commit.
fn cause_of(error: &DbError) -> String {
    match error {
        DbError::Lost(cause) | DbError::Full(cause) | DbError::Io(cause) | DbError::Engine(cause) => cause.clone(),
        _ => "the commit failed".to_owned(),
    }
}

/// Retries a transaction that collided with another transaction, and retries once a transaction whose connection was
/// lost before its commit.
fn repeat<T>(patience: Patience, mut attempt: impl FnMut() -> Result<T, DbError>) -> Result<T, DbError> {
    let (mut tries, mut was_lost) = (0, false);
    loop {
        match attempt() {
            Err(DbError::Retry) if BUSY_POLL * tries < patience.limit() => {
                tries += 1;
                std::thread::park_timeout(BUSY_POLL);
            }
            Err(DbError::Lost(_)) if !was_lost => was_lost = true,
            done => return done,
        }
    }
}

/// An open transaction on a PostgreSQL server.
#[derive(Debug)]
pub struct PgTx {
    lease: Lease,
    /// `true` if a statement has failed. After a failure, the server refuses every other statement of the transaction.
    failed: AtomicBool,
    /// The number of cursors so far, from which the next cursor gets its name.
    cursors: AtomicU64,
    interrupted: Arc<AtomicBool>,
    /// Rows that the next statement or the commit writes.
    queue: Mutex<Queue>,
}

impl PgTx {
    pub fn run(&self, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
        self.flush()?;
        let (sql, parameters) = (dollars(sql), parameters(args)?);
        self.exec(self.lease.client()?.execute_typed(&sql, &typed(&parameters)))
    }

    pub fn rows(&self, sql: &str, args: &[&dyn ToValue]) -> Result<Vec<tokio_postgres::Row>, DbError> {
        self.flush()?;
        let (sql, parameters) = (dollars(sql), parameters(args)?);
        self.exec(self.lease.client()?.query_typed(&sql, &typed(&parameters)))
    }

    /// Reads the rows in parts, so that `read` may run statements of its own.
    pub fn each(
        &self,
        sql: &str,
        args: &[&dyn ToValue],
        mut read: impl FnMut(&tokio_postgres::Row) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let cursor = format!("c{}", self.cursors.fetch_add(1, Relaxed));
        self.run(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {sql}"), args)?;
        loop {
            let rows = self.rows(&format!("FETCH {ROWS_AT_ONCE} FROM {cursor}"), &[])?;
            for row in &rows {
                read(row)?;
            }
            if rows.len() < ROWS_AT_ONCE as usize {
                break;
            }
        }
        self.run(&format!("CLOSE {cursor}"), &[]).map(drop)
    }

    fn exec<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, DbError> {
        if self.interrupted.load(Relaxed) {
            return Err(DbError::Interrupted);
        }
        let done = wait(STATEMENT_LIMIT, work);
        if done.is_err() {
            self.failed.store(true, Relaxed);
        }
        done
    }

    /// Ends a transaction that has only read. Does not wait for the server's answer: the server runs the statements of a
    /// connection in their order, so the next transaction on it begins after the end of this one.
    fn end_read(&self) {
        // A statement that failed may still run, so the end is waited for.
        if self.failed.load(Relaxed) {
            return self.end("ROLLBACK");
        }
        if let Ok(client) = self.lease.client()
            // The first poll sends the statement.
            && !matches!(client.batch_execute("ROLLBACK").now_or_never(), Some(Err(_)))
        {
            self.lease.keep();
        }
    }

    /// Ends the transaction. If ending the transaction fails, closes the connection, which also ends the transaction.
    fn end(&self, how: &str) {
        if let Ok(client) = self.lease.client()
            && wait(READ_LIMIT, client.batch_execute(how)).is_ok()
        {
            self.lease.keep();
        }
    }
}

/// Replaces `?N` by `$N` outside of quoted text.
fn dollars(sql: &str) -> String {
    let mut is_quoted = false;
    sql.chars()
        .map(|c| {
            is_quoted ^= c == '\'';
            if c == '?' && !is_quoted { '$' } else { c }
        })
        .collect()
}

/// A parameter with its type, so that no statement has to be prepared.
#[derive(Debug)]
struct Parameter<'a>(Value<'a>);

fn parameters<'a>(args: &'a [&'a dyn ToValue]) -> Result<Vec<Parameter<'a>>, DbError> {
    args.iter()
        .map(|arg| match arg.to_value() {
            Value::Text(text) => refuse_nul(text).map(|()| Parameter(Value::Text(text))),
            value => Ok(Parameter(value)),
        })
        .collect()
}

fn refuse_nul(text: &str) -> Result<(), DbError> {
    if !text.contains('\0') {
        return Ok(());
    }
    Err(Error::new(Kind::Storage, "a text contains the character NUL, which PostgreSQL cannot store")
        .hint("find out where the text comes from; SQLite can store it")
        .into())
}

fn typed<'a>(parameters: &'a [Parameter<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    parameters
        .iter()
        .map(|parameter| {
            let ty = match parameter.0 {
                // The server derives the type of a null from its position in the statement.
                Value::Null => Type::UNKNOWN,
                Value::Integer(_) => Type::INT8,
                Value::Real(_) => Type::FLOAT8,
                Value::Text(_) => Type::TEXT,
                Value::Blob(_) => Type::BYTEA,
            };
            (parameter as &(dyn ToSql + Sync), ty)
        })
        .collect()
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(number) => number.to_sql(ty, out),
            Value::Real(number) => number.to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}

/// Returns the value of a column, counted from 0.
pub fn value(row: &PgRow, column: usize) -> Result<Option<Value<'_>>, DbError> {
    let kind = row.columns().get(column).map(tokio_postgres::Column::type_);
    let missing = || DbError::Engine(format!("the result has no column {column}, or its type is unknown: {kind:?}"));
    let kind = kind.ok_or_else(missing)?;
    let value = match *kind {
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(Value::Integer),
        Type::INT4 => row.try_get::<_, Option<i32>>(column)?.map(|number| Value::Integer(number.into())),
        Type::BOOL => row.try_get::<_, Option<bool>>(column)?.map(|is| Value::Integer(is.into())),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(column)?.map(Value::Real),
        Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<&str>>(column)?.map(Value::Text),
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(column)?.map(Value::Blob),
        _ => return Err(missing()),
    };
    Ok(Some(value.unwrap_or(Value::Null)))
}

/// Returns the name of a column for an error.
pub fn column_name(row: &PgRow, column: usize) -> &str {
    row.columns().get(column).map_or("?", tokio_postgres::Column::name)
}
