//! Sends one request that changes something at the vendor, at most once. Every such request takes this path.
//!
//! The order of the steps is the point. The dispatcher waits for the pace, and reads again what it read long ago. An operating
//! system lock keeps other processes out. Under the lock the dispatcher checks the ledger again and commits the intent to disk;
//! then it sends exactly one request and writes down the outcome. An outcome that does not prove that nothing was done is
//! *unknown*, and an unknown request is never sent again. The lock is not held during a wait for the vendor's limit.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::approval::Granted;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::store::ProcessLock;
use crate::store::ledger::{Ledger, NewRetraction, Retraction, State};
use crate::vendor::WriteOutcome;

/// Pause between two attempts to take the lock, or to write the outcome into the ledger.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Attempts to send before the retraction stays *planned*. A 429 and a plan that grew old during the wait each cost one.
const MAX_ATTEMPTS: u32 = 10;

/// A plan older than this is read again before anything is sent: a person may have looked at it for an hour.
pub const PLAN_FRESH_FOR: Duration = Duration::from_secs(10);

/// Longest part of the vendor's answer that the ledger keeps, in characters.
const MAX_ANSWER_CHARS: usize = 16 << 10;

/// Attempts to write the outcome into the ledger.
const MAX_LEDGER_WRITES: u32 = 3;

/// One request, and the checks that allow it.
pub trait Job {
    /// Permission from the pacer to send one request.
    type Permit;

    /// The sentence for the ledger if the vendor accepts the request.
    const ACCEPTED: &'static str;

    /// What a person can do about a refusal.
    const REFUSED_HINT: &'static str;

    /// Waits for the pace, and reads again what is no longer fresh. An error means that the request must not be sent.
    async fn ready(&mut self, ledger: &Ledger) -> Result<Self::Permit>;

    /// Whether the plan is fresh enough to act on. Asked under the lock, where nothing is read from the network.
    fn is_fresh(&self) -> bool;

    /// Repeats under the lock every check of the ledger. Returns a retraction if another process has sent it in the meantime.
    fn sent_meanwhile(&self, ledger: &Ledger) -> Result<Option<Retraction>>;

    /// What the ledger must hold before the request is sent.
    fn intent(&self) -> NewRetraction;

    /// Further notes for the ledger: kind, sentence, details.
    fn notes(&self) -> Vec<(&'static str, String, Value)> {
        Vec::new()
    }

    /// The request as the ledger keeps it: a sentence, and the parameters without credentials.
    fn request(&self) -> (&'static str, Value);

    /// Sends the request, exactly once.
    async fn send(&self, permit: Self::Permit) -> WriteOutcome;
}

/// What dispatching one job came to.
pub struct Dispatched {
    /// The retraction as the ledger has it now.
    pub retraction: Retraction,
    pub sent: Sent,
    /// Why the request was not sent, or why its outcome is not in the ledger.
    pub error: Option<Error>,
}

/// Who has sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// This process; also if the outcome is unknown.
    Now,
    /// Another process, before this one. This process sent nothing.
    Before,
    /// No process: nothing was done, and the ledger says so.
    Not,
}

/// Sends jobs from one ledger.
pub struct Dispatch<'a> {
    pub ctx: &'a Context<'a>,
    pub ledger: &'a Ledger,
    /// Longest wait for the vendor's limit.
    pub max_wait: Duration,
    /// Longest wait for another process that is sending.
    pub lock_wait: Duration,
    /// The approval of a second person, if one was needed.
    pub granted: Option<&'a Granted>,
}

