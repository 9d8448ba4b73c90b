//! The way out for a ledger that was restored, or lost: match it against what the vendor has received, and only then send
//! again.
//!
//! Each reversal and each modification of the vendor's list that the ledger does not know is written into it as sent, to be
//! followed by `verify`, so that it never goes out twice. Where the list cannot vouch for everything, a person has to name
//! that they go on without it, and the ledger keeps that. This module reads the vendor and must never send anything.

mod sort;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::follow::indexed_rewards;
use super::guard::{self, Trouble};
use super::judge::Snapshot;
use super::live::snapshot;
use super::receipt::Mark;
use super::reconcile::uri_of;
use super::{Context, ask};
use crate::error::{Error, Kind, Result};
use crate::model::{OrderId, RewardId, Target};
use crate::report::grouped;
use crate::store::ProcessLock;
use crate::store::index::{IndexReader, IndexedReward};
use crate::store::ledger::{Found, Ledger, NewRetraction, Retraction, Road};
use crate::vendor::brand::Submission;
use sort::{Missing, Sorted, sort};

/// Pages of the vendor's list that are read.
const PAGES: usize = 1000;

/// The vendor keeps submissions for 90 days at most (`docs/vendor/brand.md` §4).
const KEPT_DAYS: i64 = 90;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The ticket under which the restore is accounted for.
    pub ticket: String,
    /// Goes to the ledger.
    pub reason: Option<String>,
    /// No question.
    pub yes: bool,
    /// Go on although the vendor's list does not vouch for everything.
    pub without_vendor: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// Whether there was anything to accept.
    pub accepted: bool,
    /// What was wrong: `copy`, `missing`, `another`, `older`, `forked`; `null` where nothing was.
    pub trouble: Option<&'static str>,
    /// From when on the ledger did not know what was sent; `null` where that is not known.
    pub since: Option<String>,
    /// Reversals that the vendor lists since then.
    pub reversals: u64,
    /// Modifications that it lists since then.
    pub modifications: u64,
    /// Of both, known to the ledger.
    pub matched: u64,
    /// Written into the ledger.
    pub added: Vec<Added>,
    /// Whether the vendor's list vouches for everything since then.
    pub vouched: bool,
    /// What a person should know about it.
    pub risks: Vec<String>,
    /// The ledger afterwards.
    pub ledger: Option<Mark>,
}

/// What the ledger did not know.
#[derive(Debug, Serialize)]
pub struct Added {
    /// Its number in the ledger now.
    pub id: i64,
    /// A reversal or a modification.
    pub road: Road,
    /// The order, where it is known.
    pub order_id: String,
    /// The action, unless it went out by order ID and action tracker.
    pub action_id: Option<String>,
    /// The vendor's batch ID.
    pub batch_id: Option<String>,
    /// When the vendor received it, as it writes it.
    pub submitted_at: Option<String>,
}

