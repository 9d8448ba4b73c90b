//! `recoup refunds`: shows how recoup reads a shop's file. `recoup refunds` needs neither index nor network.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{CommandContext, Exit};
use crate::cli::{ColumnArgs, RefundsCheckArgs, RefundsCommand};
use crate::config::Settings;
use crate::error::Result;
use crate::model::order_text::visible;
use crate::model::{counted, grouped};
use crate::refunds::decision::Evidence;
use crate::refunds::formats;
use crate::refunds::read::{self, LIST_FORMAT, Options};
use crate::refunds::{Column, DecisionKind, OrderIdRewrite, OrderRefund, Refunds};
use crate::report::{Report, table};

/// The number of example orders that are printed for each decision.
const EXAMPLES: usize = 3;

/// Returns the options of reading a refund file from flags, with the settings as defaults.
pub(super) fn options(settings: &Settings, args: &ColumnArgs) -> Options {
    let of_settings = &settings.refunds.order_text;
    Options {
        format: args.format.clone(),
        mapping: args.mapping(),
        configured: settings.refunds.formats.clone(),
        order_id_rewrite: OrderIdRewrite {
            prefix: args.order_prefix.clone().unwrap_or_else(|| of_settings.prefix.clone()),
            strip: args.strip_order_prefix.clone().unwrap_or_else(|| of_settings.strip.clone()),
        },
    }
}

/// Prints the format, the decisions and the remarks on the refund file.
pub(super) fn show_reading(report: &Report, refunds: &Refunds) {
    report.note(format!("read as {}: {}", refunds.reading.title(), counts_line(refunds)));
    for note in &refunds.notes {
        report.note(note);
    }
}

fn counts_line(refunds: &Refunds) -> String {
    let counts: Vec<String> = refunds
        .counts()
        .into_iter()
        .map(|(kind, count)| format!("{} {}", grouped(count as u64), kind.words()))
        .collect();
    if counts.is_empty() { "no orders".to_owned() } else { counts.join(", ") }
}

pub(super) fn run(context: &CommandContext<'_>, command: RefundsCommand) -> Result<Exit> {
    match command {
        RefundsCommand::Check(args) => check(context, &args),
        RefundsCommand::Formats => list_formats(context),
    }
}

#[derive(Debug, Serialize)]
struct Checked<'a> {
    file: String,
    format: &'a str,
    title: String,
    columns: Vec<Meaning<'a>>,
    rows: usize,
    orders: usize,
    decisions: BTreeMap<DecisionKind, usize>,
    notes: &'a [String],
    examples: Vec<Decided<'a>>,
}

#[derive(Debug, Serialize)]
struct Meaning<'a> {
    name: &'a str,
    /// The meaning of the column; `null` if recoup does not use the column.
    means: Option<Column>,
}

#[derive(Debug, Serialize)]
struct Decided<'a> {
    order_id: &'a str,
    action_id: Option<&'a str>,
    decision: DecisionKind,
    evidence: &'a Evidence,
}

impl<'a> Decided<'a> {
    fn of(order: &'a OrderRefund) -> Self {
        Self {
            order_id: order.order_id.as_str(),
            action_id: order.action_id.as_ref().map(crate::model::ActionId::as_str),
            decision: order.decision.kind(),
            evidence: &order.evidence,
        }
    }
}

