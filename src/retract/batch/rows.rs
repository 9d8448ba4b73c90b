//! Plans the rows of a batch from the index, the ledger and the vendor's rewards. Planning the rows of a batch sends
//! nothing.
//!
//! A row of a batch gets a plan only if recoup is certain that it may send the row. If recoup is not certain, the row
//! gets an outcome with the reason.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use jiff::{SignedDuration, Timestamp};

use super::choose::Candidate;
use super::outcome::{Outcome, RowOutcome};
use super::partials::{Adjustment, EarlierSend, earlier_send};
use crate::error::{Error, Kind, Result};
use crate::lookup::{self, describe_coverage};
use crate::model::decimal::Decimal;
use crate::model::{Coverage, OrderId};
use crate::refunds::{Decision, OrderRefund, RefundRow, Refunds};
use crate::retract::adjust::command_for;
use crate::retract::approval::Demand;
use crate::retract::checks::Verdict;
use crate::retract::plan::{self, Plan, Step};
use crate::retract::proof::losses;
use crate::retract::{Context, Options, RefundClaim, rule};
use crate::store::ledger::Ledger;

/// Maximum time that a refund date may lie in the future. A refund date without an offset may be from another time
/// zone.
const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// Maximum number of orders that the batch plans concurrently. The rate limit of the vendor's host limits the requests
/// for planning orders.
const AT_ONCE: usize = 8;

pub struct Item<'a> {
    pub row: &'a RefundRow,
    /// The order of the row; `None` if the row has no order ID.
    pub order: Option<&'a OrderRefund>,
    /// Position of the first row of the refund file with the same order. All rows of an order share the outcome of its
    /// first row.
    pub same_as: Option<usize>,
    pub options: Options,
    pub plan: Option<Plan>,
    /// The decision after recoup compared the refund file with the action; `None` if it equals the file's decision.
    pub final_decision: Option<(Decision, String)>,
    pub sent: Vec<i64>,
    /// Number of retractions in `sent` that changed an action at the vendor, or may have changed an action.
    pub changed: usize,
    /// Number of the row's planned actions that recoup did not send.
    pub unsent: usize,
    pub before: Vec<i64>,
    pub adjust: Option<Adjustment>,
    pub done: Option<RowOutcome>,
}

impl Item<'_> {
    pub fn is_to_send(&self) -> bool {
        self.done.is_none()
            && self.plan.as_ref().is_some_and(|plan| plan.actions.iter().any(|action| action.step == Step::Send))
    }

    pub fn words(&self) -> (String, String) {
        let Some(order) = self.order else { return (String::new(), String::new()) };
        let evidence = order.evidence.sentence();
        match &self.final_decision {
            Some((decision, why)) => (decision.kind().words().to_owned(), format!("{evidence}; {why}")),
            None => (order.decision.kind().words().to_owned(), evidence),
        }
    }

    /// Sets the outcome of the row, if the row has no outcome yet.
    pub fn end(&mut self, outcome: Outcome, message: impl Into<String>) {
        self.done.get_or_insert_with(|| RowOutcome::new(outcome, message));
    }

    pub fn candidate(&self, row: usize) -> Option<Candidate> {
        let plan = self.plan.as_ref().filter(|_| self.is_to_send())?;
        let sends = || plan.actions.iter().filter(|action| action.step == Step::Send);
        let Demand { value, .. } = Demand::of_rewards(sends().flat_map(|action| &action.rewards));
        Some(Candidate {
            row,
            program: sends().find_map(|action| action.program_id.clone()).unwrap_or_default(),
            rule_found: sends().all(|action| rule::may_skip_trial(&action.rules)),
            verdict: sends().map(|action| action.findings.verdict()).max().unwrap_or(Verdict::Go),
            event_at: sends().filter_map(|action| action.event_at).min(),
            value,
        })
    }
}

/// Creates one batch item for each row of the refund file. Later rows of an order refer to the first row of that order.
pub fn items<'a>(refunds: &'a Refunds, template: &Options) -> Vec<Item<'a>> {
    let item = |(n, row): (usize, &'a RefundRow)| {
        let order = row.order.and_then(|order| refunds.orders.get(order));
        let mut options = template.clone();
        if let Some(disposition) = &row.disposition {
            options.disposition.clone_from(disposition);
        }
        options.reason = row.reason.clone().or(options.reason);
        options.ticket = row.ticket.clone().or(options.ticket);
        if row.action_id.is_some() {
            options.action_id.clone_from(&row.action_id);
            options.all = false;
        }
        options.refund = order.map(RefundClaim::of);
        Item {
            row,
            order,
            same_as: order.and_then(|order| order.rows.first().copied()).filter(|first| *first != n),
            options,
            plan: None,
            final_decision: None,
            sent: Vec::new(),
            changed: 0,
            unsent: 0,
            before: Vec::new(),
            adjust: None,
            done: None,
        }
    };
    refunds.rows.iter().enumerate().map(item).collect()
}

