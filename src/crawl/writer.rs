//! The only writer of a crawl: one task that receives responses from a bounded channel and commits them in batches.
//!
//! The writer ends a batch when half of `batch` rows have arrived, 200 ms after the batch's first message, or at a
//! [`Message::Call`]. The fetching tasks use the other half of `batch` during the commit. The capacity of the writer's
//! channel is a number of rows, because an account may have one reward or ten thousand. Each message occupies its part
//! of the channel's capacity until its batch is committed. Therefore a `kill -9` loses at most `batch` rows and the
//! requests in flight. A transaction of the writer begins when its rows are in memory. Therefore a transaction of the
//! writer never waits for the channel, the network or a parser. A failed write ends the writer task, and
//! [`WriterTask::join`] returns the error.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::store::index::{AccountAnswer, Entry, Index, PageCommitted, RunKey};

/// The maximum time that a response waits until the writer commits its batch.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// The largest `batch` of the writer. A semaphore can count this many rows on every platform.
const MAX_BATCH: usize = 1_000_000;

type Call = Box<dyn FnOnce(&mut Index) + Send>;

enum Message {
    Entry(Entry, OwnedSemaphorePermit),
    /// Ends the batch of the writer. The writer runs the call after the commit of the batch.
    Call(Call),
}

/// A handle to the writer task. Clones of a writer send to the same task.
#[derive(Clone)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    /// One permit for each row that the channel or the current batch can still take.
    room: Arc<Semaphore>,
    capacity: u32,
    /// The newest committed page of participants.
    pages: watch::Receiver<PageCommitted>,
}

pub(super) struct WriterTask(JoinHandle<Result<Index>>);

impl Writer {
    /// Starts the writer task. `batch` is the maximum number of uncommitted rows. `new_requests` returns how many
    /// requests the client has sent since its last call. Each commit adds that number to the run.
    pub(super) fn start(
        index: Index,
        run: RunKey,
        batch: usize,
        new_requests: impl FnMut() -> u64 + Send + 'static,
    ) -> (Self, WriterTask) {
        let capacity = batch.clamp(1, MAX_BATCH);
        let (messages, incoming) = mpsc::channel(capacity);
        let (committed, pages) = watch::channel(PageCommitted { participants: 0, accounts_known: 0 });
        let task = tokio::spawn(write(index, run, incoming, capacity.div_ceil(2), committed, new_requests));
        let room = Arc::new(Semaphore::new(capacity));
        (Self { messages, room, capacity: capacity as u32, pages }, WriterTask(task))
    }

    /// Adds a response or a page to the writer's next batch. Waits while the writer's channel is full.
    pub(super) async fn put(&self, entry: Entry) -> Result<()> {
        // An entry that is larger than the channel takes the channel's whole capacity. An entry larger than the channel
        // waits only for the commit of the earlier entries, which happens within the flush interval. Therefore an entry
        // larger than the channel cannot deadlock.
        let rows = u32::try_from(rows_of(&entry)).unwrap_or(u32::MAX).min(self.capacity);
        let room = Arc::clone(&self.room).acquire_many_owned(rows).await.map_err(|_closed| stopped())?;
        self.messages.send(Message::Entry(entry, room)).await.map_err(|_closed| stopped())
    }

    /// Runs `work` on the index after the writer has committed all earlier entries.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        // The writer runs `work` even if the caller was cancelled and no longer waits for the result.
        let call: Call = Box::new(move |index| drop(sender.send(work(index))));
        self.messages.send(Message::Call(call)).await.map_err(|_closed| stopped())?;
        receiver.await.map_err(|_dropped| stopped())?
    }

    /// Waits until the writer has committed all earlier entries. A reader of the index sees all entries that the writer
    /// has committed.
    pub(super) async fn flush(&self) -> Result<()> {
        self.call(|_| Ok(())).await
    }

    /// Returns a receiver of the newest committed page of participants. The receiver is notified of every later page of
    /// participants.
    pub(super) fn pages(&self) -> watch::Receiver<PageCommitted> {
        self.pages.clone()
    }
}

impl WriterTask {
    /// Waits until the writer has committed all entries, and returns the index. Callers must first drop every
    /// [`Writer`], because this function waits for that.
    pub(super) async fn join(self) -> Result<Index> {
        self.0.await.map_err(|error| ended(&error))?
    }
}

/// Returns the error for a sender if the writer task has ended. [`WriterTask::join`] returns the writer task's own
/// error, which has the cause.
pub(super) fn stopped() -> Error {
    Error::new(Kind::Storage, "the index writer has stopped")
}

fn ended(error: &tokio::task::JoinError) -> Error {
    Error::new(Kind::Failed, format!("the index writer ended unexpectedly: {error}"))
}

fn rows_of(entry: &Entry) -> usize {
    match entry {
        Entry::Read(read) => match &read.answer {
            AccountAnswer::Listed { rewards, .. } => rewards.len() + 1,
            _ => 1,
        },
        Entry::Page { page, .. } => page.rows(),
    }
}

/// Commits batches until every [`Writer`] is dropped.
async fn write(
    mut index: Index,
    run: RunKey,
    mut incoming: mpsc::Receiver<Message>,
    batch: usize,
    committed: watch::Sender<PageCommitted>,
    mut new_requests: impl FnMut() -> u64,
) -> Result<Index> {
    loop {
        let first = incoming.recv().await;
        let is_last = first.is_none();
        let (entries, room, call) = collect(first, &mut incoming, batch).await;
        let requests = new_requests();
        let commit = move || {
            let pages = if entries.is_empty() { Vec::new() } else { index.commit(run, &entries)? };
            if requests > 0 {
                index.add_requests(run, requests)?;
            }
            if let Some(call) = call {
                call(&mut index);
            }
            Ok::<_, Error>((index, pages))
        };
        let (returned, pages) = tokio::task::spawn_blocking(commit).await.map_err(|error| ended(&error))??;
        index = returned;
        drop(room);
        if let Some(newest) = pages.last() {
            committed.send_replace(*newest);
        }
        if is_last {
            return Ok(index);
        }
    }
}

/// Collects a batch until it has enough rows, its flush is due, a call arrives, or every sender is dropped.
async fn collect(
    first: Option<Message>,
    incoming: &mut mpsc::Receiver<Message>,
    batch: usize,
) -> (Vec<Entry>, Vec<OwnedSemaphorePermit>, Option<Call>) {
    let flush_at = Instant::now() + FLUSH_INTERVAL;
    let (mut entries, mut room, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut next = first;
    while let Some(message) = next {
        match message {
            Message::Call(call) => return (entries, room, Some(call)),
            Message::Entry(entry, permit) => {
                rows += permit.num_permits();
                entries.push(entry);
                room.push(permit);
            }
        }
        next = if rows < batch { timeout_at(flush_at, incoming.recv()).await.ok().flatten() } else { None };
    }
    (entries, room, None)
}

#[cfg(test)]
mod tests;
