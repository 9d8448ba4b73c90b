//! Reading accounts: Get Rewards for each account of a run's queue, concurrently.
//!
//! Shared by every source that knows accounts: the walk over participants, an export, and what is due again by age or by
//! failure. The queue stands in the database; answers go to the writer. Nothing here touches the database itself, and
//! nothing here names an account to anyone but the vendor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::HashSet;
use futures::{Stream, StreamExt, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::job::{Job, concerns_one_request, lock};
use super::writer::Heard;
use crate::error::{Error, Kind, Result};
use crate::model::AccountId;
use crate::store::index::{AccountAnswer, AccountKey, Index, Unread};
use crate::vendor::advocate::Rewards;

/// Accounts taken from the queue at once: what stays in memory, whatever the tenant's size. The next are asked for when half
/// of them is left, which must last while the writer commits a batch; that it is asked ends a batch.
const QUEUE: usize = 16_384;
/// So many failures in a row are an outage, not bad accounts: the run stops and keeps its place.
const OUTAGE: u32 = 32;
/// So many accounts in a row that Get Rewards does not know, while it has known none, are about the address, not about the
/// accounts.
const UNKNOWN: u32 = 10 * OUTAGE;
/// So many accounts in a row that the token may not read are about the token, not about the accounts.
const REFUSALS: u32 = 3;
/// An empty queue is looked at again after this long at the latest, while it is still being filled.
const IDLE: Duration = Duration::from_millis(500);

/// Reads the accounts of one run's queue.
pub(super) struct Accounts {
    pub(super) job: Arc<Job>,
    /// Whether an account that Get Rewards does not know is nobody's claim, and gone; in a walk over participants the walk
    /// decides.
    unlisted_is_gone: bool,
    /// Asked for, and not yet with the writer.
    in_flight: Mutex<HashSet<AccountKey>>,
    failures_in_a_row: AtomicU32,
    refusals_in_a_row: AtomicU32,
    unknown_in_a_row: AtomicU32,
    /// An account that Get Rewards has known.
    known: Mutex<Option<AccountId>>,
    /// Get Rewards has answered at least once.
    has_answered: AtomicBool,
    /// The queue has grown.
    pub(super) more: Notify,
}

/// Which accounts to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// All that this run has not read.
    Unread,
    /// Those that failed in this run.
    Failed,
}

/// Part of a queue, in order of rows.
struct Part {
    unread: Vec<Unread>,
    /// Up to this row there is nothing else to read.
    through: AccountKey,
}

impl Accounts {
    pub(super) fn new(job: Arc<Job>, unlisted_is_gone: bool) -> Arc<Self> {
        Arc::new(Self {
            job,
            unlisted_is_gone,
            in_flight: Mutex::default(),
            failures_in_a_row: AtomicU32::new(0),
            refusals_in_a_row: AtomicU32::new(0),
            unknown_in_a_row: AtomicU32::new(0),
            known: Mutex::default(),
            has_answered: AtomicBool::new(false),
            more: Notify::new(),
        })
    }

    /// Reads everything that is in the queue now, then tries once more what failed.
    pub(super) async fn drain(self: &Arc<Self>) -> Result<()> {
        let filled = CancellationToken::new();
        filled.cancel();
        self.read(Queue::Unread, &filled).await?;
        if !self.job.halt.is_cancelled() {
            self.read(Queue::Failed, &filled).await?;
        }
        Ok(())
    }

    /// Reads accounts until the queue is empty and `filled` says that nothing more will come. Everything that was
    /// started is finished, also after a stop.
    pub(super) async fn read(self: &Arc<Self>, queue: Queue, filled: &CancellationToken) -> Result<()> {
        self.accounts(queue, filled.clone())
            .take_until(self.job.halt.clone().cancelled_owned())
            .map(|unread| self.read_one(queue, unread))
            .buffer_unordered(self.job.options.concurrency.max(1))
            .for_each(|result| async {
                if let Err(error) = result {
                    self.job.stop_for(error);
                }
            })
            .await;
        Ok(())
    }

    /// The accounts of a queue, a bounded number at a time. Rows only grow, so one pass sees whatever the list adds; a last
    /// pass from the start finds those that came back behind it.
    fn accounts(self: &Arc<Self>, queue: Queue, filled: CancellationToken) -> impl Stream<Item = Unread> + use<> {
        struct Pass {
            accounts: Arc<Accounts>,
            filled: CancellationToken,
            buffer: VecDeque<Unread>,
            /// The next part of the queue, asked for before this one is used up.
            next: Option<AbortOnDropHandle<Result<Part>>>,
            after: AccountKey,
            is_last: bool,
        }
        let pass = Pass {
            accounts: Arc::clone(self),
            filled,
            buffer: VecDeque::new(),
            next: None,
            after: AccountKey::START,
            is_last: queue == Queue::Failed,
        };
        stream::unfold(pass, move |mut pass| async move {
            loop {
                if let Some(unread) = pass.buffer.pop_front() {
                    // The last pass comes upon accounts that are being read, and looks only when all are with the writer.
                    if pass.next.is_none() && !pass.is_last && pass.buffer.len() <= QUEUE / 2 {
                        let (accounts, after) = (Arc::clone(&pass.accounts), pass.after);
                        let next = async move { accounts.next_accounts(queue, after).await };
                        pass.next = Some(AbortOnDropHandle::new(tokio::spawn(next)));
                    }
                    lock(&pass.accounts.in_flight).insert(unread.key);
                    return Some((unread, pass));
                }
                // Asked before the queue is, so that a page that comes in between is not overlooked.
                let filled = pass.filled.is_cancelled();
                // As it was before the question: an account that is answered in between is in neither otherwise.
                let in_flight = lock(&pass.accounts.in_flight).clone();
                let found = match pass.next.take() {
                    // Nothing more yet: what is still on its way to the queue is asked about below.
                    Some(next) => {
                        next.await.ok().filter(|next| !next.as_ref().is_ok_and(|next| next.unread.is_empty()))
                    }
                    None => None,
                };
                let found = match found {
                    Some(found) => found,
                    None => pass.accounts.next_accounts(queue, pass.after).await,
                };
                match found {
                    Err(error) => {
                        pass.accounts.job.stop_for(error);
                        return None;
                    }
                    Ok(found) => {
                        // What has been passed is not looked at again, also where nothing of it was to be read.
                        pass.after = found.through.max(pass.after);
                        if !found.unread.is_empty() {
                            pass.buffer
                                .extend(found.unread.into_iter().filter(|unread| !in_flight.contains(&unread.key)));
                        } else if !filled {
                            let accounts = Arc::clone(&pass.accounts);
                            tokio::select! {
                                () = accounts.more.notified() => {}
                                () = pass.filled.cancelled() => {}
                                () = accounts.job.clock.sleep(IDLE) => {}
                            }
                        } else if pass.is_last {
                            return None;
                        } else {
                            pass.is_last = true;
                            pass.after = AccountKey::START;
                        }
                    }
                }
            }
        })
    }

