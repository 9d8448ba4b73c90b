//! The reconciliation report: counts, totals, durations, rows, and retractions without a refund, as text and as JSON.
//!
//! The text of the report shows totals and the rows that need attention, highest value first and limited in number. The
//! JSON of the report and the outcome file have every row.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::classification::{RefundClass, RewardTotals};
use super::compare::{Comparer, Row, moment};
use super::durations::DurationSummary;
use super::ledger_index::is_done;
use super::reward_value::{RewardValue, Unit};
use crate::error::{Error, Kind};
use crate::lookup::describe_coverage;
use crate::model::{Coverage, counted, grouped};
use crate::refunds::Refunds;
use crate::report::table;
use crate::store::index::JudgedBy;
use crate::store::ledger::{Channel, Outline, State};

/// Maximum number of rows in the text of the report.
const MAX_SHOWN: usize = 50;

#[derive(Debug, Default)]
pub struct Totals {
    /// The totals of the report. The report's totals count each reward once.
    pub shares: RewardTotals,
    counts: [u64; RefundClass::ALL.len()],
    from_refund: Vec<i64>,
    from_retraction: Vec<i64>,
}

impl Totals {
    /// Counts a refund in the report's totals. `begun_at` is when the ledger recorded the refund's first proven
    /// retraction.
    pub fn count(&mut self, row: &Row, begun_at: Option<Timestamp>) {
        self.counts[row.class as usize] += 1;
        let Some(confirmed_at) = row.confirmed_at else { return };
        let since = |began: Timestamp| confirmed_at.as_millisecond() - began.as_millisecond();
        // A date without a time counts from midnight. Therefore the report never understates a duration.
        self.from_refund.extend(row.refunded_at.map(|refunded| since(refunded.earliest())));
        self.from_retraction.extend(begun_at.map(since));
    }
}

#[derive(Debug, Serialize)]
struct Count {
    class: RefundClass,
    refunds: u64,
}

/// A retraction that has no refund in the file.
#[derive(Debug, Serialize)]
pub struct UnmatchedRetraction {
    /// The ledger ID of the retraction.
    pub retraction: i64,
    pub order_id: String,
    /// The ActionId; `null` if recoup sent the retraction by order ID and action tracker.
    pub action_id: Option<String>,
    #[serde(rename = "road")]
    pub channel: Channel,
    pub state: State,
    pub created_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
    /// The value of the retraction's rewards, without redeemed amounts.
    pub worth: RewardValue,
}

impl UnmatchedRetraction {
    pub fn new(outline: &Outline, worth: RewardValue) -> Self {
        Self {
            retraction: outline.id,
            order_id: outline.order_id.as_str().to_owned(),
            action_id: outline.action_id.as_ref().map(ToString::to_string),
            channel: outline.channel,
            state: outline.state,
            created_at: outline.created_at,
            confirmed_at: Some(outline.since).filter(|_| is_done(outline)),
            worth,
        }
    }
}

#[derive(Debug, Serialize)]
struct Times {
    /// Time from the file's refund date to the proof of the retraction.
    refund_to_confirmed: DurationSummary,
    /// Time from the ledger's record of the retraction to its proof.
    retraction_to_confirmed: DurationSummary,
}

#[derive(Debug, Serialize)]
pub struct Reconciliation {
    pub file: String,
    pub format: String,
    pub coverage: Coverage,
    /// The clock that recoup uses to compute reward states.
    pub clock: JudgedBy,
    /// The index is newer than the newest dated refund in the file.
    pub index_is_newer: bool,
    /// Number of orders in the refund file. A repeated row of an order does not count.
    pub refunds: u64,
    /// Number of rows in the refund file that repeat an order.
    pub repeated: u64,
    counts: Vec<Count>,
    /// Number of fully refunded orders whose referral was still converted when recoup last read it.
    pub referrals_still_converted: u64,
    totals: RewardTotals,
    hours: Times,
    /// `without_refund` excludes retractions before this time; `null` means no limit.
    pub since: Option<Timestamp>,
    pub without_refund: Vec<UnmatchedRetraction>,
    /// The rows of the report, in file order.
    pub(super) rows: Vec<Row>,
}

