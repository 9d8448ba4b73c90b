//! The desk: what a person at the page or a program at the API wants done, done by the use cases as the command line does it.
//!
//! A wish becomes the same options as the flags of `recoup retract`. The desk adds who asked, and that nobody waits an hour for
//! the vendor's limit behind a browser. It must never soften what the use cases refuse.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Who;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::lookup::{self, VendorSearch};
use crate::model::{ActionId, Actor, OrderId};
use crate::records::forget::{self, Files};
use crate::refunds;
use crate::report::Report;
use crate::retract::batch::Limits;
use crate::retract::overrides::Override;
use crate::retract::receipt::Receipt;
use crate::retract::{self, Follows, Submissions, WriterSettings};
use crate::store::Identity;
use crate::store::index::Index;
use crate::store::ledger::{Approval, Ledger, Road};
use crate::vendor::{Advocate, Brand, HostOptions};

/// Looks at the vendor's side that may go on at once.
const AT_ONCE: usize = 8;

/// Requests at most for an order that is looked for at the source.
const SEARCH_REQUESTS: u64 = 100;

/// Orders that are taken in one go at most.
pub(super) const ORDERS_AT_MOST: usize = 200;

/// What the desk needs, from the settings.
#[derive(Clone)]
pub struct DeskOptions {
    /// The index.
    pub index: PathBuf,
    /// The ledger.
    pub ledger: PathBuf,
    /// Whom both belong to.
    pub identity: Identity,
    /// Where links are.
    pub mapping: Mapping,
    /// The Advocate host, for retractions.
    pub advocate: HostOptions,
    /// The Advocate host, for look-ups at the source: they leave the reserve alone.
    pub search: HostOptions,
    /// The Brand host, for reading.
    pub brand: HostOptions,
    /// `IR-Version` of the Brand API.
    pub ir_version: String,
    /// How a retraction is sent.
    pub writer: WriterSettings,
    /// How what was sent is followed.
    pub follows: Follows,
    /// An order that was last read longer ago than this is refused.
    pub max_index_age: Duration,
    /// Orders, and value, of one batch at most.
    pub limits: Limits,
    /// How long a batch waits for the vendor's limit: nobody sits before it.
    pub batch_wait: Duration,
    /// How a shop's file is read, unless a request says otherwise.
    pub reading: refunds::Options,
    /// The machine, for the ledger.
    pub host: String,
}

/// What somebody wants of one order.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) order_id: OrderId,
    pub(super) action_id: Option<ActionId>,
    pub(super) all: bool,
    pub(super) disposition: String,
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) overrides: Vec<Override>,
    pub(super) resend: bool,
    /// The plan that they have seen.
    pub(super) seen: Option<String>,
}

impl Wish {
    /// The plain wish to take an order back.
    pub(super) fn of(order_id: OrderId) -> Self {
        Self {
            order_id,
            action_id: None,
            all: false,
            disposition: "RETRACTION".to_owned(),
            reason: None,
            ticket: None,
            overrides: Vec::new(),
            resend: false,
            seen: None,
        }
    }
}

/// What an approval keeps of a wish, beside its reason and ticket.
#[derive(Deserialize)]
struct Kept {
    what: String,
    order_id: String,
    action_id: Option<String>,
    all: bool,
    action_tracker: Option<String>,
    disposition: String,
    overrides: Vec<Override>,
    resend: bool,
}

impl Wish {
    /// What was approved, where it is the retraction of one order.
    pub(super) fn approved(approval: &Approval) -> Option<Self> {
        let kept: Kept = serde_json::from_value(approval.subject.clone()).ok()?;
        // A fallback to an action tracker is asked for at the command line, and carried out there.
        (kept.what == "retraction" && kept.action_tracker.is_none()).then(|| Self {
            action_id: kept.action_id.map(ActionId::new),
            all: kept.all,
            disposition: kept.disposition,
            reason: approval.reason.clone(),
            ticket: approval.ticket.clone(),
            overrides: kept.overrides,
            resend: kept.resend,
            // The yes was given for exactly this plan.
            seen: Some(approval.name.clone()),
            ..Self::of(OrderId::new(kept.order_id))
        })
    }
}

/// The desk.
pub(super) struct Desk {
    pub(super) options: DeskOptions,
    advocate: Advocate,
    search: Advocate,
    brand: Brand,
    patient: (Advocate, Brand),
    clock: Clock,
    stop: CancellationToken,
    slots: Semaphore,
}

impl Desk {
    pub(super) fn new(options: DeskOptions, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let tenant = &options.identity.tenant;
        let advocate = Advocate::new(&options.advocate, tenant, clock, stop.clone())?;
        let search = Advocate::new(&options.search, tenant, clock, stop.clone())?;
        let sid = &options.identity.account_sid;
        let brand = Brand::new(&options.brand, sid, &options.ir_version, clock, stop.clone())?;
        let waiting = |host: &HostOptions| HostOptions { max_wait: options.batch_wait, ..host.clone() };
        let patient = (
            Advocate::new(&waiting(&options.advocate), tenant, clock, stop.clone())?,
            Brand::new(&waiting(&options.brand), sid, &options.ir_version, clock, stop.clone())?,
        );
        Ok(Self { options, advocate, search, brand, patient, clock, stop, slots: Semaphore::new(AT_ONCE) })
    }