/// Matches a ledger against the vendor's submissions and takes it as the one to go on with.
pub async fn run(ctx: &Context<'_>, options: &Options) -> Result<Accepted> {
    let existing = ctx.ledger()?;
    let Some(trouble) = ctx.read_index(|index| guard::trouble(index, existing))? else { return nothing(existing) };
    if matches!(trouble, Trouble::Half(_)) {
        return Err(guard::refusal(&trouble));
    }
    if !options.yes && !ctx.report.can_ask() {
        return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was accepted")
            .hint("add --yes to go ahead without a question"));
    }
    let known = existing.map_or_else(|| Ok(Vec::new()), Ledger::all)?;
    let since = since(&trouble, &known);
    let mut doubts = Vec::new();
    let oldest = ctx.clock.now().saturating_sub(SignedDuration::from_hours(24 * KEPT_DAYS)).unwrap_or(Timestamp::MIN);
    if since.is_some_and(|since| since < oldest) {
        doubts.push(format!(
            "the ledger ends more than {KEPT_DAYS} days ago, and the vendor keeps its submissions for {KEPT_DAYS} days at most"
        ));
    }
    let rows = read_list(ctx, options, &mut doubts).await?;
    let sorted = sort(&rows, since, &known);
    if sorted.unreadable > 0 {
        doubts.push(format!(
            "{} submission(s) of the vendor's list do not say what they take back or change",
            sorted.unreadable
        ));
    }
    if let Some(first) = doubts.first()
        && !options.without_vendor
    {
        return Err(Error::new(Kind::Refused, format!("the vendor's list cannot vouch for this ledger: {first}")).hint(
            "bring the newest ledger back; to go on all the same, name --without-vendor: what was sent and is not in the \
             list could then be sent a second time",
        ));
    }
    let mut risks = doubts.clone();
    risks.extend(other_risks(&trouble));
    let since_text = since.map(|since| format!("{since:.0}"));
    for line in plan_lines(&trouble, since_text.as_deref(), &sorted, &risks, options) {
        if options.yes { ctx.report.note(line) } else { ctx.report.say(line) }
    }
    if !options.yes {
        ask(ctx, "Go on with this ledger? What it does not know could be sent a second time.").await?;
    }
    let found = sorted.missing.iter().map(|missing| found(ctx, missing)).collect::<Result<Vec<_>>>()?;
    let _lock = ProcessLock::try_take(ctx.ledger_path, "send")?.ok_or_else(|| {
        Error::new(Kind::Busy, "another process is sending from this ledger, or accepting it")
            .hint("run the same command again")
    })?;
    let ledger = ctx.open_ledger()?;
    let tombstones = ctx.read_index(|index| index.map(IndexReader::tombstones).transpose())?;
    if let Some(tombstones) = &tombstones
        && ledger.bury(tombstones, ctx.clock.now())? > 0
    {
        // Whom a newer ledger has forgotten stays forgotten.
        ledger.rewrite()?;
    }
    let message = format!("accepted by a person: {}", trouble.describe());
    let details = details(&trouble, since_text.as_deref(), &sorted, &risks, options);
    let numbers = ledger.accept(&found, &message, &details, ctx.clock.now())?;
    // The ledger first: the index is a cache of it, and where this fails the command can simply be run again.
    if tombstones.is_some() {
        let (id, head) = (ledger.ledger_id()?, ledger.head()?);
        ctx.write_index(|index| index.adopt_ledger(&id, &head))?;
    }
    let added = sorted.missing.iter().zip(&found).zip(numbers);
    let added = added.filter_map(|((missing, found), id)| Some(line_of(id?, missing, found))).collect();
    Ok(Accepted {
        accepted: true,
        trouble: Some(trouble.as_str()),
        since: since_text,
        reversals: sorted.reversals,
        modifications: sorted.modifications,
        matched: sorted.matched + sorted.on_known,
        added,
        vouched: doubts.is_empty(),
        risks,
        ledger: Some(Mark { id: ledger.ledger_id()?, head: ledger.head()? }),
    })
}

/// From when on the ledger may not know what was sent; `None` where it may know nothing at all.
fn since(trouble: &Trouble, known: &[Retraction]) -> Option<Timestamp> {
    let newest = || known.iter().filter_map(|retraction| retraction.events.last()?.at.parse().ok()).max();
    match trouble {
        Trouble::Copy(of) => of.at.parse().ok().or_else(newest),
        // Where they parted nobody knows. An older copy may have been written to since it was put back, so that its newest
        // event says nothing.
        Trouble::Older | Trouble::Forked | Trouble::Another | Trouble::Missing | Trouble::Half(_) => None,
    }
}

