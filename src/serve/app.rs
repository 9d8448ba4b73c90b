//! What every request works with: the desk, who may do what, open files, and the tasks that outlive a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::batch::{Shelf, Stage};
use super::desk::{Desk, DeskOptions, ORDERS_AT_MOST, Wish};
use super::pool::Pool;
use super::webhooks::Refused;
use crate::access::{Access, Right, Who};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::lookup::{self, Answer, ParticipantIds};
use crate::model::OrderId;
use crate::status::{self, Status};
use crate::store::index::IndexReader;
use crate::store::ledger::Approval;

/// The service.
pub(super) struct App {
    pub(super) options: Options,
    pub(super) desk: Desk,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    /// What was begun for somebody and goes on without them.
    pub(super) tasks: TaskTracker,
    /// Batches.
    pub(super) shelf: Shelf,
    /// Webhooks that were refused.
    pub(super) refused_hooks: Refused,
    /// Places for passwords that are hashed at the same time: each takes 19 MiB, and anybody can ask for one.
    hashing: Arc<Semaphore>,
    access: Pool<Access>,
    readers: Pool<IndexReader>,
    /// Answers by route and status class, since this process began.
    answers: Mutex<BTreeMap<(String, u16), u64>>,
    /// How things were when somebody last asked: the whole ledger is read for it.
    status: tokio::sync::Mutex<Option<(Instant, Arc<Status>)>>,
}

/// Passwords that are hashed at the same time.
const HASHING_AT_MOST: usize = 4;

/// A status is this old at most.
const STATUS_FOR: Duration = Duration::from_secs(5);

impl App {
    pub(super) fn new(options: Options, desk: DeskOptions, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let (index, identity, limits) = (desk.index.clone(), desk.identity.clone(), options.sessions);
        let reader_of = identity.clone();
        let access = Pool::new(options.access.clone(), move |path| Access::open_existing(path, &identity, limits));
        let readers = Pool::new(index, move |path| IndexReader::open(path, Some(&reader_of)));
        let shelf = Shelf::beside(&desk.ledger);
        let desk = Desk::new(desk, clock, stop.clone())?;
        let (tasks, answers, status) = (TaskTracker::new(), Mutex::default(), tokio::sync::Mutex::default());
        let hashing = Arc::new(Semaphore::new(HASHING_AT_MOST));
        let refused_hooks = Refused::default();
        Ok(Self { options, desk, clock, stop, tasks, shelf, refused_hooks, hashing, access, readers, answers, status })
    }

    /// Whether browsers reach it over TLS.
    pub(super) fn over_tls(&self) -> bool {
        self.options.tls.is_some() || self.options.behind_proxy
    }

    /// Counts an answer.
    pub(super) fn count(&self, route: &str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let class = status / 100;
        match answers.get_mut(&(route.to_owned(), class)) {
            Some(count) => *count += 1,
            None => drop(answers.insert((route.to_owned(), class), 1)),
        }
    }

    /// Answers so far, by route and by the first digit of their status.
    pub(super) fn answers(&self) -> BTreeMap<(String, u16), u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks who may do what; `None` is given where there is no user yet.
    pub(super) fn access<T>(&self, work: impl FnOnce(Option<&mut Access>) -> Result<T>) -> Result<T> {
        self.access.with(work)
    }

