//! The only writer of a crawl: one task that takes answers from a bounded channel and commits them in batches.
//!
//! A batch ends when half of `batch` rows have come, 200 ms after its first message, or at a call. The other half is room
//! for what the fetching tasks send during the commit. The channel is bounded in rows, because an account may have one
//! reward or ten thousand. Each message keeps its share of the room until its batch is committed, so a `kill -9` costs at
//! most `batch` rows and the requests in flight. A transaction begins when its rows are in memory: it never waits for the
//! channel, the network or a parser. A failed write ends the task, and [`WriterTask::join`] gives the error.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::store::index::{AccountAnswer, Entry, Index, PageCommitted, RunKey};

/// The longest time that an answer waits for its batch to fill.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Keeps the room within what a semaphore can count on every platform.
const MAX_BATCH: usize = 1_000_000;

type Call = Box<dyn FnOnce(&mut Index) + Send>;

enum Message {
    Entry(Entry, OwnedSemaphorePermit),
    /// Ends the batch and runs after it is committed.
    Call(Call),
}

/// A handle to the writer task. Clones send to the same task.
#[derive(Clone)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    /// Free rows of the channel and the batch.
    room: Arc<Semaphore>,
    capacity: u32,
    /// The newest committed page of participants.
    pages: watch::Receiver<PageCommitted>,
}

pub(super) struct WriterTask(JoinHandle<Result<Index>>);

impl Writer {
    /// `batch` is the number of rows that may be uncommitted at once. `new_requests` returns how many requests were sent since
    /// its last call: each commit adds them to the run.
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

    /// Adds an answer or a page to the next batch. Waits while the channel is full.
    pub(super) async fn put(&self, entry: Entry) -> Result<()> {
        // An entry that is larger than the channel takes all of it. It waits for the commit of what came before, which
        // happens within the flush interval, so it cannot deadlock.
        let rows = u32::try_from(rows_of(&entry)).unwrap_or(u32::MAX).min(self.capacity);
        let room = Arc::clone(&self.room).acquire_many_owned(rows).await.map_err(|_closed| stopped())?;
        self.messages.send(Message::Entry(entry, room)).await.map_err(|_closed| stopped())
    }

    /// Runs `work` on the index after everything that was put before is committed.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        // The work is done even if the caller was cancelled and does not wait for the result.
        let call: Call = Box::new(move |index| drop(sender.send(work(index))));
        self.messages.send(Message::Call(call)).await.map_err(|_closed| stopped())?;
        receiver.await.map_err(|_dropped| stopped())?
    }

    /// Waits until everything that was put before is committed, so that a reader sees it.
    pub(super) async fn flush(&self) -> Result<()> {
        self.call(|_| Ok(())).await
    }

    /// The newest committed page of participants, and a notification for each one after it.
    pub(super) fn pages(&self) -> watch::Receiver<PageCommitted> {
        self.pages.clone()
    }
}

impl WriterTask {
    /// Waits until everything is committed and returns the index. Every [`Writer`] must be dropped before.
    pub(super) async fn join(self) -> Result<Index> {
        self.0.await.map_err(ended)?
    }
}

/// What a sender sees after the task has ended. The error of the task itself, which says why, outranks it.
pub(super) fn stopped() -> Error {
    Error::new(Kind::Storage, "the index writer has stopped")
}

fn ended(error: tokio::task::JoinError) -> Error {
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
            let pages = if entries.is_empty() { Vec::new() } else { index.commit(run, entries)? };
            if requests > 0 {
                index.add_requests(run, requests)?;
            }
            if let Some(call) = call {
                call(&mut index);
            }
            Ok::<_, Error>((index, pages))
        };
        let (returned, pages) = tokio::task::spawn_blocking(commit).await.map_err(ended)??;
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

/// Collects a batch: until it has enough rows, its flush is due, a call comes, or every sender is gone.
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
mod tests {
    use jiff::Timestamp;
    use tempfile::TempDir;

