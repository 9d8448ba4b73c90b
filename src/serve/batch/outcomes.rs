//! Determines the present outcome of each row of a batch.
//!
//! A batch stores the outcomes of its last run. The retractions of a row may change their state later, so the service
//! combines the stored outcomes with the ledger whenever it shows them. While the service applies a batch, the present
//! outcomes follow from the plan and the ledger.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Batch, Part, Stage, cell_of};
use crate::error::{Error, Kind, Result};
use crate::refunds::plan_file::{PlanFile, plan_of};
use crate::refunds::{Syntax, outcome_file};
use crate::retract::batch::{OUTCOME_COLUMNS, Outcome, RowOutcome, SentAction};
use crate::retract::receipt::Entry;
use crate::serve::app::App;
use crate::store::ledger::{Ledger, State, StateLine};

/// The outcomes of a batch, in the order of the rows in its file.
pub(in crate::serve) struct Outcomes {
    pub(in crate::serve) rows: Vec<RowOutcome>,
    /// `true` if the ledger has a newer state of the row's retractions than the stored outcome. The row has no message
    /// if this is `true`.
    newer: Vec<bool>,
    /// Number of retractions that this batch has sent, in any run.
    pub(super) sent: usize,
    ledger: Option<Ledger>,
}

impl App {
    /// Returns the plan of a batch; `None` if the batch is not planned yet.
    pub(in crate::serve) fn plan_of_batch(&self, id: &str) -> Result<Option<PlanFile>> {
        match self.batches.read(id, Part::Plan) {
            Ok(bytes) => plan_of("the plan", &bytes).map(Some),
            Err(error) if error.kind == Kind::NotIndexed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the present outcomes of a batch; `None` if it was never applied.
    pub(in crate::serve) fn outcomes(&self, batch: &Batch, plan: &PlanFile) -> Result<Option<Outcomes>> {
        let stored = match self.batches.read(&batch.id, Part::Outcomes) {
            Ok(bytes) => Some(of_json(&batch.id, &bytes)?),
            Err(error) if error.kind == Kind::NotIndexed => None,
            Err(error) => return Err(error),
        };
        if stored.is_none() && batch.stage != Stage::Applying {
            return Ok(None);
        }
        let rows = match stored {
            Some(rows) if rows.len() == plan.refunds.rows.len() => rows,
            Some(_) => return Err(damaged(&batch.id)),
            None => (0..plan.refunds.rows.len()).map(|n| not_applied(planned(plan, n))).collect(),
        };
        let ledger = self.actions.ledger()?;
        let newer = vec![false; rows.len()];
        let mut outcomes = Outcomes { rows, newer, sent: 0, ledger };
        outcomes.update(&batch.id, plan)?;
        Ok(Some(outcomes))
    }

    /// Returns the outcome file of a batch, with the present outcomes. Fails if the batch was never applied.
    pub(in crate::serve) fn outcome_file(&self, id: &str) -> Result<Vec<u8>> {
        let batch = self.batch(id)?;
        let outcomes = match self.plan_of_batch(id)? {
            Some(plan) => self.outcomes(&batch, &plan)?.map(|outcomes| outcomes.file(&plan)).transpose()?,
            None => None,
        };
        outcomes.ok_or_else(|| {
            let stage = batch.stage.as_str();
            Error::new(Kind::NotIndexed, format!("batch {id} has no outcomes yet: its stage is {stage}"))
                .hint("apply its plan first")
        })
    }
}

impl Outcomes {
    /// Replaces each stored outcome whose retractions have another state in the ledger. No state is final: a later reading may
    /// contradict a proof, and a request that counted as not received may turn up.
    fn update(&mut self, batch: &str, plan: &PlanFile) -> Result<()> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let mut of_order: HashMap<String, Vec<StateLine>> = HashMap::new();
        for line in ledger.states_of_batch(batch)? {
            self.sent += usize::from(line.state.may_have_been_sent());
            of_order.entry(line.order_id.clone()).or_default().push(line);
        }
        for (n, row) in self.rows.iter_mut().enumerate() {
            let order = plan.refunds.rows.get(n).and_then(|row| row.order_id.as_ref());
            let of_batch = order.and_then(|order| of_order.get(order.as_str())).map_or(&[] as &[_], Vec::as_slice);
            // The stored outcome describes an adjustment completely, so the ledger does not replace it.
            if row.outcome == Outcome::Adjusted || (of_batch.is_empty() && row.retractions.is_empty()) {
                continue;
            }
            let sent = sent_actions(ledger, batch, of_batch, &row.retractions)?;
            let newest = sent.iter().filter(|one| one.state != State::Superseded);
            let (before, new): (Vec<_>, Vec<_>) = newest.partition(|one| row.retractions.contains(&one.id));
            let unsent = if row.retractions.is_empty() { planned_actions(planned(plan, n)) } else { row.unsent };
            let is_of_other_action = |one: &&&SentAction| before.iter().all(|earlier| earlier.action != one.action);
            let new_actions: BTreeSet<&str> =
                new.iter().filter(is_of_other_action).map(|one| one.action.as_str()).collect();
            let now = RowOutcome::of_sent(unsent.saturating_sub(new_actions.len()), &sent);
            let Some(now) = now.filter(|now| row.is_replaced_by(now, !new.is_empty())) else { continue };
            (row.outcome, row.actions, row.retractions, row.unsent) =
                (now.outcome, now.actions, now.retractions, now.unsent);
            row.message.clear();
            self.newer[n] = true;
        }
        Ok(())
    }

    pub(in crate::serve) fn open(&self) -> u64 {
        self.rows.iter().filter(|row| row.outcome.is_open()).count() as u64
    }

    /// Number of rows that no run has attempted.
    pub(in crate::serve) fn left(&self) -> u64 {
        self.rows.iter().filter(|row| row.outcome == Outcome::NotAttempted).count() as u64
    }

    /// Number of rows by the code of their outcome.
    pub(in crate::serve) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.rows {
            *counts.entry(row.outcome.code()).or_default() += 1;
        }
        counts
    }

