//! `recoup retract --file` and `--apply`: turns a shop's file into a plan or an outcome file, with one output row for
//! each input row.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::{CommandContext, Exit};
use crate::cli::BatchArgs;
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::refunds::plan_file::{self, PlanTarget};
use crate::refunds::{self, Decision, OutFile, Refunds, Syntax, outcome_file, read};
use crate::report::Report;
use crate::retract::batch::{self, Batch, Limits, OUTCOME_COLUMNS, PLAN_COLUMNS};
use crate::retract::{self, Options, WriterSettings};
use crate::store::Identity;
use crate::store::ledger::{Ledger, NewWatched};

/// The largest number of rows for which recoup reads each action before it sends the retraction. For larger batches
/// recoup does not read the actions, to save requests.
const READ_ACTIONS: usize = 100;

const WATCH_FOR: Duration = Duration::from_hours(30 * 24);

pub(super) async fn run(
    context: &CommandContext<'_>,
    args: &BatchArgs,
    options: &Options,
    ctx: &retract::Context<'_>,
    writer: &WriterSettings,
) -> Result<Exit> {
    let CommandContext { settings, clock, report, .. } = context;
    batch::check(options)?;
    let read_options = super::refunds::options(settings, &args.columns);
    let made_for = PlanTarget { tenant: ctx.identity.tenant.clone(), account_sid: ctx.identity.account_sid.clone() };
    let planned = match &args.apply {
        Some(path) => {
            let planned = plan_file::read_plan(path)?;
            planned.check_target(&made_for)?;
            Some(planned)
        }
        None => None,
    };
    let (input, refunds): (&Path, Refunds) = match (&args.file, &planned) {
        (Some(path), _) => (path, read::file(path, &read_options)?),
        (None, Some(planned)) => (args.apply.as_deref().unwrap_or(Path::new("-")), planned.refunds.clone()),
        (None, None) => return Err(Error::new(Kind::Usage, "a batch needs --file or --apply")),
    };
    // Fails before the first send if the output file cannot be written.
    let target = args.plan.as_deref().or(args.out.as_deref());
    let mut out = match target {
        Some(path) if path != Path::new("-") => {
            let out = OutFile::reserve(path, args.force)?;
            out.ensure_differs_from(input)?;
            Some(out)
        }
        _ => None,
    };
    if !options.dry_run && args.plan.is_none() && target.is_none() {
        return Err(Error::new(Kind::Usage, "a batch needs a file for its outcomes")
            .hint("name it with --out outcomes.csv; --plan FILE or --dry-run send nothing"));
    }
    if options.dry_run {
        super::refunds::show_reading(report, &refunds);
    } else {
        // Prints only the notes, because the question to the user contains the format and the counts.
        refunds.notes.iter().for_each(|note| report.note(note));
    }
    warn_of_bad_rows(report, &refunds);
    let undated =
        planned.as_ref().map_or_else(|| refunds::input::written_at(input, clock.now()), |planned| planned.made_at);
    // For a large batch recoup skips the read of each action, and makes two Brand requests for each order instead of
    // three. Reading the action could only add a warning, because the rewards decide whether a retraction is sent.
    let name = planned.as_ref().map_or_else(|| format!("{} {undated:.0}", input.display()), |plan| plan.digest.clone());
    let options = &Options { read_action: refunds.rows.len() <= READ_ACTIONS, batch: Some(name), ..options.clone() };
    let mut batch = Batch::plan(ctx, &refunds, options, undated).await?;
    // recoup sends the plan's adjustments even without `--partials`.
    let has_adjustments = planned.as_ref().is_some_and(|planned| batch::has_adjustments(&planned.planned));
    if args.partials || has_adjustments {
        batch.plan_partials(writer).await;
    }
    if let Some(planned) = &planned {
        batch.hold_to(&planned.planned);
    }
    if args.plan.is_some() {
        return write_plan(context, &batch, &refunds, &made_for, out.as_mut());
    }
    let limits = Limits {
        count: args.max_count.unwrap_or(settings.retract.max_count),
        value: args.max_value.unwrap_or(settings.retract.max_value),
    };
    if !options.dry_run && batch.ended().is_none() {
        let intent = batch.intent(limits)?;
        let ask = intent.orders + intent.adjustments > 0 && !options.yes;
        for line in intent.lines() {
            if ask { report.say(line) } else { report.note(line) }
        }
        if ask {
            let what = match intent.adjustments {
                0 => format!("Retract {}", counted(intent.orders, "order")),
                n => format!("Retract {} and adjust {n}", counted(intent.orders, "order")),
            };
            retract::confirm(ctx, &what).await?;
        }
        // Writes the outcomes even after an error, because they list the sent retractions.
        match batch.carry_out(writer).await {
            // recoup sends nothing before the approval, so a missing approval needs no outcomes.
            Err(error) if error.kind == Kind::NeedsApproval => return Err(error),
            Err(error) => batch.end_early(error),
            Ok(()) => {}
        }
    }
    let outcomes = batch.outcomes(options.dry_run)?;
    let values: Vec<Vec<String>> = outcomes.iter().map(batch::RowOutcome::cells).collect();
    let format = match args.out.as_deref() {
        // With `--json`, recoup writes outcomes to stdout as JSON, whatever the input format is.
        None if report.json => Syntax::Ndjson,
        out => Syntax::of_output(out, refunds.syntax),
    };
    let bytes = outcome_file::outcomes(&refunds, format, &OUTCOME_COLUMNS, &values)?;
    let unwritten = if let Some(out) = &mut out {
        out.write(&bytes).err()
    } else {
        report.bytes(&bytes);
        report.has_lost_data().then(|| Error::new(Kind::Failed, "failed to write the outcomes to standard output"))
    };
    if args.watch_missing && !options.dry_run {
        watch_missing(context, ctx.identity, &batch, args)?;
    }
    let (summary, problem) = batch.summary(&outcomes);
    for line in summary.lines() {
        // Without `--out`, stdout is reserved for the outcomes.
        if out.is_some() { report.line(line) } else { report.note(line) }
    }
    report.object(&summary)?;
    let problem = problem.filter(|problem| !(options.dry_run && problem.kind == Kind::SomeFailed));
    let problem = match unwritten {
        Some(error) => Some(unwritten_outcomes(&error, summary.sent, problem)),
        None => problem,
    };
    problem.map_or(Ok(Exit::Done), Err)
}

