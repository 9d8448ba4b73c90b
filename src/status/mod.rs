//! Use case: shows how fresh and complete the index is, and which retractions are open.
//!
//! The status only reads the index and the ledger, without network requests. The status also lists confirmed
//! retractions that a newer crawl contradicts, because a confirmation covers only the rewards that were known at that
//! time.

mod check;
mod metrics;
mod text;

use serde::Serialize;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::Coverage;
use crate::model::budget::WaitReason;
use crate::model::program_rule::{ProgramRule, RuledProgram};
use crate::retract::proof::{Snapshot, objection};
use crate::retract::receipt::Entry;
use crate::retract::{readiness, snapshot};
use crate::store::budget::{BudgetLine, budgets};
use crate::store::index::{ClockOffset, FailedAccount, IndexReader, JobRow, JudgedBy, Refusal, RuleRead, Run};
use crate::store::ledger::{Channel, Event, Ledger, Retraction, State};
use crate::store::server_facts::{ServerFacts, server_facts};
use crate::store::{Identity, Place};

pub use check::{Limits, Problem};
pub use metrics::{MetricsFormat, ServiceMetrics};
pub use text::human_duration;

/// Period of the statistics about the time to proof: proofs of the last 30 days.
const CONFIRMED_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// Upper bounds of the histogram of the time to proof, in seconds: half a minute, five minutes, half an hour, three
/// hours, a day, longer.
const BUCKET_BOUNDS: [Option<i64>; 6] = [Some(30), Some(300), Some(1_800), Some(10_800), Some(86_400), None];

/// Number of crawl runs in the status.
const SHOWN_RUNS: u32 = 5;

/// The answer of `recoup status`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Path of the index.
    pub database: String,
    /// Path of the ledger.
    pub ledger: String,
    /// The tenant to which index and ledger belong; `null` if the index does not exist.
    pub tenant: Option<String>,
    /// The Account SID to which index and ledger belong.
    pub account_sid: Option<String>,
    /// The server of the stores; left out for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFacts>,
    /// How much of the tenant the index holds; `null` without an index.
    pub coverage: Option<Coverage>,
    /// Age of the newest finished crawl, in seconds.
    pub age_seconds: Option<i64>,
    /// Exact age of the newest finished crawl.
    #[serde(skip)]
    pub age: Option<jiff::SignedDuration>,
    /// The newest runs of crawls, newest first.
    pub runs: Vec<RunLine>,
    /// Number of accounts that the last run of a crawl could not read.
    pub failed_accounts: u64,
    /// The accounts that the last run could not read, if the caller requested them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Vec<FailedLine>>,
    /// Why recoup sends nothing from this ledger: `missing`, `another`, `older`, `forked`, `copy` or `half` if the
    /// index was used with another ledger, `damaged`, `tampered` with, or `not_writable` by this user; `null` if the
    /// ledger can be used.
    pub ledger_trouble: Option<&'static str>,
    /// Why recoup can send nothing now; empty if sending is possible.
    pub blocked: Vec<Problem>,
    /// The first entry of `blocked` as an error.
    #[serde(skip)]
    pub block: Option<Error>,
    /// Number of retractions in each state.
    pub retractions: std::collections::BTreeMap<&'static str, u64>,
    /// The request quota of each vendor host.
    pub quota: Vec<QuotaLine>,
    /// The open retractions, and the planned retractions that recoup did not send.
    pub open: Vec<OpenLine>,
    /// Confirmed retractions of an action with a reward that a newer reading shows as not cancelled.
    pub standing_again: Vec<StandingLine>,
    /// Commands whose credentials the vendor refused and has not accepted since.
    pub refusals: Vec<Refusal>,
    /// The refund rule of each program, as a retraction last read it.
    pub program_rules: Vec<ProgramRule>,
    /// Time from the send of a retraction to its proof over the last 30 days; `null` without a proof.
    pub time_to_confirm: Option<Spread>,
    /// How far this machine's clock was ahead of the vendor's at the newest response; `null` before the first response.
    pub clock: Option<ClockOffset>,
    /// The clock by which recoup decides whether a reward has expired.
    pub judged_by: JudgedBy,
    /// Number of accounts that a webhook named and that recoup has not read again yet.
    pub accounts_waiting: u64,
    /// When each scheduled job last succeeded, RFC 3339.
    pub jobs: std::collections::BTreeMap<String, Option<String>>,
    /// The problems for the operator, if the caller requested them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<Problem>>,
}

