//! Sends one request that changes data at the vendor, at most once. Every request that changes an action or a reward at
//! the vendor passes through `dispatch`.
//!
//! The order of the dispatcher's steps prevents a second send. The dispatcher waits until the rate limit allows the
//! send, and renews the plan if the plan is old. The dispatcher takes an operating system lock that keeps other
//! processes from sending. Under the send lock, the dispatcher checks the ledger again, commits the intent to disk,
//! sends exactly one request and records the outcome. If the outcome does not show whether the vendor acted, the
//! retraction becomes *unknown*. recoup never sends an unknown retraction again. The dispatcher releases the send lock
//! before it waits for the vendor's rate limit.

use std::ops::ControlFlow;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::approval::Granted;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Details, Error, Kind, Result};
use crate::store::ledger::{Ledger, NewRetraction, Retraction, State};
use crate::store::{Place, ProcessLock};
use crate::vendor::WriteOutcome;

/// Pause between two attempts to take the send lock, or to write the outcome into the ledger.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of attempts to send one request. After the last attempt, the retraction stays *planned*. A 429 costs
/// one attempt to send, and so does a plan that becomes too old during a wait.
const MAX_ATTEMPTS: u32 = 10;

/// Maximum age of a plan when recoup sends it. The dispatcher renews an older plan, because the person may have needed
/// an hour to confirm it.
pub const PLAN_FRESH_FOR: Duration = Duration::from_secs(10);

/// Maximum length of the vendor's answer in the ledger, in characters.
const MAX_ANSWER_CHARS: usize = 16 << 10;

/// Maximum number of attempts to write the outcome into the ledger.
const MAX_LEDGER_WRITES: u32 = 3;

/// One request that changes data at the vendor, and the checks that allow it.
pub trait Job {
    /// The rate limiter's permission to send one request.
    type Permit;

    /// Message of the ledger event if the vendor accepts the request.
    const ACCEPTED: &'static str;

    /// Advice for the person if the vendor refuses the request.
    const REFUSED_HINT: &'static str;

    /// Waits until the rate limit allows the send, and renews the plan if the plan is old. If the wait for the rate
    /// limit or the renewal of the plan fails, the dispatcher sends nothing.
    async fn ready(&mut self, ledger: &Ledger) -> Result<Self::Permit>;

    /// Returns `true` if the plan is fresh enough for the send. The dispatcher checks the freshness of the plan under
    /// the send lock. Therefore the freshness check must not use the network.
    fn is_fresh(&self) -> bool;

    /// Repeats every ledger check under the send lock. Returns the retraction that another process has sent since the
    /// plan was made; `None` without such a retraction.
    fn sent_meanwhile(&self, ledger: &Ledger) -> Result<Option<Retraction>>;

    /// Returns the ledger entry that the dispatcher commits before the send.
    fn intent(&self) -> NewRetraction;

    /// Returns further notes for the ledger: kind, message, details.
    fn notes(&self) -> Vec<(&'static str, String, Value)> {
        Vec::new()
    }

    /// Returns the request in the form that the ledger stores: a message, and the parameters without credentials.
    fn request(&self) -> (&'static str, Value);

    /// Sends the request, exactly once.
    async fn send(&self, permit: Self::Permit) -> WriteOutcome;
}

/// The result of dispatching one request.
pub struct Dispatched {
    /// The retraction, with the newest events of the ledger.
    pub retraction: Retraction,
    pub sent: Sent,
    /// Why recoup did not send the request, or why the ledger lacks the request's outcome.
    pub error: Option<Error>,
}

/// Which process sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// This process sent the request, even if the outcome is unknown.
    Now,
    /// Another process sent the request earlier, and this process sent nothing.
    Before,
    /// No process sent the request. The ledger records that recoup did not send the request.
    Not,
}

/// Sends requests that change data at the vendor, and records them in one ledger.
pub struct Dispatch<'a> {
    pub ctx: &'a Context<'a>,
    pub ledger: &'a Ledger,
    /// Longest wait for the vendor's rate limit.
    pub max_wait: Duration,
    /// Longest wait for the send lock while another process holds it.
    pub lock_wait: Duration,
    /// The approval of a second person, if the policy requires one.
    pub granted: Option<&'a Granted>,
}

