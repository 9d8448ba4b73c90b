//! Runs preflights of several orders, and retracts several orders in one step.
//!
//! Each order has its own plan, and goes through the checks and the send of a single retraction. Therefore recoup sends
//! each order's reversal at most once. The limits for many orders at once apply to the sum
//! ([`crate::retract::several`]).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use super::actions::{Actions, CONCURRENT_READS, aborted, nothing_sent};
use super::looking::{Look, Spends};
use crate::access::Principal;
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::retract::batch::TRUSTED_FOR;
use crate::retract::receipt::Receipt;
use crate::retract::request::{PLAN_CHANGED, RetractRequest};
use crate::retract::several;

/// Maximum number of orders that the page checks at once.
pub(super) const CHECKED_AT_ONCE: usize = 50;

/// Maximum number of orders in one step. A user uploads more orders as a batch.
pub(super) const RETRACTED_AT_ONCE: usize = 20;

/// The time after which no further order is sent, so that the page answers before its request times out.
const SENDS_FOR: Duration = Duration::from_mins(1);

/// The result for one of several orders.
pub(super) enum Outcome {
    /// The ledger has recorded the request, which may have been sent.
    Recorded(Box<Receipt>),
    /// recoup sent nothing for this order.
    NotSent(Error),
    /// recoup sent nothing for this order, because of an earlier order's result.
    NotAttempted(String),
}

impl Actions {
    /// Runs a preflight of each request, a few at the same time. After the vendor's limit has stopped a preflight, no
    /// further preflight begins.
    pub(super) async fn look_at_several(
        self: &Arc<Self>,
        who: &Principal,
        requests: Vec<RetractRequest>,
        spends: Spends,
    ) -> Vec<Result<Look>> {
        let limit: Arc<OnceLock<Error>> = Arc::default();
        let looks = requests.into_iter().map(|request| {
            let (this, who, limit) = (Arc::clone(self), who.clone(), Arc::clone(&limit));
            async move {
                if let Some(error) = limit.get() {
                    return Err(error.clone());
                }
                let look = this.look(&who, &request, spends).await;
                if let Some(error) = look.as_ref().err().filter(|error| error.kind == Kind::Parked) {
                    // Another preflight may have met the vendor's limit first. Either error may be kept, because both
                    // errors say the same.
                    drop(limit.set(error.clone()));
                }
                look
            }
        });
        stream::iter(looks).buffered(CONCURRENT_READS).collect().await
    }

    /// Fails if recoup must not send these orders in one step.
    pub(super) fn check_several(&self, receipts: &[&Receipt]) -> Result<()> {
        let since = self.now().checked_sub(TRUSTED_FOR).unwrap_or(Timestamp::MIN);
        let (policy, trusted) = match self.ledger()? {
            Some(ledger) => (ledger.policy()?, ledger.confirmed_programs(since)?),
            None => Default::default(),
        };
        several::check(receipts, &policy, self.settings.limits, &trusted)
    }

    /// Retracts the orders one after another. Each request names the plan that the person has seen.
    ///
    /// The retractions run as one task of their own, which continues if the client disconnects. The next order is not
    /// attempted after a request without an answer, after an error that concerns more than one order, or when the
    /// service stops.
    pub(super) async fn retract_several(
        self: &Arc<Self>,
        who: &Principal,
        requests: Vec<RetractRequest>,
    ) -> Result<Vec<(OrderId, Outcome)>> {
        check_requests(&requests)?;
        let (this, who) = (Arc::clone(self), who.clone());
        let ran = self.tasks.spawn(async move {
            let looks = this.look_at_several(&who, requests.clone(), Spends::Retraction).await;
            let read: Vec<&Receipt> = looks.iter().flatten().map(|look| &look.receipt).collect();
            this.check_several(&read)?;
            let ends = Instant::now() + SENDS_FOR;
            let mut stopped: Option<String> = None;
            let mut outcomes = Vec::new();
            for (request, look) in requests.into_iter().zip(looks) {
                let order = request.order_id.clone();
                if stopped.is_none() && this.is_stopping() {
                    stopped = Some("the service is stopping".to_owned());
                }
                if stopped.is_none() && Instant::now() >= ends {
                    stopped = Some("the orders before it took too long".to_owned());
                }
                if let Some(why) = &stopped {
                    outcomes.push((order, Outcome::NotAttempted(why.clone())));
                    continue;
                }
                let outcome = match look {
                    Ok(look) if look.receipt.plan == request.plan => this.retract_one_of(&who, request).await,
                    Ok(_) => Outcome::NotSent(plan_changed()),
                    Err(error) => Outcome::NotSent(error),
                };
                stopped = why_stop(&order, &outcome);
                outcomes.push((order, outcome));
            }
            Ok(outcomes)
        });
        ran.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    async fn retract_one_of(self: &Arc<Self>, who: &Principal, request: RetractRequest) -> Outcome {
        match self.retract(who, request).await {
            Ok(receipt) => match nothing_sent(&receipt) {
                Some(error) => Outcome::NotSent(error),
                None => Outcome::Recorded(Box::new(receipt)),
            },
            Err(error) => Outcome::NotSent(error),
        }
    }
}

fn check_requests(requests: &[RetractRequest]) -> Result<()> {
    if requests.is_empty() {
        return Err(Error::new(Kind::Usage, "no order was chosen; nothing was sent").hint("tick at least one order"));
    }
    if requests.len() > RETRACTED_AT_ONCE {
        let message = format!("{} orders at once are too many, at most {RETRACTED_AT_ONCE}", requests.len());
        return Err(Error::new(Kind::Usage, message)
            .hint("choose fewer; a lead can upload a file of refunds as a batch; nothing was sent"));
    }
    let distinct: BTreeSet<&OrderId> = requests.iter().map(|request| &request.order_id).collect();
    if distinct.len() < requests.len() {
        return Err(Error::new(Kind::Usage, "an order was named twice; nothing was sent"));
    }
    if requests.iter().any(|request| request.plan.is_none()) {
        return Err(Error::new(Kind::Usage, "the plan of an order is missing; nothing was sent")
            .hint("look at the plans, tick that you have read them, then send them"));
    }
    Ok(())
}

fn plan_changed() -> Error {
    Error::new(Kind::Refused, PLAN_CHANGED).hint("look the order up again")
}

/// Returns why no further order may be attempted; `None` if the next order may be attempted.
fn why_stop(order: &OrderId, outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Recorded(receipt) => {
            let is_doubtful = receipt.error.is_some()
                || receipt.retractions.iter().any(|entry| matches!(entry.state.as_str(), "unknown" | "sending"));
            is_doubtful.then(|| format!("it is not known what became of order {order}"))
        }
        Outcome::NotSent(error) => {
            let concerns_one = matches!(
                error.kind,
                Kind::Refused
                    | Kind::NeedsApproval
                    | Kind::Ambiguous
                    | Kind::NotIndexed
                    | Kind::VendorRefused
                    | Kind::Usage
            );
            (!concerns_one).then(|| format!("order {order} failed: {}", error.message))
        }
        Outcome::NotAttempted(why) => Some(why.clone()),
    }
}
