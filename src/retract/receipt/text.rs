//! Renders a receipt as text for a ticket. The text of a receipt contains no account ID.

use super::{Entry, Mark, Receipt};
use crate::model::program_rule::{ProgramRule, RuleState};
use crate::model::{Coverage, Target, counted};
use crate::report::{one_line, table};
use crate::retract::checks::{Check, Finding};
use crate::retract::file::FileLine;
use crate::retract::plan::{Plan, Step};
use crate::retract::referral::ReferralLine;
use crate::retract::{Options, checklist, rule};
use crate::store::Identity;
use crate::store::ledger::Channel;

impl Entry {
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let what = match (&self.action_id, &self.action_tracker_id) {
            _ if self.channel == Channel::Reward => {
                format!("reward {}", self.rewards.first().map_or("unknown", |reward| &reward.reward_id))
            }
            (Some(id), _) => format!("action {id}"),
            (None, Some(tracker)) => format!("every action of this order under action tracker {tracker}"),
            (None, None) => "action unknown".to_owned(),
        };
        let kind = if self.channel == Channel::Modification { "adjustment" } else { "retraction" };
        let number = self.id.map(|id| format!(" ({kind} {id})")).unwrap_or_default();
        let before = if self.was_found && self.sent.is_some() { " (sent before; nothing was sent now)" } else { "" };
        lines.push(format!("{what}{number}: {}{before}", self.state));
        // The text of a stopped entry does not repeat the reason, because the findings below it contain the reason.
        let is_said = self.state == "stopped" && self.findings.iter().any(Finding::stops);
        lines.push(format!("  {}", if is_said { "nothing was sent" } else { &self.message }));
        if let Some(sent) = &self.sent {
            let parameters: Vec<String> = sent
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            let at = self.sent_at.as_deref().unwrap_or_default();
            lines.push(format!("  sent {at} by {}: {}", self.person.as_deref().unwrap_or("?"), parameters.join(" ")));
        }
        if let (Some(asked), Some(approved)) = (&self.person, &self.approved_by) {
            lines.push(format!("  asked for by {asked}, approved by {approved}"));
        }
        if let Some(batch_id) = &self.batch_id {
            lines.push(format!("  vendor's batch ID {batch_id}"));
        }
        for (label, text) in [("reason", &self.reason), ("ticket", &self.ticket), ("confirmed", &self.confirmed_at)] {
            if let Some(text) = text {
                lines.push(format!("  {label} {text}"));
            }
        }
        lines.extend(self.attempts_before.iter().map(|attempt| format!("  before: {}", attempt.line())));
        if let Some(FileLine { name, action_tracker_id, reason_code, .. }) = &self.file {
            lines.push(format!(
                "  handed over in {name}: action tracker {action_tracker_id}, Amount=0, reason {reason_code}"
            ));
        }
        if let Some(change) = &self.change {
            lines.extend(change.table().into_iter().map(|line| format!("  {line}")));
        }
        let rows = self.rewards.iter().map(|reward| {
            [
                reward.reward_id.clone(),
                reward.reward_source.clone().unwrap_or_default(),
                reward.amount(),
                reward.before.clone(),
                reward.after.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        lines.extend(
            table(["reward", "source", "amount", "before", "after"], rows).lines().map(|line| format!("  {line}")),
        );
        lines.extend(self.referrals.iter().flat_map(ReferralLine::lines).map(|line| format!("  {line}")));
        lines.extend(self.rule_lines().into_iter().map(|line| format!("  {line}")));
        lines.extend(self.findings.iter().flat_map(|finding| finding_lines(finding, "  ")));
        lines.extend(self.check.iter().map(|step| format!("  check: {step}")));
        each_one_line(lines)
    }

    /// Returns the program rules that neither a finding nor the checklist mentions.
    pub fn rule_lines(&self) -> Vec<String> {
        self.unsaid_rules().into_iter().map(ProgramRule::dated_line).collect()
    }

    /// Returns the program rules that [`Entry::rule_lines`] formats.
    pub fn unsaid_rules(&self) -> Vec<&ProgramRule> {
        if self.state == "unconfirmed" {
            return Vec::new();
        }
        unsaid(&self.program_rules, &self.findings).collect()
    }

    /// Returns [`Entry::lines`] with all events.
    pub fn full_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.extend(self.events.iter().map(|event| {
            let what = if event.kind == "state" { event.state.as_str() } else { &event.kind };
            format!("  {} {what}: {}", event.at, event.message)
        }));
        each_one_line(lines)
    }
}

impl Receipt {
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "order {} · tenant {} · Account SID {}{}",
            self.order_id,
            self.tenant,
            self.account_sid,
            if self.dry_run { " · dry run" } else { "" }
        )];
        for entry in &self.retractions {
            lines.extend(entry.lines());
        }
        let is_said = self.retractions.iter().any(|entry| entry.state == "stopped");
        if let Some(error) = self.error.as_ref().filter(|_| !is_said) {
            lines.push(format!("ended early: {}", error.message));
        }
        lines.push(coverage_line(&self.coverage));
        lines.extend(self.ledger.as_ref().map(Mark::line));
        // The checklist of an unconfirmed entry already contains the program rule.
        let unsettled = self.retractions.iter().any(|entry| entry.state == "unconfirmed");
        let mut sent = self.retractions.iter().filter(|entry| entry.sent_now).peekable();
        if !unsettled && self.first && sent.peek().is_some() {
            if !sent.all(|entry| rule::is_found(&entry.program_rules)) {
                lines.extend(checklist::PROGRAM_RULE.iter().map(|step| format!("program rule: {step}")));
            }
            lines.push(format!("proof at the vendor: {}", checklist::WHERE_TO_LOOK));
        }
        each_one_line(lines)
    }
}