/// Plans every row of the batch. A refund without a date counts as older than `undated`. Returns only an error that
/// affects all rows.
pub async fn plan(ctx: &Context<'_>, refunds: &Refunds, items: &mut [Item<'_>], undated: Timestamp) -> Option<Error> {
    let total = items.len() as u64;
    let progress = ctx.report.progress("refunds checked");
    let mut ended: Option<Error> = None;
    let ledger = match ctx.ledger() {
        Ok(ledger) => ledger,
        Err(error) => return Some(error),
    };
    let mut planned = Vec::new();
    // Uses no `buffered` stream: its closure would borrow the rows, and the future would then not be `Send`.
    let (mut waiting, mut running) = (items.iter(), FuturesOrdered::new());
    loop {
        while running.len() < AT_ONCE
            && !ctx.stop.is_cancelled()
            && let Some(item) = waiting.next()
        {
            running.push_back(plan_one(ctx, ledger, refunds, item, undated));
        }
        let Some(one) = running.next().await else { break };
        progress.show(planned.len() as u64, Some(total), "");
        if let Planned::Ended(error) = one {
            ended = Some(error);
            break;
        }
        planned.push(one);
    }
    drop(running);
    if ended.is_none() && ctx.stop.is_cancelled() {
        ended = Some(Error::new(Kind::Interrupted, "interrupted while checking; nothing was sent"));
    }
    let mut planned = planned.into_iter();
    for item in items {
        match planned.next() {
            Some(Planned::Plan(planned)) => {
                let (plan, options) = *planned;
                item.accept(plan, options);
            }
            Some(Planned::RowOutcome(done)) => item.done = Some(done),
            Some(Planned::Decided(decision, why, done)) => {
                (item.final_decision, item.done) = (Some((decision, why)), Some(done));
            }
            Some(Planned::SameAsBefore) => {}
            Some(Planned::Ended(_)) | None => {
                item.end(Outcome::NotAttempted, "not checked: the batch ended before this row");
            }
        }
    }
    ended
}

enum Planned {
    /// A plan of the row and its options. If the plan of a row expires, the batch uses the options to plan the row
    /// again.
    Plan(Box<(Plan, Options)>),
    RowOutcome(RowOutcome),
    /// The action contradicts the decision of the refund file.
    Decided(Decision, String, RowOutcome),
    SameAsBefore,
    /// An error that affects every row of the batch.
    Ended(Error),
}

impl Item<'_> {
    fn accept(&mut self, plan: Plan, options: Options) {
        self.options = options;
        if let Some(error) = plan.actions.iter().find_map(|action| action.findings.error()) {
            self.done = Some(RowOutcome {
                actions: names(&plan),
                ..RowOutcome::new(Outcome::Stopped, message_with_hint(error))
            });
        } else if plan.actions.iter().all(|action| action.step == Step::AlreadyCancelled) {
            let lost: String = plan.actions.iter().map(|action| losses(&action.rewards)).collect();
            let message = format!("every known reward is cancelled already, and not by this ledger{lost}");
            self.done =
                Some(RowOutcome { actions: names(&plan), ..RowOutcome::new(Outcome::AlreadyRetracted, message) });
        }
        self.unsent = plan.actions.iter().filter(|action| action.step == Step::Send).count();
        for action in &plan.actions {
            if let Step::Follow(retraction) = &action.step {
                self.before.push(retraction.id);
            }
        }
        self.plan = Some(plan);
    }
}

/// Appends the hints of an error to its message, because the outcome file has no column for hints.
fn message_with_hint(error: Error) -> String {
    match error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message,
    }
}

fn names(plan: &Plan) -> Vec<String> {
    plan.actions.iter().filter_map(|action| action.target.action_id().map(ToString::to_string)).collect()
}

async fn plan_one(
    ctx: &Context<'_>,
    ledger: Option<&Ledger>,
    refunds: &Refunds,
    item: &Item<'_>,
    undated: Timestamp,
) -> Planned {
    if item.same_as.is_some() {
        return Planned::SameAsBefore;
    }
    match try_plan(ctx, ledger, refunds, item, undated).await {
        Ok(planned) => planned,
        Err(error) => match error.kind {
            // A failed read affects one row of the batch. A refused token or a used-up quota affects all rows.
            Kind::Network | Kind::Vendor => {
                Planned::RowOutcome(RowOutcome::new(Outcome::NotAttempted, format!("could not be checked: {error}")))
            }
            Kind::VendorRefused => Planned::RowOutcome(RowOutcome::new(Outcome::Failed, message_with_hint(error))),
            // The request for this order needs the index, even if the ledger has the order.
            Kind::NotIndexed => Planned::RowOutcome(RowOutcome::new(Outcome::NotFoundYet, message_with_hint(error))),
            Kind::Refused | Kind::Ambiguous | Kind::Usage => {
                Planned::RowOutcome(RowOutcome::new(Outcome::Stopped, message_with_hint(error)))
            }
            _ => Planned::Ended(error),
        },
    }
}

