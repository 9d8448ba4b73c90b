//! Reads open retractions again until they end, once or with `--watch`.
//!
//! Each open retraction has its own pauses between reads, which grow with the time since its last event. If many
//! retractions are open, recoup sends few requests to the Brand host, because sends need that host's quota. `verify`
//! reads an *unconfirmed* retraction for 14 days, and reports the end of that period once. `verify` never sends a
//! retraction.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::follow::{follow, within};
use super::match_submissions::has_passed;
use super::poll_schedule::{Allowance, pause_at, submission_pause_at};
use super::receipt::Receipt;
use super::{Context, FollowSettings, SubmissionPolling, affects_every_order, unknown_resolver};
use crate::error::{Error, Kind, Result};
use crate::model::{Coverage, counted};
use crate::store::ledger::{Ledger, Retraction, State};

/// Maximum number of open retractions for which every pass of `verify` reads the submission.
const FEW: usize = 5;

/// Kind of the ledger note that says that `verify` no longer reads an unconfirmed retraction.
const GIVEN_UP: &str = "given_up";

struct Open {
    retraction: Retraction,
    due: Instant,
    submission_due: Instant,
}

struct Round<'a> {
    ctx: &'a Context<'a>,
    follows: &'a FollowSettings,
    ledger: &'a Ledger,
    coverage: Coverage,
    began: Instant,
    /// Whether more than [`FEW`] retractions were open when the command began.
    many: bool,
    allowance: Allowance,
    receipts: BTreeMap<i64, Receipt>,
}

/// Reads the retractions in `ids`, or all open retractions if `ids` is empty. Returns one receipt per retraction.
pub async fn run(ctx: &Context<'_>, ids: &[i64], watch: bool, follows: &FollowSettings) -> Result<Vec<Receipt>> {
    if ctx.ledger()?.is_none() {
        return if ids.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Error::new(Kind::Failed, "there is no ledger yet: nothing was ever retracted here"))
        };
    }
    let ledger = ctx.open_ledger()?;
    let coverage = ctx.coverage()?;
    let chosen = if ids.is_empty() {
        ledger.open_ones()?
    } else {
        ids.iter().map(|id| ledger.get(*id)).collect::<Result<Vec<_>>>()?
    };
    let (began, receipts) = (Instant::now(), BTreeMap::new());
    let allowance = Allowance::full(Duration::ZERO);
    let many = chosen.len() > FEW;
    let mut round = Round { ctx, follows, ledger, coverage, began, many, allowance, receipts };
    let mut open = Vec::new();
    for retraction in chosen {
        if !ids.is_empty() || !round.stop_reading(&retraction)? {
            open.push(round.opened(retraction));
        }
    }
    let stopped = round.pass(&mut open).await?;
    if ids.is_empty() {
        // `stop_reading` needs the vendor's clock. The first pass over the retractions reads the vendor's clock.
        let mut kept = Vec::with_capacity(open.len());
        for one in open {
            if !round.stop_reading(&one.retraction)? {
                kept.push(one);
            }
        }
        open = kept;
    }
    if watch && stopped.is_none() {
        round.watch(&mut open).await?;
    }
    let Round { ledger, mut receipts, .. } = round;
    for receipt in receipts.values_mut() {
        receipt.mark(ledger);
    }
    Ok(receipts.into_values().collect())
}

