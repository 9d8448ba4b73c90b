//! Runs preflights for people who look at an order. The service caches these preflights for a minute, and they may not
//! use the quota's reserve.
//!
//! People reload pages, and a preflight costs requests to both hosts. The service uses a cached preflight only if the
//! ledger has recorded nothing new about the order. A cached preflight never decides about a send, because a retraction
//! reads everything again and compares the plans.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::actions::Actions;
use crate::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::report::Report;
use crate::retract::checks::Verdict;
use crate::retract::readiness;
use crate::retract::receipt::{Entry, Receipt};
use crate::retract::request::RetractRequest;
use crate::retract::verify;
use crate::store::index::IndexReader;
use crate::store::ledger::State;

/// How long the service caches a preflight.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// The part of the quota that a preflight may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spends {
    /// The quota without the reserve.
    Looking,
    /// The whole quota with the reserve, because the person is about to confirm this plan.
    Retraction,
}

#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) receipt: Receipt,
    pub(super) read_at: Timestamp,
    made: Instant,
    /// The ledger's state of the order at the time of the preflight.
    ledger: String,
}

impl Look {
    /// Whether a check stops the retraction.
    pub(super) fn stops(&self) -> bool {
        self.receipt.retractions.iter().any(|entry| entry.verdict == Some(Verdict::Stop))
    }

    /// Whether the retraction would send a request.
    pub(super) fn sends(&self) -> bool {
        let sends = self.receipt.retractions.iter().any(|entry| entry.state == "would_send");
        sends && !self.stops() && self.receipt.error.is_none()
    }
}

/// A lock with the cached preflight of one request. Only one preflight of the same request runs at a time, and
/// concurrent requests wait for its result.
type Slot = Arc<tokio::sync::Mutex<Kept>>;

#[derive(Debug, Default)]
struct Kept {
    look: Option<Look>,
    /// The time at which the vendor's limit stopped the last preflight, with the error. An immediate repetition of the
    /// preflight would use the other host's quota and fail again.
    limit: Option<(Instant, Error)>,
}

#[derive(Default)]
pub(super) struct Looks {
    slots: Mutex<HashMap<String, (Instant, Slot)>>,
    /// When a person last requested a new reading of an order's proven retractions.
    asked: Mutex<HashMap<OrderId, Instant>>,
}

impl Looks {
    /// Returns the orders for which a person requested a new reading within the last minute.
    fn asked(&self) -> MutexGuard<'_, HashMap<OrderId, Instant>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, at| at.elapsed() < KEPT_FOR);
        asked
    }

    /// Returns the cache slot of a request. Requests that differ only in reason, ticket or confirmed plan share a cache
    /// slot.
    fn slot(&self, request: &RetractRequest) -> Slot {
        let key = json!(RetractRequest { reason: None, ticket: None, plan: None, ..request.clone() }).to_string();
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, (used, slot)| Arc::strong_count(slot) > 1 || used.elapsed() < KEPT_FOR);
        let (used, slot) = slots.entry(key).or_insert_with(|| (now, Slot::default()));
        *used = now;
        Arc::clone(slot)
    }
}

impl Actions {
    /// Returns a preflight of the request that is at most a minute old.
    pub(super) async fn look(
        self: &Arc<Self>,
        who: &Principal,
        request: &RetractRequest,
        spends: Spends,
    ) -> Result<Look> {
        self.look_unless(who, request, spends, |look| look.made.elapsed() < KEPT_FOR).await
    }

    /// Runs a new preflight of the request and caches it.
    pub(super) async fn look_again(self: &Arc<Self>, who: &Principal, request: &RetractRequest) -> Result<Look> {
        self.look_unless(who, request, Spends::Retraction, |_kept| false).await
    }

    async fn look_unless(
        self: &Arc<Self>,
        who: &Principal,
        request: &RetractRequest,
        spends: Spends,
        is_usable: impl FnOnce(&Look) -> bool,
    ) -> Result<Look> {
        let slot = self.looks.slot(request);
        let mut kept = slot.lock().await;
        let (index, path, identity) = (&self.settings.index, &self.settings.ledger, &self.settings.identity);
        readiness::check_files(index, path, Some(identity))?;
        let ledger = self.ledger_about(&request.order_id)?;
        if let Some(look) = kept.look.as_ref().filter(|look| look.ledger == ledger && is_usable(look)) {
            return Ok(look.clone());
        }
        if let Some((at, error)) = &kept.limit
            && spends == Spends::Looking
            && at.elapsed() < KEPT_FOR
        {
            return Err(error.clone());
        }
        let request = RetractRequest { plan: None, ..request.clone() };
        let (made, read_at) = (Instant::now(), self.now());
        let read = self.preflight(who, request, spends).await;
        kept.limit = read.as_ref().err().filter(|error| error.kind == Kind::Parked).map(|error| (made, error.clone()));
        let mut receipt = read?;
        self.update_entries(&mut receipt.retractions)?;
        Ok(kept.look.insert(Look { receipt, read_at, made, ledger }).clone())
    }

    /// Returns the ledger's state of an order as text: its retractions and the approval limits. If the text has
    /// changed, a cached preflight is stale.
    fn ledger_about(&self, order: &OrderId) -> Result<String> {
        let Some(ledger) = self.ledger()? else { return Ok(String::new()) };
        let newest = |id, events: &[crate::store::ledger::Event]| json!([id, events.last().map(|event| event.id)]);
        let known: Vec<_> = ledger.of_order(order)?.iter().map(|one| newest(one.id, &one.events)).collect();
        Ok(json!([ledger.ledger_id()?, ledger.policy()?, known]).to_string())
    }

    /// Replaces the reward states of the entries by the states in the index if the index is newer than the ledger.
    pub(super) fn update_entries(&self, entries: &mut [Entry]) -> Result<()> {
        let Some(index) = IndexReader::open(&self.settings.index, Some(&self.settings.identity))? else {
            return Ok(());
        };
        entries.iter_mut().try_for_each(|entry| entry.update_from_index(&index, self.now()))
    }

    /// Reads the rewards of an order's proven retractions again, at a person's request.
    pub(super) async fn ask_again(self: &Arc<Self>, who: &Principal, order: &OrderId) -> Result<()> {
        let proven = |state: State| matches!(state, State::Confirmed | State::Partial);
        let known = self.ledger()?.map(|ledger| ledger.of_order(order)).transpose()?.unwrap_or_default();
        let ids: Vec<i64> = known.iter().filter(|one| proven(one.state)).map(|one| one.id).collect();
        if ids.is_empty() {
            return Err(
                Error::new(Kind::Usage, "this order has no confirmed retraction").hint("look the order up again")
            );
        }
        if self.looks.asked().contains_key(order) {
            return Ok(());
        }
        let (this, actor) = (Arc::clone(self), self.actor(who));
        let verified = self.tasks.spawn(async move {
            let report = Report::silent();
            let follows = crate::retract::FollowSettings { wait: Duration::ZERO, ..this.settings.follows };
            let verified = verify::run(&this.looking_context(&actor, &report), &ids, false, &follows).await;
            this.remember_clock();
            verified
        });
        let receipts = verified.await.unwrap_or_else(|error| Err(super::actions::aborted(&error)))?;
        self.looks.asked().insert(order.clone(), Instant::now());
        receipts.into_iter().find_map(|receipt| receipt.error).map_or(Ok(()), Err)
    }
}
