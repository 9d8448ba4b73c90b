//! Runs the use cases for the page and the API, in the name of the signed-in user.
//!
//! An action works like its command, but waits only briefly for the vendor's limit, because a user waits for the
//! response. If a use case refuses a request, the action refuses it too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::looking::{Looks, Spends};
use crate::access::Principal;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::lookup::{self, VendorSearch};
use crate::model::{Actor, OrderId};
use crate::records::forget::{self, Files};
use crate::refunds;
use crate::report::Report;
use crate::retract::batch::Limits;
use crate::retract::receipt::Receipt;
use crate::retract::request::{RetractRequest, RunOptions};
use crate::retract::{self, Context, FollowSettings, Proposal, Session, SubmissionPolling, WriterSettings};
use crate::store::index::{Index, IndexReader};
use crate::store::ledger::Ledger;
use crate::store::{Identity, Place};
use crate::vendor::{Advocate, Brand, HostOptions};

/// Maximum number of preflights and searches that run at the same time.
pub(super) const CONCURRENT_READS: usize = 8;

/// Maximum number of requests to the vendor for one live search.
const SEARCH_REQUESTS: u64 = 100;

/// Maximum number of order IDs in one look-up.
pub(super) const ORDERS_AT_MOST: usize = 200;

#[derive(Clone)]
pub struct ActionSettings {
    pub index: Place,
    pub ledger: Place,
    pub identity: Identity,
    pub mapping: Mapping,
    /// The Advocate host for retractions, which may use the quota's reserve.
    pub advocate: HostOptions,
    pub brand: HostOptions,
    /// The Advocate and Brand hosts for preflights and live searches, which may not use the quota's reserve.
    pub looking: (HostOptions, HostOptions),
    /// The value of the header `IR-Version` for the Brand API.
    pub ir_version: String,
    pub writer: WriterSettings,
    pub follows: FollowSettings,
    /// Maximum age of an order's rewards in the index. recoup refuses to retract an order with older rewards.
    pub max_index_age: Duration,
    /// The limits of one batch.
    pub limits: Limits,
    /// Maximum time that a batch waits for the vendor's limit. A batch may wait long, because it runs in the
    /// background.
    pub batch_wait: Duration,
    /// Default options for reading a refund file. A request may override each option.
    pub reading: refunds::Options,
    /// This machine's name, which the ledger records.
    pub host: String,
}

pub(super) struct Actions {
    pub(super) settings: ActionSettings,
    /// Background tasks that continue if their client disconnects. The service waits for its background tasks before it
    /// stops.
    pub(super) tasks: TaskTracker,
    advocate: Advocate,
    brand: Brand,
    /// Clients that may not use the quota's reserve.
    looking: (Advocate, Brand),
    /// Clients that may wait for the vendor's limit as long as a batch does.
    background: (Advocate, Brand),
    clock: Clock,
    stop: CancellationToken,
    reads: Semaphore,
    /// Serializes proposals, so that two proposals of the same plan become one request.
    proposing: tokio::sync::Mutex<()>,
    pub(super) looks: Looks,
}

impl Actions {
    pub(super) fn new(settings: ActionSettings, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let advocate = |host: &HostOptions| Advocate::new(host, &settings.identity.tenant, clock, stop.clone());
        let brand = |host: &HostOptions| {
            Brand::new(host, &settings.identity.account_sid, &settings.ir_version, clock, stop.clone())
        };
        let waiting = |host: &HostOptions| HostOptions { max_wait: settings.batch_wait, ..host.clone() };
        Ok(Self {
            advocate: advocate(&settings.advocate)?,
            brand: brand(&settings.brand)?,
            looking: (advocate(&settings.looking.0)?, brand(&settings.looking.1)?),
            looks: Looks::default(),
            background: (advocate(&waiting(&settings.advocate))?, brand(&waiting(&settings.brand))?),
            tasks: TaskTracker::new(),
            reads: Semaphore::new(CONCURRENT_READS),
            proposing: tokio::sync::Mutex::default(),
            settings,
            clock,
            stop,
        })
    }

