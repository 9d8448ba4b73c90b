//! The one place of a crawl that writes: a thread that owns the index and commits answers in batches.
//!
//! Rewards are taken apart here too, not where they were asked for: two threads of which one makes and the other frees so
//! many small things wait for each other at the allocator.
//!
//! Requests never wait for a disk that is busy with another batch, only for a channel that is full. Everything that a crawl
//! asks of the index goes through here in order, so that a question sees every answer that was put before it. A failure to
//! write ends the thread; its error is what [`Thread::close`] gives.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::mailbox::{self, Mailbox, Sender};
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::store::index::{
    AccountAnswer, AccountRead, Entry, Index, Page, PageCommitted, ReadReward, RunKey, Sweep, Unread,
};

/// Answers wait no longer than this for their batch: what a `kill -9` may cost, and how late progress is.
const LINGER: Duration = Duration::from_millis(200);
/// Unless commits take long themselves: then they wait so many times as long for more to come, because a page of the file that
/// two batches share is written twice.
const LINGER_PER_COMMIT: u32 = 4;
/// And never longer than this.
const LONGEST_LINGER: Duration = Duration::from_secs(1);

type Call = Box<dyn FnOnce(&mut Index) + Send>;
type Committed = Box<dyn FnOnce(PageCommitted) + Send>;

/// What came of asking for one account.
pub(super) enum Heard {
    /// Its rewards, as they came.
    Rewards(Vec<Box<RawValue>>),
    /// Anything else.
    Other(AccountAnswer),
}

/// What waits to be written.
enum Waiting {
    Answer { of: Unread, asked_at: Timestamp, heard: Heard },
    Page(Entry),
}

impl Waiting {
    /// Rows that it adds to a batch.
    fn rows(&self) -> usize {
        match self {
            Self::Answer { heard: Heard::Rewards(rewards), .. } => rewards.len() + 1,
            Self::Answer { heard: Heard::Other(_), .. } => 1,
            Self::Page(entry) => entry.rows(),
        }
    }

    fn entry(self, mapping: &Mapping) -> Entry {
        let (of, asked_at, heard) = match self {
            Self::Answer { of, asked_at, heard } => (of, asked_at, heard),
            Self::Page(entry) => return entry,
        };
        let answer = match heard {
            Heard::Rewards(raw) => {
                let (rewards, unusable) = ReadReward::all(raw, &of.account, mapping);
                AccountAnswer::Listed { rewards, unusable }
            }
            Heard::Other(answer) => answer,
        };
        Entry::Read(AccountRead { key: of.key, asked_at, answer })
    }
}

enum Message {
    Put(Waiting, Option<Committed>),
    /// Runs after everything that was put before it is written.
    Call(Call),
    /// Runs at once: what was put before it may not be written yet.
    Glance(Call),
}

impl Message {
    /// Rows that it adds to a batch; `None` for what cannot wait until there is one.
    fn rows(&self) -> Option<usize> {
        match self {
            Self::Put(waiting, _) => Some(waiting.rows()),
            Self::Call(_) | Self::Glance(_) => None,
        }
    }
}

/// A handle to the writing thread. Clones speak to the same thread.
#[derive(Clone)]
pub(super) struct Writer {
    messages: Sender<Message>,
}

/// The thread itself.
pub(super) struct Thread(JoinHandle<Result<Index>>);

impl Writer {
    /// Starts the thread, which finds links by `mapping`. `batch` is in rows, and is what a `kill -9` may cost beside the
    /// requests in flight: half of it is being committed while the other half queues.
    pub(super) fn start(index: Index, run: RunKey, batch: usize, mapping: Mapping) -> (Self, Thread) {
        let batch = (batch / 2).max(1);
        let (sender, mailbox) = mailbox::open(batch);
        let thread = tokio::task::spawn_blocking(move || work(index, run, batch, &mailbox, &mapping));
        (Self { messages: sender }, Thread(thread))
    }

    /// Puts an answer into the next batch.
    pub(super) async fn put(&self, of: Unread, asked_at: Timestamp, heard: Heard) -> Result<()> {
        self.send(Message::Put(Waiting::Answer { of, asked_at, heard }, None)).await
    }

