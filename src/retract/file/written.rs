//! What came of writing a reversal file: one row for each order, and the same for a person.
//!
//! Only says it: what is checked, and what is written down, is in `write`. A row that is not a line of the file must say why.

use serde::Serialize;

use super::orders::Wish;
use crate::error::{Error, Kind};
use crate::model::{ActionId, OrderId};
use crate::report::table;
use crate::retract::plan::{ActionPlan, Plan};
use crate::retract::receipt::{Mark, finding_lines};
use crate::retract::verdict::{Finding, Verdict};

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Where the file is; `null` where none was written.
    pub path: Option<String>,
    /// Its name.
    pub name: String,
    /// Nothing was written, because nothing was to be written.
    pub dry_run: bool,
    /// How many lines it has, or would have.
    pub written: usize,
    /// How many orders are not in it.
    pub not_written: usize,
    /// One for each order, in order.
    pub rows: Vec<Row>,
    /// The ledger and how far it is; `null` where nothing was written.
    pub ledger: Option<Mark>,
}

/// One order.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The line of the list, from 1; `null` on the command line.
    pub line: Option<u64>,
    /// The order.
    pub order_id: OrderId,
    /// Its action, where the index has it.
    pub action_id: Option<ActionId>,
    /// The event type that names the order in the file.
    pub action_tracker_id: Option<String>,
    /// The reason code.
    pub reason_code: String,
    /// Whether it is, or would be, a line of the file.
    pub written: bool,
    /// Its number in the ledger.
    pub retraction: Option<i64>,
    /// Why it is not written.
    pub message: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
    /// Whether it may go.
    pub verdict: Option<Verdict>,
    /// What was found, each with its evidence and its remedy.
    pub findings: Vec<Finding>,
    #[serde(skip)]
    kind: Option<Kind>,
    /// What is to be done, once it was checked.
    #[serde(skip)]
    pub(super) plan: Option<Plan>,
    /// What was asked for.
    #[serde(skip)]
    pub(super) wish: Wish,
}

impl Row {
    pub(super) fn new(wish: &Wish, disposition: &str) -> Self {
        Self {
            line: wish.line,
            order_id: wish.order_id.clone(),
            action_id: None,
            action_tracker_id: None,
            reason_code: wish.reason_code.clone().unwrap_or_else(|| disposition.to_owned()),
            written: false,
            retraction: None,
            message: None,
            hint: None,
            verdict: None,
            findings: Vec::new(),
            kind: None,
            plan: None,
            wish: wish.clone(),
        }
    }

    /// It is not, or no longer, to be a line.
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
    /// What the command ends with, where that is not success.
    pub fn problem(&self) -> Option<Error> {
        let worst = self
            .rows
            .iter()
            .filter(|row| !row.wish.not_refunded)
            .filter_map(|row| row.kind.map(|kind| (kind, row)))
            .min_by_key(|(kind, _)| kind.rank());
        let (kind, row) = worst?;
        let why = row.message.as_deref().unwrap_or_default();
        let message = format!(
            "{} of {} orders are not in the file: order {:?}: {why}",
            self.not_written,
            self.rows.len(),
            row.order_id.as_str()
        );
        let error = Error::new(if self.written > 0 { Kind::SomeFailed } else { kind }, message);
        Some(match &row.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// The answer as text.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.table();
        lines.push(match (&self.path, self.dry_run) {
            (Some(path), _) => {
                format!("{} line(s) in {path}; handed over, and not done until the vendor has the file", self.written)
            }
            (None, true) => {
                format!("a dry run: {} line(s) would be in {}; nothing was written", self.written, self.name)
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

    /// Every order in a table, and what was found below it.
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

    /// Counts the lines anew.
    pub(super) fn count(&mut self) {
        self.written = self.rows.iter().filter(|row| row.written).count();
        self.not_written = self.rows.len() - self.written;
    }
}