    /// The next part of the queue, after all that is with the writer is written.
    async fn next_accounts(&self, queue: Queue, after: AccountKey) -> Result<Part> {
        let run = self.job.run;
        let requests = self.job.uncounted();
        let next = move |index: &mut Index| {
            if requests > 0 {
                index.add_requests(run, requests)?;
            }
            let newest = index.newest_account()?;
            let unread = match queue {
                Queue::Unread => index.unread(run, after, QUEUE)?,
                Queue::Failed => index.failed(run, after, QUEUE)?,
            };
            let through = unread.last().filter(|_| unread.len() == QUEUE).map_or(newest, |last| last.key);
            Ok(Part { unread, through })
        };
        self.job.writer.call(next).await
    }

    /// One account, from the request to the writer.
    async fn read_one(&self, queue: Queue, unread: Unread) -> Result<()> {
        let asked_at = self.job.clock.now();
        let heard = match self.job.advocate.rewards(&unread.account, None).await {
            Ok(Rewards::Listed(rewards)) => Heard::Rewards(rewards),
            Ok(Rewards::NoSuchAccount) => {
                // One that only an earlier run has listed may well be gone by now, and many may be at once.
                if unread.listed && queue == Queue::Unread {
                    self.count_unknown().await?;
                }
                let is_gone = !unread.listed && self.unlisted_is_gone;
                Heard::Other(if is_gone { AccountAnswer::NoSuchAccount } else { AccountAnswer::Unknown })
            }
            Err(error) if error.kind == Kind::Scope => {
                let refusals = self.refusals_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if refusals >= REFUSALS {
                    return Err(error);
                }
                if !self.has_answered.load(Ordering::Relaxed) {
                    // Nothing tells yet whether it is the account or the token. It stays in the queue, which is gone over
                    // again, and nobody is blamed.
                    lock(&self.in_flight).remove(&unread.key);
                    return Ok(());
                }
                Heard::Other(AccountAnswer::Failed(error.message))
            }
            Err(error) if concerns_one_request(&error) => {
                self.count_failure(queue, || error.clone());
                Heard::Other(AccountAnswer::Failed(error.message))
            }
            Err(error) => return Err(error),
        };
        if matches!(heard, Heard::Rewards(_)) {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            self.refusals_in_a_row.store(0, Ordering::Relaxed);
            if self.unknown_in_a_row.swap(0, Ordering::Relaxed) > 0 || !self.has_answered.load(Ordering::Relaxed) {
                *lock(&self.known) = Some(unread.account.clone());
            }
            self.has_answered.store(true, Ordering::Relaxed);
            self.job.meter.read_one();
        }
        let key = unread.key;
        self.job.writer.put(unread, asked_at, heard).await?;
        lock(&self.in_flight).remove(&key);
        Ok(())
    }

    /// One more account in a row that Get Rewards does not know. Any number may have been deleted since they were listed; so one
    /// that it has known is asked for now and then, and the run stops only if it knows none.
    async fn count_unknown(&self) -> Result<()> {
        let unknown = self.unknown_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let known = lock(&self.known).clone();
        match known {
            Some(known) if unknown.is_multiple_of(OUTAGE) => {
                // That one may have been deleted as well; any other error is the next account's too.
                if matches!(self.job.advocate.rewards(&known, None).await, Ok(Rewards::NoSuchAccount)) {
                    *lock(&self.known) = None;
                }
                Ok(())
            }
            None if unknown >= UNKNOWN => {
                let what =
                    format!("Advocate Get Rewards does not know {unknown} accounts in a row, which the list has");
                Err(Error::new(Kind::Vendor, what)
                    .hint("the address or the vendor is at fault, rather than the accounts; try it again later"))
            }
            _ => Ok(()),
        }
    }

    /// One more account in a row that could not be read; too many are an outage. Those that failed before and fail again
    /// are no news.
    fn count_failure(&self, queue: Queue, last: impl FnOnce() -> Error) {
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= OUTAGE && queue == Queue::Unread {
            let count = format!("{failures} accounts in a row could not be read, the last one because");
            self.job.stop_for(last().context(count));
        }
    }
}
