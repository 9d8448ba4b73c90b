//! Use case: retracts many refunds of a shop's file, and gives each row of the file one outcome.
//!
//! `rows` plans each row of the refund file. `choose` sorts the batch's rows and checks the batch's limits. `send`
//! sends the batch's rows and waits for the trial. `outcome` defines the outcome of each row of a batch. Every row of a
//! batch uses the same plan, checks and dispatch as a retraction of a single order. A second run of the same refund
//! file does only the unfinished work, because the ledger records the finished rows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use serde_json::json;

use super::approval::{self, Demand, Subject};
use super::{Context, Options, WriterSettings, plan_fingerprint, readiness};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::model::order_text::visible;
use crate::model::program_rule::ProgramRule;
use crate::refunds::{DecisionKind, Refunds};
use crate::store::ledger::Ledger;

mod choose;
mod outcome;
mod partials;
mod prefix;
mod rows;
mod send;

pub use choose::{Limits, TRIAL};
pub use outcome::{OUTCOME_COLUMNS, Outcome, RowOutcome, SentAction};
use rows::Item;
pub use send::TRUSTED_FOR;

/// The columns that a plan file adds.
pub const PLAN_COLUMNS: [&str; 9] = [
    "recoup_plan",
    "recoup_action",
    "recoup_reward",
    "recoup_value",
    "recoup_disposition",
    "recoup_verdict",
    "recoup_why",
    "recoup_decision",
    "recoup_evidence",
];
/// Positions of `recoup_why`, `recoup_decision` and `recoup_evidence` in [`PLAN_COLUMNS`].
const WHY: usize = 6;
const DECISION: usize = 7;
const EVIDENCE: usize = 8;

/// Value of the column `recoup_plan` for a row that the batch will reverse.
const SEND: &str = "send";
/// Value of the column `recoup_plan` for a row whose action the batch will adjust.
const ADJUST: &str = "adjust";

pub struct Batch<'a> {
    ctx: &'a Context<'a>,
    refunds: &'a Refunds,
    items: Vec<Item<'a>>,
    ended: Option<Error>,
}

#[derive(Debug, Serialize)]
pub struct Summary {
    pub format: String,
    /// Number of orders for each decision that the refund file gives.
    pub decisions: BTreeMap<DecisionKind, usize>,
    pub rows: usize,
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Number of requests that changed an action at the vendor, or may have changed it.
    pub sent: usize,
    /// The error that ended the batch early; `null` without an error.
    pub error: Option<Error>,
}

#[derive(Debug, Serialize)]
pub struct Intent {
    pub format: String,
    /// Number of orders for each decision that the refund file gives.
    pub decisions: BTreeMap<DecisionKind, usize>,
    /// One order that the batch will send, with its evidence.
    pub example: Option<Example>,
    /// Number of orders for each planned step of the batch.
    pub steps: BTreeMap<String, usize>,
    pub orders: usize,
    /// Value of the rewards that can still be cancelled, by unit.
    pub value: BTreeMap<String, i64>,
    /// Number of trial orders. The batch sends the trial orders first and waits for their proof.
    pub trial: usize,
    pub program_rules: Vec<ProgramRule>,
    /// Number of orders that an earlier run sent and that this run only follows.
    pub followed: usize,
    pub adjustments: usize,
}

#[derive(Debug, Serialize)]
pub struct Example {
    pub order_id: String,
    pub evidence: String,
}

impl<'a> Batch<'a> {
    /// Plans every row of the refund file and sends nothing. A refund without a date counts as older than `undated`.
    pub async fn plan(
        ctx: &'a Context<'a>,
        refunds: &'a Refunds,
        template: &Options,
        undated: Timestamp,
    ) -> Result<Self> {
        readiness::check(ctx)?;
        let mut items = rows::items(refunds, template);
        if let Some(error) = ctx.read_index(|index| index.map_or(Ok(None), |index| prefix::remedy(index, &items)))? {
            return Err(error);
        }
        let ended = rows::plan(ctx, refunds, &mut items, undated).await;
        Ok(Self { ctx, refunds, items, ended })
    }

