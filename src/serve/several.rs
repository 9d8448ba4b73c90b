//! Runs preflights of several orders, and retracts several orders in one step.
//!
//! Each order has its own plan, and goes through the checks and the send of a single retraction. Therefore recoup sends
//! each order's reversal at most once. The limits for many orders at once apply to the sum
//! ([`crate::retract::several`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
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
use crate::store::ledger::{Retraction, State};

/// Maximum number of orders that the page checks at once.
pub(super) const CHECKED_AT_ONCE: usize = 50;

/// Maximum number of orders in one step. A user uploads more orders as a batch.
pub(super) const RETRACTED_AT_ONCE: usize = 20;

/// The time after which no further order is sent, so that the page answers before its request times out.
const SENDS_FOR: Duration = Duration::from_mins(1);

/// Begins the reason why a step has sent nothing for an order that was sent before.
pub(super) const NOT_IN_THIS_STEP: &str = "nothing was sent for it in this step";

/// The result for one of several orders.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The ledger has recorded the request, which may have been sent, now or earlier. The error ended the run early.
    Recorded { is_doubtful: bool, error: Option<Error> },
    /// recoup sent nothing for this order.
    NotSent(Error),
    /// recoup sent nothing for this order, because of an earlier order's result.
    NotAttempted(String),
    /// recoup failed at a moment when the request may have been sent. Only the ledger knows.
    Unknown(Error),
}

/// How long the outcomes of a step are stored, and of how many steps.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(12);
const KEPT_AT_MOST: usize = 200;

/// The outcomes of one step.
#[derive(Debug)]
struct Step {
    id: String,
    /// The user who has sent it. Other users do not see it.
    person: String,
    at: Timestamp,
    outcomes: Vec<(OrderId, Outcome)>,
}

/// The outcomes of the last steps, for the page that shows them. They are in memory only: the ledger has what was sent, and the
/// reasons for the other orders are gone after a restart.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<VecDeque<Step>>);

impl Steps {
    /// Stores outcomes. Returns the ID of the step.
    pub(super) fn add(&self, who: &Principal, outcomes: Vec<(OrderId, Outcome)>, now: Timestamp) -> Result<String> {
        let id = crate::access::random_text()?;
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|step| now.duration_since(step.at) < KEPT_FOR);
        steps.truncate(KEPT_AT_MOST - 1);
        steps.push_front(Step { id: id.clone(), person: who.name.clone(), at: now, outcomes });
        Ok(id)
    }

    /// Returns the outcome of an order in a step of this user; `None` if it is not stored any more.
    pub(super) fn outcome(&self, who: &Principal, id: &str, order: &OrderId) -> Option<Outcome> {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let step = steps.iter().find(|step| step.id == id && step.person == who.name)?;
        step.outcomes.iter().find(|(of, _)| of == order).map(|(_, outcome)| outcome.clone())
    }
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
            let refused = this.check_several(&read).err();
            if let Some(error) = &refused
                && !read.iter().any(|receipt| is_recorded(receipt))
            {
                return Err(error.clone());
            }
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
                let outcome = match (look, &refused) {
                    (Ok(look), None) if look.receipt.plan == request.plan => this.retract_one_of(&who, request).await,
                    // A form that is submitted again finds its own retractions.
                    (Ok(look), _) if is_recorded(&look.receipt) => recorded(&look.receipt),
                    (Ok(_), Some(error)) => Outcome::NotSent(error.clone()),
                    (Ok(_), None) => Outcome::NotSent(plan_changed()),
                    (Err(error), _) => Outcome::NotSent(error),
                };
                stopped = why_stop(&order, &outcome);
                outcomes.push((order, outcome));
            }
            Ok(outcomes)
        });
        ran.await.unwrap_or_else(|error| Err(aborted(&error)))
    }

    async fn retract_one_of(self: &Arc<Self>, who: &Principal, request: RetractRequest) -> Outcome {
        let order = request.order_id.clone();
        match outcome_of(self.retract(who, request).await) {
            // Another submission of the same form may have sent it in the meantime.
            Outcome::NotSent(error) => match self.recorded_retractions(&order) {
                Ok(sent) if sent.iter().any(|one| one.state.may_have_been_sent()) => Outcome::Recorded {
                    is_doubtful: sent.iter().any(|one| is_doubtful(one.state)),
                    error: Some(error.context(NOT_IN_THIS_STEP)),
                },
                _ => Outcome::NotSent(error),
            },
            outcome => outcome,
        }
    }

    /// Returns the newest attempts to take an order's rewards back, oldest first.
    pub(super) fn recorded_retractions(&self, order: &OrderId) -> Result<Vec<Retraction>> {
        let known = self.ledger()?.map(|ledger| ledger.of_order(order)).transpose()?.unwrap_or_default();
        let is_current = |one: &Retraction| !matches!(one.state, State::Superseded | State::Released);
        Ok(known.into_iter().filter(|one| one.channel.takes_all_back() && is_current(one)).collect())
    }
}

fn outcome_of(retracted: Result<Receipt>) -> Outcome {
    match retracted {
        Ok(receipt) => match nothing_sent(&receipt) {
            Some(error) => Outcome::NotSent(error),
            None => recorded(&receipt),
        },
        // The task panicked, or the ledger could not be read or written. Either may have happened after the send.
        Err(error) if matches!(error.kind, Kind::Failed | Kind::Storage) => Outcome::Unknown(error),
        Err(error) => Outcome::NotSent(error),
    }
}

fn recorded(receipt: &Receipt) -> Outcome {
    let mut states = receipt.retractions.iter().filter_map(|entry| State::named(&entry.state));
    Outcome::Recorded { is_doubtful: states.any(is_doubtful) || receipt.error.is_some(), error: receipt.error.clone() }
}

/// Whether the ledger has recorded a retraction of this receipt.
fn is_recorded(receipt: &Receipt) -> bool {
    receipt.retractions.iter().any(|entry| entry.id.is_some())
}

fn is_doubtful(state: State) -> bool {
    matches!(state, State::Unknown | State::Sending)
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
        Outcome::Recorded { is_doubtful: true, .. } | Outcome::Unknown(_) => {
            Some(format!("it is not known what became of order {order}"))
        }
        Outcome::Recorded { .. } => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_panic_it_is_not_known_whether_the_order_was_sent() {
        let panicked = tokio::spawn(async { panic!("a defect") }).await.map(|(): ()| ());
        let outcome = outcome_of(Err(aborted(&panicked.expect_err("it panics"))));
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        let order = OrderId::new("1001");
        assert!(why_stop(&order, &outcome).is_some_and(|why| why.contains("not known what became of order 1001")));
    }

    #[test]
    fn the_outcomes_of_a_step_are_shown_to_its_user_only_and_for_half_a_day() {
        let user = |name: &str| Principal {
            name: name.to_owned(),
            role: crate::access::Role::Agent,
            os_user: None,
            by: crate::access::AuthMethod::Session,
        };
        let (steps, order) = (Steps::default(), OrderId::new("1001"));
        let outcome = || vec![(order.clone(), Outcome::NotAttempted("why".to_owned()))];
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let id = steps.add(&user("ann"), outcome(), at(0)).expect("an ID");
        assert!(steps.outcome(&user("ann"), &id, &order).is_some());
        assert!(steps.outcome(&user("bob"), &id, &order).is_none());
        assert!(steps.outcome(&user("ann"), &id, &OrderId::new("1002")).is_none());
        steps.add(&user("ann"), outcome(), at(13)).expect("an ID");
        assert!(steps.outcome(&user("ann"), &id, &order).is_none());
    }
}