impl Reconciliation {
    pub(super) fn new(
        file: &Path,
        refunds: &Refunds,
        comparer: &Comparer<'_>,
        rows: Vec<Row>,
        totals: Totals,
        without_refund: Vec<UnmatchedRetraction>,
        since: Option<Timestamp>,
    ) -> Self {
        let newest_refund = refunds.orders.iter().filter_map(|order| Some(order.refunded_at?.latest())).max();
        let repeated = rows.iter().filter(|row| row.duplicate_of.is_some()).count() as u64;
        let counts =
            RefundClass::ALL.iter().zip(totals.counts).map(|(class, refunds)| Count { class: *class, refunds });
        Self {
            file: file.display().to_string(),
            format: refunds.reading.title(),
            coverage: comparer.coverage.clone(),
            clock: comparer.now.by,
            index_is_newer: comparer.as_of.is_some_and(|as_of| newest_refund.is_none_or(|refunded| as_of >= refunded)),
            refunds: rows.len() as u64 - repeated,
            repeated,
            counts: counts.collect(),
            referrals_still_converted: rows.iter().filter(|row| row.referral_converted).count() as u64,
            totals: totals.shares,
            hours: Times {
                refund_to_confirmed: DurationSummary::of(totals.from_refund),
                retraction_to_confirmed: DurationSummary::of(totals.from_retraction),
            },
            since,
            without_refund,
            rows,
        }
    }

