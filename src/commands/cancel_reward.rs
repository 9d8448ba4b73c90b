//! `recoup cancel-reward`: settings and flags → a receipt.

use super::{Context, End, retract, warn_of_quota};
use crate::cli::CancelRewardArgs;
use crate::config::Wishes;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;
use crate::model::budget::Purpose;
use crate::retract::cancel::{self, CancelOptions, CancellerSettings};

pub(super) async fn run(context: &Context<'_>, args: CancelRewardArgs) -> Result<End> {
    let Context { settings, report, .. } = context;
    let identity = settings.identity()?;
    if args.reward_id.is_empty() || args.reward_id.len() > MOST_BYTES {
        return Err(Error::new(Kind::Usage, "that is no reward ID").hint("`recoup lookup ORDER` shows reward IDs"));
    }
    let within = args.wait.map(|span| span.0);
    let options = CancelOptions {
        reason: args.reason,
        ticket: args.ticket,
        dry_run: args.dry_run,
        yes: args.yes,
        follows: retract::follows(settings, within),
    };
    options.check(report.can_ask())?;
    let wishes = Wishes { purpose: Purpose::Retraction, within, ..Wishes::default() };
    let canceller =
        CancellerSettings { host: settings.advocate_options(wishes)?, lock_wait: settings.retract.lock_wait };
    let advocate = context.advocate(wishes)?;
    let brand = context.brand(wishes)?;
    let reads = retract::reads(context, &identity, &advocate, &brand);
    let receipt = cancel::run(&reads, &canceller, &RewardId::new(args.reward_id), &options).await?;
    report.object(&receipt)?;
    for line in receipt.lines() {
        report.line(line);
    }
    warn_of_quota(&advocate, &brand, report);
    receipt.problem().map_or(Ok(End::Done), Err)
}

/// No ID of the vendor's is nearly as long.
const MOST_BYTES: usize = 255;
