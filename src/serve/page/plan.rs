//! The table of a batch's orders: one row for each order, with its planned step or its outcome, and the evidence of the
//! file.
//!
//! A batch may have thousands of orders. The table of a batch shows one page of orders, and its counts cover all
//! orders.

use std::collections::{BTreeMap, HashSet};

use super::view::{count, in_link};
use super::words;
use crate::error::Result;
use crate::model::OrderId;
use crate::model::order_text::visible;
use crate::refunds::plan_file::PlanFile;
use crate::refunds::{Column, DecisionKind};
use crate::serve::app::App;
use crate::serve::batch::{Outcomes, cell_of, code_of};
use crate::serve::flag_names::{with_file_fields, without_flags};
use crate::serve::routes::Audience;

/// Maximum number of orders on one page of the table.
const LINES: usize = 50;

/// Maximum length of a displayed cell of the refund file, in characters.
const CELL_CHARS: usize = 60;

/// Maximum length of a reason in the table, in characters. The details of a row contain its whole reason.
const SHORT_CHARS: usize = 70;

/// Kinds of columns that may prove a refund.
const EVIDENCE: [Column; 10] = [
    Column::Status,
    Column::Type,
    Column::AmountType,
    Column::Detail,
    Column::Amount,
    Column::Debit,
    Column::Credit,
    Column::Total,
    Column::Currency,
    Column::RefundedAt,
];
/// The plan's columns that the details of a row show: name and heading.
const DETAILS: [(&str, &str); 5] = [
    ("recoup_evidence", "Evidence of the file"),
    ("recoup_action", "Action"),
    ("recoup_reward", "Reward"),
    ("recoup_disposition", "Disposition code"),
    ("recoup_verdict", "Verdict of the checks"),
];

/// The sort order of the outcome codes: first the orders that need a person, then the orders that will be sent or are
/// open.
const ORDER_OF_CODES: [&str; 16] = [
    "send",
    "adjust",
    "unknown",
    "unconfirmed",
    "failed",
    "refunded_in_part",
    "stopped",
    "pending",
    "not_found_yet",
    "not_attempted",
    "sent_before",
    "partial",
    "confirmed",
    "adjusted",
    "already_retracted",
    "not_a_referral",
];

pub(super) struct PlanTable {
    pub(super) lines: Vec<PlanLine>,
    /// Every outcome code with its number of orders, as links that filter the table.
    pub(super) filters: Vec<Filter>,
    /// The heading of the column with the planned step or the outcome.
    pub(super) heading: &'static str,
    /// The sentence about which orders the table shows.
    pub(super) shown: String,
    /// Links to the previous and the next page of the table.
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

pub(super) struct Filter {
    pub(super) words: String,
    pub(super) count: String,
    pub(super) link: String,
    pub(super) is_chosen: bool,
}

pub(super) struct PlanLine {
    pub(super) order: String,
    /// Percent-encoded order ID; empty if the row has no order ID.
    pub(super) link: String,
    /// The planned step or the outcome of the order, in words.
    pub(super) step: String,
    /// The CSS class of the planned step or the outcome.
    pub(super) tone: &'static str,
    pub(super) adjust: Option<Adjust>,
    pub(super) decision: String,
    pub(super) amount: String,
    /// The reason, cut to [`SHORT_CHARS`].
    pub(super) short: String,
    /// The whole reason; empty if `short` contains all of it.
    pub(super) why: String,
    pub(super) facts: Vec<(String, String)>,
    /// `true` if the ledger has a receipt for the order.
    pub(super) has_receipt: bool,
}

/// The values with which a user can adjust a partially refunded order.
pub(super) struct Adjust {
    /// What is left of the order's price after the refund.
    pub(super) left: String,
    pub(super) command: String,
}

/// Which orders of the table a user wants to see.
pub(super) struct Part<'a> {
    /// The path of the page with the table.
    pub(super) path: &'a str,
    /// The code of the orders to show; empty for all orders.
    pub(super) code: &'a str,
    /// The number of the page of the table, from 1.
    pub(super) page: usize,
}

