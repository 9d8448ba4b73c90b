//! Use case: compares every refund of a file with rewards and ledger, and every retraction with the refunds.
//!
//! Reconciliation reads the index, the ledger and the refund file. Reconciliation makes no requests and writes only the
//! outcome file. The result of a reconciliation is as recent as the index, and includes the time of the index. A
//! retraction counts as confirmed only if the ledger proves it. The result of a reconciliation contains no account IDs.

mod classification;
mod compare;
mod durations;
mod ledger_index;
mod reward_value;
mod summary;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::refunds::{Decision, OutFile, Refunds, Syntax, input, outcome_file, read};
use crate::report::Report;
use crate::retract::readiness::ledger_fault;
use crate::store::index::IndexReader;
use crate::store::ledger::Ledger;
use crate::store::{Identity, Place};

use classification::{RewardStatus, RewardTotals};
use compare::{COLUMNS, Compared, Comparer, Row};
use ledger_index::{LedgerIndex, needs_a_refund, newest_readings};
use reward_value::{RewardValue, Unit};
use summary::{Totals, UnmatchedRetraction};

pub use summary::Reconciliation;

/// Number of rows between two progress updates.
const SHOW_EVERY: usize = 1000;

#[derive(Debug)]
pub struct ReconcileRequest<'a> {
    /// The refund file; `-` is standard input.
    pub refunds: &'a Path,
    pub read: read::Options,
    /// The outcome file, which gets every row of the refund file with its result.
    pub out: Option<&'a Path>,
    /// Whether recoup may replace an existing outcome file.
    pub force: bool,
    /// A retraction before this time needs no refund in the file. The default is the date of the oldest refund in the
    /// file.
    pub since: Option<Timestamp>,
    pub index: &'a Place,
    pub ledger: &'a Place,
    /// The account that index and ledger belong to.
    pub identity: Option<&'a Identity>,
}

/// Compares the refunds of the file with the index and the ledger, and writes the outcome file.
pub fn run(
    request: &ReconcileRequest<'_>,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<Reconciliation> {
    // Fails on an unusable output file before the comparison starts.
    let out = request.out.map(|path| OutFile::reserve(path, request.force)).transpose()?;
    out.iter().try_for_each(|out| out.ensure_differs_from(request.refunds))?;
    let refunds = read::file(request.refunds, &request.read)?;
    let reader = IndexReader::open(request.index, request.identity)?.ok_or_else(|| {
        Error::new(Kind::NotIndexed, "there is no index yet to compare the refunds with")
            .hint("run `recoup crawl` first")
    })?;
    let ledger = Ledger::open_read_only(request.ledger, request.identity)?;
    // If another ledger were used, every retracted reward would look as if it had been cancelled outside recoup.
    if let Some(fault) = ledger_fault(Some(&reader), ledger.as_ref())? {
        return Err(fault.refusal());
    }
    let ledger_index = LedgerIndex::read(ledger.as_ref())?;
    let undated = input::written_at(request.refunds, clock.now());
    let reconciliation = reader.at_one_moment(|reader| {
        let coverage = reader.coverage()?;
        let as_of = coverage.as_of.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let now = reader.judged_now(clock.now())?;
        let comparer = Comparer { reader, ledger: &ledger_index, coverage: &coverage, as_of, now, undated };
        compare(request, &refunds, &comparer, stop, report)
    })?;
    if let Some(mut out) = out {
        let cells: Vec<Vec<String>> = reconciliation.rows.iter().map(Row::cells).collect();
        let syntax = Syntax::of_output(Some(out.path()), refunds.syntax);
        out.write(&outcome_file::outcomes(&refunds, syntax, &COLUMNS, &cells)?)?;
    }
    Ok(reconciliation)
}

fn compare(
    request: &ReconcileRequest<'_>,
    refunds: &Refunds,
    comparer: &Comparer<'_>,
    stop: &CancellationToken,
    report: &Report,
) -> Result<Reconciliation> {
    let progress = report.progress("refunds compared");
    let total = refunds.rows.len() as u64;
    let mut rows: Vec<Row> = Vec::with_capacity(refunds.rows.len());
    let mut counted: HashSet<String> = HashSet::new();
    let mut backed: HashSet<i64> = HashSet::new();
    let mut totals = Totals::default();
    for (n, row) in refunds.rows.iter().enumerate() {
        if n % SHOW_EVERY == 0 {
            progress.show(n as u64, Some(total), "");
            if stop.is_cancelled() {
                return Err(Error::new(Kind::Interrupted, "interrupted; no report was written"));
            }
        }
        let order = row.order.map(|order| &refunds.orders[order]);
        let first = order.and_then(|order| order.rows.first()).filter(|first| **first != n);
        let row = if let Some(first) = first {
            rows[*first].repeats(row)
        } else {
            let Compared { mut row, known, retractions, begun_at } = comparer.compare(refunds, row, order)?;
            if count_rewards(&known, &mut counted, &mut totals.shares) {
                row.add_note("one of its rewards is in an earlier row, too, and counted there");
            }
            totals.count(&row, begun_at);
            if order.is_none_or(|order| order.decision != Decision::NotRefunded) {
                backed.extend(retractions);
            }
            row
        };
        rows.push(row);
    }
    drop(progress);
    let since =
        request.since.or_else(|| refunds.orders.iter().filter_map(|order| Some(order.refunded_at?.earliest())).min());
    let unmatched = unmatched(comparer, refunds, &backed, since)?;
    Ok(Reconciliation::new(request.refunds, refunds, comparer, rows, totals, unmatched, since))
}

/// Adds each reward to the totals once. Returns `true` if any of the rewards was counted before.
fn count_rewards(known: &[RewardStatus], counted: &mut HashSet<String>, shares: &mut RewardTotals) -> bool {
    let mut again = false;
    for known in known {
        if counted.insert(known.reward_id.clone()) {
            shares.merge(&RewardTotals::of(known));
        } else {
            again = true;
        }
    }
    again
}

/// Finds retractions that may have been sent and have no refund in the file.
fn unmatched(
    comparer: &Comparer<'_>,
    refunds: &Refunds,
    backed: &HashSet<i64>,
    since: Option<Timestamp>,
) -> Result<Vec<UnmatchedRetraction>> {
    let refunded = refunds.orders.iter().filter(|order| order.decision != Decision::NotRefunded);
    let orders: HashSet<&OrderId> = refunded.map(|order| &order.order_id).collect();
    let wanted = comparer.ledger.all().iter().filter(|outline| {
        needs_a_refund(outline)
            && since.is_none_or(|since| outline.created_at >= since)
            && !orders.contains(&outline.order_id)
            && !backed.contains(&outline.id)
    });
    let mut list = Vec::new();
    for outline in wanted {
        // The ledger does not record the currency.
        let currencies: HashMap<String, Option<String>> = comparer
            .reader
            .rewards_of_order(&outline.order_id)?
            .into_iter()
            .map(|indexed| (indexed.reward.reward_id.as_str().to_owned(), indexed.reward.currency))
            .collect();
        let mut worth = RewardValue::default();
        let mut readings: Vec<_> = newest_readings(&[outline]).into_iter().collect();
        readings.sort_by_key(|(reward_id, _)| *reward_id);
        for (reward_id, (_, _, seen)) in readings {
            let currency = currencies.get(reward_id).and_then(Option::as_deref);
            let rest = seen.assigned.map(|assigned| assigned - seen.redeemed.unwrap_or(0));
            worth.add(&Unit::of(currency, seen.unit.as_deref()), rest);
        }
        list.push(UnmatchedRetraction::new(outline, worth));
    }
    Ok(list)
}