    /// Puts a page of participants into the next batch. `committed` hears what it brought, once it is written.
    pub(super) async fn put_page(
        &self,
        sweep: Sweep,
        page: Page,
        at: Timestamp,
        committed: impl FnOnce(PageCommitted) + Send + 'static,
    ) -> Result<()> {
        self.send(Message::Put(Waiting::Page(Entry::Page { sweep, page, at }), Some(Box::new(committed)))).await
    }

    /// Runs something on the index, after everything that was put before.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(work, Message::Call).await
    }

    /// Runs something on the index that need not see what was put last, and so costs no commit of it.
    pub(super) async fn glance<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(work, Message::Glance).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
        message: impl FnOnce(Call) -> Message,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let call: Call = Box::new(move |index| {
            // The asker may have gone; the work is done all the same.
            drop(sender.send(work(index)));
        });
        self.send(message(call)).await?;
        receiver.await.map_err(|_dropped| stopped())?
    }

    async fn send(&self, message: Message) -> Result<()> {
        let rows = message.rows();
        self.messages.send(message, rows).await.map_err(|_closed| stopped())
    }
}

impl Thread {
    /// Waits until everything is written, and gives the index back: another connection would fill a cache of its own. Every
    /// [`Writer`] must be gone by then.
    pub(super) async fn close(self) -> Result<Index> {
        self.0.await.map_err(|error| Error::new(Kind::Failed, format!("the writing thread ended: {error}")))?
    }
}

/// What a caller sees when the thread has ended; the thread's own error outranks it.
fn stopped() -> Error {
    Error::new(Kind::Storage, "the index is not being written any more")
}

/// What is not written yet.
struct Batch {
    waiting: Vec<Waiting>,
    rows: usize,
    due: Option<Instant>,
    /// Who hears of the pages, in their order.
    pages: Vec<Committed>,
    /// How long the first entry waits.
    linger: Duration,
}

impl Batch {
    fn new() -> Self {
        Self { waiting: Vec::new(), rows: 0, due: None, pages: Vec::new(), linger: LINGER }
    }

    fn push(&mut self, waiting: Waiting, committed: Option<Committed>) {
        self.rows += waiting.rows();
        self.waiting.push(waiting);
        self.pages.extend(committed);
        self.due.get_or_insert_with(|| Instant::now() + self.linger);
    }

    fn is_due(&self, rows: usize) -> bool {
        self.rows >= rows || self.due.is_some_and(|due| Instant::now() >= due)
    }

    fn commit(&mut self, index: &mut Index, run: RunKey, mapping: &Mapping) -> Result<()> {
        let batch = std::mem::replace(self, Self { linger: self.linger, ..Self::new() });
        if batch.waiting.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let brought = index.commit(run, batch.waiting.into_iter().map(|waiting| waiting.entry(mapping)))?;
        self.linger = (began.elapsed() * LINGER_PER_COMMIT).clamp(LINGER, LONGEST_LINGER);
        for (committed, page) in batch.pages.into_iter().zip(brought) {
            committed(page);
        }
        Ok(())
    }
}

fn work(mut index: Index, run: RunKey, rows: usize, mailbox: &Mailbox<Message>, mapping: &Mapping) -> Result<Index> {
    let mut batch = Batch::new();
    loop {
        // As long as nothing is due, many answers wake this thread once.
        let Some(taken) = mailbox.take(rows.saturating_sub(batch.rows), batch.due, batch.linger) else {
            batch.commit(&mut index, run, mapping)?;
            return Ok(index);
        };
        for message in taken.messages {
            match message {
                Message::Put(waiting, committed) => batch.push(waiting, committed),
                Message::Glance(call) => call(&mut index),
                Message::Call(call) => {
                    batch.commit(&mut index, run, mapping)?;
                    call(&mut index);
                }
            }
            if batch.is_due(rows) {
                batch.commit(&mut index, run, mapping)?;
            }
        }
        if taken.is_due || batch.is_due(rows) {
            batch.commit(&mut index, run, mapping)?;
        }
    }
}