fn check(context: &CommandContext<'_>, args: &RefundsCheckArgs) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    let refunds = read::file(&args.file, &options(settings, &args.columns))?;
    let shown = shown(&refunds, args.all);
    let columns = refunds.columns.header.iter().enumerate().map(|(place, name)| Meaning {
        name,
        means: Column::ALL.into_iter().find(|column| refunds.columns.get(*column) == Some(place)),
    });
    let checked = Checked {
        file: args.file.display().to_string(),
        format: &refunds.reading.format,
        title: refunds.reading.title(),
        columns: columns.collect(),
        rows: refunds.rows.len(),
        orders: refunds.orders.len(),
        decisions: refunds.counts(),
        notes: &refunds.notes,
        examples: shown.iter().map(|order| Decided::of(order)).collect(),
    };
    report.object(&checked)?;
    report.line(format!("{}: {} ({})", checked.file, checked.title, checked.format));
    for note in checked.notes {
        report.line(format!("  {note}"));
    }
    let used = checked.columns.iter().filter_map(|it| Some([it.name.to_owned(), it.means?.as_str().to_owned()]));
    section(report, &table(["column", "means"], used));
    let counts = checked.decisions.iter().map(|(kind, count)| [kind.words().to_owned(), grouped(*count as u64)]);
    section(report, &table(["decision", "orders"], counts));
    let rows = shown.iter().map(|order| {
        let evidence = order.evidence.sentence();
        [visible(order.order_id.as_str()).into_owned(), order.decision.kind().words().to_owned(), evidence]
    });
    section(report, &table(["order", "decision", "evidence"], rows));
    let more = refunds.orders.len() - shown.len();
    if more > 0 {
        report.line(format!("  and {}: --all lists them", counted(more, "more order")));
    }
    for row in refunds.rows.iter().filter(|row| row.order.is_none() && row.no_order_needed.is_none()).take(EXAMPLES) {
        report.line(format!("  line {} names no order that can be used", row.line));
    }
    Ok(Exit::Done)
}

/// Returns all orders, or the first few orders of each decision.
fn shown(refunds: &Refunds, all: bool) -> Vec<&OrderRefund> {
    let mut left: BTreeMap<DecisionKind, usize> = BTreeMap::new();
    let mut orders: Vec<&OrderRefund> = refunds.orders.iter().collect();
    if !all {
        orders.retain(|order| {
            let left = left.entry(order.decision.kind()).or_insert(EXAMPLES);
            let is_shown = *left > 0;
            *left = left.saturating_sub(1);
            is_shown
        });
    }
    orders.sort_by_key(|order| order.decision.kind());
    orders
}

fn section(report: &Report, table: &str) {
    report.line("");
    for line in table.lines() {
        report.line(format!("  {line}"));
    }
}

/// One row in the output of `recoup refunds formats`.
#[derive(Debug, Serialize)]
struct Known<'a> {
    name: &'a str,
    title: String,
    recognised_by: Vec<&'a str>,
    grain: &'a str,
    in_full_if: &'a str,
    sums_payments: bool,
}

fn list_formats(context: &CommandContext<'_>) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    let mut known: Vec<Known<'_>> = formats::ALL
        .iter()
        .map(|format| Known {
            name: format.name,
            title: format.title.to_owned(),
            recognised_by: format.signature.iter().map(|group| group[0]).collect(),
            grain: format.grain,
            in_full_if: format.rule,
            sums_payments: format.sums_payments,
        })
        .collect();
    known.push(Known {
        name: LIST_FORMAT,
        title: "list of refunds".to_owned(),
        recognised_by: vec!["only columns that recoup knows"],
        grain: "order, or refund",
        in_full_if: "it is listed; if the list has amounts, they add up to the order's total or to the action's amount",
        sums_payments: false,
    });
    known.extend(settings.refunds.formats.iter().map(|(name, explained)| Known {
        name,
        title: "of recoup.toml".to_owned(),
        recognised_by: explained.recognise_by.iter().map(String::as_str).collect(),
        grain: "row",
        in_full_if: "as its columns are explained there",
        sums_payments: false,
    }));
    for format in &known {
        report.object(format)?;
        report.line(format!("{}: {}", format.name, format.title));
        if !format.recognised_by.is_empty() {
            report.line(format!("  recognised by: {}", format.recognised_by.join(", ")));
        }
        report.line(format!("  one row: {}", format.grain));
        if format.in_full_if.starts_with("never") {
            report.line(format!("  refunded in full: {}", format.in_full_if));
        } else {
            report.line(format!("  refunded in full if {}", format.in_full_if));
        }
        if format.sums_payments {
            report.line("  export every payment of an order: recoup adds them up to its price, and compares that with the action");
        }
    }
    Ok(Exit::Done)
}