impl PlanTable {
    /// Builds one page of the table. `outcomes` is `None` until the service applies the batch.
    pub(super) fn of(app: &App, plan: &PlanFile, mut outcomes: Option<&mut Outcomes>, part: &Part<'_>) -> Result<Self> {
        let mut orders: Vec<(u8, String, Vec<usize>)> = groups(plan)
            .into_iter()
            .map(|rows| {
                let code = code_of_order(plan, outcomes.as_deref(), &rows);
                (rank(plan, &rows, &code), code, rows)
            })
            .collect();
        orders.sort_by_key(|(rank, ..)| *rank);
        let filters = filters(&orders, part);
        let total = orders.len();
        if !part.code.is_empty() {
            orders.retain(|(_, code, _)| code == part.code);
        }
        let pages = orders.len().div_ceil(LINES).max(1);
        let page = part.page.clamp(1, pages);
        let first = (page - 1) * LINES;
        let own = own_columns(plan);
        let mut lines = Vec::new();
        for (_, code, rows) in orders.iter().skip(first).take(LINES) {
            if let (Some(outcomes), Some(row)) = (outcomes.as_deref_mut(), rows.first()) {
                outcomes.complete(*row)?;
            }
            lines.push(PlanLine::of(app, plan, outcomes.as_deref(), code, rows, &own));
        }
        let link = |page: usize| format!("{}?show={}&page={page}", part.path, in_link(part.code));
        let of = if orders.len() == total { String::new() } else { format!(" of {}", count(total as u64)) };
        Ok(Self {
            filters,
            heading: if outcomes.is_some() { "Outcome" } else { "Plan" },
            shown: match lines.len() {
                0 => "No order of this kind.".to_owned(),
                n => format!(
                    "Orders {} to {} of {}{of}.",
                    count(first as u64 + 1),
                    count((first + n) as u64),
                    count(orders.len() as u64)
                ),
            },
            previous: (page > 1).then(|| link(page - 1)),
            next: (page < pages).then(|| link(page + 1)),
            lines,
        })
    }
}

/// Sums the planned value of every order that the plan sends, as text.
pub(super) fn value_to_send(app: &App, plan: &PlanFile) -> String {
    let mut sums: BTreeMap<(String, Option<String>), i64> = BTreeMap::new();
    for rows in groups(plan) {
        let cells = first_cells(plan, &rows);
        if cell_of(cells, "recoup_plan") != "send" {
            continue;
        }
        let order = first_order(plan, &rows);
        for (number, unit) in values_in(cell_of(cells, "recoup_value")) {
            let currency = order.and_then(|order| currency_of(app, order, cell_of(cells, "recoup_reward"), &unit));
            let sum = sums.entry((unit, currency)).or_default();
            *sum = sum.saturating_add(number);
        }
    }
    let words = sums.iter().map(|((unit, currency), sum)| words::amount(Some(*sum), Some(unit), currency.as_deref()));
    words.collect::<Vec<_>>().join(", ")
}

/// Returns the number of orders that recoup has sent, and of all orders that the plan sends.
pub(super) fn progress(plan: &PlanFile, outcomes: &Outcomes) -> (u64, u64) {
    let (mut sent, mut all) = (0, 0);
    for rows in groups(plan) {
        if cell_of(first_cells(plan, &rows), "recoup_plan") == "send" {
            all += 1;
            let row = rows.first().and_then(|row| outcomes.rows.get(*row));
            sent += u64::from(row.is_some_and(|row| !row.retractions.is_empty()));
        }
    }
    (sent, all)
}

/// Returns the currency of an order's rewards in one unit, from the index. Returns `None` if the currency is unknown or
/// differs between rewards.
fn currency_of(app: &App, order: &OrderId, rewards: &str, unit: &str) -> Option<String> {
    let found = app.index.with(|reader| reader.map_or_else(|| Ok(Vec::new()), |reader| reader.find(order))).ok()?;
    let of_plan = found.iter().map(|found| &found.indexed.reward).filter(|reward| {
        reward.unit.as_deref() == Some(unit) && rewards.split(' ').any(|id| id == reward.reward_id.as_str())
    });
    let currencies: HashSet<Option<&str>> = of_plan.map(|reward| reward.currency.as_deref()).collect();
    match currencies.into_iter().collect::<Vec<_>>().as_slice() {
        [Some(currency)] => Some((*currency).to_owned()),
        _ => None,
    }
}

