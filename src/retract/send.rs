//! Sending: the one place where recoup changes anything at the vendor.
//!
//! The order of things is the whole point. The pace is waited for, and an old plan is made again; another process is kept
//! out by the operating system's lock; under it the ledger is asked again; the intent is committed to disk; then exactly one request goes out, and
//! what came of it is written down. Whatever is not proof that nothing was done is *unknown*, and *unknown* is never sent
//! again. The lock is not held while waiting for the vendor's limit.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{self, ActionPlan, Plan, Step, sent_before};
use super::{Options, Reads};
use crate::api::{BrandWriter, Reversal, SendPermit, reversal_form};
use crate::clock::Clock;
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::store::ProcessLock;
use crate::store::index::Index;
use crate::store::ledger::{Ledger, NewRetraction, Retraction, Road, State};

/// How often the lock of another sender is tried.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How often a 429, or another sender, is waited out before the retraction is left as planned.
const TRIES_AT_MOST: u32 = 10;

/// A plan older than this is made again before anything is sent: a person may have looked at it for an hour.
const PLAN_HOLDS: Duration = Duration::from_secs(10);

/// The most of the vendor's answer that the ledger keeps, in bytes.
const ANSWER_KEPT: usize = 16 << 10;

/// How often writing the vendor's answer into the ledger is tried.
const RECORD_TRIES: u32 = 3;

/// What sending needs.
pub struct Sender<'a> {
    /// What reading needs.
    pub reads: &'a Reads<'a>,
    /// The writing capability.
    pub writer: &'a BrandWriter,
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// What was asked for.
    pub options: &'a Options,
    /// The longest wait for the vendor's limit.
    pub max_wait: Duration,
    /// How long to wait for another process that is sending.
    pub lock_wait: Duration,
}

/// What came of it.
pub enum Sent {
    /// It went out, or may have: the retraction as it stands, and what kept its answer out of the ledger.
    Yes(Box<Retraction>, Option<Error>),
    /// Another process had sent it before: nothing was sent by this one.
    Before(Box<Retraction>),
    /// Nothing was done, and the ledger says so.
    No(Box<Retraction>, Error),
}

/// The end of one try.
enum Tried {
    Over(Sent),
    /// Nothing was done; not before this moment.
    RateLimited(Box<Retraction>, Timestamp),
}

