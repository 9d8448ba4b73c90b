//! The source *participants*, the vendor's own way: pages of `/users`, and Get Rewards for each distinct account.
//!
//! Accounts, not users: rewards belong to accounts (`advocate-api.md` §9). Pages and answers go through the writer; nothing
//! here touches the database, and nothing here names an account to anyone but the vendor.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::progress::Meter;
use super::walk::Walk;
use super::writer::Writer;
use crate::api::advocate::{Advocate, Rewards};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::store::index::{
    AccountAnswer, AccountKey, AccountRead, Page, ReadReward, RunKey, SweepEnd, SweepVerdict, Unread, fingerprint,
};

/// Accounts taken from the queue at once: what stays in memory, whatever the tenant's size.
const QUEUE: usize = 256;
/// So many failures in a row are an outage, not bad accounts: the run stops and keeps its place.
const OUTAGE: u32 = 32;
/// So many accounts in a row that the token may not read are about the token, not about the accounts.
const REFUSALS: u32 = 3;
/// An empty queue is looked at again after this long at the latest, while the list is still being walked.
const IDLE: Duration = Duration::from_millis(500);

/// What one run works with.
pub(super) struct Source {
    pub(super) advocate: Advocate,
    pub(super) mapping: Mapping,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    pub(super) run: RunKey,
    pub(super) page_size: u32,
    pub(super) overlap: u32,
    pub(super) concurrency: usize,
    pub(super) meter: Meter,
    /// Cancelled by a signal, or by the first failure that concerns the whole run.
    pub(super) halt: CancellationToken,
    /// That failure.
    fatal: Mutex<Option<Error>>,
    /// Asked for, and not yet with the writer.
    in_flight: Mutex<HashSet<AccountKey>>,
    failures_in_a_row: AtomicU32,
    refusals_in_a_row: AtomicU32,
    /// Get Rewards has answered at least once.
    has_answered: AtomicBool,
    more: Notify,
}

/// Which accounts to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// All that this run has not read.
    Unread,
    /// Those that failed in this run.
    Failed,
}

impl Source {
    #[expect(clippy::too_many_arguments, reason = "a constructor for what would otherwise be public fields")]
    pub(super) fn new(
        advocate: Advocate,
        mapping: Mapping,
        clock: Clock,
        writer: Writer,
        run: RunKey,
        options: &super::Options,
        meter: Meter,
        halt: CancellationToken,
    ) -> Self {
        Self {
            advocate,
            mapping,
            clock,
            writer,
            run,
            page_size: options.page_size.max(1),
            overlap: options.overlap,
            concurrency: options.concurrency.max(1),
            meter,
            halt,
            fatal: Mutex::new(None),
            in_flight: Mutex::new(HashSet::new()),
            failures_in_a_row: AtomicU32::new(0),
            refusals_in_a_row: AtomicU32::new(0),
            has_answered: AtomicBool::new(false),
            more: Notify::new(),
        }
    }

    /// The failure that stopped the run.
    pub(super) fn take_fatal(&self) -> Option<Error> {
        lock(&self.fatal).take()
    }

    /// Stops the run; the first reason counts.
    fn stop_for(&self, error: Error) {
        lock(&self.fatal).get_or_insert(error);
        self.halt.cancel();
    }

    /// Walks the list of participants once, from where the run's unfinished sweep stands. `None` where it was stopped.
    pub(super) async fn sweep(&self) -> Result<Option<SweepEnd>> {
        let run = self.run;
        let fresh = Walk::new(self.overlap);
        let cursor = encode(&fresh)?;
        let at = self.clock.now();
        let (sweep, goes_on) = self.writer.call(move |index| index.begin_sweep(run, &cursor, at)).await?;
        let mut walk = if goes_on { decode(&sweep.cursor).unwrap_or(fresh) } else { fresh };
        while let Some(offset) = walk.next_offset() {
            if self.halt.is_cancelled() {
                return Ok(None);
            }
            let page = match self.advocate.users(None, self.page_size, offset).await {
                Ok(page) => page,
                Err(error) => {
                    self.stop_for(if concerns_one_request(&error) {
                        error.context("the list of participants could not be read")
                    } else {
                        error
                    });
                    return Ok(None);
                }
            };
            let at = self.clock.now();
            let keys: Vec<u64> = page.users.iter().map(fingerprint).collect();
            walk.take(&keys, page.rows, page.total);
            let commit = Page { participants: page.users, unusable: page.unusable, cursor: encode(&walk)? };
            let committed = {
                let sweep = sweep.clone();
                self.writer.call(move |index| index.commit_page(run, &sweep, &commit, at)).await?
            };
            self.meter.listed(committed.participants, walk.total(), committed.accounts_known);
            self.more.notify_one();
        }
        let seen = self.writer.call(move |index| index.participants(sweep.id)).await?;
        tracing::info!(participants = seen, total = ?walk.total(), still = walk.is_still(), "the list was walked");
        let all_counted = walk.total().is_none_or(|total| seen >= total);
        let counted = walk.kept_its_total() && walk.total().is_some_and(|total| seen == total);
        // A list that moved cannot be counted, only proven; and one whose order proves nothing can still be counted: n
        // different people of n are all of them.
        let whole =
            if walk.is_still() { all_counted } else { walk.is_proven() || (walk.kept_its_total() && all_counted) };
        let verdict = SweepVerdict { total: walk.total(), whole, still: walk.is_still() && all_counted, counted };
        let at = self.clock.now();
        self.writer.call(move |index| index.end_sweep(run, sweep.id, verdict, at)).await.map(Some)
    }

