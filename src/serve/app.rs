//! The state that all requests share: users, index, ledger, actions, batches and counters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::actions::{ActionSettings, Actions, ORDERS_AT_MOST, aborted, nothing_sent};
use super::api::RateLimit;
use super::batch::{BatchStore, Stage as BatchStage};
use super::connection_pool::ConnectionPool;
use super::recent::RecentOrders;
use super::searches::Searches;
use super::several::Steps;
use super::webhooks::RefusedCounts;
use crate::access::{AccessControl, Principal, Right, User};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::lookup::{self, Answer, ParticipantIds};
use crate::model::OrderId;
use crate::retract::request::RetractRequest;
use crate::status::{self, Status};
use crate::store::Place;
use crate::store::index::IndexReader;
use crate::store::ledger::{Approval, Ledger, Stage};

pub(super) struct App {
    pub(super) options: Options,
    pub(super) actions: Arc<Actions>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    pub(super) batches: BatchStore,
    pub(super) recent: RecentOrders,
    /// What became of the orders that were retracted together.
    pub(super) steps: Steps,
    pub(super) searches: Searches,
    /// Rate limit of each API token; `None` for no limit.
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) refused_hooks: RefusedCounts,
    /// A pool that gives connections to the users' database, or `None` before the first user is created.
    pub(super) access: ConnectionPool<AccessControl>,
    /// A pool that gives connections to the index, or `None` before the first crawl.
    pub(super) index: ConnectionPool<IndexReader>,
    /// A pool that gives connections to the ledger for look-ups, or `None` before the first retraction.
    pub(super) ledger: ConnectionPool<Ledger>,
    /// Limits concurrent password hashes, because each hash takes 19 MiB and anyone can submit a sign-in.
    hashing: Arc<Semaphore>,
    /// Number of responses of this process, by route and by first digit of the status.
    responses: Mutex<BTreeMap<(String, u16), u64>>,
    /// The cached status of index and ledger. Computing the status reads the whole ledger.
    status: tokio::sync::Mutex<Option<(Instant, Arc<Status>)>>,
}

/// Maximum number of concurrent password hashes.
const CONCURRENT_HASHES: usize = 4;

const STATUS_MAX_AGE: Duration = Duration::from_secs(5);

impl App {
    pub(super) fn new(
        options: Options,
        settings: ActionSettings,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<Self> {
        let (owner, identity, limits) = (settings.identity.clone(), settings.identity.clone(), options.sessions);
        let open_access = move |place: &_| AccessControl::open_existing(place, &identity, limits);
        let open_index = move |place: &Place| IndexReader::open(place, Some(&owner));
        let owner = settings.identity.clone();
        let open_ledger = move |place: &Place| Ledger::open_read_only(place, Some(&owner));
        Ok(Self {
            access: ConnectionPool::new(options.access.clone(), open_access),
            index: ConnectionPool::new(settings.index.clone(), open_index),
            ledger: ConnectionPool::new(settings.ledger.clone(), open_ledger),
            batches: BatchStore::beside(&settings.ledger, &settings.identity),
            recent: RecentOrders::default(),
            steps: Steps::default(),
            searches: Searches::default(),
            rate_limit: options.token_requests_per_minute.map(RateLimit::new),
            actions: Arc::new(Actions::new(settings, clock, stop.clone())?),
            options,
            clock,
            stop,
            refused_hooks: RefusedCounts::default(),
            hashing: Arc::new(Semaphore::new(CONCURRENT_HASHES)),
            responses: Mutex::default(),
            status: tokio::sync::Mutex::default(),
        })
    }

    /// Returns `true` if browsers reach the service over TLS.
    pub(super) fn over_tls(&self) -> bool {
        self.options.tls.is_some() || self.options.behind_proxy
    }

    pub(super) fn count_response(&self, route: &str, status: u16) {
        let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        *responses.entry((route.to_owned(), status / 100)).or_default() += 1;
    }

    pub(super) fn responses(&self) -> BTreeMap<(String, u16), u64> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a closure on a blocking thread. The closure runs to its end even if the client disconnects.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.actions.tasks.spawn_blocking(work).await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    /// Runs a closure that hashes a password, on a blocking thread. A hash takes tens of milliseconds, so only a few
    /// closures run at the same time.
    pub(super) async fn hashed<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // The semaphore is never closed. The closure holds the semaphore's permit, so that a client that disconnects
        // does not let another hash start early.
        let permit = Arc::clone(&self.hashing).acquire_owned().await;
        let app = Arc::clone(self);
        self.blocking(move || {
            let done = work(&app);
            drop(permit);
            done
        })
        .await
    }

    pub(super) fn has_users(&self) -> Result<bool> {
        self.access.with(|access| access.map_or(Ok(false), |access| access.has_users()))
    }

    /// Looks up one order ID, compared byte for byte.
    pub(super) fn look_up(&self, order: &OrderId) -> Result<Vec<Answer>> {
        let orders = std::slice::from_ref(order);
        let answers =
            self.index.with(|reader| lookup::run(reader.as_deref(), orders, ParticipantIds::Hide, self.clock.now()))?;
        self.with_newest_states(answers)
    }