impl Dispatch<'_> {
    /// Sends the request of one job, at most once. An error means that this run sent nothing and wrote nothing into the
    /// ledger.
    pub async fn run<J: Job>(&mut self, job: &mut J) -> Result<Dispatched> {
        let mut planned: Option<Retraction> = None;
        for _ in 0..MAX_ATTEMPTS {
            let permit = match job.ready(self.ledger).await {
                Ok(permit) => permit,
                Err(error) => return not_sent(planned, error),
            };
            let ctx = self.ctx;
            let lock = match take_lock(self.ledger.place(), self.lock_wait, ctx.clock, ctx.stop).await {
                Ok(lock) => lock,
                Err(error) => return not_sent(planned, error),
            };
            if !job.is_fresh() {
                // The plan became too old during the wait for the send lock. The next attempt renews the plan before it
                // takes the send lock.
                continue;
            }
            // The end of this block releases the send lock, because no process may hold the lock while it waits for the
            // vendor's limit.
            let attempt = {
                let lock = lock;
                match job.sent_meanwhile(self.ledger) {
                    Ok(None) => self.try_once(&lock, permit, job, planned.take()).await?,
                    Ok(Some(retraction)) => {
                        return Ok(Dispatched { retraction, sent: Sent::Before, error: None });
                    }
                    Err(error) => return not_sent(planned, error),
                }
            };
            match attempt {
                ControlFlow::Break(dispatched) => return Ok(dispatched),
                ControlFlow::Continue((retraction, until)) => {
                    if let Err(error) = self.wait_until(until).await {
                        return not_sent(Some(retraction), error);
                    }
                    planned = Some(retraction);
                }
            }
        }
        let error = Error::new(Kind::Parked, "the vendor's limit was reached again and again; nothing was sent")
            .hint("run the same command again later");
        not_sent(planned, error)
    }

    /// Sends one request between two ledger entries: the intent and the outcome. Returns `Continue` with the earliest
    /// time of the next attempt if the vendor answered 429.
    async fn try_once<J: Job>(
        &mut self,
        lock: &ProcessLock,
        permit: J::Permit,
        job: &J,
        planned: Option<Retraction>,
    ) -> Result<ControlFlow<Dispatched, (Retraction, Timestamp)>> {
        let now = || self.ctx.clock.now();
        let (message, request) = job.request();
        let details = json!({ "request": request });
        let retraction = if let Some(planned) = planned {
            // The retraction is still *planned*, because the vendor answered an earlier attempt with 429.
            match self.ledger.append(&planned, State::Sending, message, &details, now()) {
                Ok(sending) => sending,
                Err(error) => return not_sent(Some(planned), error).map(ControlFlow::Break),
            }
        } else {
            let notes: Vec<_> = self.granted.iter().map(|one| one.note()).chain(job.notes()).collect();
            self.ledger.intend(&job.intent(), &notes, message, &details, now())?
        };
        crash::point("committed");
        // The main files of ledger and index must hold the request before the vendor receives it, because a copy of
        // those files may lack the WAL.
        let ready = self.ledger.put_into_main_file().and_then(|()| self.tell_index());
        crash::point("sending");
        // Checks last whether this process still holds the send lock, because the machine may have slept during any
        // earlier step.
        let outcome = if let Err(error) = ready.and_then(|()| lock.check_held()) {
            WriteOutcome::NotSent { error }
        } else {
            let outcome = job.send(permit).await;
            crash::point("answered");
            outcome
        };
        let kept = |body: &str| body.chars().take(MAX_ANSWER_CHARS).collect::<String>();
        let not_done =
            |error: Error| (State::Planned, format!("not sent: {error}; nothing was done"), json!({}), Some(error));
        let mut limit = None;
        let (state, message, details, error) = match outcome {
            WriteOutcome::Accepted { queued_uri, batch_id, body } => {
                let mut details = json!({ "response": kept(&body) });
                if queued_uri.is_some() {
                    (details["queued_uri"], details["batch_id"]) = (json!(queued_uri), json!(batch_id));
                }
                (State::Queued, J::ACCEPTED.to_owned(), details, None)
            }
            WriteOutcome::Unknown { reason, status, body } => {
                let details = json!({ "status": status, "response": body.as_deref().map(kept) });
                let message = format!("no usable answer: {reason}; the vendor may or may not have received it");
                (State::Unknown, message, details, None)
            }
            WriteOutcome::Refused { status, message, body } => {
                let why = without_addresses(message.as_deref());
                let message = format!("the vendor refused it with HTTP {status}: {why}; nothing was done");
                let error = Error::new(Kind::VendorRefused, &*message).hint(J::REFUSED_HINT);
                (State::Failed, message, json!({ "status": status, "response": kept(&body) }), Some(error))
            }
            WriteOutcome::NotSent { error } => not_done(error),
            WriteOutcome::RateLimited { until } => {
                limit = Some(until);
                let message = format!("the vendor's limit is reached until {until:.0}; nothing was done");
                (State::Planned, message, json!({}), None)
            }
        };
        let sent = if matches!(state, State::Queued | State::Unknown) { Sent::Now } else { Sent::Not };
        let (retraction, unwritten) = self.record(retraction, state, &message, &details).await;
        if state == State::Queued {
            crash::point("queued");
        }
        Ok(match (unwritten, limit) {
            (Some(unwritten), _) => {
                let sent = if state == State::Planned { Sent::Not } else { Sent::Now };
                ControlFlow::Break(Dispatched { retraction, sent, error: Some(unwritten) })
            }
            (None, Some(until)) => ControlFlow::Continue((retraction, until)),
            (None, None) => ControlFlow::Break(Dispatched { retraction, sent, error }),
        })
    }

    /// Stores the ledger's ID and head in the index. With the stored ID and head, the index can refuse another ledger
    /// or an older copy of this ledger.
    fn tell_index(&self) -> Result<()> {
        let (id, head) = (self.ledger.ledger_id()?, self.ledger.head()?);
        self.ctx.reopen_index(|index| index.remember_ledger(&id, &head))
    }

    /// Records the outcome of a sent request in the ledger. If recoup cannot write the outcome into the ledger, the
    /// retraction stays *sending*, and the next reader treats it as *unknown*. If the ledger cannot be written, the
    /// vendor's answer is lost, but the ledger still shows that recoup sent the request.
    async fn record(
        &mut self,
        retraction: Retraction,
        state: State,
        message: &str,
        details: &Value,
    ) -> (Retraction, Option<Error>) {
        let mut newest = retraction;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.ledger.append(&newest, state, message, details, self.ctx.clock.now()) {
                Ok(written) => return (written, None),
                Err(error) => error,
            };
            if let Ok(found) = self.ledger.get(newest.id)
                && found.events.len() > newest.events.len()
            {
                // The append was committed, and only its answer was lost.
                let own = found.events.get(newest.events.len());
                if own.is_some_and(|own| own.changes_state() && own.state == state && own.message == message) {
                    return (found, None);
                }
                // Another process assumed that this process had died, and marked the retraction *unknown*. The ledger
                // records the outcome of the request after the event *unknown*.
                newest = found;
            }
            if tries >= MAX_LEDGER_WRITES {
                let batch = details["batch_id"].as_str().map(|id| format!(", batch ID {id}")).unwrap_or_default();
                let (kind, what) = match state {
                    State::Planned => (Kind::Busy, format!("nothing was sent ({message})")),
                    _ => (Kind::NotConfirmed, format!("it was sent ({message}{batch})")),
                };
                let error = Error::new(kind, format!("{what}, but the ledger could not be written: {error}"))
                    .hint("make room or repair it, then run `recoup verify`; it is never sent again by itself");
                return (newest, Some(error));
            }
            self.ctx.clock.sleep(RETRY_PAUSE).await;
        }
    }

    async fn wait_until(&self, until: Timestamp) -> Result<()> {
        let wait = Duration::try_from(until.duration_since(self.ctx.clock.now())).unwrap_or(Duration::ZERO);
        if wait > self.max_wait {
            return Err(Error::new(
                Kind::Parked,
                format!("the vendor's limit is used up until {until:.0}; nothing was sent"),
            )
            .details(Details { retry_at: Some(until), ..Details::default() })
            .hint("run the same command again then"));
        }
        tokio::select! {
            () = self.ctx.clock.sleep(wait) => Ok(()),
            () = self.ctx.stop.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted while waiting; nothing was sent")),
        }
    }
}

