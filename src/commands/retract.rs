//! `recoup retract` and `recoup verify`: settings and flags → receipts.

use std::time::Duration;

use super::{Context, End, parked, warn_of_quota};
use crate::cli::{RetractArgs, SendArgs, VerifyArgs};
use crate::config::{Settings, Wishes};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::ActionId;
use crate::model::budget::Purpose;
use crate::retract::{self, Follows, Submissions, WriterSettings};
use crate::store::Identity;
use crate::store::ledger::Road;
use crate::vendor::{Advocate, Brand};

pub(super) async fn retract(context: &Context<'_>, args: RetractArgs) -> Result<End> {
    let Context { settings, stop, report, .. } = context;
    let identity = settings.identity()?;
    let within = args.send.wait.map(|span| span.0);
    let mut options = retract::Options {
        action_id: args.action_id.map(ActionId::new),
        all: args.all,
        action_tracker: args.action_tracker,
        resend: args.resend,
        ..options(settings, Road::Reversal, args.disposition, args.send)
    };
    // A batch waits for the quota as long as it takes; for one order, --wait is all the time there is.
    let within = within.filter(|_| !args.batch.is_batch());
    // A plan sends nothing either.
    options.dry_run |= args.batch.plan.is_some();
    if args.orders.len() > 1 {
        options.follows.submissions = Submissions::Sparingly { now: false };
    }
    if !args.batch.is_batch() && args.batch.partials {
        return Err(
            Error::new(Kind::Usage, "--partials is for refunds from a file").hint("use `recoup adjust` for one order")
        );
    }
    if args.batch.file.is_none() && !args.batch.columns.is_empty() {
        let why = if args.batch.apply.is_some() {
            "a plan is read as it was made"
        } else {
            "orders that are named have none"
        };
        return Err(Error::new(Kind::Usage, format!("flags for a file's columns need --file: {why}")));
    }
    options.check(report.can_ask())?;
    if !args.batch.is_batch() && (args.batch.out.is_some() || args.batch.watch_missing) {
        return Err(Error::new(Kind::Usage, "--out and --watch-missing are for refunds from a file")
            .hint("name the file with --file"));
    }
    let orders = args.orders.iter().map(|order| lookup::order_id(order)).collect::<Result<Vec<_>>>()?;
    if options.action_id.is_some() && orders.len() > 1 {
        return Err(Error::new(Kind::Usage, "--action-id names one action, and several orders were given"));
    }
    let writer = writer(settings, within)?;
    super::forget::apply_tombstones(context, false)?;
    let wishes = Wishes { purpose: Purpose::Retraction, within, ..Wishes::default() };
    let advocate = context.advocate(wishes)?;
    let brand = context.brand(wishes)?;
    let reads = reads(context, &identity, &advocate, &brand);
    if args.batch.is_batch() {
        let ended = super::batch::run(context, &args.batch, &options, &reads, &writer).await;
        warn_of_quota(&advocate, &brand, report);
        return ended;
    }
    let mut problems = Vec::new();
    let mut stopped = false;
    for order_id in &orders {
        if stopped || stop.is_cancelled() {
            let kind = if stop.is_cancelled() { Kind::Interrupted } else { Kind::Failed };
            let left = Error::new(kind, "not tried, because of what ended the one before; nothing was sent");
            report.item_error(order_id.as_str(), &left)?;
            problems.push(left);
            continue;
        }
        match retract::run(&reads, &writer, order_id, &options).await {
            Ok(receipt) => {
                report.object(&receipt)?;
                for line in receipt.lines() {
                    report.line(line);
                }
                let problem = receipt.problem();
                // Credentials, quota and signals concern every further order as well.
                stopped = problem.as_ref().is_some_and(|problem| matches!(problem.kind.exit_code(), 3 | 8 | 130));
                problems.extend(problem);
            }
            // With one order the error is the answer; with several each has its own, and the last word sums up.
            Err(error) if orders.len() == 1 => return Err(error),
            Err(error) => {
                report.item_error(order_id.as_str(), &error)?;
                stopped = matches!(error.kind.exit_code(), 3 | 8 | 130);
                problems.push(error);
            }
        }
    }
    warn_of_quota(&advocate, &brand, report);
    let failed = problems.len();
    if orders.len() > 1 {
        // Of several orders, one that failed is an item that failed.
        for problem in problems.iter_mut().filter(|problem| problem.kind.exit_code() == 1) {
            problem.kind = Kind::SomeFailed;
        }
    }
    match problems.into_iter().min_by_key(|problem| problem.kind.rank()) {
        None => Ok(End::Done),
        Some(problem) if orders.len() == 1 => Err(problem),
        Some(worst) => Err(Error {
            message: format!("{failed} of {} orders are not done: {}", orders.len(), worst.message),
            ..worst
        }),
    }
}