/// The request quota of one vendor host. Every process on this index shares it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct QuotaLine {
    /// The vendor host: `advocate` or `brand`, and the base URL.
    pub host: String,
    /// Requests that the host allows in a quota window; `null` if no limit is known.
    pub limit: Option<u64>,
    /// Requests used in the quota window; without a limit, in the last hour.
    pub used: u64,
    /// Requests left in the quota window, the reserve included.
    pub left: Option<u64>,
    /// When the quota window ends, RFC 3339; `null` if no window has begun.
    pub resets_at: Option<String>,
    /// The share of the quota that only retractions may use.
    pub reserve: f64,
    /// Requests a second, configured or learned; `null` if no rate is known.
    pub rate: Option<f64>,
    /// No process sends a request before this time, RFC 3339.
    pub waiting_until: Option<String>,
    /// Why no process may send a request to the host.
    pub wait_reason: Option<&'static str>,
    /// Requests that crawls and checks sent in the last hour.
    pub last_hour_crawl: u64,
    /// Requests of people who looked at orders in the last hour.
    pub last_hour_looking: u64,
    /// Requests that retractions and their verification sent in the last hour.
    pub last_hour_retraction: u64,
    /// Requests to the host since midnight UTC.
    pub today: u64,
    /// Requests in each of the last 24 hours, the oldest hour first. The last hour ends now.
    pub hours: Vec<u64>,
}

/// A distribution of the times from send to proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Spread {
    /// Number of measured durations.
    pub count: u64,
    /// The median of the durations, in seconds.
    pub median_seconds: i64,
    /// The 90th percentile of the durations, in seconds.
    pub p90_seconds: i64,
    /// The sum of the durations, in seconds.
    pub sum_seconds: i64,
    /// The histogram of the durations. Each duration is in exactly one bucket of the histogram.
    pub buckets: Vec<Bucket>,
}

/// A bucket of the histogram: durations above the previous bucket's bound and up to its own bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Bucket {
    /// The upper bound of the bucket in seconds; `null` for no bound.
    pub up_to_seconds: Option<i64>,
    /// Number of durations in the bucket.
    pub count: u64,
}

/// One run of a crawl.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RunLine {
    /// When the run of the crawl began, RFC 3339.
    pub started_at: String,
    /// When the run of the crawl ended; `null` if the run can be resumed.
    pub finished_at: Option<String>,
    /// The source of the crawl: `participants`, `graphql` or `export`.
    pub source: String,
    /// Whether the run read every account that it knew.
    pub complete: bool,
    /// Whether the run read only what changed since an earlier run.
    pub refresh: bool,
    /// Number of requests that the run sent.
    pub requests: u64,
    /// Number of requests for accounts that the run read again only because of their age.
    pub requests_reread: u64,
    /// Number of accounts that the run read.
    pub accounts_read: u64,
    /// Number of accounts that the run knew.
    pub accounts_known: u64,
    /// Why the run of the crawl is not complete.
    pub gaps: Vec<String>,
}

/// An account that the crawl could not read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FailedLine {
    /// The ID of the account that the crawl could not read.
    pub account_id: String,
    /// Why the crawl could not read the account.
    pub reason: String,
}

