//! Use case: accepts a restored or lost ledger, after comparing it with the vendor's list of submissions.
//!
//! `accept_restored` adds each reversal and modification that the ledger lacks as already sent. Therefore recoup never
//! sends a reversal or modification from the vendor's list again. `recoup verify` follows the entries that `recoup
//! ledger accept` added. If the vendor's submissions list is incomplete, a person must explicitly continue without it.
//! The ledger records the decision to continue without the vendor's list. `recoup ledger accept` sends nothing that
//! changes data at the vendor.

mod compare;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::Context;
use super::checks::{Check, Findings};
use super::follow::indexed_rewards;
use super::match_submissions::uri_of;
use super::proof::Snapshot;
use super::readiness::{self, LedgerFault};
use super::receipt::Mark;
use super::reward_fetch::snapshot;
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target, counted, grouped};
use crate::report;
use crate::store::ProcessLock;
use crate::store::index::{IndexReader, IndexedReward};
use crate::store::ledger::{Channel, Found, Ledger, NewRetraction, Retraction};
use crate::vendor::brand::Submission;
use compare::{Comparison, Missing, compare};

/// Maximum number of pages that recoup reads from the vendor's submissions list.
const PAGES: usize = 1000;

/// Maximum number of days that the vendor keeps submissions (`docs/vendor/brand.md` §4).
const KEPT_DAYS: i64 = 90;

#[derive(Debug, Clone)]
pub struct AcceptOptions {
    pub ticket: String,
    pub reason: Option<String>,
    /// Whether the command skips the confirmation.
    pub yes: bool,
    /// Whether the command continues even if the vendor's submissions list is incomplete.
    pub without_vendor: bool,
}

#[derive(Debug, Serialize)]
pub struct Accepted {
    pub accepted: bool,
    /// The person who accepted the ledger; `null` if no ledger was accepted.
    pub by: Option<String>,
    /// The fault of the ledger: `copy`, `missing`, `another`, `older` or `forked`; `null` without a fault.
    pub trouble: Option<&'static str>,
    /// The earliest time after which the ledger may lack entries; `null` if unknown.
    pub since: Option<String>,
    pub reversals: u64,
    pub modifications: u64,
    /// Number of the vendor's reversals and modifications that the ledger has.
    pub matched: u64,
    /// The entries that recoup added to the ledger.
    pub added: Vec<Added>,
    /// Whether the vendor's submissions list covers the whole time from `since` to now.
    pub vouched: bool,
    pub risks: Vec<String>,
    pub ledger: Option<Mark>,
}

/// An entry that recoup added to the ledger.
#[derive(Debug, Serialize)]
pub struct Added {
    pub id: i64,
    #[serde(rename = "road")]
    pub channel: Channel,
    /// The order ID; empty if unknown.
    pub order_id: String,
    /// The ActionId; `null` if the submission has an order ID and an action tracker instead.
    pub action_id: Option<String>,
    pub batch_id: Option<String>,
    /// The submission date, in the vendor's format.
    pub submitted_at: Option<String>,
}

