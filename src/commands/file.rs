//! `recoup file write`, `check` and `release`: writes a reversal file, or prints receipts about its lines.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::retract::{follows, options, show_receipts, with_clients};
use super::{CommandContext, Exit};
use crate::cli::{FileArgs, FileCheckArgs, FileCommand, FileReleaseArgs, FileWriteArgs, SendArgs};
use crate::config::HostFlags;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::budget::Purpose;
use crate::refunds;
use crate::retract::file::orders::{FileOrder, of_list};
use crate::retract::file::{check, release, write};
use crate::store::ledger::Channel;

pub(super) async fn run(context: &CommandContext<'_>, args: FileArgs) -> Result<Exit> {
    match args.command {
        FileCommand::Write(args) => write(context, *args).await,
        FileCommand::Check(args) => check(context, args).await,
        FileCommand::Release(args) => release(context, args).await,
    }
}

async fn write(context: &CommandContext<'_>, args: FileWriteArgs) -> Result<Exit> {
    let CommandContext { settings, clock, report, .. } = context;
    if args.from.is_none() && !args.columns.is_empty() {
        let message = "flags for the columns of a file need --from: orders on the command line have no columns";
        return Err(Error::new(Kind::Usage, message));
    }
    let FileWriteArgs { consent, dry_run, max_index_age, .. } = args;
    let send = SendArgs { consent, dry_run, wait: None, max_index_age };
    let options = write::WriteOptions {
        plan: options(settings, Channel::File, args.reason_code, send),
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
    let orders = if let Some(path) = &args.from {
        let list = refunds::read::file(path, &super::refunds::options(settings, &args.columns))?;
        super::refunds::show_reading(report, &list);
        of_list(&list)
    } else {
        let orders = args.orders.iter().map(|order| lookup::order_id(order).map(FileOrder::named));
        orders.collect::<Result<Vec<_>>>()?
    };
    let lock_wait = settings.retract.lock_wait;
    let written =
        with_clients(context, flags(), async |ctx| write::run(ctx, lock_wait, &orders, &options).await).await?;
    context.show(&written, written.lines())?;
    written.problem().map_or(Ok(Exit::Done), Err)
}

fn day(text: &str) -> Result<Date> {
    text.parse().map_err(|_cause| {
        Error::new(Kind::Usage, format!("--date {text:?} is not a date")).hint("write it as 2026-03-01")
    })
}

async fn check(context: &CommandContext<'_>, args: FileCheckArgs) -> Result<Exit> {
    let follows = follows(context.settings, None);
    let options = check::CheckOptions { submission: args.submission, file: args.file, follows };
    let receipts = with_clients(context, flags(), async |ctx| check::run(ctx, &options).await).await?;
    if receipts.is_empty() {
        context.report.note("every line that was handed over is settled");
    }
    show_receipts(context, &receipts)
}

async fn release(context: &CommandContext<'_>, args: FileReleaseArgs) -> Result<Exit> {
    let lock_wait = context.settings.retract.lock_wait;
    let options = release::ReleaseOptions { id: args.id, ticket: args.ticket, reason: args.reason, lock_wait };
    let receipt = with_clients(context, flags(), async |ctx| release::run(ctx, &options).await).await?;
    // The receipt of the released line counts as unproven. `recoup file release` still succeeds, because its only task
    // was to release the line.
    context.show(&receipt, receipt.lines())?;
    Ok(Exit::Done)
}

fn flags() -> HostFlags {
    HostFlags { purpose: Purpose::Retraction, ..HostFlags::default() }
}