/// Parses the planned value of an order, such as `6300 CENTS`. Each unit of the value has its own number.
fn values_in(cell: &str) -> Vec<(i64, String)> {
    let mut values: Vec<(i64, String)> = Vec::new();
    for word in cell.split(' ').filter(|word| !word.is_empty()) {
        match (word.parse(), values.last_mut()) {
            (Ok(number), _) => values.push((number, String::new())),
            (Err(_), Some((_, unit))) if unit.is_empty() => word.clone_into(unit),
            (Err(_), Some((_, unit))) => *unit = format!("{unit} {word}"),
            (Err(_), None) => {}
        }
    }
    values
}

fn first_cells<'a>(plan: &'a PlanFile, rows: &[usize]) -> &'a [String] {
    rows.first().and_then(|row| plan.planned.get(*row)).map_or(&[], Vec::as_slice)
}

fn first_order<'a>(plan: &'a PlanFile, rows: &[usize]) -> Option<&'a OrderId> {
    rows.first().and_then(|row| plan.refunds.rows.get(*row)).and_then(|row| row.order_id.as_ref())
}

/// Returns the code of an order's outcome, or of its planned step.
fn code_of_order(plan: &PlanFile, outcomes: Option<&Outcomes>, rows: &[usize]) -> String {
    let row = outcomes.and_then(|outcomes| outcomes.rows.get(*rows.first()?));
    row.map_or_else(|| code_of(cell_of(first_cells(plan, rows), "recoup_plan")), |row| row.outcome.code())
}

/// Returns the sort key of an order in the table. An order that is unclear or refunded in part needs a person, whatever
/// the plan says.
fn rank(plan: &PlanFile, rows: &[usize], code: &str) -> u8 {
    let decision = cell_of(first_cells(plan, rows), "recoup_decision");
    let place = ORDER_OF_CODES.iter().position(|known| *known == code).map_or(u8::MAX, |place| place as u8 * 2);
    let needs_person =
        [DecisionKind::Unclear, DecisionKind::RefundedInPart].iter().any(|kind| kind.words() == decision);
    if needs_person && place > 5 && code != "confirmed" { 5 } else { place }
}

fn filters(orders: &[(u8, String, Vec<usize>)], part: &Part<'_>) -> Vec<Filter> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, code, _) in orders {
        match counts.iter_mut().find(|(known, _)| known == code) {
            Some((_, n)) => *n += 1,
            None => counts.push((code, 1)),
        }
    }
    let filter = |code: &str, words: String, n: usize| Filter {
        words,
        count: count(n as u64),
        link: if code.is_empty() { part.path.to_owned() } else { format!("{}?show={}", part.path, in_link(code)) },
        is_chosen: code == part.code,
    };
    let all = filter("", "all".to_owned(), orders.len());
    std::iter::once(all).chain(counts.into_iter().map(|(code, n)| filter(code, code.replace('_', " "), n))).collect()
}

/// Returns the CSS class of a planned step or an outcome.
fn tone(code: &str) -> &'static str {
    match code {
        "confirmed" | "adjusted" | "already_retracted" => "good",
        "partial" | "unconfirmed" | "unknown" | "failed" | "stopped" => "bad",
        "send" | "adjust" | "pending" | "not_found_yet" | "refunded_in_part" => "open",
        _ => "quiet",
    }
}

/// Groups the plan's rows by order. Each row without an order ID is its own group.
fn groups(plan: &PlanFile) -> Vec<Vec<usize>> {
    let refunds = &plan.refunds;
    let without_order = refunds.rows.iter().enumerate().filter(|(_, row)| row.order.is_none()).map(|(n, _)| vec![n]);
    refunds.orders.iter().map(|order| order.rows.clone()).chain(without_order).collect()
}

/// Returns the columns of the refund file to show: possible evidence, and columns that a person has excluded.
fn own_columns(plan: &PlanFile) -> Vec<(usize, String)> {
    let (columns, explained) = (&plan.refunds.columns, &plan.refunds.reading.mapping);
    let evidence: HashSet<usize> = EVIDENCE.into_iter().filter_map(|column| columns.get(column)).collect();
    let shown = columns.header.iter().enumerate().filter_map(|(place, name)| {
        if evidence.contains(&place) {
            Some((place, name.clone()))
        } else {
            explained.ignores(name).then(|| (place, format!("{name} (set aside)")))
        }
    });
    shown.collect()
}