/// Returns the error for outcomes that cannot be written. The error states how many retractions were sent and how to
/// get the outcomes again.
fn unwritten_outcomes(error: &Error, sent: usize, problem: Option<Error>) -> Error {
    let sent = match sent {
        0 => "nothing was sent".to_owned(),
        sent => format!("{sent} sent, and the ledger has each of them"),
    };
    let mut message = format!("{}; {sent}", error.message);
    let mut kind = error.kind;
    if let Some(problem) = problem {
        message = format!("{message}; {}", problem.message);
        kind = if problem.kind.rank() < kind.rank() { problem.kind } else { kind };
    }
    Error::new(kind, message).hint(
        "run the same command again with another --out that has room: it sends nothing twice and writes every outcome",
    )
}

fn write_plan(
    context: &CommandContext<'_>,
    batch: &Batch<'_>,
    refunds: &Refunds,
    made_for: &PlanTarget,
    out: Option<&mut OutFile>,
) -> Result<Exit> {
    let CommandContext { clock, report, .. } = context;
    if let Some(error) = batch.ended() {
        return Err(error.clone());
    }
    let bytes = plan_file::write_plan(refunds, &PLAN_COLUMNS, &batch.planned(), made_for, clock.now())?;
    let no_limits = Limits { count: u64::MAX, value: u64::MAX };
    let intent = batch.intent(no_limits)?;
    match out {
        Some(out) => {
            out.write(&bytes)?;
            context.show(&intent, intent.lines())?;
            report.note(format!("nothing was sent; carry the plan out with --apply {}", out.path().display()));
        }
        None => report.bytes(&bytes),
    }
    Ok(Exit::Done)
}

fn warn_of_bad_rows(report: &Report, refunds: &Refunds) {
    const SHOWN: usize = 20;
    let wrong = || refunds.rows.iter().filter(|row| !row.problems.is_empty());
    for row in wrong().take(SHOWN) {
        for problem in &row.problems {
            report.warn(format!("line {}: {problem}", row.line));
        }
    }
    let more = wrong().count().saturating_sub(SHOWN);
    if more > 0 {
        report.warn(format!("and {more} more lines; the outcomes list all of them"));
    }
}

fn watch_missing(context: &CommandContext<'_>, identity: &Identity, batch: &Batch<'_>, args: &BatchArgs) -> Result<()> {
    let CommandContext { settings, clock, report, actor, .. } = context;
    let now = clock.now();
    let wait = args.watch_for.map_or(WATCH_FOR, |span| span.0);
    let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let not_found: Vec<_> = batch.not_found_yet().collect();
    // The file must prove the refund now, because recoup retracts a watched order later and without the file.
    let to_compare = not_found.iter().filter(|(order, _)| matches!(order.decision, Decision::ToCompare { .. })).count();
    if to_compare > 0 {
        report.note(format!(
            "not watched: {}, because the refund must be compared with the action: run the same file again after a crawl",
            counted(to_compare, "order")
        ));
    }
    let new: Vec<NewWatched<'_>> = not_found
        .into_iter()
        .filter(|(order, _)| matches!(order.decision, Decision::InFull { .. }))
        .map(|(order, options)| NewWatched {
            order_id: &order.order_id,
            refunded_at: order.refunded_at.map(refunds::DateOrTime::latest),
            disposition: Some(&options.disposition),
            ticket: options.ticket.as_deref(),
        })
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let added = Ledger::open(&settings.ledger, identity, actor)?.watch(&new, until, now)?;
    report.note(format!("watched until {until:.0}: {}; every crawl looks for them", counted(added, "order")));
    Ok(())
}