pub(super) async fn verify(context: &Context<'_>, args: &VerifyArgs) -> Result<End> {
    let Context { settings, report, .. } = context;
    let identity = settings.identity()?;
    super::forget::apply_tombstones(context, false)?;
    let within = args.wait.map(|span| span.0);
    let wishes = Wishes { purpose: Purpose::Retraction, max_wait: parked(args.park), within, ..Wishes::default() };
    let advocate = context.advocate(wishes)?;
    let brand = context.brand(wishes)?;
    let reads = reads(context, &identity, &advocate, &brand);
    // Without a limit it ends when none is open.
    let follows = follows(settings, Some(args.wait.map_or(Duration::MAX, |span| span.0)));
    let watch = args.watch || args.wait.is_some();
    let receipts = retract::verify::run(&reads, &args.ids, watch, &follows).await?;
    for receipt in &receipts {
        report.object(receipt)?;
        for line in receipt.lines() {
            report.line(line);
        }
    }
    warn_of_quota(&advocate, &brand, report);
    if receipts.is_empty() {
        report.note("no retraction is open");
    }
    match receipts.iter().filter_map(retract::receipt::Receipt::problem).min_by_key(|problem| problem.kind.rank()) {
        None => Ok(End::Done),
        Some(problem) => Err(problem),
    }
}

/// What is asked for by the flags that `retract`, `adjust` and `file write` share.
pub(super) fn options(settings: &Settings, road: Road, disposition: String, args: SendArgs) -> retract::Options {
    let follows = follows(settings, args.wait.map(|span| span.0));
    let max_index_age = args.max_index_age.map_or(settings.retract.max_index_age, |span| span.0);
    retract::Options {
        reason: args.consent.reason,
        ticket: args.consent.ticket,
        dry_run: args.dry_run,
        yes: args.consent.yes,
        overrides: args.consent.overrides,
        ..retract::Options::new(road, disposition, max_index_age, follows)
    }
}

/// `within` is how long the command may go on, if a person said so.
pub(super) fn writer(settings: &Settings, within: Option<Duration>) -> Result<WriterSettings> {
    Ok(WriterSettings {
        host: settings.writer_options(within)?,
        ir_version: settings.ir_version.clone(),
        lock_wait: settings.retract.lock_wait,
    })
}

pub(super) fn follows(settings: &Settings, wait: Option<Duration>) -> Follows {
    Follows {
        wait: wait.unwrap_or(settings.retract.wait),
        first_poll: settings.retract.first_poll,
        max_poll: settings.retract.max_poll,
        settle: settings.retract.settle,
        doubts: settings.retract.doubts,
        reread_for: settings.retract.reread_for,
        ..Follows::default()
    }
}

pub(super) fn reads<'a>(
    context: &'a Context<'_>,
    identity: &'a Identity,
    advocate: &'a Advocate,
    brand: &'a Brand,
) -> retract::Context<'a> {
    let Context { settings, clock, stop, report, actor, .. } = context;
    retract::Context {
        index_path: &settings.database,
        ledger_path: &settings.ledger,
        identity,
        actor,
        advocate,
        brand,
        mapping: &settings.mapping,
        clock,
        stop,
        report,
        session: retract::Session::default(),
    }
}