/// An open retraction.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OpenLine {
    /// Number of the open retraction in the ledger.
    pub id: i64,
    /// The order of the retraction.
    pub order_id: String,
    /// The action of the retraction.
    pub action_id: Option<String>,
    /// The state of the retraction.
    pub state: State,
    /// Since when the retraction has this state, RFC 3339.
    pub since: String,
}

/// A confirmed retraction that a newer reading contradicts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StandingLine {
    /// Number of the contradicted retraction in the ledger.
    pub id: i64,
    /// The order of the retraction.
    pub order_id: String,
    /// The action of the retraction; `null` if recoup reversed it by order ID and action tracker.
    pub action_id: Option<String>,
    /// The reward that does not read as cancelled.
    pub reward_id: String,
}

pub fn gather(
    database: &Place,
    ledger: &Place,
    identity: Option<&Identity>,
    list_failed: bool,
    clock: &Clock,
) -> Result<Status> {
    let mut status = Status {
        database: database.to_string(),
        ledger: ledger.to_string(),
        tenant: None,
        account_sid: None,
        server: server_facts(database, clock)?,
        coverage: None,
        age_seconds: None,
        age: None,
        runs: Vec::new(),
        failed_accounts: 0,
        failed: None,
        ledger_trouble: None,
        blocked: Vec::new(),
        block: None,
        retractions: std::collections::BTreeMap::new(),
        quota: quota(database, clock)?,
        open: Vec::new(),
        standing_again: Vec::new(),
        refusals: Vec::new(),
        program_rules: Vec::new(),
        time_to_confirm: None,
        clock: None,
        judged_by: JudgedBy::default(),
        accounts_waiting: 0,
        jobs: std::collections::BTreeMap::new(),
        problems: None,
    };
    let reader = IndexReader::open(database, identity)?;
    let mut now_ms = clock.now_ms();
    if let Some(reader) = &reader {
        let owner = reader.identity()?;
        let coverage = reader.coverage()?;
        let as_of = coverage.as_of.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let now = reader.judged_now(clock.now())?;
        status.judged_by = now.by;
        now_ms = now.at.as_millisecond();
        // The age of the index counts from the earlier of two times: this machine's clock, and the clock by which
        // recoup decides expiry.
        status.age = as_of.map(|then| now.at.min(clock.now()).duration_since(then));
        status.age_seconds = status.age.map(|age| age.as_secs());
        status.coverage = Some(coverage);
        status.tenant = Some(owner.tenant);
        status.account_sid = Some(owner.account_sid);
        status.runs = reader.runs(SHOWN_RUNS)?.into_iter().map(run_line).collect();
        status.refusals = reader.refusals()?;
        status.program_rules = reader.program_rules()?.iter().filter_map(rule_line).collect();
        status.clock = reader.clock_offset()?;
        status.accounts_waiting = reader.waiting_count()?;
        let job = |job: JobRow| (job.name, job.ok_at.map(|at| format!("{at:.0}")));
        status.jobs = reader.jobs()?.into_iter().map(job).collect();
        status.failed_accounts = reader.failed_count()?;
        if list_failed {
            let line = |account: FailedAccount| FailedLine {
                account_id: account.account_id.as_str().to_owned(),
                reason: account.reason,
            };
            status.failed = Some(reader.failed_accounts()?.into_iter().map(line).collect());
        }
    }
    let open = Ledger::open_read_only(ledger, identity)?;
    let by_files = readiness::file_obstacle(reader.as_ref(), open.as_ref(), database, ledger)?;
    status.ledger_trouble = by_files.as_ref().map(|obstacle| obstacle.name);
    let by_clock = status.clock.as_ref().and_then(readiness::clock_obstacle);
    for (problem, obstacle) in [("ledger", by_files), ("clock", by_clock)] {
        let Some(obstacle) = obstacle else { continue };
        status.blocked.push(Problem::of(problem, &obstacle.error));
        status.block.get_or_insert(obstacle.error);
    }
    if let Some(ledger) = open {
        status.retractions = ledger.counts()?.into_iter().map(|(state, n)| (state.as_str(), n)).collect();
        status.open = ledger.open_ones()?.iter().chain(&ledger.unsent_ones()?).map(open_line).collect();
        let since = clock.now().saturating_sub(CONFIRMED_WITHIN).unwrap_or(jiff::Timestamp::MIN);
        let mut took = Vec::new();
        for retraction in ledger.all()? {
            took.extend(time_to_confirm(&retraction, since));
            if let Some(reader) = &reader {
                status.standing_again.extend(contradicted(reader, &retraction, now_ms)?);
            }
        }
        status.time_to_confirm = Spread::of(took);
    }
    Ok(status)
}