impl PlanLine {
    fn of(
        app: &App,
        plan: &PlanFile,
        outcomes: Option<&Outcomes>,
        code: &str,
        rows: &[usize],
        own: &[(usize, String)],
    ) -> Self {
        let planned = first_cells(plan, rows);
        let order = first_order(plan, rows);
        let outcome = outcomes.and_then(|outcomes| outcomes.rows.get(*rows.first()?));
        let planned_why = cell_of(planned, "recoup_why");
        let why = outcome.map_or(planned_why, |row| row.message.as_str());
        let adjust = Adjust::of(why);
        let why = if adjust.is_some() { String::new() } else { text(why) };
        let mut facts: Vec<(String, String)> = Vec::new();
        for (name, heading) in DETAILS {
            facts.push((heading.to_owned(), text(cell_of(planned, name))));
        }
        facts.extend(own.iter().map(|(place, heading)| (heading.clone(), values(plan, rows, *place))));
        if let Some(row) = outcome {
            let numbers: Vec<String> = row.retractions.iter().map(ToString::to_string).collect();
            facts.push(("Retraction".to_owned(), numbers.join(" ")));
        }
        facts.retain(|(_, value)| !value.is_empty());
        let amounts = values_in(cell_of(planned, "recoup_value")).into_iter().map(|(number, unit)| {
            let currency = order.and_then(|order| currency_of(app, order, cell_of(planned, "recoup_reward"), &unit));
            words::amount(Some(number), Some(&unit), currency.as_deref())
        });
        let short = shortened(&why);
        Self {
            order: order.map_or_else(|| "(no order ID)".to_owned(), |order| visible(order.as_str()).into_owned()),
            link: order.map(|order| in_link(order.as_str())).unwrap_or_default(),
            step: code.replace('_', " "),
            tone: tone(code),
            decision: cell_of(planned, "recoup_decision").to_owned(),
            amount: amounts.collect::<Vec<_>>().join(", "),
            why: if short == why { String::new() } else { why },
            short,
            facts,
            has_receipt: outcome.is_some_and(|row| !row.retractions.is_empty()),
            adjust,
        }
    }
}

fn text(cell: &str) -> String {
    without_flags(&with_file_fields(cell, Audience::Page), Audience::Page)
}

fn shortened(why: &str) -> String {
    if why.chars().count() <= SHORT_CHARS {
        return why.to_owned();
    }
    let start: String = why.chars().take(SHORT_CHARS).collect();
    format!("{}…", start.trim_end())
}

/// Joins the distinct values of one column in the rows of an order.
fn values(plan: &PlanFile, rows: &[usize], place: usize) -> String {
    let mut values: Vec<String> = Vec::new();
    for row in rows.iter().filter_map(|row| plan.refunds.rows.get(*row)) {
        let value: String = row.cell(place).trim().chars().take(CELL_CHARS).collect();
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    values.join(" · ")
}

impl Adjust {
    /// Parses the plan's message about a partial refund.
    fn of(why: &str) -> Option<Self> {
        let command = why.starts_with("recoup adjust ").then(|| why.to_owned())?;
        let left = why.rsplit_once(" --amount ").map(|(_, left)| left.to_owned())?;
        Some(Self { left, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_in_part_is_shown_with_its_amount_and_command() {
        let adjust = Adjust::of("recoup adjust '#1 --amount 2' --amount 55.00").expect("a command");
        assert_eq!(adjust.left, "55.00");
        assert!(Adjust::of("the action is locked").is_none());
    }

    #[test]
    fn a_planned_value_is_read_with_its_units() {
        let value = |number, unit: &str| (number, unit.to_owned());
        assert_eq!(values_in("6300 CENTS"), [value(6300, "CENTS")]);
        assert_eq!(
            values_in("5 % 6300 CENTS 1 of unknown unit"),
            [value(5, "%"), value(6300, "CENTS"), value(1, "of unknown unit")]
        );
        assert!(values_in("").is_empty());
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ä".repeat(71)), format!("{}…", "ä".repeat(70)));
    }
}
