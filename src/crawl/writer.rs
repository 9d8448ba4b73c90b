//! The one place of a crawl that writes: a thread that owns the index and commits answers in batches.
//!
//! It is what a fast crawl waits for, so it is never left without work: whatever comes while a batch is written belongs to that
//! batch. Rewards are taken apart here too, one account at a time: what was made elsewhere would have left the cache by its
//! turn, and two threads of which one makes and the other frees so many small things wait for each other at the allocator.
//!
//! Requests never wait for a disk that is busy with another batch, only for a channel that is full. Everything that a crawl
//! asks of the index goes through here in order, so that a question sees every answer that was put before it. A failure to
//! write ends the thread; its error is what [`Thread::close`] gives.

use std::collections::VecDeque;
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

/// Rows that are taken apart before the file is taken for a commit: others who write to it get their turn meanwhile.
const AHEAD: usize = 1000;
/// They get so long at least.
const TURN: Duration = Duration::from_millis(2);
/// And wait no longer than this, and for what was taken by then.
const LONGEST_COMMIT: Duration = Duration::from_millis(250);

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
    Page { sweep: Sweep, page: Page, at: Timestamp },
}

impl Waiting {
    /// Rows that it adds to a batch.
    fn rows(&self) -> usize {
        match self {
            Self::Answer { heard: Heard::Rewards(rewards), .. } => rewards.len() + 1,
            Self::Answer { heard: Heard::Other(_), .. } => 1,
            Self::Page { page, .. } => page.rows(),
        }
    }

    fn entry(self, mapping: &Mapping) -> Entry {
        let (of, asked_at, heard) = match self {
            Self::Answer { of, asked_at, heard } => (of, asked_at, heard),
            Self::Page { sweep, page, at } => return Entry::Page { sweep, page, at },
        };
        let answer = match heard {
            Heard::Rewards(raw) => match ReadReward::all(raw, &of.account, mapping) {
                Ok((rewards, unusable)) => AccountAnswer::Listed { rewards, unusable },
                Err(error) => AccountAnswer::Failed(error.message),
            },
            Heard::Other(answer) => answer,
        };
        Entry::Read(AccountRead { key: of.key, asked_at, answer })
    }
}

enum Message {
    Put(Waiting, Option<Committed>),
    /// Runs after everything that was put before it is written.
    Call(Call),
}

