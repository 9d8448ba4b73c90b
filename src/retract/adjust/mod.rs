//! Use case: adjusts an action after a partial refund, by changing its items or its total.
//!
//! An adjustment uses the same plan, checks, ledger and send-once rule as a retraction, and sends one PUT. An
//! adjustment ends as *processed*, never as *confirmed*, because the vendor documents no read that proves the effect of
//! a modification on a reward (`docs/vendor/contradictions.md` 9). An adjustment never empties an action, because that
//! would be a reversal. recoup sends the same change again only if a person allows it.

pub mod change_flags;
pub mod follow;
mod job;
mod preconditions;
pub mod preview;

use job::ModificationJob;
pub use preconditions::change_of;
use preconditions::{PreviousAdjustments, Proposal};
use preview::{Before, Preview};

use serde_json::json;

use super::approval::{self, Demand, Subject};
use super::checks::Check;
use super::dispatch::Dispatch;
use super::plan::{self, ActionPlan, Plan, Step};
use super::receipt::{Receipt, finding_lines};
use super::{Context, Options, WriterSettings, plan_fingerprint, readiness, show_and_confirm};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::refunds::{Decimal, shell_quote};
use crate::vendor::{BrandWriter, Change, Modification, is_full_retraction};

#[derive(Debug, Clone)]
pub struct AdjustOptions {
    /// The options that an adjustment shares with a retraction. For an adjustment, the disposition is the code of the
    /// modification.
    pub plan: Options,
    pub change: Change,
    /// Whether a person allows recoup to send the same change a second time.
    pub again: bool,
    /// Whether a person states that the order has other items, and that those items stay unchanged.
    pub others_stay: bool,
}

impl AdjustOptions {
    /// Fails if the request for an adjustment is invalid.
    pub fn check(&self, can_ask: bool) -> Result<()> {
        if matches!(&self.change, Change::Order(amount) if amount.is_zero()) {
            return Err(that_is_a_retraction());
        }
        self.plan.check(can_ask)
    }
}

/// Returns the command that adjusts an order to the amount `left`, for messages.
pub fn command_for(order_id: &OrderId, left: Decimal) -> String {
    format!("recoup adjust {} --amount {left}", shell_quote(order_id.as_str()))
}

fn that_is_a_retraction() -> Error {
    Error::new(Kind::Refused, "nothing of the order would be left: that is a retraction; nothing was sent")
        .hint("use `recoup retract ORDER`, which takes the action back whole and proves it")
}

/// Changes one action of an order.
///
/// An error means that recoup sent no adjustment. After a send, the receipt has the sent request and any error that
/// ended the run early.
pub async fn run(
    ctx: &Context<'_>,
    writer: &WriterSettings,
    order_id: &OrderId,
    options: &AdjustOptions,
) -> Result<Receipt> {
    readiness::check(ctx)?;
    let existing = ctx.ledger()?;
    let mut plan = plan::make(ctx, existing, order_id, &options.plan, None).await?;
    let mut receipt = Receipt::new(ctx.identity, order_id, &plan.coverage, false);
    receipt.dry_run = options.plan.dry_run;
    check_step(&plan)?;
    let modification = Modification::new(options.plan.disposition.clone(), options.change.clone());
    let preview = match only(&plan)?.findings.error() {
        Some(error) => {
            receipt.planned(only(&plan)?);
            receipt.end_early(error);
            return Ok(receipt);
        }
        None => fit(ctx, &mut plan, &modification, options).await?,
    };
    let action = only(&plan)?;
    let earlier = match existing {
        Some(ledger) => preconditions::check(ledger, proposal(&plan, action, &preview, options))?,
        None => PreviousAdjustments::default(),
    };
    if options.plan.dry_run {
        receipt.would_adjust(action, &preview);
        return Ok(receipt);
    }
    let lines = plan_lines(ctx, &plan, action, &preview, &earlier, options);
    show_and_confirm(ctx, lines, options.plan.yes, "Change this").await?;
    let demand =
        Demand { overrides: action.findings.overridden(), again: options.again, ..Demand::of_rewards(&action.rewards) };
    let subject = Subject {
        name: plan_fingerprint::short_hash(&format!("{} {}", action.target.key(), preview.table().join(" "))),
        items: Vec::new(),
        json: json!({ "what": "adjustment", "order_id": order_id, "change": preview.table() }),
        reason: options.plan.reason.as_deref(),
        ticket: options.plan.ticket.as_deref(),
    };
    let ledger = ctx.open_ledger()?;
    let granted = approval::before_sending(ctx, ledger, &demand, &subject)?;
    let (sid, version) = (&ctx.identity.account_sid, &writer.ir_version);
    let capability = BrandWriter::new(&writer.host, sid, version, *ctx.clock, ctx.stop.clone())?.paced_with(ctx.brand);
    let mut job = ModificationJob {
        ctx,
        writer: &capability,
        options,
        plan: &plan,
        action,
        modification: &modification,
        preview: &preview,
        earlier,
        read_at: plan.made,
    };
    let (max_wait, lock_wait) = (writer.host.max_wait, writer.lock_wait);
    let granted = granted.as_ref();
    let dispatched = Dispatch { ctx, ledger, max_wait, lock_wait, granted }.run(&mut job).await?;
    let (follows, findings) = (&options.plan.follows, action.findings.list());
    super::follow_dispatched(ctx, follows, ledger, dispatched, findings, &mut receipt).await;
    receipt.mark(ledger);
    Ok(receipt)
}