/// Returns the refund rule of one program; `None` if another version of recoup stored it.
fn rule_line(read: &RuleRead) -> Option<ProgramRule> {
    let program: RuledProgram = serde_json::from_str(&read.answer).ok()?;
    Some(program.judge(&[], &format!("{:.0}", read.read_at)))
}

fn quota(database: &Place, clock: &Clock) -> Result<Vec<QuotaLine>> {
    let moment = |ms: i64| jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.0}")).ok();
    let line = |known: BudgetLine| {
        let account = known.account;
        let last_hour = known.last_hour.total();
        // A crawl that has used its share of the quota waits for the end of the quota window, even if the host demands
        // no pause.
        let waits = account.pause.map(|pause| (pause.until_ms, pause.reason)).or_else(|| {
            let end = account.window_ends_ms.filter(|_| account.left_to_crawl() == Some(0))?;
            Some((end, WaitReason::QuotaUsed))
        });
        QuotaLine {
            host: known.host,
            limit: account.limit,
            used: if account.limit.is_some() { account.used } else { last_hour },
            left: account.left(),
            resets_at: account.window_ends_ms.filter(|_| account.limit.is_some()).and_then(moment),
            reserve: account.reserve,
            rate: account.rate,
            waiting_until: waits.and_then(|(until_ms, _)| moment(until_ms)),
            wait_reason: waits.map(|(_, reason)| reason.as_str()),
            last_hour_crawl: known.last_hour.crawl,
            last_hour_looking: known.last_hour.looking,
            last_hour_retraction: known.last_hour.retraction,
            today: known.today.total(),
            hours: known.hours,
        }
    };
    Ok(budgets(database, clock.now_ms())?.into_iter().map(line).collect())
}

/// Returns one retraction for display. The states of the retraction's rewards are the newest of ledger and index.
pub fn one_retraction(
    database: &Place,
    ledger: &Place,
    identity: Option<&Identity>,
    id: i64,
    clock: &Clock,
) -> Result<Entry> {
    let ledger = Ledger::open_read_only(ledger, identity)?.ok_or_else(|| {
        Error::new(Kind::Failed, "there is no ledger yet: nothing was ever retracted here")
            .hint("name another one with --database or RECOUP_LEDGER")
    })?;
    let mut entry = Entry::of(&ledger.get(id)?, &[]);
    if let Some(index) = IndexReader::open(database, identity)? {
        entry.update_from_index(&index, clock.now())?;
    }
    Ok(entry)
}

fn run_line(run: Run) -> RunLine {
    RunLine {
        started_at: run.started_at.to_string(),
        finished_at: run.finished_at.map(|at| at.to_string()),
        refresh: run.is_refresh(),
        source: run.source,
        complete: run.complete,
        requests: run.requests,
        requests_reread: run.requests_reread,
        accounts_read: run.accounts_read,
        accounts_known: run.accounts_known,
        gaps: run.gaps,
    }
}

/// Returns the seconds from the send of a retraction to its proof; `None` if it was not proven after `since`.
fn time_to_confirm(retraction: &Retraction, since: jiff::Timestamp) -> Option<i64> {
    let at = |wanted: State| {
        let reached = |event: &&Event| event.state == wanted && event.changes_state();
        retraction.events.iter().find(reached).and_then(Event::moment)
    };
    let (sent, proven) = (at(State::Sending)?, at(State::Confirmed)?);
    (proven >= since).then(|| proven.duration_since(sent).as_secs())
}