impl Message {
    /// Rows that it adds to a batch; `None` for what cannot wait until there is one.
    fn rows(&self) -> Option<usize> {
        match self {
            Self::Put(waiting, _) => Some(waiting.rows()),
            Self::Call(_) => None,
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
    /// requests in flight: two thirds of it are in one commit at most, a sixth waits to be taken, and a sixth was taken.
    pub(super) fn start(index: Index, run: RunKey, batch: usize, mapping: Mapping) -> (Self, Thread) {
        let room = (batch / 6).max(1);
        let (sender, mailbox) = mailbox::open(room);
        let thread = tokio::task::spawn_blocking(move || {
            let now = Instant::now();
            let (waiting, pages) = (VecDeque::new(), Vec::new());
            let desk = Desk { mailbox, most: 4 * room, waiting, rows: 0, pages, until: now, ended: now };
            desk.work(index, run, room.div_ceil(2), &mapping)
        });
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
        self.send(Message::Put(Waiting::Page { sweep, page, at }, Some(Box::new(committed)))).await
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
        self.send(Message::Call(call)).await?;
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

/// Where the thread works.
struct Desk {
    mailbox: Mailbox<Message>,
    /// Rows in one commit.
    most: usize,
    /// What was taken and is not written yet, in order.
    waiting: VecDeque<Message>,
    /// Rows of the commit under way.
    rows: usize,
    /// Who hears of its pages, in their order.
    pages: Vec<Committed>,
    /// When it is to end.
    until: Instant,
    /// When the last one ended.
    ended: Instant,
}

impl Desk {
    /// Writes until all senders are gone; wakes when so many rows wait.
    fn work(mut self, mut index: Index, run: RunKey, wanted: usize, mapping: &Mapping) -> Result<Index> {
        let mut linger = LINGER;
        loop {
            if let Some(Message::Call(call)) = self.waiting.pop_front_if(|next| matches!(next, Message::Call(_))) {
                call(&mut index);
            } else if self.waiting.is_empty() {
                let Some(taken) = self.mailbox.take(wanted, linger) else { return Ok(index) };
                self.waiting = taken.into();
            } else {
                let began = Instant::now();
                self.commit(&mut index, run, mapping)?;
                linger = (began.elapsed() * LINGER_PER_COMMIT).clamp(LINGER, LONGEST_LINGER);
            }
        }
    }

    fn commit(&mut self, index: &mut Index, run: RunKey, mapping: &Mapping) -> Result<()> {
        (self.rows, self.until) = (0, Instant::now() + LONGEST_COMMIT);
        let mut ahead = Vec::new();
        while self.rows < AHEAD
            && let Some(first) = self.next()
        {
            ahead.push(first.entry(mapping));
        }
        std::thread::park_timeout(TURN.saturating_sub(self.ended.elapsed()));
        let more = std::iter::from_fn(|| Some(self.next()?.entry(mapping)));
        let brought = index.commit(run, ahead.into_iter().chain(more))?;
        self.ended = Instant::now();
        for (committed, page) in self.pages.drain(..).zip(brought) {
            committed(page);
        }
        Ok(())
    }

    /// What comes next in the commit under way. That keeps everybody else from writing, so nothing is waited for.
    fn next(&mut self) -> Option<Waiting> {
        if self.rows >= self.most {
            return None;
        }
        if self.waiting.is_empty() && Instant::now() < self.until {
            self.waiting = self.mailbox.take_now().into();
        }
        let put = self.waiting.pop_front_if(|next| matches!(next, Message::Put(..)));
        let Some(Message::Put(waiting, committed)) = put else { return None };
        self.rows += waiting.rows();
        self.pages.extend(committed);
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{AccountId, Participant, UserId};
    use crate::store::Identity;
    use crate::store::index::{AccountKey, NewRun};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_question_sees_every_answer_that_was_put_before_it_and_no_other_however_they_come_together() {
        let dir = TempDir::new().expect("a folder");
        let mut index = Index::open(&dir.path().join("recoup.db"), &Identity::of_a_test()).expect("opens");
        let now = Timestamp::UNIX_EPOCH;
        let (run, _) = index.begin_run(NewRun::of("participants"), now).expect("begins");
        let (sweep, _) = index.begin_sweep(run, "", now).expect("begins");
        let participant = |n| {
            let id = format!("account {n}");
            Participant { user_id: UserId::new(id.as_str()), account_id: AccountId::new(id), email: None }
        };
        let page =
            Page { participants: (0..500).map(participant).collect(), unusable: Vec::new(), cursor: String::new() };
        index.commit_page(run, &sweep, &page, now).expect("commits");
        let unread = index.unread(run, AccountKey::START, 500).expect("a queue");

        // Batches from one row to more than there are.
        for (batch, part) in [1, 7, 60, 100_000].into_iter().zip(unread.chunks(125)) {
            let before = read(&mut index, run);
            let (writer, thread) = Writer::start(index, run, batch, Mapping::default());
            for (n, of) in part.iter().enumerate() {
                let nothing = Heard::Rewards(Vec::new());
                writer.put(of.clone(), now, nothing).await.expect("is taken");
                if n % 10 == 3 {
                    let seen = writer.call(move |index| Ok(read(index, run))).await.expect("is answered");
                    assert_eq!(seen - before, n as u64 + 1, "batches of {batch}");
                }
            }
            drop(writer);
            index = thread.close().await.expect("all is written");
            assert_eq!(read(&mut index, run) - before, part.len() as u64);
        }
    }

    fn read(index: &mut Index, run: RunKey) -> u64 {
        index.run(run).expect("reads").expect("a run").accounts_read
    }
}
