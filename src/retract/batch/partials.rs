//! Partial refunds of a batch (`--partials`): adjusts one order after another, as `recoup adjust` does.
//!
//! The new amount of an adjusted action is the order's price after the refund, according to the file. recoup sends that
//! amount only if the action's amount equals the file's amount before the refund. If the amounts differed, the
//! adjustment would subtract a wrong sum.

use super::outcome::{Outcome, RowOutcome};
use super::rows::Item;
use super::{ADJUST, Batch};
use crate::error::Error;
use crate::model::OrderId;
use crate::model::decimal::Decimal;
use crate::refunds::Decision;
use crate::refunds::amount::may_be_same_currency;
use crate::retract::adjust::preview::Level;
use crate::retract::adjust::{self, AdjustOptions, change_of};
use crate::retract::receipt::Receipt;
use crate::retract::{Context, Options, WriterSettings, affects_every_order};
use crate::store::ledger::{Channel, Ledger, Retraction, State};
use crate::vendor::Change;

const CODE: &str = "ORDER_UPDATE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjustment {
    /// Amount of the order before the refund.
    pub total: Decimal,
    /// Amount of the order after the refund.
    pub left: Decimal,
}

impl Batch<'_> {
    /// Plans the adjustment of every partial refund in the batch, and sends nothing.
    pub async fn plan_partials(&mut self, writer: &WriterSettings) {
        let ctx = self.ctx;
        let progress = ctx.report.progress("refunds in part checked");
        for n in 0..self.items.len() {
            if self.ended.is_some() || ctx.stop.is_cancelled() {
                return;
            }
            let Some(adjustment) = adjustment(&self.items[n]) else { continue };
            progress.show(n as u64, Some(self.items.len() as u64), "");
            let outcome = plan_one(ctx, writer, &self.items[n], adjustment).await;
            let item = &mut self.items[n];
            match outcome {
                Ok(None) => (item.adjust, item.done) = (Some(adjustment), None),
                Ok(Some(done)) => item.done = Some(done),
                Err(error) => self.ended = Some(error),
            }
        }
    }

    pub(super) async fn carry_out_partials(&mut self, writer: &WriterSettings) {
        let ctx = self.ctx;
        for item in &mut self.items {
            let Some(adjustment) = item.adjust.filter(|_| item.done.is_none()) else { continue };
            let Some(order) = item.order else { continue };
            if let Some(error) = &self.ended {
                item.end(Outcome::NotAttempted, format!("not tried: {error}"));
                continue;
            }
            let options = options_of(item, adjustment, false);
            match adjust::run(ctx, writer, &order.order_id, &options).await {
                Ok(receipt) => {
                    item.changed += usize::from(receipt.retractions.iter().any(|entry| entry.sent_now));
                    item.done = Some(of_receipt(&receipt));
                    self.ended = receipt.error.clone().filter(affects_every_order);
                }
                Err(error) => {
                    item.done = Some(RowOutcome::new(Outcome::Stopped, error.message.clone()));
                    self.ended = Some(error).filter(affects_every_order);
                }
            }
        }
    }

    pub(super) fn adjustments(&self) -> usize {
        self.items.iter().filter(|item| item.adjust.is_some() && item.done.is_none()).count()
    }
}

/// Returns the adjustment of a partial refund; `None` if neither the file nor the action has the amounts.
fn adjustment(item: &Item<'_>) -> Option<Adjustment> {
    let is_open =
        item.done.as_ref().is_some_and(|done| done.outcome == Outcome::RefundedInPart) && item.same_as.is_none();
    let decision =
        item.final_decision.as_ref().map(|(decision, _)| decision).or(item.order.map(|order| &order.decision));
    match decision {
        Some(Decision::InPart { total: Some(total), left: Some(left), .. }) if is_open => {
            Some(Adjustment { total: *total, left: *left })
        }
        _ => None,
    }
}