    /// Returns the user in the form that the ledger records.
    pub(super) fn actor(&self, who: &Principal) -> Actor {
        let host = format!("{} ({})", self.settings.host, who.by.describe());
        Actor { also: who.os_user.clone(), known: true, ..Actor::new(&who.name, host) }
    }

    /// Retracts an order: sends at most one request per action, reads the rewards once, and follows the retraction in the
    /// background.
    ///
    /// A retraction runs as its own task, which continues if the client disconnects and the handler is dropped. If the
    /// task ended with the handler, recoup could send a request and never record its response.
    pub(super) async fn retract(self: &Arc<Self>, who: &Principal, request: RetractRequest) -> Result<Receipt> {
        let (this, who) = (Arc::clone(self), who.clone());
        let ran = self.tasks.spawn(async move {
            let (actor, report) = (this.actor(&who), Report::silent());
            let follows = FollowSettings { wait: Duration::ZERO, concludes: false, ..this.settings.follows };
            let run = this.run_options(false, follows);
            request.options(&run).check(false)?;
            this.apply_tombstones(&actor, &report, false)?;
            let receipt = retract::run(&this.context(&actor, &report), &this.settings.writer, &request, &run).await;
            this.remember_clock();
            let receipt = receipt?;
            this.follow_in_background(&who, sent_ids(&receipt));
            Ok(receipt)
        });
        ran.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    /// Checks live what a retraction would send, without sending it. Does not read actions whose reversal is already in
    /// the ledger as sent.
    pub(super) async fn preflight(
        self: &Arc<Self>,
        who: &Principal,
        request: RetractRequest,
        spends: Spends,
    ) -> Result<Receipt> {
        let (this, who) = (Arc::clone(self), who.clone());
        let ran = self.tasks.spawn(async move {
            let _permit = this.read_permit().await?;
            let (actor, report) = (this.actor(&who), Report::silent());
            let run = this.run_options(true, this.settings.follows);
            this.apply_tombstones(&actor, &report, false)?;
            let context = match spends {
                Spends::Looking => this.looking_context(&actor, &report),
                Spends::Retraction => this.context(&actor, &report),
            };
            let receipt = retract::preview(&context, &request, &run).await;
            this.remember_clock();
            receipt
        });
        ran.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    /// Checks an order live, and asks another person to approve its retraction. Sends nothing, and leaves the reserve of the
    /// quota alone.
    pub(super) async fn propose(self: &Arc<Self>, who: &Principal, request: RetractRequest) -> Result<Proposal> {
        let (this, who) = (Arc::clone(self), who.clone());
        let ran = self.tasks.spawn(async move {
            let _permit = this.read_permit().await?;
            let _one_at_a_time = this.proposing.lock().await;
            let (actor, report) = (this.actor(&who), Report::silent());
            let run = this.run_options(true, this.settings.follows);
            this.apply_tombstones(&actor, &report, true)?;
            let context = this.looking_context(&actor, &report);
            let proposal = retract::propose(&context, "a program", &request, &run).await;
            this.remember_clock();
            proposal
        });
        ran.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    fn run_options(&self, dry_run: bool, follows: FollowSettings) -> RunOptions {
        RunOptions { dry_run, yes: true, max_index_age: self.settings.max_index_age, follows }
    }

    /// Reads the rewards until each of these retractions is proven or the time is up. Records the outcomes of the
    /// retractions in the ledger.
    fn follow_in_background(self: &Arc<Self>, who: &Principal, ids: Vec<i64>) {
        if ids.is_empty() {
            return;
        }
        let (this, actor) = (Arc::clone(self), self.actor(who));
        self.tasks.spawn(async move {
            let report = Report::silent();
            let follows = FollowSettings { submissions: SubmissionPolling::Always, ..this.settings.follows };
            let followed = retract::verify::run(&this.background_context(&actor, &report), &ids, true, &follows).await;
            this.remember_clock();
            if let Err(error) = followed {
                // If following fails, `recoup verify` and the scheduled job continue to follow the retractions.
                tracing::warn!(kind = error.kind.name(), "retractions are no longer followed: {}", error.message);
            }
        });
    }

    pub(super) async fn search(self: &Arc<Self>, who: &Principal, order_id: OrderId) -> Result<VendorSearch> {
        let (this, actor) = (Arc::clone(self), self.actor(who));
        let searched = self.tasks.spawn(async move {
            let _permit = this.read_permit().await?;
            this.apply_tombstones(&actor, &Report::silent(), true)?;
            let mut index = Index::open(&this.settings.index, &this.settings.identity)?;
            let (mapping, clock) = (&this.settings.mapping, &this.clock);
            let found = lookup::search(&this.looking.0, &mut index, mapping, clock, &order_id, SEARCH_REQUESTS).await;
            drop(index);
            this.remember_clock();
            found
        });
        searched.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    /// Stores how far this machine's clock is ahead of the vendor's, or that the vendor's responses have no date.
    pub(super) fn remember_clock(&self) {
        let ActionSettings { index, identity, .. } = &self.settings;
        let clients = [&self.advocate, &self.looking.0, &self.background.0];
        let newest = clients.into_iter().filter_map(Advocate::host_clock).max_by_key(|heard| heard.at);
        if let Some(heard) = newest.filter(|_| matches!(IndexReader::exists(index), Ok(true))) {
            // The error is ignored, because the next request stores the value again.
            drop(Index::open(index, identity).and_then(|mut index| index.remember_clock(heard.ahead, heard.at)));
        }
    }

    /// Removes from the index the accounts that the ledger marks as forgotten. Callers must call this function before
    /// they write the vendor's data to the index.
    pub(super) fn apply_tombstones(&self, actor: &Actor, report: &Report, create: bool) -> Result<()> {
        let (index, ledger, identity) = (&self.settings.index, &self.settings.ledger, &self.settings.identity);
        forget::apply_tombstones(&Files { index, ledger, identity, actor }, create, &self.clock, report)
    }

    /// Opens the ledger for reading. Returns `None` if no retraction was ever recorded.
    pub(super) fn ledger(&self) -> Result<Option<Ledger>> {
        Ledger::open_read_only(&self.settings.ledger, Some(&self.settings.identity))
    }

    async fn read_permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let stopping = || Error::new(Kind::Interrupted, "the service is stopping");
        tokio::select! {
            permit = self.reads.acquire() => permit.map_err(|_closed| stopping()),
            () = self.stop.cancelled() => Err(stopping()),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Returns a context for background work. The clients of this context wait longer for the vendor's rate limit than
    /// the clients of a request.
    pub(super) fn background_context<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> Context<'a> {
        let (advocate, brand) = &self.background;
        Context { advocate, brand, ..self.context(actor, report) }
    }

    /// Returns a context whose clients may not use the quota's reserve.
    pub(super) fn looking_context<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> Context<'a> {
        let (advocate, brand) = &self.looking;
        Context { advocate, brand, ..self.context(actor, report) }
    }

    fn context<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> Context<'a> {
        Context {
            index_place: &self.settings.index,
            ledger_place: &self.settings.ledger,
            identity: &self.settings.identity,
            actor,
            advocate: &self.advocate,
            brand: &self.brand,
            mapping: &self.settings.mapping,
            clock: &self.clock,
            stop: &self.stop,
            report,
            session: Session::default(),
        }
    }
}

/// Converts the failure of a task that panicked or that the runtime cancelled.
pub(super) fn aborted(error: &JoinError) -> Error {
    Error::new(Kind::Failed, format!("the action was aborted: {error}"))
}

fn sent_ids(receipt: &Receipt) -> Vec<i64> {
    receipt.retractions.iter().filter_map(|entry| entry.id).collect()
}

/// Returns the receipt's error if the ledger has recorded none of its retractions.
pub(super) fn nothing_sent(receipt: &Receipt) -> Option<Error> {
    if sent_ids(receipt).is_empty() { receipt.problem() } else { None }
}