/// Returns the result for a job that this process did not send. Returns an error if the ledger has no entry for the
/// job.
fn not_sent(planned: Option<Retraction>, error: Error) -> Result<Dispatched> {
    match planned {
        Some(retraction) => Ok(Dispatched { retraction, sent: Sent::Not, error: Some(error) }),
        None => Err(error),
    }
}

/// Returns the vendor's message, with every e-mail address masked.
fn without_addresses(text: Option<&str>) -> String {
    let Some(text) = text else { return "no reason was given".to_owned() };
    text.split(' ').map(|word| if word.contains('@') { "…@…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Marks a retraction as *unknown* if the process that sent it died in the state *sending*. The vendor may have
/// received the request.
pub fn mark_unknown(ledger: &Ledger, retraction: &Retraction, now: Timestamp) -> Result<Retraction> {
    let message = "the process that was sending ended without an answer; the vendor may or may not have received it";
    ledger.append(retraction, State::Unknown, message, &json!({}), now)
}

/// Takes the send lock, which only one process at a time can hold.
pub async fn take_lock(ledger: &Place, wait: Duration, clock: &Clock, stop: &CancellationToken) -> Result<ProcessLock> {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(lock) = ProcessLock::try_take(ledger, "send")? {
            return Ok(lock);
        }
        if began.elapsed() >= wait {
            return Err(Error::new(
                Kind::Busy,
                "another order is being retracted right now from this ledger; nothing was sent by this process",
            )
            .hint("run the same command again; it is never sent twice"));
        }
        tokio::select! {
            () = clock.sleep(RETRY_PAUSE) => {}
            () = stop.cancelled() => return Err(Error::new(Kind::Interrupted, "interrupted; nothing was sent")),
        }
    }
}
