//! `recoup file write`, `check` and `release`: settings and flags → what was written, or receipts.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::retract::{follows, options, reads};
use super::{Context, End, warn_of_quota};
use crate::cli::{FileArgs, FileCheckArgs, FileCommand, FileReleaseArgs, FileWriteArgs, SendArgs};
use crate::config::Wishes;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::budget::Purpose;
use crate::refunds;
use crate::retract::file::orders::{FileOrder, of_list};
use crate::retract::file::{check, release, write};
use crate::retract::receipt::Receipt;
use crate::store::ledger::Road;

pub(super) async fn run(context: &Context<'_>, args: FileArgs) -> Result<End> {
    match args.command {
        FileCommand::Write(args) => write(context, *args).await,
        FileCommand::Check(args) => check(context, args).await,
        FileCommand::Release(args) => release(context, args).await,
    }
}

async fn write(context: &Context<'_>, args: FileWriteArgs) -> Result<End> {
    let Context { settings, clock, report, .. } = context;
    let identity = settings.identity()?;
    if args.from.is_none() && !args.columns.is_empty() {
        return Err(Error::new(Kind::Usage, "flags for a file's columns need --from: orders that are named have none"));
    }
    let FileWriteArgs { consent, dry_run, max_index_age, .. } = args;
    let send = SendArgs { consent, dry_run, wait: None, max_index_age };
    let options = write::WriteOptions {
        plan: options(settings, Road::File, args.reason_code, send),
        action_tracker: args.action_tracker.or_else(|| settings.file.action_tracker.clone()),
        own_reasons: settings.file.reason_codes.clone(),
        day: match &args.date {
            Some(text) => day(text)?,
            None => clock.now().to_zoned(TimeZone::system()).date(),
        },
        out: args.out,
        force: args.force,
    };
    options.plan.check(report.can_ask())?;
    let wishes = if let Some(path) = &args.from {
        {
            let list = refunds::read::file(path, &super::refunds::options(settings, &args.columns))?;
            super::refunds::say_how_it_is_read(report, &list);
            of_list(&list)
        }
    } else {
        let orders = args.orders.iter().map(|order| lookup::order_id(order).map(FileOrder::named));
        orders.collect::<Result<Vec<_>>>()?
    };
    let purpose = Wishes { purpose: Purpose::Retraction, ..Wishes::default() };
    let advocate = context.advocate(purpose)?;
    let brand = context.brand(purpose)?;
    let reads = reads(context, &identity, &advocate, &brand);
    let written = write::run(&reads, settings.retract.lock_wait, &wishes, &options).await?;
    report.object(&written)?;
    for line in written.lines() {
        report.line(line);
    }
    warn_of_quota(&advocate, &brand, report);
    written.problem().map_or(Ok(End::Done), Err)
}

fn day(text: &str) -> Result<Date> {
    text.parse()
        .map_err(|_cause| Error::new(Kind::Usage, format!("--date {text:?} is no day")).hint("write it as 2026-03-01"))
}

async fn check(context: &Context<'_>, args: FileCheckArgs) -> Result<End> {
    let Context { settings, report, .. } = context;
    let identity = settings.identity()?;
    let purpose = Wishes { purpose: Purpose::Retraction, ..Wishes::default() };
    let advocate = context.advocate(purpose)?;
    let brand = context.brand(purpose)?;
    let reads = reads(context, &identity, &advocate, &brand);
    let options =
        check::CheckOptions { submission: args.submission, file: args.file, follows: follows(settings, None) };
    let receipts = check::run(&reads, &options).await?;
    if receipts.is_empty() {
        report.note("no line is handed over and not settled");
    }
    show(context, &receipts)?;
    warn_of_quota(&advocate, &brand, report);
    // What the worst of them makes the command end with.
    let problem = receipts.iter().filter_map(Receipt::problem).min_by_key(|problem| problem.kind.rank());
    problem.map_or(Ok(End::Done), Err)
}

async fn release(context: &Context<'_>, args: FileReleaseArgs) -> Result<End> {
    let Context { settings, .. } = context;
    let identity = settings.identity()?;
    let purpose = Wishes { purpose: Purpose::Retraction, ..Wishes::default() };
    let advocate = context.advocate(purpose)?;
    let brand = context.brand(purpose)?;
    let reads = reads(context, &identity, &advocate, &brand);
    let lock_wait = settings.retract.lock_wait;
    let options = release::ReleaseOptions { id: args.id, ticket: args.ticket, reason: args.reason, lock_wait };
    // That it is released is what was asked for.
    show(context, &[release::run(&reads, &options).await?])?;
    Ok(End::Done)
}

fn show(context: &Context<'_>, receipts: &[Receipt]) -> Result<()> {
    for receipt in receipts {
        context.report.object(receipt)?;
        for line in receipt.lines() {
            context.report.line(line);
        }
    }
    Ok(())
}
