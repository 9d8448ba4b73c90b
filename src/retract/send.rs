//! Sends the reversal of one action of a plan.
//!
//! `dispatch` defines the sequence of steps of a send. `send` defines the reversal request and its checks, which run
//! again under the send lock. The checks before a send refuse an action that recoup sent before through any channel, or
//! that the vendor has refused. The checks before a send also refuse a resend if its previous attempt has changed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::dispatch::{Dispatch, Dispatched, Job, PLAN_FRESH_FOR, mark_unknown};
use super::plan::{self, ActionPlan, Plan, Step, handed_over, sent_before};
use super::{Context, Options, WriterSettings, resend};
use crate::error::{Error, Kind, Result};
use crate::store::ledger::{Ledger, NewRetraction, Retraction, State};
use crate::vendor::{BrandWriter, SendPermit, WriteOutcome, reversal_form};

/// The client that may reverse actions. recoup builds this client only after the person confirms.
pub struct Sender {
    writer: BrandWriter,
    max_wait: Duration,
    lock_wait: Duration,
}

impl Sender {
    /// Builds the client that may reverse actions. The client with write access shares quota and rate limiter with the
    /// reading client.
    pub fn new(ctx: &Context<'_>, settings: &WriterSettings) -> Result<Self> {
        let WriterSettings { host, ir_version, lock_wait } = settings;
        let (sid, stop) = (&ctx.identity.account_sid, ctx.stop.clone());
        let writer = BrandWriter::new(host, sid, ir_version, *ctx.clock, stop)?.paced_with(ctx.brand);
        Ok(Self { writer, max_wait: host.max_wait, lock_wait: *lock_wait })
    }

    /// Sends one action of a plan, at most once.
    pub async fn send(
        &self,
        ctx: &Context<'_>,
        ledger: &Ledger,
        plan: &Plan,
        action: &ActionPlan,
        options: &Options,
    ) -> Result<Dispatched> {
        let (max_wait, lock_wait) = (self.max_wait, self.lock_wait);
        let mut job = ReversalJob { ctx, writer: &self.writer, options, plan, action, read_at: plan.made };
        Dispatch { ctx, ledger, max_wait, lock_wait, granted: options.granted.as_ref() }.run(&mut job).await
    }
}

struct ReversalJob<'a> {
    ctx: &'a Context<'a>,
    writer: &'a BrandWriter,
    options: &'a Options,
    plan: &'a Plan,
    action: &'a ActionPlan,
    read_at: Instant,
}

impl Job for ReversalJob<'_> {
    type Permit = SendPermit;
    const ACCEPTED: &'static str = "the vendor queued it; not done yet";
    const REFUSED_HINT: &'static str = "fix the cause, then send it again with --resend --reason TEXT";

    /// Waits until the rate limit allows the send, and renews the plan if the plan is old.
    async fn ready(&mut self, ledger: &Ledger) -> Result<SendPermit> {
        let permit = self.writer.ready().await?;
        if self.read_at.elapsed() > PLAN_FRESH_FOR {
            let (ctx, only) = (self.ctx, Some(&self.action.target));
            let again = plan::make(ctx, Some(ledger), &self.plan.order_id, self.options, only).await?;
            let is_same = |now: &ActionPlan| matches!(now.step, Step::Send) && now.rewards == self.action.rewards;
            let same = again.actions.iter().any(is_same);
            // Checks under the send lock whether another process has sent an action of the plan in the meantime.
            let sent = again.actions.iter().any(|now| matches!(now.step, Step::Follow(_)));
            if !same && !sent {
                return Err(Error::new(Kind::Refused, "things have changed since the plan was made; nothing was sent")
                    .hint("run the same command again and look at the new plan"));
            }
            self.read_at = again.made;
        }
        Ok(permit)
    }

    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() <= PLAN_FRESH_FOR
    }

    fn sent_meanwhile(&self, ledger: &Ledger) -> Result<Option<Retraction>> {
        if let Some(newest) = ledger.newest(&self.action.target)?
            && newest.state == State::Sending
        {
            // Only the holder of the send lock sends. The process that recorded *sending* has died, because this
            // process now holds the send lock.
            return mark_unknown(ledger, &newest, self.ctx.clock.now()).map(Some);
        }
        let found = sent_before(ledger, &self.action.target, &self.plan.order_id, &self.action.linked)?;
        if let Some(found) = found.as_ref().filter(|found| found.state == State::HandedOver) {
            return Err(handed_over(found));
        }
        if let Some(again) = &self.action.again {
            return resend::still_holds(ledger, again, found);
        }
        if let Some(found) = found {
            return Ok(Some(found));
        }
        plan::check_refused_before(ledger, &self.action.target, &self.plan.order_id, self.options)?;
        Ok(None)
    }

    fn intent(&self) -> NewRetraction {
        let refund = self.options.refund.as_ref().map(|claim| ("refund", claim.json()));
        plan::ledger_entry(self.plan, self.action, self.options, refund)
    }

    fn notes(&self) -> Vec<(&'static str, String, Value)> {
        self.action.again.iter().flat_map(resend::notes).collect()
    }

    fn request(&self) -> (&'static str, Value) {
        let parameters: Value = reversal_form(&self.action.target, &self.options.disposition)
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Value::String(value)))
            .collect();
        ("sending the reversal", json!({ "method": "DELETE", "resource": "Actions", "parameters": parameters }))
    }

    async fn send(&self, permit: SendPermit) -> WriteOutcome {
        self.writer.reverse(permit, &self.action.target, &self.options.disposition).await
    }
}
