//! Reads accounts from the vendor: sends one Get Rewards request for each account in a run's queue, several at a time.
//!
//! Every source of the crawl that knows accounts uses `accounts`: the list of participants, an export, and a refresh
//! that reads accounts again. The index stores the queue of accounts. Therefore a killed crawl resumes with the rest of
//! the queue. The task that fetches an account also extracts the links from the response, and sends the result to the
//! writer. Errors and logs of the crawl never contain an account.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::active_run::{ActiveRun, concerns_one_request, lock};
use super::writer;
use crate::error::{Error, Kind, Result};
use crate::model::AccountId;
use crate::store::index::{AccountAnswer, AccountKey, AccountRead, Entry, PageCommitted, ReadReward, Unread};
use crate::vendor::advocate::Rewards;

/// The maximum number of queued accounts in memory, for a tenant of any size.
const QUEUE_CHUNK: usize = 4096;
/// The number of failures in a row after which the run halts and keeps its queue, because the vendor is probably down.
const OUTAGE: u32 = 32;
/// The run halts after this many unknown accounts if it has not found a known account yet: the address of the vendor is
/// then probably wrong.
const MAX_UNKNOWN: u32 = 10 * OUTAGE;
/// The number of refused accounts in a row after which the run halts, because the token is wrong.
const MAX_REFUSALS: u32 = 3;

/// Reads the accounts in the queue of one run.
pub(super) struct AccountReader {
    run: Arc<ActiveRun>,
    /// `true` if an account is gone as soon as Get Rewards does not know it and this run has not listed it. In a run by
    /// participants, the next read of the participant list decides whether an account is gone.
    unlisted_is_gone: bool,
    failures_in_a_row: AtomicU32,
    refusals_in_a_row: AtomicU32,
    unknown_in_a_row: AtomicU32,
    /// An account that Get Rewards knew earlier in this run. If Get Rewards still knows this account, the vendor's
    /// address is right, and unknown accounts are deleted accounts.
    known_account: Mutex<Option<AccountId>>,
    has_answered: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// The accounts that this run has not read.
    Unread,
    /// The accounts that failed in this run.
    Failed,
}

/// One read of the whole queue, in the order of account keys.
struct Pass {
    queue: Queue,
    chunk: VecDeque<Unread>,
    /// The highest account key that the pass has taken from the queue.
    after: AccountKey,
    /// Receives each committed page of participants, which may extend the queue.
    pages: watch::Receiver<PageCommitted>,
    /// A token that is cancelled when the list of participants has no further page.
    list_ended: CancellationToken,
}

impl AccountReader {
    pub(super) fn new(run: Arc<ActiveRun>, unlisted_is_gone: bool) -> Arc<Self> {
        Arc::new(Self {
            run,
            unlisted_is_gone,
            failures_in_a_row: AtomicU32::new(0),
            refusals_in_a_row: AtomicU32::new(0),
            unknown_in_a_row: AtomicU32::new(0),
            known_account: Mutex::default(),
            has_answered: AtomicBool::new(false),
        })
    }

    /// Reads all accounts in the queue, then retries the accounts that failed.
    pub(super) async fn drain(self: &Arc<Self>) -> Result<()> {
        let list_ended = CancellationToken::new();
        list_ended.cancel();
        self.follow(list_ended.clone()).await?;
        self.pass(Queue::Failed, list_ended).await
    }

    /// Reads accounts while the list of participants extends the queue. Returns after `list_ended` is cancelled and the queue
    /// is empty.
    pub(super) async fn follow(self: &Arc<Self>, list_ended: CancellationToken) -> Result<()> {
        self.pass(Queue::Unread, list_ended.clone()).await?;
        // The second pass over the queue reads accounts that the participant list added before the position of the
        // first pass. The second pass over the queue also reads accounts that the vendor refused before any response
        // proved that the token works.
        self.pass(Queue::Unread, list_ended).await
    }

    /// Reads the queue of accounts once. Two passes over the queue never overlap, and the account keys of a pass only
    /// grow. Therefore the crawler requests no account twice. After a halt, the pass over the queue finishes the
    /// requests in flight and stores their responses.
    async fn pass(self: &Arc<Self>, queue: Queue, list_ended: CancellationToken) -> Result<()> {
        if self.run.halt.is_cancelled() {
            return Ok(());
        }
        // The reader of the queue must see the responses of the previous pass. Without the flush, a pass would request
        // the accounts of the previous pass again.
        self.run.writer.flush().await?;
        self.accounts(queue, list_ended)
            .take_until(self.run.halt.cancelled())
            .map(|account| {
                // Spawns a task for each account. If one task read all accounts, one processor core would parse all
                // responses.
                let reader = Arc::clone(self);
                AbortOnDropHandle::new(tokio::spawn(async move { reader.fetch(queue, account).await }))
            })
            .buffer_unordered(self.run.options.concurrency.max(1))
            .for_each(|fetched| async {
                if let Err(error) = fetched.unwrap_or_else(|error| Err(unexpected(&error))) {
                    self.run.halt_with(error);
                }
            })
            .await;
        Ok(())
    }

    fn accounts(&self, queue: Queue, list_ended: CancellationToken) -> impl Stream<Item = Unread> {
        let pages = self.run.writer.pages();
        let pass = Pass { queue, chunk: VecDeque::new(), after: AccountKey::START, pages, list_ended };
        stream::unfold(pass, move |mut pass| async move {
            match self.next_account(&mut pass).await {
                Ok(account) => account.map(|account| (account, pass)),
                Err(error) => {
                    self.run.halt_with(error);
                    None
                }
            }
        })
    }