    /// Restricts the batch to the plan file that a person has read. The batch sends a row only if the plan file has the
    /// same send for the same actions.
    pub fn hold_to(&mut self, planned: &[Vec<String>]) {
        for (item, cells) in self.items.iter_mut().zip(planned) {
            let cell = |n: usize| cells.get(n).map_or("", String::as_str);
            if let Some((word, left)) = item.planned_adjustment() {
                if cell(0) != word {
                    item.end(Outcome::NotAttempted, format!("the plan says: {}", cell(0)));
                } else if cell(3) != left {
                    item.end(Outcome::Stopped, format!("the plan says {}, and {left} is left now", cell(3)));
                }
                continue;
            }
            if !item.is_to_send() {
                continue;
            }
            if cell(0) != SEND {
                item.end(Outcome::NotAttempted, format!("the plan says: {}", cell(0)));
            } else if let Some(why) = item.unlike(cells) {
                item.end(Outcome::Stopped, why);
            }
        }
    }

    /// Summarizes what the batch will do. Fails if the batch exceeds `limits`.
    pub fn intent(&self, limits: Limits) -> Result<Intent> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let candidates = self.candidates();
        choose::check(&candidates, self.adjustments(), limits)?;
        let example = candidates.first().and_then(|one| self.items[one.row].order);
        Ok(Intent {
            format: self.refunds.reading.title(),
            decisions: self.refunds.counts(),
            example: example
                .map(|order| Example { order_id: order.order_id.to_string(), evidence: order.evidence.sentence() }),
            steps: self.steps(),
            orders: candidates.len(),
            value: choose::value(&candidates),
            trial: choose::trial(&candidates, &self.trusted()?).len(),
            program_rules: self.ctx.session.rules.rules(),
            followed: self.items.iter().filter(|item| !item.before.is_empty() && item.done.is_none()).count(),
            adjustments: self.adjustments(),
        })
    }

    fn steps(&self) -> BTreeMap<String, usize> {
        let mut steps = BTreeMap::new();
        for item in self.items.iter().filter(|item| item.same_as.is_none()) {
            let step = item.planned().into_iter().next().unwrap_or_default();
            *steps.entry(step).or_insert(0) += 1;
        }
        steps
    }

    pub fn end_early(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }

    pub fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Returns the values of [`PLAN_COLUMNS`] for each row of the batch.
    pub fn planned(&self) -> Vec<Vec<String>> {
        let one_line = |cell: String| crate::report::one_line(&cell).into_owned();
        self.items.iter().map(|item| item.planned().into_iter().map(one_line).collect()).collect()
    }

    /// Sends the planned rows, then follows these rows and the rows of earlier runs until each is proven or the time is
    /// up.
    pub async fn carry_out(&mut self, writer: &WriterSettings) -> Result<()> {
        let candidates = choose::in_order(self.candidates());
        let trusted = self.trusted()?;
        let ledger = self.ctx.open_ledger()?;
        self.ask_second_person(ledger, &candidates)?;
        self.send_all(writer, ledger, &candidates, &trusted).await?;
        // Follows the sent rows even after an error, but not after a signal (exit code 130) or refused credentials
        // (exit code 3).
        if !self.ended.as_ref().is_some_and(|error| matches!(error.kind.exit_code(), 3 | 130)) {
            self.settle().await?;
        }
        self.carry_out_partials(writer).await;
        Ok(())
    }

    /// Requests approval for the whole batch if the approval policy requires it.
    fn ask_second_person(&mut self, ledger: &Ledger, candidates: &[choose::Candidate]) -> Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        let going = || candidates.iter().map(|one| &self.items[one.row]);
        let demand = Demand {
            orders: candidates.len() as u64,
            value: choose::value(candidates),
            overrides: going().flat_map(Item::overridden).collect(),
            again: going().any(Item::is_again),
        };
        let mut items: Vec<String> = going().map(Item::name).collect();
        items.sort();
        let name = plan_fingerprint::short_hash(&items.join(" "));
        let first = going().next().map(|item| item.options.clone());
        let batch = first.as_ref().and_then(|options| options.batch.clone());
        let json = json!({ "what": "batch", "batch": batch, "orders": demand.orders, "value": demand.value });
        let (reason, ticket) = first.map(|options| (options.reason, options.ticket)).unwrap_or_default();
        let subject = Subject { name, items, json, reason: reason.as_deref(), ticket: ticket.as_deref() };
        let granted = approval::before_sending(self.ctx, ledger, &demand, &subject)?;
        for one in candidates {
            self.items[one.row].options.granted.clone_from(&granted);
        }
        Ok(())
    }

    /// Returns the outcome of every row of the batch, in file order.
    pub fn outcomes(&mut self, dry_run: bool) -> Result<Vec<RowOutcome>> {
        let ledger = self.ctx.ledger()?;
        for item in &mut self.items {
            item.conclude(ledger, dry_run)?;
        }
        let mut outcomes: Vec<RowOutcome> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            // All rows of an order share one outcome.
            let mut done = match item.same_as.and_then(|first| outcomes.get(first)) {
                Some(first) => first.clone(),
                None => item
                    .done
                    .clone()
                    .unwrap_or_else(|| RowOutcome::new(Outcome::NotAttempted, "nothing was to be done")),
            };
            if item.same_as.is_none() {
                (done.decision, done.evidence) = item.words();
            }
            outcomes.push(done);
        }
        Ok(outcomes)
    }

    /// Returns the summary of the batch, and the error that determines the exit code.
    pub fn summary(&self, outcomes: &[RowOutcome]) -> (Summary, Option<Error>) {
        let summary = Summary {
            format: self.refunds.reading.title(),
            decisions: self.refunds.counts(),
            rows: outcomes.len(),
            outcomes: outcome::counts(outcomes),
            sent: self.items.iter().map(|item| item.changed).sum(),
            error: self.ended.clone(),
        };
        let problem = outcome::problem(outcomes, self.ended.as_ref());
        (summary, problem)
    }

    /// Returns the orders that a later crawl may add to the index.
    pub fn not_found_yet(&self) -> impl Iterator<Item = (&crate::refunds::OrderRefund, &Options)> {
        let waits = |item: &&Item<'_>| {
            item.same_as.is_none() && item.done.as_ref().is_some_and(|done| done.outcome == Outcome::NotFoundYet)
        };
        self.items.iter().filter(waits).filter_map(|item| Some((item.order?, &item.options)))
    }

    fn candidates(&self) -> Vec<choose::Candidate> {
        self.items.iter().enumerate().filter_map(|(row, item)| item.candidate(row)).collect()
    }

    /// Returns the programs in which a retraction was confirmed recently.
    fn trusted(&self) -> Result<std::collections::BTreeSet<String>> {
        let since = self.ctx.clock.now().checked_sub(send::TRUSTED_FOR).unwrap_or(Timestamp::MIN);
        self.ctx
            .ledger()?
            .map_or_else(|| Ok(std::collections::BTreeSet::new()), |ledger| ledger.confirmed_programs(since))
    }
}