async fn try_plan(
    ctx: &Context<'_>,
    ledger: Option<&Ledger>,
    refunds: &Refunds,
    item: &Item<'_>,
    undated: Timestamp,
) -> Result<Planned> {
    let stopped = |why: String| Ok(Planned::RowOutcome(RowOutcome::new(Outcome::Stopped, why)));
    let Some(order) = item.order else {
        return match &item.row.no_order_needed {
            Some(what) => Ok(Planned::RowOutcome(RowOutcome::new(
                Outcome::NotRefunded,
                format!("the row names no order: {what}"),
            ))),
            None => {
                stopped(item.row.blocking_problem(false).map_or_else(|| "no order ID".to_owned(), ToString::to_string))
            }
        };
    };
    if let Some(done) = without_sending(order) {
        return Ok(Planned::RowOutcome(done));
    }
    let tomorrow = ctx.clock.now().checked_add(GRACE).unwrap_or(Timestamp::MAX);
    if let Some(refunded_at) = order.refunded_at.filter(|when| when.earliest() > tomorrow) {
        let why = format!("the refund date {refunded_at} is in the future");
        return Ok(Planned::Decided(
            Decision::Unclear,
            why.clone(),
            RowOutcome::new(Outcome::Stopped, format!("unclear: {why}")),
        ));
    }
    let order_id = &order.order_id;
    let matches = ctx.read_index(|index| index.map_or_else(|| Ok(Vec::new()), |index| index.find(order_id)))?;
    if let Some(problem) = refunds.blocking_problem(order, !matches.is_empty()) {
        return stopped(problem.to_string());
    }
    let in_ledger = ledger.map(|ledger| ledger.of_order(order_id)).transpose()?.unwrap_or_default();
    if matches.is_empty() && !in_ledger.iter().any(|one| one.state.may_have_been_sent()) {
        if let Some(unclear) =
            ctx.read_index(|index| index.map_or(Ok(None), |index| lookup::why_unclear(index, order_id)))?
        {
            let why = unclear.trim_start_matches("unclear: ").to_owned();
            return Ok(Planned::Decided(Decision::Unclear, why, RowOutcome::new(Outcome::Stopped, unclear)));
        }
        return Ok(Planned::RowOutcome(missing(order, &ctx.coverage()?, undated)));
    }
    // An earlier adjustment may already include the refund in the file.
    if let (Decision::ToCompare { .. }, EarlierSend::Other(why)) =
        (&order.decision, earlier_send(ledger, order_id, None)?)
    {
        let done = RowOutcome::new(Outcome::Stopped, format!("unclear: {why}"));
        return Ok(Planned::Decided(Decision::Unclear, why, done));
    }
    let mut options = item.options.clone();
    let has_action = matches.iter().any(|found| found.action_id.is_some());
    if !has_action && options.action_id.is_none() && !matches.is_empty() {
        options.action_tracker = item.row.action_tracker_id.clone().or(options.action_tracker);
    }
    if let Decision::InPart { left, .. } = order.decision
        && let Some(done) = adjusted_before(ledger, order_id, left)?
    {
        return Ok(Planned::RowOutcome(done));
    }
    let plan = plan::make(ctx, ledger, order_id, &options, None).await?;
    if let Decision::InPart { .. } = order.decision {
        return compared_in_part(order, &plan, &options);
    }
    if let Some((decision, why)) = contradicted(&plan, &options) {
        let done = match &decision {
            Decision::InPart { left: Some(left), .. } => match adjusted_before(ledger, order_id, Some(*left))? {
                Some(done) => done,
                None => RowOutcome::new(Outcome::RefundedInPart, command_for(order_id, *left)),
            },
            _ => RowOutcome::new(Outcome::Stopped, format!("unclear: {why}")),
        };
        return Ok(Planned::Decided(decision, why, RowOutcome { actions: names(&plan), ..done }));
    }
    Ok(Planned::Plan(Box::new((plan, options))))
}