    /// Completes a row from the ledger: its message, its rewards, and the time of its confirmation.
    pub(in crate::serve) fn complete(&mut self, n: usize) -> Result<()> {
        let (Some(row), Some(true), Some(ledger)) = (self.rows.get_mut(n), self.newer.get(n), &self.ledger) else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for id in &row.retractions {
            entries.push((Entry::of(&ledger.get(*id)?, &[]), false));
        }
        let full = RowOutcome::of_entries(&entries);
        row.message = if row.outcome == Outcome::NotAttempted {
            "not all of its actions were sent".to_owned()
        } else {
            full.message
        };
        (row.rewards, row.batch_ids, row.confirmed_at) = (full.rewards, full.batch_ids, full.confirmed_at);
        Ok(())
    }

    /// Writes the outcome file in the format of the uploaded file.
    pub(in crate::serve) fn file(mut self, plan: &PlanFile) -> Result<Vec<u8>> {
        for n in 0..self.rows.len() {
            self.complete(n)?;
        }
        let values: Vec<Vec<String>> = self.rows.iter().map(RowOutcome::cells).collect();
        let syntax = Syntax::of_output(None, plan.refunds.syntax);
        outcome_file::outcomes(&plan.refunds, syntax, &OUTCOME_COLUMNS, &values)
    }
}

/// Returns the retractions of a row in their present states: those of the batch for its order, those that the stored outcome
/// names, and the later attempts that have superseded any of them.
fn sent_actions(ledger: &Ledger, batch: &str, of_batch: &[StateLine], stored: &[i64]) -> Result<Vec<SentAction>> {
    let mut lines = of_batch.to_vec();
    for id in stored {
        if lines.iter().all(|line| line.id != *id) {
            lines.extend(ledger.state_line(*id)?);
        }
    }
    let mut later = Vec::new();
    for line in lines.iter().filter(|line| line.state == State::Superseded) {
        later.extend(ledger.later_attempts(line.id)?);
    }
    let known: BTreeSet<i64> = lines.iter().map(|line| line.id).collect();
    later.sort_by_key(|line| line.id);
    later.dedup_by_key(|line| line.id);
    let sent =
        |line: StateLine, is_earlier| SentAction { id: line.id, action: line.action, state: line.state, is_earlier };
    let is_earlier = |line: &StateLine| line.batch.as_deref() != Some(batch);
    let later = later.into_iter().filter(|line| !known.contains(&line.id)).map(|line| sent(line, false));
    Ok(lines
        .into_iter()
        .map(|line| (is_earlier(&line), line))
        .map(|(is_earlier, line)| sent(line, is_earlier))
        .chain(later)
        .collect())
}

/// Returns the outcome of a row that this run has not sent, from the plan: the planned outcome, or *not attempted*.
fn not_applied(planned: &[String]) -> RowOutcome {
    let step = cell_of(planned, "recoup_plan");
    let known = Outcome::ALL.into_iter().find(|outcome| outcome.words() == step);
    let message = match (known, step) {
        (Some(_), _) => cell_of(planned, "recoup_why").to_owned(),
        (None, "sent before") => "it was sent before and is followed".to_owned(),
        (None, _) => "not sent yet".to_owned(),
    };
    let mut row = RowOutcome::new(known.unwrap_or(Outcome::NotAttempted), message);
    cell_of(planned, "recoup_decision").clone_into(&mut row.decision);
    cell_of(planned, "recoup_evidence").clone_into(&mut row.evidence);
    row
}

/// Returns the planned cells of a row. All rows of an order share the plan of the order's first row.
fn planned(plan: &PlanFile, row: usize) -> &[String] {
    let order = plan.refunds.rows.get(row).and_then(|row| plan.refunds.orders.get(row.order?));
    let first = order.and_then(|order| order.rows.first().copied()).unwrap_or(row);
    plan.planned.get(first).map_or(&[], Vec::as_slice)
}

/// Returns the number of actions that the plan of a row sends. A request by order ID and action tracker counts as one
/// action.
fn planned_actions(planned: &[String]) -> usize {
    let actions = cell_of(planned, "recoup_action");
    if actions.starts_with("order:") { 1 } else { actions.split_whitespace().count() }
}

pub(super) fn to_json(rows: &[RowOutcome]) -> Result<Vec<u8>> {
    serde_json::to_vec(rows).map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))
}

fn of_json(id: &str, bytes: &[u8]) -> Result<Vec<RowOutcome>> {
    serde_json::from_slice(bytes).map_err(|_not_outcomes| damaged(id))
}

fn damaged(id: &str) -> Error {
    Error::new(Kind::Storage, format!("the outcomes of batch {id} are damaged"))
        .hint("apply the batch again: nothing is sent twice, and the outcomes are written again")
}
