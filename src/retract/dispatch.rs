//! One request that changes something at the vendor, at most once: the discipline that every such request shares.
//!
//! The order of things is the whole point. The pace is waited for, and what was read long ago is read again; another process
//! is kept out by the operating system's lock; under it the ledger is asked again; the intent is committed to disk; then
//! exactly one request goes out, and what came of it is written down. Whatever is not proof that nothing was done is
//! *unknown*, and *unknown* is never sent again. The lock is not held while waiting for the vendor's limit. What is sent, and
//! what allows it, is for a [`Job`] to say.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Reads;
use super::approval::Granted;
use crate::clock::Clock;
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::store::ProcessLock;
use crate::store::index::Index;
use crate::store::ledger::{Ledger, NewRetraction, Retraction, State};

/// How often the lock of another sender is tried.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How often a 429, or another sender, is waited out before the retraction is left as planned.
const TRIES_AT_MOST: u32 = 10;

/// What was read longer ago is read again before anything is sent: a person may have looked at the plan for an hour.
pub const PLAN_HOLDS: Duration = Duration::from_secs(10);

/// The most of the vendor's answer that the ledger keeps, in characters.
const ANSWER_KEPT: usize = 16 << 10;

/// How often writing the vendor's answer into the ledger is tried.
const RECORD_TRIES: u32 = 3;

/// One thing to be sent, and what speaks for sending it.
pub trait Job {
    /// Leave to send one request.
    type Permit;

    /// Waits for the pace, and reads again where that has grown old. An error means that it must not be sent.
    async fn ready(&mut self, ledger: &Ledger) -> Result<Self::Permit>;

    /// Whether what was read is still fresh enough to act on; asked under the lock, where nothing is read from the network.
    fn is_fresh(&self) -> bool;

    /// Asks the ledger again, under the lock, everything that allowed this to be sent; a retraction where another process
    /// has sent it meanwhile.
    fn sent_meanwhile(&self, ledger: &mut Ledger) -> Result<Option<Retraction>>;

    /// What the ledger is to hold before anything goes out.
    fn intent(&self) -> NewRetraction;

    /// What else is written down with it: kind, sentence, details.
    fn notes(&self) -> Vec<(&'static str, String, Value)> {
        Vec::new()
    }