/// Returns the outcome of an order for which the file does not prove a refund.
fn without_sending(order: &OrderRefund) -> Option<RowOutcome> {
    let why = || order.evidence.why.clone().unwrap_or_default();
    match &order.decision {
        Decision::InFull { .. } | Decision::ToCompare { .. } | Decision::InPart { .. } => None,
        Decision::NotRefunded => Some(RowOutcome::new(Outcome::NotRefunded, why())),
        Decision::Unclear => Some(RowOutcome::new(Outcome::Stopped, format!("unclear: {}", why()))),
    }
}

/// Returns the outcome of an order whose amount recoup adjusted earlier, to `left` or to another amount; `None` without
/// an earlier adjustment.
fn adjusted_before(ledger: Option<&Ledger>, order_id: &OrderId, left: Option<Decimal>) -> Result<Option<RowOutcome>> {
    Ok(match earlier_send(ledger, order_id, left)? {
        EarlierSend::Same(done) => Some(done),
        EarlierSend::Other(why) => Some(RowOutcome::new(Outcome::Stopped, format!("unclear: {why}"))),
        EarlierSend::Nothing => None,
    })
}

/// Compares a partial refund with the amount of the action. The outcome of a partial refund contains the command that
/// adjusts the action, or the reason why recoup offers no command.
fn compared_in_part(order: &OrderRefund, plan: &Plan, options: &Options) -> Result<Planned> {
    let in_part = |why: &str| {
        let done = RowOutcome { actions: names(plan), ..RowOutcome::new(Outcome::RefundedInPart, why) };
        Ok(Planned::RowOutcome(done))
    };
    let mut open = plan.actions.iter().filter(|action| matches!(action.step, Step::Send | Step::Stop));
    let Some(action) = open.next() else {
        return in_part("its action was taken back whole before, so there is nothing left to adjust");
    };
    if open.next().is_some() {
        return in_part("the order has several actions, and the file does not say which of them was refunded");
    }
    let Some(claim) = options.refund.as_ref().filter(|_| action.facts.amount.is_some()) else {
        return in_part("the action's amount could not be read, and without it the new amount is not certain");
    };
    let decided = claim.against(&action.facts);
    // The current amount of the action, if it differs from the original amount because the action was adjusted outside
    // recoup.
    let changed = action.facts.amount_now.filter(|now| action.facts.amount != Some(*now));
    match decided {
        (Decision::InPart { left: Some(left), .. }, _) if changed == Some(left) => {
            let done = RowOutcome::new(Outcome::Adjusted, format!("the action's amount is {left} already"));
            Ok(Planned::RowOutcome(RowOutcome { actions: names(plan), ..done }))
        }
        (Decision::InPart { .. }, _) if let Some(now) = changed => {
            let why = format!(
                "its action was adjusted to {now} before, and the file does not show whether this refund includes that"
            );
            let done = RowOutcome::new(Outcome::Stopped, format!("unclear: {why}"));
            Ok(Planned::Decided(Decision::Unclear, why, RowOutcome { actions: names(plan), ..done }))
        }
        (Decision::InPart { left: Some(left), .. }, _) => in_part(&command_for(&order.order_id, left)),
        (Decision::InPart { .. }, _) => in_part("the file does not say what the order costs now"),
        (decision, why) => {
            let why = why.unwrap_or_default();
            let done = RowOutcome::new(Outcome::Stopped, format!("unclear: {why}"));
            Ok(Planned::Decided(decision, why, RowOutcome { actions: names(plan), ..done }))
        }
    }
}

/// Returns how the action contradicts the file's decision, for an order that recoup would otherwise send.
fn contradicted(plan: &Plan, options: &Options) -> Option<(Decision, String)> {
    let claim = options.refund.as_ref()?;
    let mut sends = plan.actions.iter().filter(|action| matches!(action.step, Step::Send | Step::Stop));
    let first = sends.next()?;
    if sends.next().is_some() && matches!(claim.decision, Decision::ToCompare { .. }) {
        let why = "the order has several actions, and the file does not say which of them was refunded".to_owned();
        return Some((Decision::Unclear, why));
    }
    let (decision, why) = claim.against(&first.facts);
    Some((decision, why?))
}

/// Returns the outcome of an order that the index lacks. A refund without a date counts as older than `undated`.
fn missing(order: &OrderRefund, coverage: &Coverage, undated: Timestamp) -> RowOutcome {
    let refunded = order.refunded_at.map_or(undated, |when| when.latest().min(undated));
    match lookup::why_absence_is_unproven(coverage, refunded) {
        None => RowOutcome::new(
            Outcome::NotAReferral,
            format!("{}, refunded by {refunded:.0}", describe_coverage(coverage)),
        ),
        Some(why) => {
            let shown = crate::report::one_line(order.order_id.as_str());
            RowOutcome::new(Outcome::NotFoundYet, format!("order {shown}: {why}"))
        }
    }
}
