//! Moves all stores to another place. The source is sealed, so that at no moment both places can send.
//!
//! Every step can be repeated: after a kill or a signal, the same command continues the move.

use jiff::SignedDuration;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{counted, grouped};
use crate::report::{self, Report};
use crate::store::ledger::Head;
use crate::store::transfer::{Progress, Stores, Survey, TableCount, Transfer};

/// The time after which progress is shown.
const QUIET: SignedDuration = SignedDuration::from_secs(2);

#[derive(Debug)]
pub struct Options {
    pub from: Stores,
    pub to: Stores,
    /// Only says what would be copied.
    pub dry_run: bool,
    /// Gives up a move that is not complete.
    pub undo: bool,
    /// Does not ask for confirmation.
    pub yes: bool,
}

/// How a move ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    WouldMove,
    Moved,
    AlreadyMoved,
    Undone,
}

#[derive(Debug, Serialize)]
pub struct Moved {
    pub outcome: Outcome,
    pub from: String,
    pub to: String,
    /// The move was begun by an earlier command.
    pub continued: bool,
    /// The rows of every table: those of the source in a dry run, otherwise those that both sides have.
    pub tables: Vec<TableCount>,
    /// The number of events of the ledger, whose chain was computed again.
    pub events: u64,
    pub head: Head,
}

pub async fn run(options: Options, clock: &Clock, stop: &CancellationToken, report: &Report) -> Result<Moved> {
    let Options { from, to, dry_run, undo, yes } = options;
    let places = (from.index.to_string(), to.index.to_string());
    let transfer = Transfer::new(from, to)?;
    let result = |outcome, survey: Survey, continued| {
        let (from, to) = places.clone();
        Moved { outcome, from, to, continued, tables: survey.tables, events: survey.events, head: survey.head }
    };
    if undo && !dry_run {
        return Ok(result(Outcome::Undone, transfer.undo()?, true));
    }
    let survey = transfer.survey()?;
    let continued = survey.progress != Progress::New;
    if dry_run {
        return Ok(result(Outcome::WouldMove, survey, continued));
    }
    if survey.progress == Progress::Complete {
        transfer.complete()?;
        return Ok(result(Outcome::AlreadyMoved, survey, continued));
    }
    // A person has agreed to a move that has begun, and its source is sealed already.
    if !yes && !continued {
        ask(&survey, &places, stop, report).await?;
    }
    transfer.begin(clock.now())?;
    copy(&transfer, survey.rows(), clock, stop, report)?;
    let compared = transfer.compare()?;
    transfer.complete()?;
    Ok(result(Outcome::Moved, compared, continued))
}

async fn ask(survey: &Survey, places: &(String, String), stop: &CancellationToken, report: &Report) -> Result<()> {
    if !report.can_ask() {
        return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was moved")
            .hint("add --yes to skip the question, or --dry-run to see what would be moved"));
    }
    let question = format!(
        "Move {} and {} of the ledger from {} to {}? Nothing is sent from the source any more.",
        counted(survey.rows(), "row"),
        counted(survey.events, "event"),
        places.0,
        places.1
    );
    report::confirm(question, stop, "nothing was moved").await
}

fn copy(transfer: &Transfer, total: u64, clock: &Clock, stop: &CancellationToken, report: &Report) -> Result<()> {
    let (began, mut progress) = (clock.now(), None);
    transfer.copy(&mut |done| {
        if stop.is_cancelled() {
            return Err(Error::new(
                Kind::Interrupted,
                "interrupted; the source is sealed, and the move is not complete",
            )
            .hint("run the same command again to continue, or add --undo to use the source again"));
        }
        if clock.now().duration_since(began) > QUIET {
            progress.get_or_insert_with(|| report.progress("rows moved")).show(done, Some(total), "");
        }
        Ok(())
    })
}

impl Moved {
    pub fn lines(&self) -> Vec<String> {
        let Self { from, to, events, head, .. } = self;
        let mut lines = Vec::new();
        if self.outcome != Outcome::Undone {
            let rows = |count: &&TableCount| count.rows > 0;
            let line = |count: &TableCount| format!("{} of the {}: {}", count.table, count.store, grouped(count.rows));
            lines.extend(self.tables.iter().filter(rows).map(line));
            lines.push(format!(
                "{}, the chain holds; head {} (event {})",
                counted(*events, "event"),
                head.hash,
                head.sequence
            ));
        }
        match self.outcome {
            Outcome::WouldMove if self.continued => lines.push(format!("a move from {from} to {to} has begun")),
            Outcome::WouldMove => lines.push(format!("would move from {from} to {to}; nothing was changed")),
            Outcome::Moved => {
                lines.push(format!("moved from {from} to {to}; every table was compared"));
                lines.push(format!("set RECOUP_DATABASE to {to}; {from} is sealed and still holds the data"));
            }
            Outcome::AlreadyMoved => lines.push(format!("{from} was moved to {to} before; nothing was changed")),
            Outcome::Undone => lines.push(format!("the move was given up: use {from}, and remove what is at {to}")),
        }
        lines
    }
}