/// The vendor's list, or as much of it as there is; what speaks against it goes to `doubts`.
async fn read_list(ctx: &Context<'_>, options: &Options, doubts: &mut Vec<String>) -> Result<Vec<Submission>> {
    match ctx.brand.submissions(PAGES).await {
        Ok(list) => {
            if !list.complete {
                doubts.push("the vendor's list of submissions could not be read to its end".to_owned());
            }
            Ok(list.rows)
        }
        Err(error)
            if matches!(error.kind, Kind::Scope | Kind::Vendor)
                || (options.without_vendor && error.kind == Kind::Network) =>
        {
            doubts.push(format!("the vendor's list of submissions could not be read ({})", error.message));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn other_risks(trouble: &Trouble) -> Vec<String> {
    let mut risks = Vec::new();
    if matches!(trouble, Trouble::Missing | Trouble::Another | Trouble::Forked) {
        risks.push(format!(
            "what was sent more than {KEPT_DAYS} days ago is in no list any more; only the state of its rewards speaks against \
             sending it again"
        ));
    }
    risks.push("what was handed over by file since is in no list of submissions".to_owned());
    risks
}

fn plan_lines(
    trouble: &Trouble,
    since: Option<&str>,
    sorted: &Sorted,
    risks: &[String],
    options: &Options,
) -> Vec<String> {
    let since = since.map_or_else(|| "of the last 90 days".to_owned(), |since| format!("since {since}"));
    let mut lines = vec![
        trouble.describe(),
        format!(
            "reversals and modifications {since} at the vendor: {}; known to this ledger: {}; to be written into it as sent: {}",
            grouped(sorted.reversals + sorted.modifications),
            grouped(sorted.matched + sorted.on_known),
            sorted.missing.len()
        ),
    ];
    if *trouble == Trouble::Missing {
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

/// What the ledger keeps of it.
fn details(trouble: &Trouble, since: Option<&str>, sorted: &Sorted, risks: &[String], options: &Options) -> Value {
    let copy_of = if let Trouble::Copy(of) = trouble { json!(of) } else { Value::Null };
    json!({
        "ticket": options.ticket,
        "reason": options.reason,
        "trouble": trouble.as_str(),
        "copy_of": copy_of,
        "since": since,
        "reversals": sorted.reversals,
        "matched": sorted.matched,
        "on_known_actions": sorted.on_known,
        "unreadable": sorted.unreadable,
        "modifications": sorted.modifications,
        "without_vendor": options.without_vendor,
        "risks": risks,
    })
}

/// The retraction that an unknown submission becomes: its rewards as they were when it arrived, as far as the index knows. What
/// a modification changed is not told from its form, so the same and any other change of that action needs `--again`.
fn found(ctx: &Context<'_>, missing: &Missing) -> Result<Found> {
    let Missing { road, target, submission } = missing;
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
    let warnings = ["taken over from the vendor's list of submissions, because the ledger it was sent from was lost"];
    Ok(Found {
        retraction: NewRetraction {
            road: *road,
            target: target.clone(),
            order_id,
            disposition: submission.sent("DispositionCode").unwrap_or_default().to_owned(),
            reason: None,
            ticket: None,
            batch: None,
            program_id: indexed.iter().find_map(|reward| reward.reward.program_id.clone()),
            rewards: rewards.iter().map(|reward| RewardId::new(reward.reward_id.as_str())).collect(),
            plan: json!({ "rewards": rewards, "warnings": warnings, "coverage": Value::Null }),
        },
        details: json!({
            "found": true,
            "batch_id": submission.batch_id,
            "queued_uri": uri_of(submission),
            "submitted_at": submission.submission_date,
            "request": { "method": method_of(*road), "resource": "Actions", "parameters": parameters },
        }),
    })
}

fn method_of(road: Road) -> &'static str {
    if road == Road::Modification { "PUT" } else { "DELETE" }
}

/// A reward as it was when the submission arrived: what was cancelled after that had stood until then.
fn before(indexed: &IndexedReward, arrived_ms: i64) -> Snapshot {
    /// How far two of the vendor's clocks may differ.
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
        road: found.retraction.road,
        order_id: found.retraction.order_id.as_str().to_owned(),
        action_id: missing.target.action_id().map(ToString::to_string),
        batch_id: missing.submission.batch_id.clone(),
        submitted_at: missing.submission.submission_date.clone(),
    }
}

/// Nothing is wrong with this ledger, or there never was one.
fn nothing(ledger: Option<&Ledger>) -> Result<Accepted> {
    let Some(ledger) = ledger else {
        return Err(Error::new(Kind::Failed, "there is no ledger, and none was ever used with this index")
            .hint("nothing needs to be accepted: `recoup retract` makes one"));
    };
    Ok(Accepted {
        accepted: false,
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
    /// What came of it, for a person.
    pub fn lines(&self) -> Vec<String> {
        if !self.accepted {
            return vec!["nothing is wrong with this ledger; nothing was changed".to_owned()];
        }
        let mut lines = vec![format!(
            "accepted: {} reversal(s) and {} modification(s) at the vendor, {} known, {} written down as sent",
            self.reversals,
            self.modifications,
            self.matched,
            self.added.len()
        )];
        for added in &self.added {
            let what = added.action_id.as_ref().map_or_else(String::new, |id| format!(", action {id}"));
            let batch = added.batch_id.as_deref().unwrap_or("unknown");
            let road = added.road.as_str();
            lines.push(format!("  retraction {} ({road}): order {}{what}, batch ID {batch}", added.id, added.order_id));
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
