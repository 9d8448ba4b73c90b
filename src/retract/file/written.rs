//! The report about writing a reversal file: one row for each order, as JSON and as text.
//!
//! Each order that the reversal file does not contain has a reason.

use serde::Serialize;

use super::orders::FileOrder;
use crate::error::{Error, Kind};
use crate::model::{ActionId, OrderId, counted};
use crate::report::table;
use crate::retract::checks::{Finding, Verdict};
use crate::retract::plan::{ActionPlan, Plan};
use crate::retract::receipt::{Mark, finding_lines};

#[derive(Debug, Serialize)]
pub struct Written {
    /// Path of the reversal file; `null` if recoup wrote no file.
    pub path: Option<String>,
    pub name: String,
    pub dry_run: bool,
    /// Number of lines in the reversal file.
    pub written: usize,
    /// Number of orders that are not in the reversal file.
    pub not_written: usize,
    pub rows: Vec<Row>,
    /// The ledger and its newest event; `null` if recoup wrote no reversal file.
    pub ledger: Option<Mark>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    /// Line of the refund list, from 1; `null` for an order from the command line.
    pub line: Option<u64>,
    pub order_id: OrderId,
    pub action_id: Option<ActionId>,
    pub action_tracker_id: Option<String>,
    pub reason_code: String,
    /// Whether the reversal file contains the order or, in a dry run, would contain the order.
    pub written: bool,
    pub retraction: Option<i64>,
    pub message: Option<String>,
    pub hint: Option<String>,
    pub verdict: Option<Verdict>,
    pub findings: Vec<Finding>,
    #[serde(skip)]
    kind: Option<Kind>,
    #[serde(skip)]
    pub(super) plan: Option<Plan>,
    #[serde(skip)]
    pub(super) order: FileOrder,
}

impl Row {
    pub(super) fn new(order: &FileOrder, disposition: &str) -> Self {
        Self {
            line: order.line,
            order_id: order.order_id.clone(),
            action_id: None,
            action_tracker_id: None,
            reason_code: order.reason_code.clone().unwrap_or_else(|| disposition.to_owned()),
            written: false,
            retraction: None,
            message: None,
            hint: None,
            verdict: None,
            findings: Vec::new(),
            kind: None,
            plan: None,
            order: order.clone(),
        }
    }

    pub(super) fn refuse(&mut self, error: Error) {
        self.written = false;
        self.kind = Some(error.kind);
        self.message = Some(error.message);
        self.hint = error.hint;
    }

    pub(super) fn action(&self) -> Option<&ActionPlan> {
        self.plan.as_ref()?.actions.first()
    }
}

impl Written {
    /// Returns the error that the command ends with; `None` for success.
    pub fn problem(&self) -> Option<Error> {
        let worst = self
            .rows
            .iter()
            .filter(|row| !row.order.not_refunded)
            .filter_map(|row| row.kind.map(|kind| (kind, row)))
            .min_by_key(|(kind, _)| kind.rank());
        let (kind, row) = worst?;
        let why = row.message.as_deref().unwrap_or_default();
        let message = format!(
            "{} of {} not in the file: order {:?}: {why}",
            self.not_written,
            counted(self.rows.len(), "order"),
            row.order_id.as_str()
        );
        let error = Error::new(if self.written > 0 { Kind::SomeFailed } else { kind }, message);
        Some(match &row.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.table();
        lines.push(match (&self.path, self.dry_run) {
            (Some(path), _) => {
                format!(
                    "{} in {path}; handed over, and not done until the vendor has the file",
                    counted(self.written, "line")
                )
            }
            (None, true) => {
                format!("a dry run: {} would be in {}; nothing was written", counted(self.written, "line"), self.name)
            }
            (None, false) => "no file was written".to_owned(),
        });
        if self.path.is_some() {
            lines.push(
                "hand it in by your own means (FTP batch.impact.com, or e-mail), then run `recoup file check`"
                    .to_owned(),
            );
        }
        if let Some(mark) = &self.ledger {
            lines.push(mark.line());
        }
        lines
    }

    pub(super) fn table(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|row| {
            [
                row.order_id.to_string(),
                row.action_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                row.action_tracker_id.clone().unwrap_or_default(),
                row.reason_code.clone(),
                match (&row.message, row.retraction) {
                    (Some(why), _) => format!("not written: {why}"),
                    (None, Some(id)) => format!("handed over (retraction {id})"),
                    (None, None) => "to be written".to_owned(),
                },
            ]
        });
        let mut lines: Vec<String> =
            table(["order", "action", "action tracker", "reason code", ""], rows).lines().map(str::to_owned).collect();
        for row in &self.rows {
            let findings = row.findings.iter().flat_map(|finding| finding_lines(finding, "  "));
            lines.extend(findings.map(|line| format!("  order {}:{line}", row.order_id)));
        }
        lines
    }

    pub(super) fn count(&mut self) {
        self.written = self.rows.iter().filter(|row| row.written).count();
        self.not_written = self.rows.len() - self.written;
    }
}
