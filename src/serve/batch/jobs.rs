//! Plans and applies a batch with the steps of `recoup retract --file`. The input and the output of a batch are bytes
//! in place of files.

use std::collections::BTreeMap;

use super::{Batch, Terms};
use crate::access::Principal;
use crate::error::{Error, Result};
use crate::refunds::plan_file::{self, PlanTarget};
use crate::refunds::{DecisionKind, OrderRefund, Refunds};
use crate::report::Report;
use crate::retract::batch::{self, Limits, PLAN_COLUMNS, RowOutcome};
use crate::retract::{Options, WriterSettings};
use crate::serve::actions::Actions;
use crate::store::ledger::Channel;

/// The name by which error messages call an upload, in place of the client's file name.
pub(super) const NAME: &str = "the file";

/// Maximum number of rows of a batch that reads each action before it sends the retraction. A larger batch does not
/// read the actions, to save requests.
const READ_ACTIONS: usize = 100;

/// Plans every row of a batch and sends nothing. Returns the plan file, and stores the plan's totals in the batch.
pub(super) async fn plan(
    actions: &Actions,
    who: &Principal,
    refunds: &Refunds,
    batch: &mut Batch,
    report: &Report,
) -> Result<Vec<u8>> {
    let actor = actions.actor(who);
    let context = actions.background_context(&actor, report);
    let options = options(actions, &batch.terms, &batch.id, refunds.rows.len());
    options.check(false)?;
    actions.apply_tombstones(&actor, report, false)?;
    let now = actions.now();
    let planned = batch::Batch::plan(&context, refunds, &options, now).await?;
    actions.remember_clock();
    if let Some(error) = planned.ended() {
        return Err(error.clone());
    }
    let intent = planned.intent(Limits { count: u64::MAX, value: u64::MAX })?;
    (batch.orders, batch.value) = (intent.orders, intent.value);
    let cells = planned.planned();
    batch.counts = counted(cells.iter().map(|cells| code_of(cells.first().map_or("", String::as_str))));
    batch.decisions = decisions(refunds, &cells);
    plan_file::write_plan(refunds, &PLAN_COLUMNS, &cells, &made_for(actions), now)
}

/// Applies the plan of a batch and returns the outcome of each row. Checks each row of the batch live again, and sends
/// only what the plan allows.
pub(super) async fn apply(
    actions: &Actions,
    who: &Principal,
    plan: &[u8],
    batch: &mut Batch,
    report: &Report,
) -> Result<Vec<RowOutcome>> {
    let planned = plan_file::plan_of(NAME, plan)?;
    planned.check_target(&made_for(actions))?;
    let refunds = &planned.refunds;
    let actor = actions.actor(who);
    let context = actions.background_context(&actor, report);
    let options = Options { yes: true, ..options(actions, &batch.terms, &batch.id, refunds.rows.len()) };
    options.check(false)?;
    actions.apply_tombstones(&actor, report, false)?;
    let mut work = batch::Batch::plan(&context, refunds, &options, planned.made_at).await?;
    work.hold_to(&planned.planned);
    work.intent(actions.settings.limits)?;
    if let Err(error) = work.carry_out(&writer(actions)).await {
        // A missing approval stops the batch before recoup sends anything. The outcomes of the batch report any other
        // error.
        if error.kind == crate::error::Kind::NeedsApproval {
            return Err(error);
        }
        work.end_early(error);
    }
    actions.remember_clock();
    let outcomes = work.outcomes(false)?;
    let (summary, _) = work.summary(&outcomes);
    batch.counts = summary.outcomes.iter().map(|(outcome, count)| (outcome.code(), *count)).collect();
    batch.message = summary.error.as_ref().map(|error: &Error| error.message.clone());
    Ok(outcomes)
}

/// Returns settings with the command line's long wait for the vendor's limit, because no user waits for a batch.
fn writer(actions: &Actions) -> WriterSettings {
    let mut writer = actions.settings.writer.clone();
    writer.host.max_wait = actions.settings.batch_wait;
    writer
}

fn options(actions: &Actions, terms: &Terms, id: &str, rows: usize) -> Options {
    let disposition = terms.disposition.clone().unwrap_or_else(|| "RETRACTION".to_owned());
    let (age, follows) = (actions.settings.max_index_age, actions.settings.follows);
    Options {
        reason: terms.reason.clone(),
        ticket: terms.ticket.clone(),
        overrides: terms.overrides.clone(),
        batch: Some(id.to_owned()),
        read_action: rows <= READ_ACTIONS,
        dry_run: true,
        ..Options::new(Channel::Reversal, disposition, age, follows)
    }
}

fn made_for(actions: &Actions) -> PlanTarget {
    let identity = &actions.settings.identity;
    PlanTarget { tenant: identity.tenant.clone(), account_sid: identity.account_sid.clone() }
}

/// Counts the orders by decision, after comparing the refund file with the live actions.
fn decisions(refunds: &Refunds, planned: &[Vec<String>]) -> BTreeMap<DecisionKind, usize> {
    let decision = |order: &OrderRefund| {
        let cells = order.rows.first().and_then(|row| planned.get(*row));
        let word = cells.map_or("", |cells| cell_of(cells, "recoup_decision"));
        DecisionKind::ALL.into_iter().find(|kind| kind.words() == word).unwrap_or(order.decision.kind())
    };
    let mut counts = BTreeMap::new();
    for order in &refunds.orders {
        *counts.entry(decision(order)).or_default() += 1;
    }
    counts
}

/// Returns the cell of a planned row in one column of [`PLAN_COLUMNS`].
pub(in crate::serve) fn cell_of<'a>(planned: &'a [String], name: &str) -> &'a str {
    let column = PLAN_COLUMNS.iter().position(|known| *known == name);
    column.and_then(|column| planned.get(column)).map_or("", String::as_str)
}

/// Returns the code of a planned step, such as `not_refunded`.
pub(in crate::serve) fn code_of(words: &str) -> String {
    words.replace(' ', "_")
}

fn counted(codes: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_default() += 1;
    }
    counts
}
