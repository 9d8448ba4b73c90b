//! The request of one modification, and the checks directly before its send.
//!
//! `dispatch` defines the sequence of steps of a send. recoup sends no change if the action has changed since a person
//! saw the plan, or if the ledger check under the send lock finds an entry that blocks the change.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::preconditions::{self, CHANGE, PreviousAdjustments, Proposal};
use super::preview::{Before, Preview};
use super::{AdjustOptions, read_before};
use crate::error::{Error, Kind, Result};
use crate::retract::Context;
use crate::retract::dispatch::{Job, PLAN_FRESH_FOR, mark_unknown};
use crate::retract::plan::{self, ActionPlan, Plan, Step};
use crate::store::ledger::{Channel, Ledger, NewRetraction, Retraction, State};
use crate::vendor::{BrandWriter, Modification, SendPermit, WriteOutcome, modification_form};

pub struct ModificationJob<'a> {
    pub ctx: &'a Context<'a>,
    pub writer: &'a BrandWriter,
    pub options: &'a AdjustOptions,
    pub plan: &'a Plan,
    pub action: &'a ActionPlan,
    pub modification: &'a Modification,
    pub preview: &'a Preview,
    /// The adjustments that the ledger had when the plan was made.
    pub earlier: PreviousAdjustments,
    pub read_at: Instant,
}

impl ModificationJob<'_> {
    fn proposal(&self) -> Proposal<'_> {
        Proposal {
            target: &self.action.target,
            order_id: &self.plan.order_id,
            rewards: &self.action.linked,
            preview: self.preview,
            again: self.options.again,
        }
    }
}

fn changed() -> Error {
    Error::new(Kind::Refused, "things have changed since the plan was made; nothing was sent")
        .hint("run the same command again and look at the new plan")
}

impl Job for ModificationJob<'_> {
    type Permit = SendPermit;
    const ACCEPTED: &'static str = "the vendor queued it; not done yet";
    const REFUSED_HINT: &'static str = "fix the cause, then run the same command again";

    /// Waits until the rate limit of the Brand API allows the send. Reads the rewards and items again if the plan is
    /// too old.
    async fn ready(&mut self, ledger: &Ledger) -> Result<SendPermit> {
        let permit = self.writer.ready().await?;
        if !self.is_fresh() {
            let (order_id, target) = (&self.plan.order_id, &self.action.target);
            let again = plan::make(self.ctx, Some(ledger), order_id, &self.options.plan, Some(target)).await?;
            let now = again.actions.iter().find(|now| now.step == Step::Send && now.rewards == self.action.rewards);
            let before: Before = read_before(self.ctx, now.ok_or_else(changed)?, &self.modification.change).await?;
            if Preview::of(&self.modification.change, &before)? != *self.preview {
                return Err(changed());
            }
            self.read_at = again.made;
        }
        Ok(permit)
    }

    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() <= PLAN_FRESH_FOR
    }

    fn sent_meanwhile(&self, ledger: &Ledger) -> Result<Option<Retraction>> {
        let newest = ledger.attempts_by(Channel::Modification, &self.action.target.key())?.pop();
        if let Some(newest) = newest.filter(|newest| newest.state == State::Sending) {
            // Only the holder of the send lock sends. The process that recorded *sending* has died, because this
            // process now holds the send lock.
            mark_unknown(ledger, &newest, self.ctx.clock.now())?;
        }
        if preconditions::check(ledger, self.proposal())? == self.earlier { Ok(None) } else { Err(changed()) }
    }

    fn intent(&self) -> NewRetraction {
        plan::ledger_entry(self.plan, self.action, &self.options.plan, Some((CHANGE, json!(self.preview))))
    }

    fn notes(&self) -> Vec<(&'static str, String, Value)> {
        if self.earlier.same.is_empty() {
            return Vec::new();
        }
        let ids: Vec<String> = self.earlier.same.iter().map(ToString::to_string).collect();
        let message = format!("the same as adjustment {}, sent again because a person said so", ids.join(", "));
        vec![("again", message, json!({ "same_as": self.earlier.same }))]
    }

    fn request(&self) -> (&'static str, Value) {
        let parameters: Value = modification_form(&self.action.target, self.modification)
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        ("sending the modification", json!({ "method": "PUT", "resource": "Actions", "parameters": parameters }))
    }

    async fn send(&self, permit: SendPermit) -> WriteOutcome {
        self.writer.modify(permit, &self.action.target, self.modification).await
    }
}