impl Sender<'_> {
    /// Sends one action of a plan, once. An error means that nothing was sent and nothing was written down.
    pub async fn send(&mut self, plan: &Plan, action: &ActionPlan) -> Result<Sent> {
        let mut planned: Option<Retraction> = None;
        let mut read_at = plan.made;
        for _ in 0..TRIES_AT_MOST {
            let permit = match self.ready(plan, action, &mut read_at).await {
                Ok(permit) => permit,
                Err(error) => return not_sent(planned, error),
            };
            let reads = self.reads;
            let lock = match take_lock(self.ledger.path(), self.lock_wait, reads.clock, reads.stop).await {
                Ok(lock) => lock,
                Err(error) => return not_sent(planned, error),
            };
            if read_at.elapsed() > PLAN_HOLDS {
                // Waiting for the lock took so long that the rewards must be read again, and that is not done under it.
                continue;
            }
            // The lock is never held while waiting: it goes with this block.
            let tried = {
                let _lock = lock;
                match self.sent_meanwhile(plan, action) {
                    Ok(None) => self.try_once(permit, plan, action, planned.take()).await?,
                    Ok(Some(found)) => return Ok(Sent::Before(Box::new(found))),
                    Err(error) => return not_sent(planned, error),
                }
            };
            match tried {
                Tried::Over(sent) => return Ok(sent),
                Tried::RateLimited(retraction, until) => {
                    if let Err(error) = self.wait_until(until).await {
                        return Ok(Sent::No(retraction, error));
                    }
                    planned = Some(*retraction);
                }
            }
        }
        let error = Error::new(Kind::Parked, "the vendor's limit was reached again and again; nothing was sent")
            .hint("run the same command again later");
        not_sent(planned, error)
    }

    /// Waits for the pace, and reads the rewards again where the plan has grown old over it, or over a person's thinking.
    async fn ready(&self, plan: &Plan, action: &ActionPlan, read_at: &mut Instant) -> Result<SendPermit> {
        let permit = self.writer.ready().await?;
        if read_at.elapsed() > PLAN_HOLDS {
            let (reads, only) = (self.reads, Some(&action.target));
            let again = plan::make(reads, Some(self.ledger), &plan.order_id, self.options, only).await?;
            let same = again.actions.iter().any(|now| matches!(now.step, Step::Send) && now.rewards == action.rewards);
            // One that was sent meanwhile is found by its own check, under the lock.
            let sent = again.actions.iter().any(|now| matches!(now.step, Step::Follow(_)));
            if !same && !sent {
                return Err(Error::new(Kind::Refused, "things have changed since the plan was made; nothing was sent")
                    .hint("run the same command again and look at the new plan"));
            }
            *read_at = again.made;
        }
        Ok(permit)
    }

    /// Asks the ledger again, under the lock, everything that allowed this to be sent. A retraction where it was sent
    /// meanwhile.
    fn sent_meanwhile(&mut self, plan: &Plan, action: &ActionPlan) -> Result<Option<Retraction>> {
        if let Some(newest) = self.ledger.newest(&action.target)?
            && newest.state == State::Sending
        {
            // Only a process that holds the lock sends, and this one holds it: the other died.
            return presume_dead(self.ledger, &newest, self.reads.clock.now()).map(Some);
        }
        if let Some(found) = sent_before(self.ledger, &action.target, &plan.order_id, &action.linked)? {
            return Ok(Some(found));
        }
        plan::check_refused_before(self.ledger, &action.target, self.options)?;
        Ok(None)
    }

    /// Lets the index know this ledger and how far it is, so that it can refuse another one, or an older copy, later.
    fn make_known(&self) -> Result<()> {
        let mut index = Index::open(self.reads.index, self.reads.identity)?;
        index.remember_ledger(&self.ledger.ledger_id()?, &self.ledger.head()?)
    }

    /// One DELETE, between two entries of the ledger.
    async fn try_once(
        &mut self,
        permit: SendPermit,
        plan: &Plan,
        action: &ActionPlan,
        planned: Option<Retraction>,
    ) -> Result<Tried> {
        let now = || self.reads.clock.now();
        let retraction = if let Some(retraction) = planned {
            retraction
        } else {
            let new = NewRetraction {
                road: Road::Reversal,
                target: action.target.clone(),
                order_id: plan.order_id.clone(),
                disposition: self.options.disposition.clone(),
                reason: self.options.reason.clone(),
                ticket: self.options.ticket.clone(),
                batch: self.options.batch.clone(),
                program_id: action.program_id.clone(),
                rewards: action.linked.clone(),
                plan: plan::Kept::json(plan, action),
            };
            self.ledger.begin(&new, now())?
        };
        crash::point("planned");
        if let Err(error) = self.make_known() {
            return Ok(Tried::Over(Sent::No(Box::new(retraction), error)));
        }
        let parameters: Value = reversal_form(&action.target, &retraction.disposition)
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Value::String(value)))
            .collect();
        let details = json!({ "request": { "method": "DELETE", "resource": "Actions", "parameters": parameters } });
        let retraction = match self.ledger.append(&retraction, State::Sending, "sending the reversal", &details, now())
        {
            Ok(sending) => sending,
            Err(error) => return Ok(Tried::Over(Sent::No(Box::new(retraction), error))),
        };
        crash::point("sending");
        let reversal = self.writer.reverse(permit, &action.target, &retraction.disposition).await;
        crash::point("answered");
        let kept = |raw: &str| raw.chars().take(ANSWER_KEPT).collect::<String>();
        Ok(match reversal {
            Reversal::Queued { queued_uri, batch_id, raw } => {
                let details = json!({ "queued_uri": queued_uri, "batch_id": batch_id, "response": kept(&raw) });
                let sent = self.record(retraction, State::Queued, "the vendor queued it; not done yet", &details).await;
                crash::point("queued");
                Tried::Over(sent)
            }
            Reversal::Unknown { reason, status, raw } => {
                let details = json!({ "status": status, "response": raw.as_deref().map(kept) });
                let message = format!("no usable answer: {reason}; the vendor may or may not have received it");
                Tried::Over(self.record(retraction, State::Unknown, &message, &details).await)
            }
            Reversal::Refused { status, message, raw } => {
                let details = json!({ "status": status, "response": kept(&raw) });
                let why = message.as_deref().map_or_else(|| "no reason was given".to_owned(), without_addresses);
                let text = format!("the vendor refused it with HTTP {status}: {why}; nothing was done");
                let error =
                    Error::new(Kind::VendorRefused, &*text).hint("mend the cause, then send it again with --resend");
                self.record_not_done(retraction, State::Failed, &text, &details, error).await
            }
            Reversal::NotDone { error } => {
                let text = format!("not sent: {error}; nothing was done");
                self.record_not_done(retraction, State::Planned, &text, &json!({}), error).await
            }
            Reversal::RateLimited { until } => {
                let text = format!("the vendor's limit is reached until {until:.0}; nothing was done");
                match self.record(retraction, State::Planned, &text, &json!({})).await {
                    Sent::Yes(retraction, None) => Tried::RateLimited(retraction, until),
                    other => Tried::Over(other),
                }
            }
        })
    }

    async fn record_not_done(
        &mut self,
        retraction: Retraction,
        state: State,
        text: &str,
        details: &Value,
        error: Error,
    ) -> Tried {
        Tried::Over(match self.record(retraction, state, text, details).await {
            Sent::Yes(retraction, None) => Sent::No(retraction, error),
            other => other,
        })
    }

    /// Writes down what came of a request. Where the ledger cannot be written the retraction stays *sending*, which the next
    /// reader takes for *unknown*: what is lost is the answer, never the fact that something was sent.
    async fn record(&mut self, retraction: Retraction, state: State, message: &str, details: &Value) -> Sent {
        let mut newest = retraction;
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.ledger.append(&newest, state, message, details, self.reads.clock.now()) {
                Ok(written) => return Sent::Yes(Box::new(written), None),
                Err(error) => error,
            };
            if let Ok(found) = self.ledger.get(newest.id)
                && found.events.len() > newest.events.len()
            {
                // Somebody took this process for dead; the answer goes on top of that.
                newest = found;
            }
            if tries >= RECORD_TRIES {
                let batch = details["batch_id"].as_str().map(|id| format!(", batch ID {id}")).unwrap_or_default();
                let error = Error::new(
                    Kind::NotConfirmed,
                    format!("it was sent ({message}{batch}), but the ledger could not be written: {error}"),
                )
                .hint("make room or repair it, then run `recoup verify`; it is never sent again by itself");
                return Sent::Yes(Box::new(newest), Some(error));
            }
            self.reads.clock.sleep(LOCK_POLL).await;
        }
    }

    async fn wait_until(&self, until: Timestamp) -> Result<()> {
        let wait = Duration::try_from(until.duration_since(self.reads.clock.now())).unwrap_or(Duration::ZERO);
        if wait > self.max_wait {
            return Err(Error::new(
                Kind::Parked,
                format!("the vendor's limit is used up until {until:.0}; nothing was sent"),
            )
            .hint("run the same command again then"));
        }
        tokio::select! {
            () = self.reads.clock.sleep(wait) => Ok(()),
            () = self.reads.stop.cancelled() => Err(Error::new(Kind::Interrupted, "interrupted while waiting; nothing was sent")),
        }
    }
}