impl Round<'_> {
    fn opened(&self, retraction: Retraction) -> Open {
        let now = Instant::now();
        let left = self.follows.settle.saturating_sub(age_of(&retraction, self.ctx.clock.now()));
        Open { retraction, due: now, submission_due: now + left }
    }

    /// Reads each open retraction once. Returns an error only if it affects all retractions and ended the pass.
    async fn pass(&mut self, open: &mut Vec<Open>) -> Result<Option<Error>> {
        let mut stopped: Option<Error> = None;
        for one in open.iter_mut() {
            match &stopped {
                Some(error) => self.end_early(&one.retraction, error.clone()),
                None => stopped = self.look(one, false).await,
            }
        }
        open.retain(|one| one.retraction.state.is_open());
        Ok(stopped)
    }

    /// Reads each open retraction by its own schedule until all have ended, the time is up, or a signal arrives.
    async fn watch(&mut self, open: &mut Vec<Open>) -> Result<()> {
        let Self { ctx, follows, .. } = *self;
        let progress = ctx.report.progress("retractions that are open");
        let end = self.began.checked_add(follows.wait);
        while !open.is_empty() && !ctx.stop.is_cancelled() {
            let next = open.iter().map(|one| one.due).min().unwrap_or_else(Instant::now);
            let next = end.map_or(next, |end| next.min(end));
            let pause = next.saturating_duration_since(Instant::now());
            progress.show(open.len() as u64, None, &format!("next look in {pause:.0?}"));
            tokio::select! {
                () = ctx.clock.sleep(pause) => {}
                () = ctx.stop.cancelled() => break,
            }
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            let now = ctx.clock.now();
            // One submissions list serves every retraction that waits for it. Therefore recoup reads all retractions
            // that wait for a submissions list together.
            let lists = open.iter().any(|one| one.due <= Instant::now() && waits(&one.retraction, follows, now));
            for one in open.iter_mut() {
                let is_due = one.due <= Instant::now() || (lists && one.retraction.state == State::Unknown);
                if (is_over || is_due)
                    && !ctx.stop.is_cancelled()
                    && let Some(error) = self.look(one, is_over).await
                {
                    for other in open.iter() {
                        self.end_early(&other.retraction, error.clone());
                    }
                    return Ok(());
                }
            }
            let mut kept = Vec::new();
            for one in open.drain(..).filter(|one| one.retraction.state.is_open()) {
                if is_over || !self.stop_reading(&one.retraction)? {
                    kept.push(one);
                }
            }
            *open = kept;
            if is_over && !ctx.stop.is_cancelled() {
                return Ok(());
            }
        }
        for one in open.iter() {
            self.end_early(&one.retraction, Error::new(Kind::Interrupted, "interrupted; run `recoup verify` again"));
        }
        Ok(())
    }

    /// Reads one retraction and writes its receipt. Returns only an error that affects all retractions.
    async fn look(&mut self, one: &mut Open, is_over: bool) -> Option<Error> {
        let Self { ctx, follows, .. } = *self;
        let is_waiting = one.retraction.state == State::Queued && one.retraction.detail("submission").is_none();
        let submissions = if self.many {
            let is_due = is_waiting && one.submission_due <= Instant::now();
            SubmissionPolling::Sparingly { now: is_due && self.allowance.take(self.began.elapsed()) }
        } else {
            SubmissionPolling::Always
        };
        let follows = FollowSettings { wait: Duration::ZERO, concludes: is_over, submissions, ..*follows };
        let end = self.began.checked_add(self.follows.wait);
        let followed = Box::pin(follow(ctx, &follows, self.ledger, one.retraction.clone()));
        let met = match within(ctx, end, followed).await {
            Ok(followed) => {
                one.retraction = followed;
                None
            }
            Err(met) => {
                if let Ok(newest) = self.ledger.get(one.retraction.id) {
                    one.retraction = newest;
                }
                Some(met)
            }
        };
        let age = age_of(&one.retraction, ctx.clock.now());
        let now = Instant::now();
        one.due = now + pause_at(age, &follows);
        if submissions != (SubmissionPolling::Sparingly { now: false }) {
            one.submission_due = now + submission_pause_at(age, &follows);
        }
        let receipt = self.receipt_of(&one.retraction);
        self.receipts.insert(one.retraction.id, receipt);
        let stops = met.clone().filter(affects_every_order);
        if let Some(met) = met {
            self.end_early(&one.retraction, met.context(format!("retraction {}", one.retraction.id)));
        } else if one.retraction.state.is_open() && ctx.stop.is_cancelled() {
            let interrupted = Error::new(Kind::Interrupted, "interrupted; run `recoup verify` again");
            self.end_early(&one.retraction, interrupted.clone());
            return Some(interrupted);
        }
        stops
    }

    fn end_early(&mut self, retraction: &Retraction, error: Error) {
        let receipt = self.receipt_of(retraction);
        self.receipts.entry(retraction.id).or_insert(receipt).end_early(error);
    }

    fn receipt_of(&self, retraction: &Retraction) -> Receipt {
        let mut receipt = Receipt::new(self.ctx.identity, &retraction.order_id, &self.coverage, false);
        receipt.add(retraction, &[], false);
        receipt
    }

    /// Returns `true` if recoup should stop reading an unconfirmed retraction. When `verify` stops reading a
    /// retraction, it adds a note to the ledger and the receipt once. Returns `false` if recoup cannot use the vendor's
    /// clock, because this machine's clock alone must not end the reading.
    fn stop_reading(&mut self, retraction: &Retraction) -> Result<bool> {
        let now = self.ctx.clock.now();
        let since = unconfirmed_since(retraction);
        if still_worth_reading(retraction, self.follows.reread_for, now) {
            return Ok(false);
        }
        let said = retraction.events.iter().rev().take_while(|event| event.state == State::Unconfirmed);
        if said.into_iter().any(|event| event.kind == GIVEN_UP) {
            return Ok(true);
        }
        if self.ctx.vendor_now().is_err() {
            return Ok(false);
        }
        let days = self.follows.reread_for.as_secs() / 86_400;
        let message = format!("unconfirmed for {}: it is not read again unless it is named", counted(days, "day"));
        let details = json!({ "unconfirmed_since": since.map(|since| since.to_string()) });
        let noted = match self.ledger.note(retraction, GIVEN_UP, &message, &details, now) {
            Ok(noted) => noted,
            // Another process is writing the ledger entry of this retraction.
            Err(error) if error.kind == Kind::Busy => return Ok(true),
            Err(error) => return Err(error),
        };
        self.ctx.report.warn(format!("retraction {} of order {} is {message}", noted.id, noted.order_id));
        let receipt = self.receipt_of(&noted);
        self.receipts.insert(noted.id, receipt);
        Ok(true)
    }
}

fn waits(retraction: &Retraction, follows: &FollowSettings, now: Timestamp) -> bool {
    unknown_resolver::waits_for_list(retraction, &follows.resolver, now)
}

/// Returns the time since the retraction's last change of state. A reading of the retraction does not count as a
/// change.
fn age_of(retraction: &Retraction, now: Timestamp) -> Duration {
    let newest = retraction.events.iter().rfind(|event| event.changes_state());
    let then = newest.and_then(|event| event.at.parse::<Timestamp>().ok());
    then.and_then(|then| Duration::try_from(now.duration_since(then)).ok()).unwrap_or_default()
}

/// Returns `true` if `verify` reads this retraction when the caller passes no IDs. `verify` reads an unconfirmed
/// retraction for `reread_for`.
pub fn still_worth_reading(retraction: &Retraction, reread_for: Duration, now: Timestamp) -> bool {
    !unconfirmed_since(retraction).is_some_and(|since| has_passed(since, reread_for, now))
}

/// Returns when the retraction last became *unconfirmed*. A withdrawn proof starts a new *unconfirmed* period.
fn unconfirmed_since(retraction: &Retraction) -> Option<Timestamp> {
    if retraction.state != State::Unconfirmed {
        return None;
    }
    let run = retraction.events.iter().rev().take_while(|event| event.state == State::Unconfirmed);
    run.last()?.at.parse().ok()
}