    use super::*;
    use crate::model::{AccountId, Participant, UserId};
    use crate::store::Identity;
    use crate::store::index::{AccountKey, AccountRead, IndexReader, NewRun, Page, Sweep, Unread};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// An index with a queue of so many accounts.
    fn queue_of(accounts: usize, dir: &TempDir) -> (Index, RunKey, Vec<Unread>) {
        let (path, identity) = (dir.path().join("recoup.db"), Identity::of_a_test());
        let mut index = Index::open(&path, &identity).expect("opens");
        let (run, _) = index.begin_run(NewRun::of("participants"), NOW).expect("begins");
        let (sweep, _) = index.begin_sweep(run, "", NOW).expect("begins");
        let participant = |n| {
            let id = format!("account {n}");
            Participant { user_id: UserId::new(id.as_str()), account_id: AccountId::new(id), email: None }
        };
        let participants = (0..accounts).map(participant).collect();
        let page = Page { participants, unusable: Vec::new(), cursor: String::new() };
        index.commit_page(run, &sweep, &page, NOW).expect("commits");
        let reader = IndexReader::open(&path, Some(&identity)).expect("opens").expect("exists");
        let unread = reader.unread(run, AccountKey::START, accounts).expect("a queue");
        (index, run, unread)
    }

    fn read_without_rewards(unread: &Unread) -> Entry {
        let answer = AccountAnswer::Listed { rewards: Vec::new(), unusable: 0 };
        Entry::Read(AccountRead { key: unread.key, asked_at: NOW, answer })
    }

    fn accounts_read(index: &mut Index, run: RunKey) -> u64 {
        index.run(run).expect("reads").expect("a run").accounts_read
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_sees_exactly_the_answers_that_were_put_before_it_at_any_batch_size() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, run, unread) = queue_of(500, &dir);
        for (batch, part) in [1, 7, 60, 100_000].into_iter().zip(unread.chunks(125)) {
            let before = accounts_read(&mut index, run);
            let (writer, task) = Writer::start(index, run, batch, || 0);
            for (n, unread) in part.iter().enumerate() {
                writer.put(read_without_rewards(unread)).await.expect("is taken");
                if n % 10 == 3 {
                    let seen = writer.call(move |index| Ok(accounts_read(index, run))).await.expect("is answered");
                    assert_eq!(seen - before, n as u64 + 1, "batches of {batch}");
                }
            }
            drop(writer);
            index = task.join().await.expect("everything is written");
            assert_eq!(accounts_read(&mut index, run) - before, part.len() as u64);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_entry_larger_than_a_full_channel_does_not_deadlock() {
        let dir = TempDir::new().expect("a folder");
        let (index, run, unread) = queue_of(3, &dir);
        let (writer, task) = Writer::start(index, run, 4, || 0);
        let (sweep, _) = writer.call(move |index| index.begin_sweep(run, "", NOW)).await.expect("begins");
        writer.put(read_without_rewards(&unread[0])).await.expect("is taken");
        let page = Page { participants: Vec::new(), unusable: (0..9).collect(), cursor: String::new() };
        writer.put(Entry::Page { sweep: sweep.clone(), page, at: NOW }).await.expect("is taken");
        writer.put(read_without_rewards(&unread[1])).await.expect("is taken");
        drop(writer);
        let mut index = task.join().await.expect("everything is written");
        assert_eq!(accounts_read(&mut index, run), 2);
        assert_eq!(index.participants(sweep.id).expect("reads"), 12, "three participants and nine unusable rows");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failed_write_ends_the_writer_with_its_error_and_wakes_every_sender() {
        let dir = TempDir::new().expect("a folder");
        let (index, run, unread) = queue_of(40, &dir);
        let (writer, task) = Writer::start(index, run, 2, || 0);
        let (sweep, _) = writer.call(move |index| index.begin_sweep(run, "", NOW)).await.expect("begins");
        let unknown = Sweep { id: sweep.id + 1, ..sweep };
        let page = Page { participants: Vec::new(), unusable: Vec::new(), cursor: String::new() };
        writer.put(Entry::Page { sweep: unknown, page, at: NOW }).await.expect("is taken");
        let mut refused = None;
        for unread in &unread {
            refused = refused.or(writer.put(read_without_rewards(unread)).await.err());
        }
        assert_eq!(refused.expect("the channel is closed").kind, Kind::Storage);
        drop(writer);
        assert_eq!(task.join().await.map(drop).expect_err("the error of the write").kind, Kind::Storage);
    }
}