    /// Who acts, as the ledger says it.
    pub(super) fn actor(&self, who: &Who) -> Actor {
        let host = format!("{} ({})", self.options.host, who.by.describe());
        Actor { also: who.os_user.clone(), known: true, ..Actor::new(&who.name, host) }
    }

    /// What would happen: the same road as a retraction, with the last step withheld.
    pub(super) async fn preflight(&self, who: &Who, wish: &Wish) -> Result<Receipt> {
        let _slot = self.slot().await?;
        self.run(who, wish, true).await
    }

    /// Sends, once, and looks at it once; what is open after that is followed by [`Self::follow`].
    pub(super) async fn retract(&self, who: &Who, wish: &Wish) -> Result<Receipt> {
        self.run(who, wish, false).await
    }

    async fn run(&self, who: &Who, wish: &Wish, dry_run: bool) -> Result<Receipt> {
        let (actor, report) = (self.actor(who), Report::silent());
        let follows = Follows { wait: Duration::ZERO, concludes: false, ..self.options.follows };
        let wanted = wish.clone();
        let options = retract::Options {
            action_id: wanted.action_id,
            all: wanted.all,
            reason: wanted.reason,
            ticket: wanted.ticket,
            overrides: wanted.overrides,
            resend: wanted.resend,
            seen: wanted.seen,
            dry_run,
            yes: true,
            ..retract::Options::new(Road::Reversal, wanted.disposition, self.options.max_index_age, follows)
        };
        options.check(false)?;
        self.apply_tombstones(&actor, &report, false)?;
        let ran = retract::run(&self.reads(&actor, &report), &self.options.writer, &wish.order_id, &options).await;
        self.remember_clock();
        ran
    }

    /// Leaves word how far this clock is from the vendor's, or that the vendor's answers carry no date.
    pub(super) fn remember_clock(&self) {
        let DeskOptions { index, identity, .. } = &self.options;
        let clients = [&self.advocate, &self.search, &self.patient.0];
        let newest = clients.into_iter().filter_map(Advocate::host_clock).max_by_key(|heard| heard.at);
        if let Some(heard) = newest.filter(|_| index.exists()) {
            // The next request says it again.
            drop(Index::open(index, identity).and_then(|mut index| index.remember_clock(heard.ahead, heard.at)));
        }
    }

    /// Follows these until they are proven or the time is up.
    pub(super) async fn follow(&self, who: &Who, ids: &[i64]) -> Result<Vec<Receipt>> {
        let (actor, report) = (self.actor(who), Report::silent());
        let follows = Follows { submissions: Submissions::EveryLook, ..self.options.follows };
        let ran = retract::verify::run(&self.reads_patiently(&actor, &report), ids, true, &follows).await;
        self.remember_clock();
        ran
    }

    /// Asks the vendor for an order that the index does not have.
    pub(super) async fn search(&self, who: &Who, order_id: &OrderId) -> Result<VendorSearch> {
        let _slot = self.slot().await?;
        self.apply_tombstones(&self.actor(who), &Report::silent(), true)?;
        let mut index = Index::open(&self.options.index, &self.options.identity)?;
        let (mapping, clock) = (&self.options.mapping, &self.clock);
        let found = lookup::search(&self.search, &mut index, mapping, clock, order_id, SEARCH_REQUESTS).await;
        drop(index);
        self.remember_clock();
        found
    }

    /// Before anything is read into the index: whom the ledger has forgotten stays out.
    pub(super) fn apply_tombstones(&self, actor: &Actor, report: &Report, create: bool) -> Result<()> {
        let (index, ledger, identity) = (&self.options.index, &self.options.ledger, &self.options.identity);
        forget::apply_tombstones(&Files { index, ledger, identity, actor }, create, &self.clock, report)
    }

    /// The ledger, for reading; `None` where nothing was ever retracted.
    pub(super) fn ledger(&self) -> Result<Option<Ledger>> {
        Ledger::open_read_only(&self.options.ledger, Some(&self.options.identity))
    }

    /// The ledger, for writing in somebody's name.
    pub(super) fn write_ledger(&self, who: &Who) -> Result<Ledger> {
        Ledger::open(&self.options.ledger, &self.options.identity, &self.actor(who))
    }

    async fn slot(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let closed = |_closed| Error::new(Kind::Interrupted, "the service is ending");
        tokio::select! {
            slot = self.slots.acquire() => slot.map_err(closed),
            () = self.stop.cancelled() => Err(Error::new(Kind::Interrupted, "the service is ending")),
        }
    }

    /// Now.
    pub(super) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// The same for what nobody sits before: it waits for the vendor's limit.
    pub(super) fn reads_patiently<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> retract::Context<'a> {
        let (advocate, brand) = &self.patient;
        retract::Context { advocate, brand, ..self.reads(actor, report) }
    }

    fn reads<'a>(&'a self, actor: &'a Actor, report: &'a Report) -> retract::Context<'a> {
        retract::Context {
            index_path: &self.options.index,
            ledger_path: &self.options.ledger,
            identity: &self.options.identity,
            actor,
            advocate: &self.advocate,
            brand: &self.brand,
            mapping: &self.options.mapping,
            clock: &self.clock,
            stop: &self.stop,
            report,
            session: retract::Session::default(),
        }
    }
}