/// Nothing was sent: as part of what the ledger has, or as nothing but an error.
fn not_sent(planned: Option<Retraction>, error: Error) -> Result<Sent> {
    match planned {
        Some(retraction) => Ok(Sent::No(Box::new(retraction), error)),
        None => Err(error),
    }
}

/// The vendor's words without what looks like an e-mail address.
fn without_addresses(text: &str) -> String {
    text.split(' ').map(|word| if word.contains('@') { "…@…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// A retraction left at *sending* by a process that died: nobody knows whether the vendor received it.
pub fn presume_dead(ledger: &mut Ledger, retraction: &Retraction, now: Timestamp) -> Result<Retraction> {
    let message = "the process that was sending ended without an answer; the vendor may or may not have received it";
    ledger.append(retraction, State::Unknown, message, &json!({}), now)
}

/// Takes the lock under which one process at a time sends.
async fn take_lock(ledger: &Path, wait: Duration, clock: &Clock, stop: &CancellationToken) -> Result<ProcessLock> {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(lock) = ProcessLock::try_take(ledger, "send")? {
            return Ok(lock);
        }
        if began.elapsed() >= wait {
            return Err(Error::new(
                Kind::Busy,
                "another process is sending a retraction from this ledger; nothing was sent by this one",
            )
            .hint("run the same command again; it is never sent twice"));
        }
        tokio::select! {
            () = clock.sleep(LOCK_POLL) => {}
            () = stop.cancelled() => return Err(Error::new(Kind::Interrupted, "interrupted; nothing was sent")),
        }
    }
}