impl Dispatch<'_> {
    /// Sends one job, at most once. An error means that nothing was sent and nothing was written down.
    pub async fn run<J: Job>(&mut self, job: &mut J) -> Result<Dispatched> {
        let mut planned: Option<Retraction> = None;
        for _ in 0..MAX_ATTEMPTS {
            let permit = match job.ready(self.ledger).await {
                Ok(permit) => permit,
                Err(error) => return not_sent(planned, error),
            };
            let ctx = self.ctx;
            let lock = match take_lock(self.ledger.path(), self.lock_wait, ctx.clock, ctx.stop).await {
                Ok(lock) => lock,
                Err(error) => return not_sent(planned, error),
            };
            if !job.is_fresh() {
                // The plan grew old during the wait for the lock. It is read again without the lock.
                continue;
            }
            // The end of this block releases the lock: no wait happens under it.
            let attempt = {
                let _lock = lock;
                match job.sent_meanwhile(self.ledger) {
                    Ok(None) => self.try_once(permit, job, planned.take()).await?,
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

    /// One request between two entries of the ledger. Continues if the vendor's limit was reached: not before this moment.
    async fn try_once<J: Job>(
        &mut self,
        permit: J::Permit,
        job: &J,
        planned: Option<Retraction>,
    ) -> Result<ControlFlow<Dispatched, (Retraction, Timestamp)>> {
        let now = || self.ctx.clock.now();
        let (message, request) = job.request();
        let details = json!({ "request": request });
        let retraction = if let Some(planned) = planned {
            // An earlier try left it planned, because the vendor's limit was reached.
            match self.ledger.append(&planned, State::Sending, message, &details, now()) {
                Ok(sending) => sending,
                Err(error) => return not_sent(Some(planned), error).map(ControlFlow::Break),
            }
        } else {
            let notes: Vec<_> = self.granted.iter().map(|one| one.note()).chain(job.notes()).collect();
            self.ledger.intend(&job.intent(), &notes, message, &details, now())?
        };
        crash::point("committed");
        // A copy of the main file alone, of ledger or index, must know of the request before the vendor does.
        let outcome = if let Err(error) = self.ledger.put_into_main_file().and_then(|()| self.tell_index()) {
            WriteOutcome::NotSent { error }
        } else {
            crash::point("sending");
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
                ControlFlow::Break(Dispatched { retraction, sent: Sent::Now, error: Some(unwritten) })
            }
            (None, Some(until)) => ControlFlow::Continue((retraction, until)),
            (None, None) => ControlFlow::Break(Dispatched { retraction, sent, error }),
        })
    }

    /// Tells the index which ledger this is and how far it has come, so that the index can refuse another one, or an older
    /// copy, later.
    fn tell_index(&self) -> Result<()> {
        let (id, head) = (self.ledger.ledger_id()?, self.ledger.head()?);
        self.ctx.reopen_index(|index| index.remember_ledger(&id, &head))
    }

    /// Writes the outcome of a request down. If the ledger cannot be written, the retraction stays *sending*, which the next
    /// reader takes for *unknown*: the answer is lost, and never the fact that something was sent.
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
                // Another process took this one for dead and marked the retraction unknown. The outcome follows that event.
                newest = found;
            }
            if tries >= MAX_LEDGER_WRITES {
                let batch = details["batch_id"].as_str().map(|id| format!(", batch ID {id}")).unwrap_or_default();
                let error = Error::new(
                    Kind::NotConfirmed,
                    format!("it was sent ({message}{batch}), but the ledger could not be written: {error}"),
                )
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
            .hint("run the same command again then"));
        }
        tokio::select! {
            () = self.ctx.clock.sleep(wait) => Ok(()),
            () = self.ctx.stop.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted while waiting; nothing was sent")),
        }
    }
}

/// Nothing was sent. Without an entry in the ledger that is nothing but an error.
fn not_sent(planned: Option<Retraction>, error: Error) -> Result<Dispatched> {
    match planned {
        Some(retraction) => Ok(Dispatched { retraction, sent: Sent::Not, error: Some(error) }),
        None => Err(error),
    }
}

/// The vendor's words without anything that looks like an e-mail address.
fn without_addresses(text: Option<&str>) -> String {
    let Some(text) = text else { return "no reason was given".to_owned() };
    text.split(' ').map(|word| if word.contains('@') { "…@…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Marks a retraction as *unknown* that a dead process left at *sending*: whether the vendor received it is not known.
pub fn mark_unknown(ledger: &Ledger, retraction: &Retraction, now: Timestamp) -> Result<Retraction> {
    let message = "the process that was sending ended without an answer; the vendor may or may not have received it";
    ledger.append(retraction, State::Unknown, message, &json!({}), now)
}

/// Takes the lock under which one process at a time sends.
pub async fn take_lock(ledger: &Path, wait: Duration, clock: &Clock, stop: &CancellationToken) -> Result<ProcessLock> {
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
