//! Formats the status of index and ledger as text.

use super::{QuotaLine, Status};
use crate::model::budget::WaitReason;
use crate::model::counted;
use crate::model::program_rule::ProgramRule;
use crate::report::table;
use crate::store::ledger::State;
use crate::store::server_facts::ServerFacts;

/// A section of the list of open retractions: its title, and the states that it contains.
type OpenPart = (&'static str, fn(State) -> bool);

/// The sections of the list of open retractions. The title of each section contains the command that continues its
/// retractions.
const OPEN_PARTS: [OpenPart; 3] = [
    ("open (run `recoup verify`):", |state| !matches!(state, State::Planned | State::HandedOver)),
    ("planned, nothing was sent (run `recoup retract` again):", |state| state == State::Planned),
    ("in a reversal file (hand it in, then run `recoup file check`):", |state| state == State::HandedOver),
];

impl QuotaLine {
    fn text(&self) -> String {
        let mut text = match self.limit {
            Some(limit) => {
                format!("{} of {} used, {} left", self.used, counted(limit, "request"), self.left.unwrap_or(0))
            }
            None => format!("{} in the last hour, no limit known", counted(self.used, "request")),
        };
        let mut add = |part: String| text.push_str(&part);
        if self.limit.is_some() {
            add(format!(" ({:.0}% kept for retractions)", self.reserve * 100.0));
        }
        if let Some(resets_at) = &self.resets_at {
            add(format!(", the window ends at {resets_at}"));
        }
        if let Some(rate) = self.rate {
            add(format!(", at most {rate:.1}/s"));
        }
        if let (Some(until), Some(reason)) = (&self.waiting_until, self.wait_reason) {
            let whom = if reason == WaitReason::QuotaUsed.as_str() { "crawls wait" } else { "waiting" };
            add(format!(", {whom} until {until} ({reason})"));
            if reason == WaitReason::Implausible.as_str() {
                add("; `recoup quota clear` ends the wait".to_owned());
            }
        }
        format!("quota of {}: {text}", self.host)
    }
}

fn server_line(server: &ServerFacts) -> String {
    let role = if server.is_primary { "primary" } else { "STANDBY: nothing can be written" };
    let safe = if server.fsync { "" } else { ", fsync OFF" };
    let tls = server.tls.as_deref().unwrap_or("no TLS");
    let mib = server.tables.iter().map(|table| table.bytes).sum::<i64>() >> 20;
    let standbys = match (server.standbys, server.waits_for_standby) {
        (0, _) => "no standby".to_owned(),
        (count, true) => format!("{} (synchronous)", counted(count as u64, "standby connection")),
        (count, false) => format!("{} (asynchronous)", counted(count as u64, "standby connection")),
    };
    format!("server PostgreSQL {}, {role}{safe}, {standbys}, {tls}, {mib} MiB", server.version)
}

impl Status {
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (&self.tenant, &self.account_sid) {
            (Some(tenant), Some(sid)) => lines.push(format!("tenant {tenant} (Account SID {sid})")),
            _ => lines.push("there is no index yet: run `recoup crawl`".to_owned()),
        }
        lines.push(format!("index {}", self.database));
        lines.push(format!("ledger {}", self.ledger));
        lines.extend(self.server.as_ref().map(server_line));
        // The problems at the end of the text include this reason.
        let blocked = self.blocked.iter().filter(|_| self.problems.is_none());
        lines.extend(blocked.map(|block| format!("ATTENTION: nothing can be sent: {}", block.line())));
        if let Some(coverage) = &self.coverage {
            let age = self.age_seconds.map(|s| format!(", {} ago", human_duration(s))).unwrap_or_default();
            lines.push(match &coverage.as_of {
                Some(as_of) => format!(
                    "{} as of {as_of}{age}: {} of {} and {} read",
                    if coverage.complete { "complete" } else { "NOT complete" },
                    coverage.accounts_read,
                    counted(coverage.accounts_known, "account"),
                    counted(coverage.rewards_read, "reward")
                ),
                None => "no crawl has finished yet".to_owned(),
            });
        }
        if !self.runs.is_empty() {
            let rows = self.runs.iter().map(|run| {
                [
                    run.started_at.clone(),
                    run.finished_at.clone().unwrap_or_else(|| "unfinished: the next crawl resumes it".to_owned()),
                    if run.refresh { format!("{}, refresh", run.source) } else { run.source.clone() },
                    format!("{}/{}", run.accounts_read, run.accounts_known),
                    run.requests.to_string(),
                    if run.complete { "complete".to_owned() } else { run.gaps.join("; ") },
                ]
            });
            lines.extend(
                table(["run began", "ended", "source", "accounts", "requests", ""], rows).lines().map(str::to_owned),
            );
        }
        lines.extend(self.quota.iter().map(QuotaLine::text));
        if let Some(clock) = &self.clock {
            lines.push(match clock.seconds {
                None => format!("clock: the vendor's responses carry no date, as of {}", clock.at),
                Some(0) => format!("clock: this machine's clock agreed with the vendor's at {}", clock.at),
                Some(seconds) => {
                    let (apart, way) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
                    format!("clock: this machine's clock was {apart} s {way} the vendor's at {}", clock.at)
                }
            });
        }
        lines.extend(self.judged_by.warning().map(str::to_owned));
        if self.failed_accounts > 0 {
            lines.push(format!(
                "{} could not be read; list them with --failed-accounts",
                counted(self.failed_accounts, "account")
            ));
        }
        if self.failed.as_ref().is_some_and(Vec::is_empty) {
            lines.push("accounts that the last run could not read: none".to_owned());
        }
        for failed in self.failed.iter().flatten() {
            lines.push(format!("  {}: {}", failed.account_id, failed.reason));
        }
        if self.retractions.is_empty() {
            lines.push("no retractions".to_owned());
        } else {
            let counts: Vec<String> = self.retractions.iter().map(|(state, n)| format!("{n} {state}")).collect();
            lines.push(format!("retractions: {}", counts.join(", ")));
        }
        for (title, is_part) in OPEN_PARTS {
            let mut part = self.open.iter().filter(|open| is_part(open.state)).peekable();
            if part.peek().is_none() {
                continue;
            }
            lines.push(title.to_owned());
            let rows = part.map(|open| {
                [
                    open.id.to_string(),
                    open.order_id.clone(),
                    open.action_id.clone().unwrap_or_default(),
                    open.state.as_str().to_owned(),
                    open.since.clone(),
                ]
            });
            lines.extend(
                table(["id", "order", "action", "state", "since"], rows).lines().map(|line| format!("  {line}")),
            );
        }
        lines.extend(self.program_rules.iter().map(ProgramRule::dated_line));
        // If the text ends with the problems, it does not list refused credentials, because the problems include them.
        for refusal in self.refusals.iter().filter(|_| self.problems.is_none()) {
            let (command, at, message) = (&refusal.command, &refusal.at, &refusal.message);
            lines.push(format!("ATTENTION: `recoup {command}` was refused at {at}: {message}"));
        }
        for again in self.standing_again.iter().filter(|_| self.problems.is_none()) {
            lines.push(format!(
                "ATTENTION: retraction {} of order {} was proven, but reward {} does not read as cancelled; run `recoup verify {}`",
                again.id, again.order_id, again.reward_id, again.id
            ));
        }
        for problem in self.problems.iter().flatten() {
            lines.push(format!("PROBLEM: {}", problem.line()));
        }
        lines
    }
}

/// Formats a duration in its largest fitting unit.
pub fn human_duration(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