    /// Returns why the report may be out of date; `None` if the report is current.
    pub fn warning(&self) -> Option<&'static str> {
        if !self.coverage.complete {
            Some("the index is not complete and may lack rewards: run `recoup crawl`, then reconcile again")
        } else if !self.index_is_newer {
            Some("the index is older than the newest refund in the file: run `recoup crawl`, then reconcile again")
        } else {
            None
        }
    }

    /// Returns the error that the command ends with; `None` if every refund is settled.
    pub fn problem(&self) -> Option<Error> {
        let of = |wanted: RefundClass| {
            self.counts.iter().find(|count| count.class == wanted).map_or(0, |count| count.refunds)
        };
        let open: u64 = RefundClass::ALL.into_iter().filter(|class| class.is_open()).map(of).sum();
        (open > 0).then(|| {
            let mut message = format!(
                "{} of {} refunded and still rewarded, {} not confirmed",
                of(RefundClass::StillRewarded),
                counted(self.refunds, "order"),
                of(RefundClass::NotConfirmed)
            );
            for class in [RefundClass::ToCompare, RefundClass::Unclear] {
                if of(class) > 0 {
                    message.push_str(", ");
                    message.push_str(&of(class).to_string());
                    message.push(' ');
                    message.push_str(class.words());
                }
            }
            Error::new(Kind::SomeFailed, message).hint(
                "`recoup retract --file` takes back what was refunded in full and compares the others with their actions; \
                 `recoup verify` checks what is not confirmed; `recoup refunds check` says why a refund is unclear",
            )
        })
    }

    /// Formats the reconciliation report as text.
    pub fn lines(&self) -> Vec<String> {
        let again = match self.repeated {
            0 => String::new(),
            n => format!(" (in {} besides the first ones)", counted(n, "row")),
        };
        let mut lines = vec![
            format!("{}: {}{again}, read as {}", self.file, counted(self.refunds, "order"), self.format),
            match self.coverage.as_of {
                Some(_) => format!("based on the index {}", describe_coverage(&self.coverage)),
                None => describe_coverage(&self.coverage),
            },
        ];
        lines.extend(self.clock.warning().map(str::to_owned));
        let counts = self.counts.iter().filter(|count| count.refunds > 0);
        let counts = counts.map(|count| [count.class.words().to_owned(), grouped(count.refunds)]);
        section(&mut lines, "", &table(["", "refunds"], counts));
        if self.referrals_still_converted > 0 {
            lines.push(format!(
                "  {} of them with a referral that was still converted when it was last read",
                grouped(self.referrals_still_converted)
            ));
        }
        self.totals(&mut lines);
        self.times(&mut lines);
        self.needing_attention(&mut lines);
        self.unmatched(&mut lines);
        lines
    }

    fn totals(&self, lines: &mut Vec<String>) {
        let shares = &self.totals;
        let worths = [&shares.at_stake, &shares.not_confirmed, &shares.lost, &shares.taken_back, &shares.review]
            .map(|share| &share.worth);
        let mut units: Vec<&Unit> = worths.iter().flat_map(|worth| worth.units()).collect();
        units.sort();
        units.dedup();
        if units.is_empty() {
            return;
        }
        let rows = units.iter().map(|unit| {
            let [at_stake, not_confirmed, lost, taken_back, review] = worths.map(|worth| worth.cell(unit));
            [unit.as_str().to_owned(), at_stake, not_confirmed, lost, taken_back, review]
        });
        let header = ["", "at stake", "not confirmed", "lost", "taken back", "review by hand"];
        section(lines, "", &table(header, rows));
    }

    fn times(&self, lines: &mut Vec<String>) {
        let times = [
            ("from refund to proof", self.hours.refund_to_confirmed),
            ("from retraction to proof", self.hours.retraction_to_confirmed),
        ];
        let known = times.into_iter().filter_map(|(what, hours)| {
            let (median, p95) = (hours.median?, hours.p95?);
            Some([what.to_owned(), grouped(hours.count as u64), format!("{median:.2}"), format!("{p95:.2}")])
        });
        let rows: Vec<_> = known.collect();
        if !rows.is_empty() {
            section(lines, "", &table(["hours", "refunds", "median", "95th percentile"], rows));
        }
    }

    /// Adds the rows that need attention to the text, ordered by class and then by value.
    fn needing_attention(&self, lines: &mut Vec<String>) {
        let mut wanted: Vec<&Row> =
            self.rows.iter().filter(|row| row.class.needs_attention() && row.duplicate_of.is_none()).collect();
        if wanted.is_empty() {
            return;
        }
        wanted.sort_by(|one, two| {
            one.class.cmp(&two.class).then_with(|| one.worth.highest_first(&two.worth)).then(one.line.cmp(&two.line))
        });
        let rows = wanted.iter().take(MAX_SHOWN).map(|row| {
            [
                row.line.to_string(),
                row.order_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                row.class.words().to_owned(),
                row.worth.to_string(),
                row.state.clone(),
                row.actions.join(" "),
                row.note.clone(),
            ]
        });
        let header = ["line", "order", "", "worth", "state", "action", "note"];
        section(lines, "rows that need attention:", &table(header, rows));
        if wanted.len() > MAX_SHOWN {
            let more = grouped((wanted.len() - MAX_SHOWN) as u64);
            lines.push(format!("  and {more} more: --out FILE or --json has every row"));
        }
    }

    fn unmatched(&self, lines: &mut Vec<String>) {
        if self.without_refund.is_empty() {
            return;
        }
        let rows = self.without_refund.iter().take(MAX_SHOWN).map(|it| {
            [
                it.retraction.to_string(),
                it.order_id.clone(),
                it.action_id.clone().unwrap_or_default(),
                it.state.as_str().to_owned(),
                moment(it.created_at),
                it.worth.to_string(),
            ]
        });
        let since = self.since.map(|since| format!(" (since {since})")).unwrap_or_default();
        let title = format!("retracted without a refund in this file{since}:");
        section(lines, &title, &table(["retraction", "order", "action", "state", "recorded", "worth"], rows));
        if self.without_refund.len() > MAX_SHOWN {
            let more = grouped((self.without_refund.len() - MAX_SHOWN) as u64);
            lines.push(format!("  and {more} more: --json has all of them"));
        }
    }
}

fn section(lines: &mut Vec<String>, title: &str, table: &str) {
    lines.push(String::new());
    if !title.is_empty() {
        lines.push(title.to_owned());
    }
    lines.extend(table.lines().map(|line| format!("  {line}")));
}
