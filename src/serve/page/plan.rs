//! The plan of a batch as a table: one line for each order, with the evidence of the file and the planned step.

use std::collections::HashSet;

use crate::refunds::plan_file::PlanFile;
use crate::refunds::{Column, DecisionKind};
use crate::serve::batch::cell_of;
use crate::serve::flag_names::with_file_fields;
use crate::serve::routes::Audience;

/// Maximum number of lines of the table.
const LINES: usize = 200;

/// Maximum length of a displayed cell, in characters.
const CELL_CHARS: usize = 60;
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
/// The plan's columns about the vendor's actions and rewards: name and heading.
const OF_VENDOR: [(&str, &str); 6] = [
    ("recoup_why", "why"),
    ("recoup_action", "action"),
    ("recoup_reward", "reward"),
    ("recoup_value", "value"),
    ("recoup_disposition", "disposition"),
    ("recoup_verdict", "verdict"),
];

pub(super) struct PlanTable {
    /// Headings of the columns from the uploaded file.
    pub(super) of_file: Vec<String>,
    /// Headings of the columns about the vendor's actions and rewards.
    pub(super) of_vendor: Vec<&'static str>,
    pub(super) lines: Vec<PlanLine>,
    /// Number of orders beyond the last line of the table.
    pub(super) more: usize,
}

pub(super) struct PlanLine {
    pub(super) order: String,
    pub(super) step: String,
    pub(super) adjust: Option<Adjust>,
    pub(super) decision: String,
    pub(super) evidence: String,
    pub(super) of_file: Vec<String>,
    pub(super) of_vendor: Vec<String>,
}

/// How the user can adjust a partially refunded order.
pub(super) struct Adjust {
    /// What is left of the order's price after the refund.
    pub(super) left: String,
    pub(super) command: String,
}

impl PlanTable {
    pub(super) fn of(plan: &PlanFile) -> Self {
        let own = own_columns(plan);
        let mut lines: Vec<(u8, PlanLine)> = groups(plan)
            .into_iter()
            .map(|rows| {
                let line = PlanLine::of(plan, &rows, &own);
                (line.rank(), line)
            })
            .collect();
        lines.sort_by_key(|(rank, _)| *rank);
        let more = lines.len().saturating_sub(LINES);
        Self {
            of_file: own.into_iter().map(|(_, heading)| heading).collect(),
            of_vendor: OF_VENDOR.iter().map(|(_, heading)| *heading).collect(),
            lines: lines.into_iter().take(LINES).map(|(_, line)| line).collect(),
            more,
        }
    }
}

/// Groups the plan's rows by order. Each row without an order ID is its own group.
fn groups(plan: &PlanFile) -> Vec<Vec<usize>> {
    let refunds = &plan.refunds;
    let without_order = refunds.rows.iter().enumerate().filter(|(_, row)| row.order.is_none()).map(|(n, _)| vec![n]);
    refunds.orders.iter().map(|order| order.rows.clone()).chain(without_order).collect()
}

/// Returns the columns of the file to show: possible evidence, and columns that a person has excluded.
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
    fn of(plan: &PlanFile, rows: &[usize], own: &[(usize, String)]) -> Self {
        let planned = rows.first().and_then(|row| plan.planned.get(*row)).map_or(&[] as &[String], Vec::as_slice);
        let cell = |name: &str| cell_of(planned, name).to_owned();
        let first = rows.first().and_then(|row| plan.refunds.rows.get(*row));
        let order = first.and_then(|row| row.order_id.as_ref()).map(ToString::to_string);
        let why = cell("recoup_why");
        let adjust = Adjust::of(&why);
        let of_vendor = OF_VENDOR.iter().map(|(name, _)| match *name {
            "recoup_why" if adjust.is_some() => String::new(),
            name => with_file_fields(cell_of(planned, name), Audience::Page),
        });
        Self {
            order: order.unwrap_or_else(|| "(no order ID)".to_owned()),
            step: cell("recoup_plan"),
            decision: cell("recoup_decision"),
            evidence: cell("recoup_evidence"),
            of_file: own.iter().map(|(place, _)| values(plan, rows, *place)).collect(),
            of_vendor: of_vendor.collect(),
            adjust,
        }
    }

    /// Sort key of the table: first the orders to send, then the orders that a person must check.
    fn rank(&self) -> u8 {
        let is = |kind: DecisionKind| self.decision == kind.words();
        if self.step == "send" {
            0
        } else if is(DecisionKind::RefundedInPart) {
            1
        } else if is(DecisionKind::Unclear) {
            2
        } else if self.step == "stopped" {
            3
        } else if is(DecisionKind::NotRefunded) {
            5
        } else {
            4
        }
    }
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
    /// Parses the message of the plan about a partial refund.
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
}