/// Plans the adjustment of one partial refund. Returns `None` if recoup can send the adjustment, or else the row's
/// outcome. An error from planning an adjustment affects every order of the batch.
async fn plan_one(
    ctx: &Context<'_>,
    writer: &WriterSettings,
    item: &Item<'_>,
    adjustment: Adjustment,
) -> Result<Option<RowOutcome>, Error> {
    let Some(order) = item.order else { return Ok(None) };
    let refused =
        |why: &str| Ok(Some(RowOutcome::new(Outcome::RefundedInPart, format!("it cannot be adjusted: {why}"))));
    let receipt = match adjust::run(ctx, writer, &order.order_id, &options_of(item, adjustment, true)).await {
        Ok(receipt) => receipt,
        Err(error) if affects_every_order(&error) => return Err(error),
        Err(error) => return refused(&error.message),
    };
    if let Some(error) = &receipt.error {
        return refused(&error.message);
    }
    let change = receipt.retractions.first().and_then(|entry| entry.change.as_ref());
    if let (Some(file), Some(action)) = (&order.evidence.currency, change.and_then(|change| change.currency.as_ref()))
        && !may_be_same_currency(file, action)
    {
        return refused(&format!("the file is in {file} and the action in {action}"));
    }
    let before =
        receipt.retractions.first().and_then(|entry| entry.change.as_ref()?.lines.first()?.before.clone()?.amount);
    match before.as_deref().map(Decimal::parse) {
        Some(Some(before)) if before == adjustment.total => Ok(None),
        Some(Some(before)) => {
            refused(&format!("the order cost {} by the file, and the action's amount is {before}", adjustment.total))
        }
        _ => refused("what the action's amount is cannot be read, so the new one cannot be checked"),
    }
}

/// What the ledger records about earlier adjustments of an order.
pub(super) enum EarlierSend {
    /// The vendor has received no adjustment of the order.
    Nothing,
    /// The ledger has the same adjustment of the order, with this outcome.
    Same(RowOutcome),
    Other(String),
}

/// Finds the earlier adjustments of an order in the ledger. `left` is the order's amount after the adjustment.
pub(super) fn earlier_send(
    ledger: Option<&Ledger>,
    order_id: &OrderId,
    left: Option<Decimal>,
) -> Result<EarlierSend, Error> {
    let Some(ledger) = ledger else { return Ok(EarlierSend::Nothing) };
    let is_sent = |found: &Retraction| found.channel == Channel::Modification && found.state.may_have_been_sent();
    let Some(found) = ledger.of_order(order_id)?.into_iter().rfind(is_sent) else { return Ok(EarlierSend::Nothing) };
    let amount = change_of(&found).filter(|change| change.level == Level::Order).and_then(|change| {
        let sent = change.lines.first()?.sent.clone()?;
        Decimal::parse(&sent.amount?)
    });
    if left.is_some() && amount == left {
        let outcome =
            if found.state == State::Processed { Outcome::Adjusted } else { Outcome::of_state(found.state, true) };
        let done = RowOutcome::new(outcome, format!("adjustment {}, sent before", found.id));
        return Ok(EarlierSend::Same(RowOutcome { retractions: vec![found.id], ..done }));
    }
    let to = amount.map_or_else(String::new, |amount| format!(" to {amount}"));
    Ok(EarlierSend::Other(format!(
        "its action was adjusted before{to} (adjustment {}), and the file does not show whether this refund includes that one: \
         look at the order in the shop",
        found.id
    )))
}

fn options_of(item: &Item<'_>, adjustment: Adjustment, dry_run: bool) -> AdjustOptions {
    let of = &item.options;
    AdjustOptions {
        plan: Options {
            action_id: of.action_id.clone(),
            reason: of.reason.clone(),
            ticket: of.ticket.clone(),
            batch: of.batch.clone(),
            overrides: of.overrides.clone(),
            dry_run,
            yes: true,
            ..Options::new(Channel::Modification, CODE.to_owned(), of.max_index_age, of.follows)
        },
        change: Change::Order(adjustment.left),
        again: false,
        others_stay: false,
    }
}

fn of_receipt(receipt: &Receipt) -> RowOutcome {
    let Some(entry) = receipt.retractions.first() else {
        let why = receipt.error.as_ref().map_or_else(|| "nothing was sent".to_owned(), ToString::to_string);
        return RowOutcome::new(Outcome::Stopped, why);
    };
    let outcome = match entry.ledger_state {
        Some(State::Processed) => Outcome::Adjusted,
        Some(state) => Outcome::of_state(state, false),
        None => Outcome::Stopped,
    };
    RowOutcome {
        actions: entry.action_id.iter().cloned().collect(),
        retractions: entry.id.iter().copied().collect(),
        batch_ids: entry.batch_id.iter().cloned().collect(),
        ..RowOutcome::new(outcome, entry.message.clone())
    }
}

impl Item<'_> {
    /// Returns the cells of a plan file that identify the adjustment of this row.
    pub(super) fn planned_adjustment(&self) -> Option<(String, String)> {
        let adjustment = self.adjust?;
        Some((ADJUST.to_owned(), adjustment.left.to_string()))
    }
}