    /// Does something that hashes passwords. That takes tens of milliseconds, which the threads that answer requests do not
    /// have, and memory, so only a few at a time.
    pub(super) async fn hashed<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Never closed, so there always is a place in the end. It is held until the work is done: a client that hangs up meanwhile
        // must not make room for the next one.
        let place = Arc::clone(&self.hashing).acquire_owned().await;
        let app = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let done = work(&app);
            drop(place);
            done
        });
        task.await.unwrap_or_else(|error| Err(Error::new(Kind::Failed, format!("the work broke off: {error}"))))
    }

    /// Whether anybody can sign in at all.
    pub(super) fn has_users(&self) -> Result<bool> {
        self.access(|access| access.map_or(Ok(false), |access| access.has_users()))
    }

    /// Answers orders from the index, exactly as they are written.
    pub(super) fn look_up(&self, orders: &[OrderId]) -> Result<Vec<Answer>> {
        self.readers.with(|reader| lookup::run(reader.as_deref(), orders, ParticipantIds::Hide, self.clock.now()))
    }

    /// Answers what a person pasted, from the index: each text as an order ID, or each order ID of a list.
    pub(super) fn look_up_pasted(&self, texts: Vec<OrderId>, participants: ParticipantIds) -> Result<Vec<Answer>> {
        self.readers.with(|reader| {
            let mut orders = Vec::new();
            for order in lookup::split_lists(reader.as_deref(), texts)? {
                if !orders.contains(&order) {
                    orders.push(order);
                }
            }
            check_count(orders.len())?;
            lookup::run(reader.as_deref(), &orders, participants, self.clock.now())
        })
    }

    /// Asks the index something else.
    pub(super) fn index<T>(&self, work: impl FnOnce(Option<&mut IndexReader>) -> Result<T>) -> Result<T> {
        self.readers.with(work)
    }

    /// How things are, a few seconds old at most; many who ask at once ask once.
    pub(super) async fn status(self: &Arc<Self>) -> Result<Arc<Status>> {
        let mut known = self.status.lock().await;
        if let Some((at, status)) = known.as_ref()
            && at.elapsed() < STATUS_FOR
        {
            return Ok(Arc::clone(status));
        }
        let clock = self.clock;
        let fresh = self
            .on_its_own(async move |desk| {
                let DeskOptions { index, ledger, identity, .. } = &desk.options;
                status::gather(index, ledger, Some(identity), false, &clock)
            })
            .await?;
        let fresh = Arc::new(fresh);
        *known = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// Does something on a thread of its own, to its end whatever becomes of the request: what retracts holds open files that
    /// must stay on one thread, and must not end half way because a browser went away.
    pub(super) async fn on_its_own<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl AsyncFnOnce(&Desk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (app, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        let task = self.tasks.spawn_blocking(move || runtime.block_on(work(&app.desk)));
        task.await.unwrap_or_else(|error| Err(Error::new(Kind::Failed, format!("the work broke off: {error}"))))
    }

    /// Carries out what a second person has approved, in the name of who asked for it; `false` where whoever asked does that
    /// themselves, because they asked at the command line.
    pub(super) async fn carry_out(self: &Arc<Self>, approval: &Approval) -> Result<bool> {
        let asked_by = self.access(|access| access.map_or(Ok(None), |access| access.who(&approval.person)))?;
        let Some(who) = asked_by else { return Ok(false) };
        if approval.subject["what"] == "batch" {
            let id = approval.subject["batch"].as_str().unwrap_or_default();
            // One of the command line has a name that is none of ours.
            return match self.batch(id) {
                Ok(batch) if batch.stage == Stage::Waiting => self.apply_batch(&who, id).map(|_| true),
                _ => Ok(false),
            };
        }
        let Some(wish) = Wish::approved(approval) else { return Ok(false) };
        let asked = who.clone();
        let receipt = self.on_its_own(async move |desk| desk.retract(&asked, &wish).await).await?;
        let sent: Vec<i64> = receipt.retractions.iter().filter_map(|entry| entry.id).collect();
        if sent.is_empty()
            && let Some(error) = receipt.problem()
        {
            return Err(error);
        }
        self.follow_on(&who, sent);
        Ok(true)
    }

    /// Follows what was sent until it is proven, behind the request that sent it. The ledger has what comes of it.
    pub(super) fn follow_on(self: &Arc<Self>, who: &Who, ids: Vec<i64>) {
        if ids.is_empty() {
            return;
        }
        let (app, who) = (Arc::clone(self), who.clone());
        let runtime = tokio::runtime::Handle::current();
        self.tasks.spawn_blocking(move || {
            if let Err(error) = runtime.block_on(app.desk.follow(&who, &ids)) {
                // `recoup verify`, and the schedule, carry on what this could not.
                tracing::warn!(kind = error.kind.name(), "what was sent is not followed any more: {}", error.message);
            }
        });
    }

    /// Waits for everything that was begun.
    pub(super) async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Refuses more order IDs than are looked up at once.
pub(super) fn check_count(orders: usize) -> Result<()> {
    if orders <= ORDERS_AT_MOST {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{orders} order IDs at once are too many, at most {ORDERS_AT_MOST}"))
        .hint("look them up in parts; a lead can upload a file of refunds as a batch"))
}

/// Whether a person's look-ups find orders by a participant's ID: only the right to see accounts says who placed an order.
pub(super) fn participants(who: &Who) -> ParticipantIds {
    if who.may(Right::SeeAccount) { ParticipantIds::Match } else { ParticipantIds::Hide }
}