/// Compares a ledger with the vendor's submissions, and records it as the ledger that belongs to this index.
pub async fn run(ctx: &Context<'_>, options: &AcceptOptions) -> Result<Accepted> {
    let existing = ctx.ledger()?;
    let Some(fault) = ctx.read_index(|index| readiness::ledger_fault(index, existing))? else {
        return nothing(existing);
    };
    if matches!(fault, LedgerFault::Half(_)) {
        return Err(fault.refusal());
    }
    if !options.yes && !ctx.report.can_ask() {
        return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was accepted")
            .hint("add --yes to go ahead without a question"));
    }
    let known = existing.map_or_else(|| Ok(Vec::new()), Ledger::all)?;
    let since = since(&fault, &known);
    let mut gaps = Vec::new();
    let oldest = ctx.clock.now().saturating_sub(SignedDuration::from_hours(24 * KEPT_DAYS)).unwrap_or(Timestamp::MIN);
    if since.is_some_and(|since| since < oldest) {
        gaps.push(format!(
            "the ledger ends more than {KEPT_DAYS} days ago, and the vendor keeps its submissions for {KEPT_DAYS} days at most"
        ));
    }
    let rows = read_list(ctx, options, &mut gaps).await?;
    let comparison = compare(&rows, since, &known);
    if comparison.unreadable > 0 {
        gaps.push(format!(
            "the vendor's list has {} without what is taken back or changed",
            counted(comparison.unreadable, "submission")
        ));
    }
    if let Some(first) = gaps.first()
        && !options.without_vendor
    {
        return Err(Error::new(Kind::Refused, format!("the vendor's list does not cover what this ledger lacks: {first}")).hint(
            "bring the newest ledger back; to go on all the same, name --without-vendor: what was sent and is not in the \
             list could then be sent a second time",
        ));
    }
    let mut risks = gaps.clone();
    risks.extend(other_risks(&fault));
    let since_text = since.map(|since| format!("{since:.0}"));
    for line in plan_lines(&fault, since_text.as_deref(), &comparison, &risks, options) {
        if options.yes { ctx.report.note(line) } else { ctx.report.say(line) }
    }
    if !options.yes {
        let question = "Go on with this ledger? What it does not know could be sent a second time.";
        report::confirm(question.to_owned(), ctx.stop, "nothing was sent").await?;
    }
    let found = comparison.missing.iter().map(|missing| found(ctx, missing)).collect::<Result<Vec<_>>>()?;
    let lock = ProcessLock::try_take(ctx.ledger_place, "send")?.ok_or_else(|| {
        Error::new(Kind::Busy, "another process is sending from this ledger, or accepting it")
            .hint("run the same command again")
    })?;
    let ledger = ctx.open_ledger()?;
    let tombstones = ctx.read_index(|index| index.map(IndexReader::tombstones).transpose())?;
    if let Some(tombstones) = &tombstones
        && ledger.bury(tombstones, ctx.clock.now())? > 0
    {
        // recoup rewrites the ledger file, because a person's data that a newer ledger has erased must stay erased.
        ledger.rewrite()?;
    }
    let message = format!("accepted by {}: {}", ctx.actor.person, fault.describe());
    let details = details(&fault, since_text.as_deref(), &comparison, &risks, options);
    lock.check_held()?;
    let numbers = ledger.accept_restored(&found, &message, &details, ctx.clock.now())?;
    // recoup writes the ledger before the index. If the write to the index fails, the person can run the command again,
    // because the index is a cache.
    if tombstones.is_some() {
        let (id, head) = (ledger.ledger_id()?, ledger.head()?);
        ctx.write_index(|index| index.adopt_ledger(&id, &head))?;
    }
    let added = comparison.missing.iter().zip(&found).zip(numbers);
    let added = added.filter_map(|((missing, found), id)| Some(line_of(id?, missing, found))).collect();
    Ok(Accepted {
        accepted: true,
        by: Some(ctx.actor.person.clone()),
        trouble: Some(fault.as_str()),
        since: since_text,
        reversals: comparison.reversals,
        modifications: comparison.modifications,
        matched: comparison.matched + comparison.on_known,
        added,
        vouched: gaps.is_empty(),
        risks,
        ledger: Some(Mark { id: ledger.ledger_id()?, head: ledger.head()? }),
    })
}

/// Returns the earliest moment after which the ledger may lack entries; `None` if the ledger may lack all entries.
fn since(fault: &LedgerFault, known: &[Retraction]) -> Option<Timestamp> {
    let newest = || known.iter().filter_map(|retraction| retraction.events.last()?.at.parse().ok()).max();
    match fault {
        LedgerFault::Copy(of) => of.at.parse().ok().or_else(newest),
        // A process may have written to an older copy of the ledger, so the newest event does not show where the copy
        // diverged.
        LedgerFault::Older
        | LedgerFault::Forked
        | LedgerFault::Another
        | LedgerFault::Missing
        | LedgerFault::Half(_) => None,
    }
}

