//! Use case: shows and clears the pauses that keep recoup from sending requests to a host.
//!
//! A pause that a host demanded is stored in the index, so a mistaken pause would stop every later command. Clearing a
//! pause sends no request to the host, and does not reset the requests that recoup itself has counted against a
//! configured quota.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::budget::WaitReason;
use crate::report::{self, Report};
use crate::store::budget::{BudgetLine, SharedBudget, budgets};
use crate::store::{Identity, Place};

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The host to clear: `advocate` or `brand`; `None` for both.
    pub host: Option<&'static str>,
    /// Shows the pauses and clears none.
    pub dry_run: bool,
    /// Skips the confirmation.
    pub yes: bool,
}

#[derive(Debug, Serialize)]
pub struct Cleared {
    pub dry_run: bool,
    /// The hosts to which recoup has sent requests with this index.
    pub hosts: Vec<HostWait>,
}

#[derive(Debug, Serialize)]
pub struct HostWait {
    /// The host's name, `advocate` or `brand`, and its base URL.
    pub host: String,
    /// The time before which recoup starts no request to the host, in RFC 3339; `null` if there is no pause.
    pub waiting_until: Option<String>,
    pub wait_reason: Option<&'static str>,
    /// `true` if recoup can clear the pause. recoup can clear a pause that the host demanded, but not a pause that
    /// follows from the configured `quota`.
    pub clearable: bool,
    pub cleared: bool,
}

impl HostWait {
    fn of(line: &BudgetLine) -> Self {
        let account = &line.account;
        let used_up = account.window_ends_ms.filter(|_| account.left_to_crawl() == Some(0));
        let wait = account.pause.map(|pause| (pause.until_ms, pause.reason));
        let wait = wait.or(used_up.map(|end| (end, WaitReason::QuotaUsed)));
        let moment = |ms: i64| jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.0}")).ok();
        Self {
            host: line.host.clone(),
            waiting_until: wait.and_then(|(until_ms, _)| moment(until_ms)),
            wait_reason: wait.map(|(_, reason)| reason.as_str()),
            clearable: account.pause.is_some() || (used_up.is_some() && account.limit_from_header.is_some()),
            cleared: false,
        }
    }

    fn line(&self, dry_run: bool) -> String {
        let (Some(until), Some(reason)) = (&self.waiting_until, self.wait_reason) else {
            return format!("{}: no pause", self.host);
        };
        let held = format!("{}: no request before {until} ({reason})", self.host);
        match (self.cleared, self.clearable) {
            (true, _) => format!("{held}: cleared"),
            (false, true) if dry_run => format!("{held}: would be cleared"),
            (false, true) => held,
            (false, false) => {
                format!("{held}: not cleared, because recoup counted it against `quota`; raise `quota` to end it")
            }
        }
    }
}

impl Cleared {
    pub fn lines(&self) -> Vec<String> {
        if self.hosts.is_empty() {
            return vec!["no request was sent with this index yet: there is no pause".to_owned()];
        }
        self.hosts.iter().map(|host| host.line(self.dry_run)).collect()
    }
}

/// Shows the pauses of the hosts, asks for confirmation, and clears the pauses.
///
/// # Errors
/// `Refused` if there is no terminal and `yes` is false; `Declined`; `Storage` if the index cannot be written.
pub async fn clear(
    index: &Place,
    owner: Option<&Identity>,
    options: Options,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<Cleared> {
    let lines = budgets(index, clock.now_ms())?;
    let is_wanted = |line: &&BudgetLine| options.host.is_none_or(|wanted| line.host.split(' ').next() == Some(wanted));
    let mut hosts: Vec<HostWait> = lines.iter().filter(is_wanted).map(HostWait::of).collect();
    if hosts.iter().any(|host| host.clearable) && !options.dry_run {
        if !options.yes {
            ask(&hosts, stop, report).await?;
        }
        for host in hosts.iter_mut().filter(|host| host.clearable) {
            host.cleared = SharedBudget::new(index, host.host.clone(), owner.cloned()).clear(clock.now_ms())?;
        }
    }
    Ok(Cleared { dry_run: options.dry_run, hosts })
}

async fn ask(hosts: &[HostWait], stop: &CancellationToken, report: &Report) -> Result<()> {
    if !report.can_ask() {
        return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was cleared")
            .hint("add --yes to skip the question, or --dry-run to see the pauses"));
    }
    for host in hosts {
        report.say(host.line(false));
    }
    let question =
        "Clear this? The next command sends requests at once. The vendor may refuse them and ask for a new pause.";
    report::confirm(question.to_owned(), stop, "nothing was cleared").await
}
