//! Sends a batch: first the trial orders of each program, then the other orders, oldest conversion first. After the
//! last send, the batch follows every sent row.
//!
//! The batch sends its rows before it reads their proof, because the vendor's deadlines apply to sends. The batch stops
//! if the vendor refuses the credentials. The batch skips a program if its trial cancelled no reward.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::choose::{Candidate, trial};
use super::outcome::{Outcome, RowOutcome, severity};
use super::rows::Item;
use super::{Batch, SEND};
use crate::error::{Error, Kind, Result};
use crate::model::time_left::{duration, time_left};
use crate::model::{ActionId, counted};
use crate::retract::checks::Finding;
use crate::retract::checks::Override;
use crate::retract::dispatch::{Dispatched, Sent};
use crate::retract::plan::Step;
use crate::retract::receipt::Entry;
use crate::retract::send::Sender;
use crate::retract::{
    Context, FollowSettings, Options, SubmissionPolling, WriterSettings, affects_every_order, checklist,
    plan_fingerprint, verify,
};
use crate::store::ledger::{Ledger, State};

/// Time after a confirmed retraction during which its program needs no trial.
pub const TRUSTED_FOR: Duration = Duration::from_hours(30 * 24);

impl Batch<'_> {
    pub(super) async fn send_all(
        &mut self,
        writer: &WriterSettings,
        ledger: &Ledger,
        candidates: &[Candidate],
        trusted: &BTreeSet<String>,
    ) -> Result<()> {
        let first = trial(candidates, trusted);
        let tried: Vec<&Candidate> = candidates.iter().filter(|one| first.contains(&one.row)).collect();
        self.send_these(writer, ledger, &tried).await;
        let failed = if tried.is_empty() || self.ended.is_some() {
            BTreeSet::new()
        } else {
            self.ctx.report.note(format!("waiting for the {} that went first", counted(tried.len(), "order")));
            let (failed, ended) = self.failed_programs(&tried).await?;
            self.ended = ended;
            // If a signal or an error interrupts the wait for the trial, no program counts as failed.
            if self.ended.is_some() { BTreeSet::new() } else { failed }
        };
        for program in &failed {
            let name = if program.is_empty() { "of no name".to_owned() } else { program.clone() };
            self.ctx.report.warn(format!("in program {name} nothing was taken back, so its other orders are not sent"));
            for step in checklist::PROGRAM_RULE {
                self.ctx.report.note(format!("program rule: {step}"));
            }
        }
        let mut rest = Vec::new();
        for one in candidates.iter().filter(|one| !first.contains(&one.row)) {
            if failed.contains(&one.program) {
                self.items[one.row].end(Outcome::NotAttempted, "the trial of its program took nothing back");
            } else {
                rest.push(one);
            }
        }
        self.send_these(writer, ledger, &rest).await;
        Ok(())
    }

    async fn send_these(&mut self, writer: &WriterSettings, ledger: &Ledger, these: &[&Candidate]) {
        if these.is_empty() {
            return;
        }
        let progress = self.ctx.report.progress("orders sent");
        let began = Instant::now();
        // All rows of the batch share one client, because building a client reads the token and every certificate.
        let sender = match Sender::new(self.ctx, writer) {
            Ok(sender) => sender,
            Err(error) => {
                for one in these {
                    self.items[one.row].end(Outcome::NotAttempted, format!("not tried: {error}"));
                }
                self.ended.get_or_insert(error);
                return;
            }
        };
        for (n, one) in these.iter().enumerate() {
            if self.ctx.stop.is_cancelled() {
                self.ended.get_or_insert_with(|| {
                    Error::new(Kind::Interrupted, "interrupted; what was sent is in the ledger")
                        .hint("run the same file again: it does only what is left")
                });
            }
            let item = &mut self.items[one.row];
            if let Some(error) = &self.ended {
                item.end(Outcome::NotAttempted, format!("not tried: {error}"));
                continue;
            }
            progress.show(n as u64, Some(these.len() as u64), &left(self.ctx, began, n, these.len()));
            let ended = send_item(self.ctx, &sender, ledger, item).await;
            self.ended = ended;
        }
    }

    /// Returns the programs without a confirmed trial order, and the error that ended the wait for the trial early.
    async fn failed_programs(&self, tried: &[&Candidate]) -> Result<(BTreeSet<String>, Option<Error>)> {
        let ids: Vec<i64> = tried.iter().flat_map(|one| self.items[one.row].sent.iter().copied()).collect();
        let ended = self.look_at(&ids, SubmissionPolling::Always).await?;
        let ledger = self.ctx.open_ledger()?;
        let mut failed: BTreeSet<String> = tried.iter().map(|one| one.program.clone()).collect();
        for one in tried {
            for id in &self.items[one.row].sent {
                if matches!(ledger.get(*id)?.state, State::Confirmed | State::Partial) {
                    failed.remove(&one.program);
                }
            }
        }
        Ok((failed, ended))
    }

    /// Follows every open retraction of the batch until it is proven or the time is up.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let ids: Vec<i64> = self.items.iter().flat_map(|item| item.sent.iter().chain(&item.before).copied()).collect();
        let ledger = self.ctx.open_ledger()?;
        let mut open = Vec::new();
        for id in ids {
            // Skips proven retractions, because a batch may have thousands of them.
            if ledger.get(id)?.state.is_open() {
                open.push(id);
            }
        }
        let problem = self.look_at(&open, SubmissionPolling::Sparingly { now: false }).await?;
        if let Some(problem) = problem {
            self.ended.get_or_insert(problem);
        }
        Ok(())
    }

    /// Follows the retractions `ids` until none of them is open or the time is up. Returns only an error that ended the
    /// reading of all retractions.
    async fn look_at(&self, ids: &[i64], submissions: SubmissionPolling) -> Result<Option<Error>> {
        if ids.is_empty() {
            return Ok(None);
        }
        let Some(follows) = self.items.first().map(|item| FollowSettings { submissions, ..item.options.follows })
        else {
            return Ok(None);
        };
        let receipts = verify::run(self.ctx, ids, true, &follows).await?;
        let errors = receipts.into_iter().filter_map(|receipt| receipt.error);
        Ok(errors.filter(affects_every_order).min_by_key(|error| error.kind.rank()))
    }
}

