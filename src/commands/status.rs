//! `recoup status`: what the two files say, checked where a timer asks.

use std::time::Duration;

use super::{Context, End};
use crate::cli::StatusArgs;
use crate::error::{Error, Kind, Result};
use crate::status;

/// How old an index may be where nobody says otherwise: a night's crawl, and two hours of being late.
const MAX_AGE: Duration = Duration::from_hours(26);

/// How long a retraction may be open.
const OVERDUE: Duration = Duration::from_hours(24);

pub(super) fn run(context: &Context<'_>, args: &StatusArgs) -> Result<End> {
    let Context { settings, clock, report, .. } = context;
    let identity = settings.identity_if_set()?;
    let mut status =
        status::gather(&settings.database, &settings.ledger, identity.as_ref(), args.failed_accounts, clock)?;
    if let Some(id) = args.retraction {
        let entry = status::one_retraction(&settings.ledger, identity.as_ref(), id)?;
        report.object(&entry)?;
        for line in entry.full_lines() {
            report.line(line);
        }
        return Ok(End::Done);
    }
    let overdue = args.overdue.map_or(OVERDUE, |span| span.0);
    if args.check {
        let max_age = args.max_age.map_or(MAX_AGE, |span| span.0);
        status.problems = Some(status.check(status::Limits { max_age, overdue }, clock.now()));
    }
    if let Some(path) = &args.metrics_file {
        status.write_metrics(path, overdue, clock.now())?;
    }
    report.object(&status)?;
    for line in status.lines() {
        report.line(line);
    }
    if let Some(error) = status.block {
        return Ok(End::Said(error));
    }
    match status.problems.as_deref() {
        None | Some([]) => Ok(End::Done),
        Some([only]) => Ok(End::Said(Error::new(Kind::Failed, only.message.clone()))),
        Some([first, others @ ..]) => {
            Ok(End::Said(Error::new(Kind::Failed, format!("{}; and {} more", first.message, others.len()))))
        }
    }
}