impl Summary {
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} of a {}, {} sent now", counted(self.rows, "row"), self.format, self.sent)];
        lines.extend(self.outcomes.iter().map(|(outcome, count)| format!("  {count:>6} {}", outcome.words())));
        if let Some(error) = &self.error {
            lines.push(format!("ended early: {}", error.message));
        }
        lines
    }
}

impl Intent {
    pub fn lines(&self) -> Vec<String> {
        let worth: Vec<String> = self.value.iter().map(|(unit, worth)| format!("{worth} {unit}")).collect();
        let worth = if worth.is_empty() { "nothing that is known".to_owned() } else { worth.join(", ") };
        let decisions: Vec<String> =
            self.decisions.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
        let mut lines = vec![
            format!("read as {}: {}", self.format, decisions.join(", ")),
            format!("{} will be retracted; the rewards to take back are worth {worth}", counted(self.orders, "order")),
        ];
        let steps: Vec<String> = self.steps.iter().map(|(step, count)| format!("{count} {step}")).collect();
        lines.insert(1, format!("planned: {}", steps.join(", ")));
        if let Some(example) = &self.example {
            lines.push(format!("for example order {}: {}", visible(&example.order_id), example.evidence));
        }
        lines.extend(self.program_rules.iter().map(ProgramRule::dated_line));
        if self.trial > 0 {
            let trial = self.trial;
            lines.push(format!(
                "{trial} of them go first and are waited for: the rule of their program was not found without a flaw, and nothing \
                 was confirmed in it lately"
            ));
        }
        if self.adjustments > 0 {
            lines.push(format!("{} will be adjusted for a refund in part", counted(self.adjustments, "action")));
        }
        if self.followed > 0 {
            lines.push(format!(
                "{} were sent before: what is still open is looked at, and nothing is sent again",
                self.followed
            ));
        }
        lines
    }
}

pub fn has_adjustments(planned: &[Vec<String>]) -> bool {
    planned.iter().any(|cells| cells.first().is_some_and(|word| word == ADJUST))
}

/// Returns an error if the options of a batch include one that applies only to a single order.
pub fn check(template: &Options) -> Result<()> {
    if template.action_id.is_some() {
        return Err(Error::new(Kind::Usage, "--action-id names one action, and a file has many orders")
            .hint("give the file a column action_id"));
    }
    Ok(())
}