impl Spread {
    fn of(mut seconds: Vec<i64>) -> Option<Self> {
        seconds.sort_unstable();
        let at = |share: usize| seconds.get((seconds.len().saturating_sub(1) * share).div_ceil(100)).copied();
        Some(Self {
            count: seconds.len() as u64,
            median_seconds: at(50)?,
            p90_seconds: at(90)?,
            sum_seconds: seconds.iter().sum(),
            buckets: buckets(&seconds),
        })
    }
}

/// Counts sorted durations by histogram bucket.
fn buckets(sorted: &[i64]) -> Vec<Bucket> {
    let mut before = 0;
    BUCKET_BOUNDS
        .into_iter()
        .map(|up_to_seconds| {
            let so_far = up_to_seconds.map_or(sorted.len(), |most| sorted.partition_point(|&took| took <= most));
            let count = (so_far - before) as u64;
            before = so_far;
            Bucket { up_to_seconds, count }
        })
        .collect()
}

fn open_line(retraction: &Retraction) -> OpenLine {
    let since = retraction.events.iter().rev().take_while(|event| event.state == retraction.state).last();
    OpenLine {
        id: retraction.id,
        order_id: retraction.order_id.as_str().to_owned(),
        action_id: retraction.action_id.as_ref().map(ToString::to_string),
        state: retraction.state,
        since: since.map(|event| event.at.clone()).unwrap_or_default(),
    }
}

/// Returns the rewards of a proven retraction that a reading shows as not cancelled. The contradicting rewards were
/// read after the proof, or the proof did not include them. Rewards that the proof reports as lost do not contradict
/// it.
fn contradicted(reader: &IndexReader, retraction: &Retraction, now_ms: i64) -> Result<Vec<StandingLine>> {
    if !matches!(retraction.state, State::Confirmed | State::Partial) {
        return Ok(Vec::new());
    }
    let proof = retraction.events.iter().rev().find(|event| event.state == retraction.state && event.changes_state());
    let proven_at = proof.and_then(|event| event.at.parse::<jiff::Timestamp>().ok());
    let proven: Vec<Snapshot> =
        proof.and_then(|event| serde_json::from_value(event.details["rewards"].clone()).ok()).unwrap_or_default();
    let known = match &retraction.action_id {
        Some(action_id) => reader.rewards_of_action(action_id)?,
        None => reader.find(&retraction.order_id)?.into_iter().map(|found| found.indexed).collect(),
    };
    let standing = known.into_iter().filter(|indexed| {
        let is_of_the_proof = proven.iter().any(|was| was.reward_id == indexed.reward.reward_id.as_str());
        // If a retraction was for a single reward, the other rewards of its action may stay uncancelled.
        if retraction.channel == Channel::Reward && !is_of_the_proof {
            return false;
        }
        let is_news = !is_of_the_proof || proven_at.is_none_or(|proven_at| indexed.read_at > proven_at);
        is_news && !indexed.gone && objection(&proven, &snapshot(&indexed.reward, now_ms)).is_some()
    });
    Ok(standing
        .map(|indexed| StandingLine {
            id: retraction.id,
            order_id: retraction.order_id.as_str().to_owned(),
            action_id: retraction.action_id.as_ref().map(ToString::to_string),
            reward_id: indexed.reward.reward_id.to_string(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_is_in_one_step() {
        let spread = Spread::of(vec![90_000, 30, 31, 5, 300, 86_400]).expect("some");
        let counts: Vec<u64> = spread.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [2, 2, 0, 0, 1, 1]);
        assert_eq!((spread.count, spread.median_seconds, spread.p90_seconds), (6, 300, 90_000));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