/// Reads as much of the vendor's submissions list as possible, and adds the reasons for an incomplete list to `gaps`.
async fn read_list(ctx: &Context<'_>, options: &AcceptOptions, gaps: &mut Vec<String>) -> Result<Vec<Submission>> {
    match ctx.brand.submissions(PAGES).await {
        Ok(list) => {
            if !list.complete {
                gaps.push("the vendor's list of submissions could not be read to its end".to_owned());
            }
            Ok(list.rows)
        }
        Err(error)
            if matches!(error.kind, Kind::Scope | Kind::Vendor)
                || (options.without_vendor && error.kind == Kind::Network) =>
        {
            gaps.push(format!("the vendor's list of submissions could not be read ({})", error.message));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn other_risks(fault: &LedgerFault) -> Vec<String> {
    let mut risks = Vec::new();
    if matches!(fault, LedgerFault::Missing | LedgerFault::Another | LedgerFault::Forked) {
        risks.push(format!(
            "what was sent more than {KEPT_DAYS} days ago is in no list any more; only the state of its rewards speaks against \
             sending it again"
        ));
    }
    risks.push("what was handed over by file since is in no list of submissions".to_owned());
    risks
}

fn plan_lines(
    fault: &LedgerFault,
    since: Option<&str>,
    comparison: &Comparison,
    risks: &[String],
    options: &AcceptOptions,
) -> Vec<String> {
    let since = since.map_or_else(|| "of the last 90 days".to_owned(), |since| format!("since {since}"));
    let mut lines = vec![
        fault.describe(),
        format!(
            "reversals and modifications {since} at the vendor: {}; known to this ledger: {}; to be written into it as sent: {}",
            grouped(comparison.reversals + comparison.modifications),
            grouped(comparison.matched + comparison.on_known),
            comparison.missing.len()
        ),
    ];
    if *fault == LedgerFault::Missing {
        lines.push("there is no ledger: a new one will be made".to_owned());
    }
    lines.extend(risks.iter().map(|risk| format!("risk: {risk}")));
    if options.without_vendor {
        lines.push(
            "risk: --without-vendor was named: what the list does not show could be sent a second time".to_owned(),
        );
    }
    lines
}

fn details(
    fault: &LedgerFault,
    since: Option<&str>,
    comparison: &Comparison,
    risks: &[String],
    options: &AcceptOptions,
) -> Value {
    let copy_of = if let LedgerFault::Copy(of) = fault { json!(of) } else { Value::Null };
    json!({
        "ticket": options.ticket,
        "reason": options.reason,
        "trouble": fault.as_str(),
        "copy_of": copy_of,
        "since": since,
        "reversals": comparison.reversals,
        "matched": comparison.matched,
        "on_known_actions": comparison.on_known,
        "unreadable": comparison.unreadable,
        "modifications": comparison.modifications,
        "without_vendor": options.without_vendor,
        "risks": risks,
    })
}

/// Builds the ledger entry for a submission that the ledger lacks, with the rewards as they were when the vendor
/// received the submission. The submission of a modification does not show what changed. Therefore any further change
/// of that action needs `--again`.
fn found(ctx: &Context<'_>, missing: &Missing) -> Result<Found> {
    let Missing { channel, target, submission } = missing;
    let indexed = indexed_rewards(ctx, target)?;
    let arrived = submission.submitted_at().unwrap_or_else(|| ctx.clock.now()).as_millisecond();
    let rewards: Vec<Snapshot> = indexed.iter().map(|reward| before(reward, arrived)).collect();
    let order_id = match target {
        Target::Order { order_id, .. } => order_id.clone(),
        Target::Action(_) => submission
            .order_id
            .clone()
            .or_else(|| submission.sent("OrderId").map(OrderId::new))
            .or_else(|| indexed.iter().find_map(|reward| reward.order_ids.first().cloned()))
            .unwrap_or_else(|| OrderId::new("")),
    };
    let parameters: serde_json::Map<String, Value> =
        submission.payload.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let mut findings = Findings::default();
    let evidence = "added from the vendor's list of submissions, because the ledger that sent it was lost";
    findings.warn(Check::Earlier, evidence, "");
    Ok(Found {
        retraction: NewRetraction {
            channel: *channel,
            target: target.clone(),
            order_id,
            disposition: submission.sent("DispositionCode").unwrap_or_default().to_owned(),
            reason: None,
            ticket: None,
            batch: None,
            program_id: indexed.iter().find_map(|reward| reward.reward.program_id.clone()),
            rewards: rewards.iter().map(|reward| RewardId::new(reward.reward_id.as_str())).collect(),
            plan: json!({ "rewards": rewards, "findings": findings.list(), "coverage": Value::Null }),
        },
        details: json!({
            "found": true,
            "batch_id": submission.batch_id,
            "queued_uri": uri_of(submission),
            "submitted_at": submission.submission_date,
            "request": { "method": method_of(*channel), "resource": "Actions", "parameters": parameters },
        }),
    })
}

fn method_of(channel: Channel) -> &'static str {
    if channel == Channel::Modification { "PUT" } else { "DELETE" }
}

/// Returns the reward's state when the vendor received the submission, without any later cancellation.
fn before(indexed: &IndexedReward, arrived_ms: i64) -> Snapshot {
    /// Tolerated difference between the clocks of two vendor systems.
    const CLOCKS: Duration = Duration::from_mins(1);
    let mut reward = indexed.reward.clone();
    let since = arrived_ms.saturating_sub(CLOCKS.as_millis() as i64);
    if reward.date_cancelled.is_some_and(|at| at >= since) {
        reward.date_cancelled = None;
        reward.statuses = None;
    }
    Snapshot { account_id: indexed.listed_by.as_str().to_owned(), ..snapshot(&reward, arrived_ms) }
}

fn line_of(id: i64, missing: &Missing, found: &Found) -> Added {
    Added {
        id,
        channel: found.retraction.channel,
        order_id: found.retraction.order_id.as_str().to_owned(),
        action_id: missing.target.action_id().map(ToString::to_string),
        batch_id: missing.submission.batch_id.clone(),
        submitted_at: missing.submission.submission_date.clone(),
    }
}

/// Returns the result for a missing ledger, or for a ledger without a fault.
fn nothing(ledger: Option<&Ledger>) -> Result<Accepted> {
    let Some(ledger) = ledger else {
        return Err(Error::new(Kind::Failed, "there is no ledger, and none was ever used with this index")
            .hint("nothing needs to be accepted: `recoup retract` makes one"));
    };
    Ok(Accepted {
        accepted: false,
        by: None,
        trouble: None,
        since: None,
        reversals: 0,
        modifications: 0,
        matched: 0,
        added: Vec::new(),
        vouched: true,
        risks: Vec::new(),
        ledger: Some(Mark { id: ledger.ledger_id()?, head: ledger.head()? }),
    })
}

impl Accepted {
    pub fn lines(&self) -> Vec<String> {
        if !self.accepted {
            return vec!["nothing is wrong with this ledger; nothing was changed".to_owned()];
        }
        let mut lines = vec![format!(
            "accepted by {}: {} and {} at the vendor, {} known, {} written down as sent",
            self.by.as_deref().unwrap_or_default(),
            counted(self.reversals, "reversal"),
            counted(self.modifications, "modification"),
            self.matched,
            self.added.len()
        )];
        for added in &self.added {
            let what = added.action_id.as_ref().map_or_else(String::new, |id| format!(", action {id}"));
            let batch = added.batch_id.as_deref().unwrap_or("unknown");
            let channel = added.channel.as_str();
            lines.push(format!(
                "  retraction {} ({channel}): order {}{what}, batch ID {batch}",
                added.id, added.order_id
            ));
        }
        if !self.vouched {
            lines.push("RISK: what the vendor's list does not show could be sent a second time".to_owned());
        }
        lines.extend(self.risks.iter().map(|risk| format!("risk: {risk}")));
        if let Some(Mark { id, head }) = &self.ledger {
            lines.push(format!("ledger {id}, event {}, head {}", head.sequence, head.hash));
        }
        if !self.added.is_empty() {
            lines.push("run `recoup verify` to see what came of them".to_owned());
        }
        lines
    }
}
