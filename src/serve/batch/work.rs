//! The work of a batch: the same plan, trial, dispatch and outcomes as `recoup retract --file`, from bytes to bytes.

use std::collections::BTreeMap;

use super::{Batch, Terms};
use crate::access::Who;
use crate::error::{Error, Result};
use crate::refunds::plan_file::{self, PlanTarget};
use crate::refunds::read::{self as read_file, Parsed};
use crate::refunds::{self, DecisionKind, OrderRefund, Refunds, Syntax, outcome_file};
use crate::report::Report;
use crate::retract::batch::{self, COLUMNS, Limits, PLANNED};
use crate::retract::{Options, WriterSettings};
use crate::serve::desk::Desk;
use crate::store::ledger::Road;

/// How an upload is called in errors: never by the name that somebody gave it.
const NAME: &str = "the file";

/// Rows up to which each action is read before it is sent.
const READ_ACTIONS: usize = 100;

/// Reads an upload, or says which of its columns a person must explain.
pub(super) fn understand(upload: &[u8], options: &refunds::Options) -> Result<Parsed> {
    read_file::parse(NAME, upload, options)
}

/// Plans every row; nothing is sent. The plan as a file, and in the batch what it comes to.
pub(super) async fn plan(
    desk: &Desk,
    who: &Who,
    refunds: &Refunds,
    batch: &mut Batch,
    report: &Report,
) -> Result<Vec<u8>> {
    let actor = desk.actor(who);
    let reads = desk.reads_patiently(&actor, report);
    let options = options(desk, &batch.terms, &batch.id, refunds.rows.len());
    options.check(false)?;
    desk.apply_tombstones(&actor, report, false)?;
    let now = desk.now();
    let planned = batch::Batch::plan(&reads, refunds, &options, now).await?;
    desk.remember_clock();
    if let Some(error) = planned.ended() {
        return Err(error.clone());
    }
    let intent = planned.intent(Limits { count: u64::MAX, value: u64::MAX })?;
    (batch.orders, batch.value) = (intent.orders, intent.value);
    let cells = planned.planned();
    batch.counts = counted(cells.iter().map(|cells| cells.first().map_or("", String::as_str)));
    batch.decisions = decisions(refunds, &cells);
    plan_file::write_plan(refunds, &PLANNED, &cells, &made_for(desk), now)
}

/// Carries a plan out: each row is checked live again and goes only where the plan says so. The outcomes as a file.
pub(super) async fn apply(desk: &Desk, who: &Who, plan: &[u8], batch: &mut Batch, report: &Report) -> Result<Vec<u8>> {
    let planned = plan_file::plan_of(NAME, plan, &refunds::Options::default())?;
    planned.check_target(&made_for(desk))?;
    let refunds = &planned.refunds;
    let actor = desk.actor(who);
    let reads = desk.reads_patiently(&actor, report);
    let options = Options { yes: true, ..options(desk, &batch.terms, &batch.id, refunds.rows.len()) };
    options.check(false)?;
    desk.apply_tombstones(&actor, report, false)?;
    let mut work = batch::Batch::plan(&reads, refunds, &options, planned.made_at).await?;
    work.hold_to(&planned.planned);
    work.intent(desk.options.limits)?;
    if let Err(error) = work.carry_out(&writer(desk)).await {
        // Nothing was sent; whatever ends it later is in the outcomes.
        if error.kind == crate::error::Kind::NeedsApproval {
            return Err(error);
        }
        work.end_early(error);
    }
    desk.remember_clock();
    let outcomes = work.outcomes(false)?;
    let (summary, _) = work.summary(&outcomes);
    batch.sent += summary.sent;
    batch.counts = summary.outcomes.iter().map(|(words, count)| ((*words).to_owned(), *count)).collect();
    batch.message = summary.error.as_ref().map(|error: &Error| error.message.clone());
    let values: Vec<Vec<String>> = outcomes.iter().map(batch::Done::cells).collect();
    outcome_file::outcomes(refunds, Syntax::of_output(None, refunds.syntax), &COLUMNS, &values)
}

/// A batch waits for the vendor's limit as the command line does: nobody sits before it.
fn writer(desk: &Desk) -> WriterSettings {
    let mut writer = desk.options.writer.clone();
    writer.host.max_wait = desk.options.batch_wait;
    writer
}

fn options(desk: &Desk, terms: &Terms, id: &str, rows: usize) -> Options {
    let disposition = terms.disposition.clone().unwrap_or_else(|| "RETRACTION".to_owned());
    let (age, follows) = (desk.options.max_index_age, desk.options.follows);
    Options {
        reason: terms.reason.clone(),
        ticket: terms.ticket.clone(),
        overrides: terms.overrides.clone(),
        batch: Some(id.to_owned()),
        read_action: rows <= READ_ACTIONS,
        dry_run: true,
        ..Options::new(Road::Reversal, disposition, age, follows)
    }
}

fn made_for(desk: &Desk) -> PlanTarget {
    let identity = &desk.options.identity;
    PlanTarget { tenant: identity.tenant.clone(), account_sid: identity.account_sid.clone() }
}

/// The decisions of a plan: those of the file, held against the live actions.
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

/// The planned cell of one of [`PLANNED`].
pub(in crate::serve) fn cell_of<'a>(planned: &'a [String], name: &str) -> &'a str {
    let place = PLANNED.iter().position(|known| *known == name);
    place.and_then(|place| planned.get(place)).map_or("", String::as_str)
}

fn counted<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}
