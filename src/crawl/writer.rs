//! The one place of a crawl that writes: a thread that owns the index and commits answers in batches.
//!
//! Requests never wait for a disk that is busy with another batch, only for a channel that is full. Everything that a crawl
//! asks of the index goes through here in order, so that a question sees every answer that was put before it. A failure to
//! write ends the thread; its error is what [`Thread::close`] gives.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::store::index::{AccountRead, Index, RunKey};

/// Answers wait no longer than this for their batch: what a `kill -9` may cost, and how late progress is.
const LINGER: Duration = Duration::from_millis(200);

type Call = Box<dyn FnOnce(&mut Index) + Send>;

enum Message {
    Read(AccountRead),
    Call(Call),
}

/// A handle to the writing thread. Clones speak to the same thread.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Message>);

/// The thread itself.
pub(super) struct Thread(JoinHandle<Result<()>>);

impl Writer {
    /// Starts the thread. `batch` is in rows, and is what a `kill -9` may cost beside the requests in flight: half of it is
    /// being committed while the other half queues.
    pub(super) fn start(index: Index, run: RunKey, batch: usize) -> (Self, Thread) {
        let batch = (batch / 2).max(1);
        let (sender, receiver) = mpsc::channel(batch);
        let handle = Handle::current();
        let thread = tokio::task::spawn_blocking(move || work(index, run, batch, receiver, &handle));
        (Self(sender), Thread(thread))
    }

    /// Puts an answer into the next batch.
    pub(super) async fn put(&self, read: AccountRead) -> Result<()> {
        self.0.send(Message::Read(read)).await.map_err(|_closed| stopped())
    }

    /// Runs something on the index, after everything that was put before.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let call: Call = Box::new(move |index| {
            // The asker may have gone; the work is done all the same.
            drop(sender.send(work(index)));
        });
        self.0.send(Message::Call(call)).await.map_err(|_closed| stopped())?;
        receiver.await.map_err(|_dropped| stopped())?
    }
}

impl Thread {
    /// Waits until everything is written. Every [`Writer`] must be gone by then.
    pub(super) async fn close(self) -> Result<()> {
        self.0.await.map_err(|error| Error::new(Kind::Failed, format!("the writing thread ended: {error}")))?
    }
}

/// What a caller sees when the thread has ended; the thread's own error outranks it.
fn stopped() -> Error {
    Error::new(Kind::Storage, "the index is not being written any more")
}

fn work(
    mut index: Index,
    run: RunKey,
    batch: usize,
    mut receiver: mpsc::Receiver<Message>,
    handle: &Handle,
) -> Result<()> {
    let mut pending: Vec<AccountRead> = Vec::new();
    let mut rows = 0;
    let mut due: Option<Instant> = None;
    loop {
        let message = match due {
            None => receiver.blocking_recv(),
            Some(due) => handle.block_on(timeout_at(due, receiver.recv())).unwrap_or_else(|_elapsed| {
                // Nothing new for a while: what there is becomes the batch.
                Some(Message::Call(Box::new(|_| {})))
            }),
        };
        match message {
            Some(Message::Read(read)) => {
                rows += read.answer.rows();
                pending.push(read);
                due.get_or_insert_with(|| Instant::now() + LINGER);
                if rows < batch && due.is_none_or(|due| Instant::now() < due) {
                    continue;
                }
                commit(&mut index, run, &mut pending)?;
            }
            Some(Message::Call(call)) => {
                commit(&mut index, run, &mut pending)?;
                call(&mut index);
            }
            None => return commit(&mut index, run, &mut pending),
        }
        rows = 0;
        due = None;
    }
}

fn commit(index: &mut Index, run: RunKey, pending: &mut Vec<AccountRead>) -> Result<()> {
    if !pending.is_empty() {
        index.record(run, pending)?;
        pending.clear();
    }
    Ok(())
}
