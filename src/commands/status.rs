//! `recoup status`: shows freshness, coverage and open retractions. With `--check`, the exit code tells a monitor
//! whether there are problems.

use std::time::Duration;

use super::{CommandContext, Exit};
use crate::cli::StatusArgs;
use crate::error::{Error, Kind, Result};
use crate::status;

/// The default of `--max-age`: one crawl each night, plus two hours of delay.
const MAX_AGE: Duration = Duration::from_hours(26);

const OVERDUE: Duration = Duration::from_hours(24);

pub(super) fn run(context: &CommandContext<'_>, args: &StatusArgs) -> Result<Exit> {
    let CommandContext { settings, clock, .. } = context;
    let identity = settings.identity_if_set()?;
    let mut status =
        status::gather(&settings.database, &settings.ledger, identity.as_ref(), args.failed_accounts, clock)?;
    if let Some(id) = args.retraction {
        let entry = status::one_retraction(&settings.database, &settings.ledger, identity.as_ref(), id, clock)?;
        context.show(&entry, entry.full_lines())?;
        return Ok(Exit::Done);
    }
    let overdue = args.overdue.map_or(OVERDUE, |span| span.0);
    if args.check {
        let max_age = args.max_age.map_or(MAX_AGE, |span| span.0);
        status.problems = Some(status.check(status::Limits { max_age, overdue }, clock.now()));
    }
    if let Some(path) = &args.metrics_file {
        status.write_metrics(path, overdue, clock.now())?;
    }
    context.show(&status, status.lines())?;
    if let Some(error) = status.block {
        return Ok(Exit::Reported(error));
    }
    match status.problems.as_deref() {
        None | Some([]) => Ok(Exit::Done),
        Some([only]) => Ok(Exit::Reported(Error::new(Kind::Failed, only.message.clone()))),
        Some([first, others @ ..]) => {
            Ok(Exit::Reported(Error::new(Kind::Failed, format!("{}; and {} more", first.message, others.len()))))
        }
    }
}