    /// Reads accounts until the queue is empty and `listing_done` says that nothing more will come. Everything that was
    /// started is finished, also after a stop.
    pub(super) async fn read(self: &Arc<Self>, queue: Queue, listing_done: &CancellationToken) -> Result<()> {
        self.accounts(queue, listing_done.clone())
            .take_until(self.halt.clone().cancelled_owned())
            .map(|unread| {
                let source = Arc::clone(self);
                AbortOnDropHandle::new(tokio::spawn(async move { source.read_one(queue, unread).await }))
            })
            .buffer_unordered(self.concurrency)
            .for_each(|joined| async {
                let result = joined.unwrap_or_else(|error| {
                    Err(Error::new(Kind::Failed, format!("reading an account ended unexpectedly: {error}")))
                });
                if let Err(error) = result {
                    self.stop_for(error);
                }
            })
            .await;
        Ok(())
    }

    /// The accounts of a queue, a bounded number at a time. Rows only grow, so one pass sees whatever the list adds; a last
    /// pass from the start finds those that came back behind it.
    fn accounts(self: &Arc<Self>, queue: Queue, listing_done: CancellationToken) -> impl Stream<Item = Unread> + use<> {
        struct Pass {
            source: Arc<Source>,
            listing_done: CancellationToken,
            buffer: VecDeque<Unread>,
            after: AccountKey,
            is_last: bool,
        }
        let pass = Pass {
            source: Arc::clone(self),
            listing_done,
            buffer: VecDeque::new(),
            after: AccountKey::START,
            is_last: queue == Queue::Failed,
        };
        stream::unfold(pass, move |mut pass| async move {
            loop {
                if let Some(unread) = pass.buffer.pop_front() {
                    lock(&pass.source.in_flight).insert(unread.key);
                    return Some((unread, pass));
                }
                // Asked before the queue is, so that a page that comes in between is not overlooked.
                let listing_done = pass.listing_done.is_cancelled();
                // As it was before the question: an account that is answered in between is in neither otherwise.
                let in_flight = lock(&pass.source.in_flight).clone();
                match pass.source.next_accounts(queue, pass.after).await {
                    Err(error) => {
                        pass.source.stop_for(error);
                        return None;
                    }
                    Ok(found) => {
                        if let Some(last) = found.last() {
                            pass.after = last.key;
                            pass.buffer.extend(found.into_iter().filter(|unread| !in_flight.contains(&unread.key)));
                        } else if !listing_done {
                            let source = Arc::clone(&pass.source);
                            tokio::select! {
                                () = source.more.notified() => {}
                                () = pass.listing_done.cancelled() => {}
                                () = source.clock.sleep(IDLE) => {}
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

    async fn next_accounts(&self, queue: Queue, after: AccountKey) -> Result<Vec<Unread>> {
        let run = self.run;
        let requests = self.meter.uncounted(self.advocate.stats().requests);
        self.writer
            .call(move |index| {
                if requests > 0 {
                    index.add_requests(run, requests)?;
                }
                match queue {
                    Queue::Unread => index.unread(run, after, QUEUE),
                    Queue::Failed => index.failed(run, after, QUEUE),
                }
            })
            .await
    }

    /// One account, from the request to the writer.
    async fn read_one(&self, queue: Queue, unread: Unread) -> Result<()> {
        let asked_at = self.clock.now();
        let answer = match self.advocate.rewards(&unread.account, None).await {
            Ok(Rewards::Listed(raw)) => {
                let mut unusable = 0;
                let mut rewards = Vec::with_capacity(raw.len());
                for raw in &raw {
                    match extract::read(raw.get(), &unread.account, &self.mapping) {
                        Ok(extracted) => rewards.push(ReadReward::new(extracted, raw.get())),
                        Err(_no_id) => unusable += 1,
                    }
                }
                AccountAnswer::Listed { rewards, unusable }
            }
            Ok(Rewards::NoSuchAccount) => {
                // One that only an earlier run has listed may well be gone by now, and many may be at once.
                if unread.listed {
                    self.count_failure(queue, || Error::new(Kind::Vendor, "Get Rewards does not know it"));
                }
                AccountAnswer::Unknown
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
                AccountAnswer::Failed(error.message)
            }
            Err(error) if concerns_one_request(&error) => {
                self.count_failure(queue, || error.clone());
                AccountAnswer::Failed(error.message)
            }
            Err(error) => return Err(error),
        };
        if matches!(answer, AccountAnswer::Listed { .. }) {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            self.refusals_in_a_row.store(0, Ordering::Relaxed);
            self.has_answered.store(true, Ordering::Relaxed);
            self.meter.read_one();
        }
        self.writer.put(AccountRead { key: unread.key, asked_at, answer }).await?;
        lock(&self.in_flight).remove(&unread.key);
        Ok(())
    }

    /// One more account in a row that could not be read; too many are an outage. Those that failed before and fail again
    /// are no news.
    fn count_failure(&self, queue: Queue, last: impl FnOnce() -> Error) {
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= OUTAGE && queue == Queue::Unread {
            let count = format!("{failures} accounts in a row could not be read, the last one because");
            self.stop_for(last().context(count));
        }
    }
}

/// Whether a failure says something about one request only. Anything else concerns the whole run, and no account is marked.
fn concerns_one_request(error: &Error) -> bool {
    matches!(error.kind, Kind::Network | Kind::Vendor)
}

fn encode(walk: &Walk) -> Result<String> {
    serde_json::to_string(walk)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to store where the walk stands: {error}")))
}

/// A cursor of another form is no reason to fail: the walk begins anew.
fn decode(cursor: &str) -> Option<Walk> {
    serde_json::from_str(cursor).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