/// Estimates the time for the remaining orders of the batch, including waits for the Brand quota. Each order of a batch
/// takes one request to send and one request to prove.
fn left(ctx: &Context<'_>, began: Instant, done: usize, total: usize) -> String {
    let per_second = done as f64 / began.elapsed().as_secs_f64().max(0.001);
    if done == 0 {
        return String::new();
    }
    let (clock, quota) = (ctx.clock, ctx.brand.stats().quota);
    let requests = (total - done + total) as u64;
    let seconds = time_left(requests, 2.0 * per_second, &quota, 0, clock.now_ms());
    format!("about {} until all of it is proven", duration(seconds))
}

/// Sends the actions of one row. Returns only an error that affects every row. An error that affects only one row
/// becomes the outcome of that row.
async fn send_item(ctx: &Context<'_>, sender: &Sender, ledger: &Ledger, item: &mut Item<'_>) -> Option<Error> {
    let plan = item.plan.take()?;
    let options: Options = item.options.clone();
    let mut ended = None;
    for action in plan.actions.iter().filter(|action| action.step == Step::Send) {
        let error = match sender.send(ctx, ledger, &plan, action, &options).await {
            Ok(Dispatched { retraction, sent, error }) => {
                item.unsent = item.unsent.saturating_sub(1);
                item.changed += usize::from(sent == Sent::Now);
                if sent == Sent::Before { &mut item.before } else { &mut item.sent }.push(retraction.id);
                error
            }
            Err(error) => {
                let outcome = if error.kind == Kind::Refused { Outcome::Stopped } else { Outcome::NotAttempted };
                item.end(outcome, error.message.clone());
                Some(error)
            }
        };
        if let Some(error) = error.filter(affects_every_order) {
            ended = Some(error);
            break;
        }
    }
    item.plan = Some(plan);
    ended
}