    /// Looks up texts that a user has pasted. Each pasted text is an order ID or a list of order IDs.
    pub(super) fn look_up_pasted(&self, texts: Vec<OrderId>, participants: ParticipantIds) -> Result<Vec<Answer>> {
        let answers = self.index.with(|reader| {
            let mut orders = Vec::new();
            for order in lookup::split_lists(reader.as_deref(), texts)? {
                if !orders.contains(&order) {
                    orders.push(order);
                }
            }
            check_count(orders.len())?;
            lookup::run(reader.as_deref(), &orders, participants, self.clock.now())
        })?;
        self.with_newest_states(answers)
    }

    /// Replaces the reward states in the index by the states in the ledger if the ledger's are newer.
    fn with_newest_states(&self, mut answers: Vec<Answer>) -> Result<Vec<Answer>> {
        self.ledger.with(|ledger| lookup::update_from_ledger(&mut answers, ledger.as_deref()))?;
        Ok(answers)
    }

    /// Returns the status of index and ledger, at most a few seconds old. Concurrent callers share one computation of
    /// the status.
    pub(super) async fn status(self: &Arc<Self>) -> Result<Arc<Status>> {
        let mut known = self.status.lock().await;
        if let Some((at, status)) = known.as_ref()
            && at.elapsed() < STATUS_MAX_AGE
        {
            return Ok(Arc::clone(status));
        }
        let app = Arc::clone(self);
        let fresh = self.blocking(move || {
            let ActionSettings { index, ledger, identity, .. } = &app.actions.settings;
            status::gather(index, ledger, Some(identity), false, &app.clock)
        });
        let fresh = Arc::new(fresh.await?);
        *known = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// Carries out an approved request in the name of its requester. Returns `false` if the request was made at the
    /// command line, because its requester must then repeat the command.
    pub(super) async fn carry_out(self: &Arc<Self>, approval: &Approval) -> Result<bool> {
        let requester =
            self.access.with(|access| access.map_or(Ok(None), |access| access.principal(&approval.person)))?;
        let Some(who) = requester else { return Ok(false) };
        self.check_rights(&who, approval)?;
        if approval.subject["what"] == "batch" {
            let id = approval.subject["batch"].as_str().unwrap_or_default();
            // The service's store of batches does not contain the batches of the command line.
            return match self.batch(id) {
                Ok(batch) if batch.stage == BatchStage::Waiting => self.apply_batch(&who, id).map(|_| true),
                _ => Ok(false),
            };
        }
        let Some(request) = RetractRequest::approved(approval) else { return Ok(false) };
        let receipt = self.actions.retract(&who, request).await?;
        nothing_sent(&receipt).map_or(Ok(true), Err)
    }
}

impl App {
    /// Fails if the requester or the approver of a request may no longer do what it says. A role may be reduced after the
    /// request and before the approval.
    pub(super) fn check_rights(&self, requester: &Principal, approval: &Approval) -> Result<()> {
        let refused = |who: &str, what: &str| {
            Error::new(
                Kind::Refused,
                format!("{who} may no longer {what}, so approval {} is not carried out", approval.id),
            )
            .hint("withdraw or decline it, and ask for another; nothing was sent")
        };
        let is_batch = approval.subject["what"] == "batch";
        let right = if is_batch { Right::Batch } else { Right::Retract };
        if !requester.may(right) {
            return Err(refused(&requester.name, if is_batch { "send a batch" } else { "retract an order" }));
        }
        let overrides = RetractRequest::approved(approval).is_some_and(|request| !request.overrides.is_empty());
        if overrides && !requester.may(Right::Override) {
            return Err(refused(&requester.name, "override a check"));
        }
        if approval.stage != Stage::Approved {
            return Ok(());
        }
        let users = self.access.with(|access| access.map_or_else(|| Ok(Vec::new()), |access| access.users()))?;
        let decider = |user: &&User| user.names().iter().any(|name| approval.decider_names.contains(name));
        let may = |user: &User| user.disabled_at.is_none() && user.role.may(Right::Approve);
        if users.iter().filter(decider).any(may) {
            return Ok(());
        }
        Err(refused(approval.decided_by.as_deref().unwrap_or("the approver"), "approve it"))
    }
}

pub(super) fn check_count(orders: usize) -> Result<()> {
    if orders <= ORDERS_AT_MOST {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{orders} order IDs at once are too many, at most {ORDERS_AT_MOST}"))
        .hint("look them up in parts; a lead can upload a file of refunds as a batch"))
}

/// Returns `true` if this user may look up orders by participant ID. A look-up by participant ID reveals who placed an
/// order, so it requires the right to see accounts.
pub(super) fn participants(who: &Principal) -> ParticipantIds {
    if who.may(Right::SeeAccount) { ParticipantIds::Match } else { ParticipantIds::Hide }
}