    /// What is sent, as the ledger keeps it: a sentence, and the request without credentials.
    fn request(&self) -> (&'static str, Value);

    /// Sends it, exactly once.
    async fn send(&self, permit: Self::Permit) -> Answer;
}

/// What is certain about a request that went out.
pub enum Answer {
    /// The vendor took it. Not done yet.
    Taken {
        /// A sentence for the ledger.
        message: String,
        /// What was learnt.
        details: Value,
        /// The whole answer.
        raw: String,
    },
    /// It may have been done.
    Unknown {
        /// A fragment of a sentence.
        reason: String,
        /// The status, where one arrived.
        status: Option<u16>,
        /// The answer, where one arrived.
        raw: Option<String>,
    },
    /// The vendor refused it; nothing was done.
    Refused {
        /// A fragment of a sentence.
        why: String,
        /// The status.
        status: u16,
        /// The whole answer.
        raw: String,
        /// What a person can do about it.
        hint: &'static str,
    },
    /// Nothing was done.
    NotDone(Error),
    /// Nothing was done, and not before this moment.
    RateLimited(Timestamp),
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

/// The sender: what every job needs.
pub struct Dispatch<'a> {
    /// What reading needs.
    pub reads: &'a Reads<'a>,
    /// The ledger.
    pub ledger: &'a mut Ledger,
    /// The longest wait for the vendor's limit.
    pub max_wait: Duration,
    /// How long to wait for another process that is sending.
    pub lock_wait: Duration,
    /// A second person's yes, where one was needed.
    pub granted: Option<&'a Granted>,
}

impl Dispatch<'_> {
    /// Sends one job, once. An error means that nothing was sent and nothing was written down.
    pub async fn run<J: Job>(&mut self, job: &mut J) -> Result<Sent> {
        let mut planned: Option<Retraction> = None;
        for _ in 0..TRIES_AT_MOST {
            let permit = match job.ready(self.ledger).await {
                Ok(permit) => permit,
                Err(error) => return not_sent(planned, error),
            };
            let reads = self.reads;
            let lock = match take_lock(self.ledger.path(), self.lock_wait, reads.clock, reads.stop).await {
                Ok(lock) => lock,
                Err(error) => return not_sent(planned, error),
            };
            if !job.is_fresh() {
                // Waiting for the lock took so long that it must be read again, and that is not done under it.
                continue;
            }
            // The lock is never held while waiting: it goes with this block.
            let tried = {
                let _lock = lock;
                match job.sent_meanwhile(self.ledger) {
                    Ok(None) => self.try_once(permit, job, planned.take()).await?,
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

    /// Lets the index know this ledger and how far it is, so that it can refuse another one, or an older copy, later.
    fn make_known(&self) -> Result<()> {
        let mut index = Index::open(self.reads.index, self.reads.identity)?;
        index.remember_ledger(&self.ledger.ledger_id()?, &self.ledger.head()?)
    }

    /// One request, between two entries of the ledger.
    async fn try_once<J: Job>(&mut self, permit: J::Permit, job: &J, planned: Option<Retraction>) -> Result<Tried> {
        let now = || self.reads.clock.now();
        let (message, request) = job.request();
        let details = json!({ "request": request });
        let retraction = match planned {
            // An earlier try left it planned, because the vendor's limit was reached.
            Some(planned) => match self.ledger.append(&planned, State::Sending, message, &details, now()) {
                Ok(sending) => sending,
                Err(error) => return Ok(Tried::Over(Sent::No(Box::new(planned), error))),
            },
            None => {
                let notes: Vec<_> = self.granted.iter().map(|one| one.note()).chain(job.notes()).collect();
                self.ledger.intend(&job.intent(), &notes, message, &details, now())?
            }
        };
        crash::point("committed");
        // Whoever has the main file alone, of the ledger or of the index, must know of it before the vendor does.
        if let Err(error) = self.ledger.put_into_main_file().and_then(|()| self.make_known()) {
            let text = format!("not sent: {error}; nothing was done");
            return Ok(self.record_not_done(retraction, State::Planned, &text, &json!({}), error).await);
        }
        crash::point("sending");
        let answer = job.send(permit).await;
        crash::point("answered");
        let kept = |raw: &str| raw.chars().take(ANSWER_KEPT).collect::<String>();
        Ok(match answer {
            Answer::Taken { message, mut details, raw } => {
                details["response"] = kept(&raw).into();
                let sent = self.record(retraction, State::Queued, &message, &details).await;
                crash::point("queued");
                Tried::Over(sent)
            }
            Answer::Unknown { reason, status, raw } => {
                let details = json!({ "status": status, "response": raw.as_deref().map(kept) });
                let message = format!("no usable answer: {reason}; the vendor may or may not have received it");
                Tried::Over(self.record(retraction, State::Unknown, &message, &details).await)
            }
            Answer::Refused { why, status, raw, hint } => {
                let details = json!({ "status": status, "response": kept(&raw) });
                let text = format!("the vendor refused it with HTTP {status}: {why}; nothing was done");
                let error = Error::new(Kind::VendorRefused, &*text).hint(hint);
                self.record_not_done(retraction, State::Failed, &text, &details, error).await
            }
            Answer::NotDone(error) => {
                let text = format!("not sent: {error}; nothing was done");
                self.record_not_done(retraction, State::Planned, &text, &json!({}), error).await
            }
            Answer::RateLimited(until) => {
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

/// The vendor's words, or that there were none, without what looks like an e-mail address.
pub fn without_addresses(text: Option<&str>) -> String {
    let Some(text) = text else { return "no reason was given".to_owned() };
    text.split(' ').map(|word| if word.contains('@') { "…@…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// A retraction left at *sending* by a process that died: nobody knows whether the vendor received it.
pub fn presume_dead(ledger: &mut Ledger, retraction: &Retraction, now: Timestamp) -> Result<Retraction> {
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
            () = clock.sleep(LOCK_POLL) => {}
            () = stop.cancelled() => return Err(Error::new(Kind::Interrupted, "interrupted; nothing was sent")),
        }
    }
}