impl Item<'_> {
    /// Returns the fingerprint of this batch row's plan, reason and ticket.
    pub(super) fn name(&self) -> String {
        let Self { plan, options, .. } = self;
        let named = |plan| json!([plan_fingerprint::name(plan, options), options.reason, options.ticket]).to_string();
        plan.as_ref().map(|plan| plan_fingerprint::short_hash(&named(plan))).unwrap_or_default()
    }

    pub(super) fn is_again(&self) -> bool {
        self.plan.iter().flat_map(|plan| &plan.actions).any(|action| action.again.is_some())
    }

    pub(super) fn overridden(&self) -> Vec<Override> {
        self.plan.iter().flat_map(|plan| &plan.actions).flat_map(|action| action.findings.overridden()).collect()
    }

    pub(super) fn actions_to_send(&self) -> String {
        let plan = self.plan.iter().flat_map(|plan| &plan.actions).filter(|action| action.step == Step::Send);
        let name = |action: &crate::retract::plan::ActionPlan| action.target.key();
        plan.map(|action| name(action).trim_start_matches("action:").to_owned()).collect::<Vec<_>>().join(" ")
    }

    /// Returns how this batch row differs from the plan file; `None` if the two are equal. An action that recoup sent
    /// after it wrote the plan file is not a difference.
    pub(super) fn unlike(&self, planned: &[String]) -> Option<String> {
        let cell = |cells: &[String], n: usize| cells.get(n).cloned().unwrap_or_default();
        let now = self.planned();
        let gone = self.plan.iter().flat_map(|plan| &plan.actions).filter(|action| action.step != Step::Send);
        let sent: Vec<&str> = gone
            .filter(|action| matches!(action.step, Step::Follow(_)))
            .filter_map(|action| action.target.action_id().map(ActionId::as_str))
            .collect();
        if cell(planned, 4) != now[4] {
            return Some(format!(
                "the plan has disposition code {:?}, and {:?} was asked for",
                cell(planned, 4),
                now[4]
            ));
        }
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<String>>();
        let (actions, rewards) = (cell(planned, 1), words(&cell(planned, 2)));
        if !sent.is_empty() {
            let left: Vec<&str> = actions.split(' ').filter(|action| !sent.contains(action)).collect();
            let same = left.join(" ") == now[1] && words(&now[2]).is_subset(&rewards);
            return (!same).then(|| "it has other actions or rewards now than in the plan".to_owned());
        }
        if actions != now[1] {
            return Some("it has other actions now than in the plan".to_owned());
        }
        if rewards != words(&now[2]) || cell(planned, 3) != now[3] {
            let then = cell(planned, 3);
            return Some(format!(
                "its rewards are not as in the plan: worth {then:?} then, {:?} now; plan again",
                now[3]
            ));
        }
        None
    }

    pub(super) fn planned(&self) -> Vec<String> {
        let Some(candidate) = self.candidate(0) else {
            let (word, why) = match (&self.done, self.same_as) {
                (Some(done), _) => (done.outcome.words().to_owned(), done.message.clone()),
                (None, Some(_)) => ("same order as above".to_owned(), String::new()),
                (None, None) if !self.before.is_empty() => {
                    ("sent before".to_owned(), "nothing is sent again".to_owned())
                }
                (None, None) => (String::new(), String::new()),
            };
            let mut cells = vec![String::new(); super::PLAN_COLUMNS.len()];
            let (word, why) = match self.planned_adjustment() {
                Some((word, left)) if self.done.is_none() => {
                    cells[3] = left;
                    (word, "refunded in part: the action's amount is changed to this".to_owned())
                }
                _ => (word, why),
            };
            (cells[0], cells[super::WHY]) = (word, why);
            (cells[super::DECISION], cells[super::EVIDENCE]) = self.words();
            return cells;
        };
        let actions = || self.plan.iter().flat_map(|plan| &plan.actions).filter(|action| action.step == Step::Send);
        let rewards: Vec<&str> =
            actions().flat_map(|action| &action.rewards).map(|reward| reward.reward_id.as_str()).collect();
        let worth: Vec<String> = candidate.value.iter().map(|(unit, worth)| format!("{worth} {unit}")).collect();
        let why: Vec<String> = actions().flat_map(|action| action.findings.list()).map(Finding::line).collect();
        let (decision, evidence) = self.words();
        vec![
            SEND.to_owned(),
            self.actions_to_send(),
            rewards.join(" "),
            worth.join(" "),
            self.options.disposition.clone(),
            candidate.verdict.as_str().to_owned(),
            why.join("; "),
            decision,
            evidence,
        ]
    }

    /// Sets the final outcome of the batch row. Takes the outcome from the ledger if the ledger has retractions of the
    /// row.
    pub(super) fn conclude(&mut self, ledger: Option<&Ledger>, dry_run: bool) -> Result<()> {
        let ids: Vec<(i64, bool)> =
            self.before.iter().map(|id| (*id, true)).chain(self.sent.iter().map(|id| (*id, false))).collect();
        if ids.is_empty() {
            let unsent = self.unsent;
            if self.done.is_none() && self.same_as.is_none() {
                let message = match (self.adjust, dry_run) {
                    (Some(adjustment), true) => format!("a dry run: it would be adjusted to {}", adjustment.left),
                    (None, true) => "a dry run: it would be sent".to_owned(),
                    (_, false) => "it was not sent".to_owned(),
                };
                self.done = Some(RowOutcome::new(Outcome::NotAttempted, message));
            }
            if let Some(done) = &mut self.done {
                done.unsent = unsent;
            }
            return Ok(());
        }
        let Some(ledger) = ledger else { return Ok(()) };
        let mut entries = Vec::new();
        for (id, before) in ids {
            entries.push((Entry::of(&ledger.get(id)?, &[]), before));
        }
        let mut done = RowOutcome::of_entries(&entries);
        // The row counts as not attempted if recoup did not send one of its actions and no other action has a more
        // severe outcome.
        if self.unsent > 0 && severity(Outcome::NotAttempted) > severity(done.outcome) {
            done.outcome = Outcome::NotAttempted;
            done.message = format!("{} of its actions were not sent", self.unsent);
        }
        // The outcome of an unsent action replaces the outcome of the row's other actions if it is more severe.
        if let Some(stopped) = self.done.take().filter(|stopped| severity(stopped.outcome) > severity(done.outcome)) {
            done.outcome = stopped.outcome;
            done.message = stopped.message;
        }
        done.unsent = self.unsent;
        self.done = Some(done);
        Ok(())
    }
}