/// Escapes line breaks, so that text from a person or the vendor cannot forge a line of the receipt.
fn each_one_line(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| one_line(&line).into_owned()).collect()
}

/// Returns the program rules that no finding mentions.
fn unsaid<'a>(rules: &'a [ProgramRule], findings: &[Finding]) -> impl Iterator<Item = &'a ProgramRule> {
    let is_said = findings.iter().any(|finding| matches!(finding.check, Check::NoRule | Check::RuleLimits));
    rules.iter().filter(move |rule| !is_said || matches!(rule.state, RuleState::Found | RuleState::NotReadable))
}

pub fn finding_lines(finding: &Finding, margin: &str) -> Vec<String> {
    let mut lines = vec![format!("{margin}{}", finding.line())];
    if finding.stops() {
        lines.push(format!("{margin}  → {}", finding.remedy_line()));
    } else if !finding.remedy.is_empty() {
        lines.push(format!("{margin}  → {}", finding.remedy));
    }
    lines
}

/// Formats how much of the tenant the index has read. *Confirmed* refers only to the rewards that recoup knows.
pub fn coverage_line(coverage: &Coverage) -> String {
    match &coverage.as_of {
        Some(as_of) => format!(
            "this speaks of the rewards known as of {as_of}: {} of {} read{}",
            coverage.accounts_read,
            counted(coverage.accounts_known, "account"),
            if coverage.complete { "" } else { "; the index is not complete" }
        ),
        None => "this speaks of the rewards known: no crawl has finished yet, so others may exist".to_owned(),
    }
}

/// Returns the lines of the plan that a person sees before the confirmation.
pub fn plan_lines(plan: &Plan, identity: &Identity, options: &Options, first: bool) -> Vec<String> {
    let mut lines =
        vec![format!("will retract for tenant {} (Account SID {}):", identity.tenant, identity.account_sid)];
    for action in &plan.actions {
        let what = match &action.target {
            Target::Action(action_id) => format!("action {action_id}"),
            Target::Order { action_tracker_id, .. } => format!("every action under action tracker {action_tracker_id}"),
        };
        let doing = match &action.step {
            Step::Send => {
                let code = &options.disposition;
                let again = if action.again.is_some() { "SEND IT AGAIN: " } else { "" };
                format!("{again}Amount=0, disposition code {code}")
            }
            Step::Follow(retraction) => {
                format!("sent before (retraction {}, {}); not sent again", retraction.id, retraction.state.as_str())
            }
            Step::AlreadyCancelled => "cancelled already; nothing to send".to_owned(),
            Step::Stop => "stops; nothing to send".to_owned(),
        };
        lines.push(format!("  order {}, {what}: {doing}", plan.order_id));
        if let Some(again) = &action.again {
            lines.extend(again.attempts.iter().map(|attempt| format!("    it was sent before: {}", attempt.line())));
            lines.extend(again.allowed_by.iter().map(|name| format!("    allowed by --override {name}")));
        }
        let rows = action.rewards.iter().map(|reward| {
            [
                reward.reward_id.clone(),
                reward.reward_source.clone().unwrap_or_default(),
                amount(reward.assigned, reward.unit.as_deref()),
                reward.state.clone(),
            ]
        });
        lines
            .extend(table(["reward", "source", "amount", "state now"], rows).lines().map(|line| format!("    {line}")));
        let referrals = ReferralLine::all(&action.referrals, &[]);
        lines.extend(referrals.iter().flat_map(ReferralLine::lines).map(|line| format!("    {line}")));
        let findings = action.findings.list();
        lines.extend(unsaid(&action.rules, findings).map(|rule| format!("    {}", rule.dated_line())));
        lines.extend(findings.iter().flat_map(|finding| finding_lines(finding, "    ")));
    }
    let mut sends = plan.actions.iter().filter(|action| action.step == Step::Send);
    if first && !sends.all(|action| rule::is_found(&action.rules)) {
        lines.push("this is the first retraction from this ledger, so make sure of this once:".to_owned());
        lines.extend(checklist::PROGRAM_RULE.iter().map(|step| format!("  {step}")));
    }
    lines
}

/// Formats the amount of a reward with its unit; empty if the amount is unknown.
pub(super) fn amount(assigned: Option<i64>, unit: Option<&str>) -> String {
    match (assigned, unit) {
        (Some(assigned), Some(unit)) => format!("{assigned} {unit}"),
        (Some(assigned), None) => assigned.to_string(),
        (None, _) => String::new(),
    }
}