fn proposal<'a>(plan: &'a Plan, action: &'a ActionPlan, preview: &'a Preview, options: &AdjustOptions) -> Proposal<'a> {
    Proposal {
        target: &action.target,
        order_id: &plan.order_id,
        rewards: &action.linked,
        preview,
        again: options.again,
    }
}

fn only(plan: &Plan) -> Result<&ActionPlan> {
    match plan.actions.as_slice() {
        [action] => Ok(action),
        _ => Err(Error::new(
            Kind::Ambiguous,
            "the order has several actions, and the request does not say which; nothing was sent",
        )
        .hint("name one with --action-id ID")),
    }
}

/// Fails if the action is already reversed or has no reward left to adjust.
fn check_step(plan: &Plan) -> Result<()> {
    let action = only(plan)?;
    match &action.step {
        Step::Follow(found) => Err(preconditions::taken_back(found)),
        Step::AlreadyCancelled => Err(Error::new(
            Kind::Refused,
            "every known reward of this action is cancelled already: there is nothing left to adjust; nothing was sent",
        )),
        Step::Send | Step::Stop
            if action.facts.state.as_deref().is_some_and(|state| state.eq_ignore_ascii_case("REVERSED")) =>
        {
            Err(Error::new(
                Kind::Refused,
                "the action reads as reversed: there is nothing left to adjust; nothing was sent",
            )
            .hint("if its rewards are still valid, `recoup retract ORDER` says what to check"))
        }
        Step::Send | Step::Stop => Ok(()),
    }
}

/// Reads the items or the amount of the action. Fails if the change does not fit the action's items or amount.
async fn fit(
    ctx: &Context<'_>,
    plan: &mut Plan,
    modification: &Modification,
    options: &AdjustOptions,
) -> Result<Preview> {
    let before = read_before(ctx, only(plan)?, &modification.change).await?;
    let preview = Preview::of(&modification.change, &before)?;
    let items = match &before {
        Before::Items(items) => Some(items.as_slice()),
        _ => None,
    };
    if is_full_retraction(modification, items) {
        if items.is_some() {
            return Err(that_is_a_retraction());
        }
        if !options.others_stay {
            return Err(Error::new(
                Kind::Refused,
                "the items of the action cannot be read, and nothing would be left of those that are named: if they are all, \
                 that is a retraction; nothing was sent",
            )
            .hint("use `recoup retract ORDER`; or add --others-stay if the order has other items"));
        }
    }
    let findings = &mut plan.actions[0].findings;
    if let Some(unread) = &preview.unread {
        findings.warn(
            Check::ItemsUnread,
            format!("what is there now cannot be read ({unread}), so what is sent cannot be compared with it"),
            "look at the action in the vendor's platform first",
        );
    }
    if matches!(modification.change, Change::Order(_)) {
        findings.warn(
            Check::OrderAmount,
            "Advocate evaluates the item-level fields of an event: the order's amount is recorded and need not move a reward",
            "if the items are known, name them with --sku, --quantity or --delta",
        );
    }
    findings.warn(
        Check::ItemPrice,
        "the vendor's guide asks for new item prices after a partial refund, and its call for changing an action carries no \
         ItemPrice: whether a reward follows is not published",
        "look at the rewards afterwards",
    );
    Ok(preview)
}

/// Reads the items or the amount of the action before the change. The vendor does not document whether the Brand API
/// returns Advocate events (`docs/vendor/brand.md` §3).
async fn read_before(ctx: &Context<'_>, action: &ActionPlan, change: &Change) -> Result<Before> {
    if matches!(change, Change::Order(_)) {
        return Ok(match &action.facts.amount {
            Some(amount) => Before::Order(Some(amount.to_string()), action.facts.currency.clone()),
            None => Before::Unread("the vendor shows no such action".to_owned()),
        });
    }
    let Some(action_id) = action.target.action_id() else {
        return Ok(Before::Unread("the action has no known ActionId".to_owned()));
    };
    match ctx.brand.action_items(action_id).await {
        Ok(Some(items)) if !items.is_empty() => Ok(Before::Items(items)),
        Ok(Some(_)) => Ok(Before::Unread("the vendor shows no items of it".to_owned())),
        Ok(None) => Ok(Before::Unread("the vendor shows no such action".to_owned())),
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Network | Kind::Vendor) => {
            Ok(Before::Unread(error.message))
        }
        Err(error) => Err(error),
    }
}

/// Returns the lines of the adjustment's plan that a person reads before the confirmation.
fn plan_lines(
    ctx: &Context<'_>,
    plan: &Plan,
    action: &ActionPlan,
    preview: &Preview,
    earlier: &PreviousAdjustments,
    options: &AdjustOptions,
) -> Vec<String> {
    let identity = ctx.identity;
    let what = action.target.action_id().map_or_else(String::new, |id| format!(", action {id}"));
    let mut lines = vec![
        format!("will change for tenant {} (Account SID {}):", identity.tenant, identity.account_sid),
        format!("  order {}{what}: code {}", plan.order_id, options.plan.disposition),
    ];
    lines.extend(preview.table().into_iter().map(|line| format!("    {line}")));
    lines.extend(earlier.same.iter().map(|id| format!("    AGAIN: the same was sent as adjustment {id}")));
    lines.extend(action.findings.list().iter().flat_map(|finding| finding_lines(finding, "    ")));
    lines
}