    async fn next_account(&self, pass: &mut Pass) -> Result<Option<Unread>> {
        loop {
            if let Some(account) = pass.chunk.pop_front() {
                return Ok(Some(account));
            }
            // Checks whether the participant list has ended and marks its pages as seen before the read of the queue,
            // because a page that the writer commits during the read must count as new.
            let list_ended = pass.list_ended.is_cancelled();
            pass.pages.mark_unchanged();
            let (run, queue, after) = (self.run.run, pass.queue, pass.after);
            let (chunk, through) = self
                .run
                .read(move |index| {
                    let newest = index.newest_account()?;
                    let chunk = match queue {
                        Queue::Unread => index.unread(run, after, QUEUE_CHUNK)?,
                        Queue::Failed => index.failed(run, after, QUEUE_CHUNK)?,
                    };
                    let last = chunk.last().map_or(after, |account| account.key);
                    // A chunk below the maximum size ends the queue. Therefore the next read of the queue begins after
                    // the newest account.
                    let through = if chunk.len() == QUEUE_CHUNK { last } else { newest.max(last) };
                    Ok((chunk, through))
                })
                .await?;
            (pass.chunk, pass.after) = (chunk.into(), through);
            if !pass.chunk.is_empty() {
                continue;
            }
            if list_ended {
                return Ok(None);
            }
            tokio::select! {
                changed = pass.pages.changed() => changed.map_err(|_closed| writer::stopped())?,
                () = pass.list_ended.cancelled() => {}
            }
        }
    }

    /// Requests one account from Get Rewards, extracts its links, and sends the response to the writer.
    async fn fetch(&self, queue: Queue, account: Unread) -> Result<()> {
        let asked_at = self.run.clock.now();
        let answer = match self.run.advocate.rewards(&account.account, None).await {
            Ok(Rewards::Listed(raw)) => match ReadReward::all(raw, &account.account, &self.run.mapping) {
                Ok((rewards, unusable)) => {
                    self.note_success(&account.account);
                    AccountAnswer::Listed { rewards, unusable }
                }
                Err(error) => AccountAnswer::Failed(error.message),
            },
            Ok(Rewards::NoSuchAccount) => {
                // An account that only an earlier run has listed may be deleted, and the vendor may have deleted many
                // accounts at once.
                if account.listed && queue == Queue::Unread {
                    self.note_unknown().await?;
                }
                let is_gone = !account.listed && self.unlisted_is_gone;
                if is_gone { AccountAnswer::NoSuchAccount } else { AccountAnswer::Unknown }
            }
            Err(error) if error.kind == Kind::Scope => {
                let refusals = self.refusals_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if refusals >= MAX_REFUSALS {
                    return Err(error);
                }
                if !self.has_answered.load(Ordering::Relaxed) {
                    // The vendor refused the request because of either the account or the token. A refused account
                    // stays in the queue, and the next pass requests it again.
                    return Ok(());
                }
                AccountAnswer::Failed(error.message)
            }
            Err(error) if concerns_one_request(&error) => {
                // If an account has failed before and fails again, that does not prove an outage.
                if queue == Queue::Unread {
                    self.note_failure(&error);
                }
                AccountAnswer::Failed(error.message)
            }
            Err(error) => return Err(error),
        };
        self.run.writer.put(Entry::Read(AccountRead { key: account.key, asked_at, answer })).await
    }

    fn note_success(&self, account: &AccountId) {
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.refusals_in_a_row.store(0, Ordering::Relaxed);
        let had_unknown = self.unknown_in_a_row.swap(0, Ordering::Relaxed) > 0;
        if had_unknown || !self.has_answered.swap(true, Ordering::Relaxed) {
            *lock(&self.known_account) = Some(account.clone());
        }
        self.run.meter.add_account();
    }

    /// Counts an account that Get Rewards does not know. The vendor may have deleted any number of accounts since it
    /// listed them. Therefore this function regularly requests an account that Get Rewards has known. This function
    /// halts the run only if Get Rewards knows no account at all.
    async fn note_unknown(&self) -> Result<()> {
        let unknown = self.unknown_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let known = lock(&self.known_account).clone();
        match known {
            Some(known) if unknown.is_multiple_of(OUTAGE) => {
                // The vendor may have deleted the known account as well. If the request fails for another reason, the
                // next account will show the same error.
                if matches!(self.run.advocate.rewards(&known, None).await, Ok(Rewards::NoSuchAccount)) {
                    *lock(&self.known_account) = None;
                }
                Ok(())
            }
            None if unknown >= MAX_UNKNOWN => {
                let what = format!("Advocate Get Rewards does not know {unknown} listed accounts in a row");
                Err(Error::new(Kind::Vendor, what)
                    .hint("the vendor or the address may be at fault, not the accounts; try again later"))
            }
            _ => Ok(()),
        }
    }

    fn note_failure(&self, error: &Error) {
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= OUTAGE {
            let context = format!("{failures} accounts in a row could not be read; the last one");
            self.run.halt_with(error.clone().context(context));
        }
    }
}

fn unexpected(error: &JoinError) -> Error {
    Error::new(Kind::Failed, format!("reading an account ended unexpectedly: {error}"))
}
