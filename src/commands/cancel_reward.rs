//! `recoup cancel-reward`: cancels a reward by flags and settings, and prints the receipt.

use super::retract::{follows, show_receipts, with_clients};
use super::{CommandContext, Exit};
use crate::cli::CancelRewardArgs;
use crate::config::HostFlags;
use crate::error::{Error, Kind, Result};
use crate::model::RewardId;
use crate::model::budget::Purpose;
use crate::retract::cancel::{self, CancelOptions, CancellerSettings};

/// The maximum length of an accepted reward ID. The reward IDs of the vendor are much shorter than this maximum.
const REWARD_ID_AT_MOST: usize = 255;

pub(super) async fn run(context: &CommandContext<'_>, args: CancelRewardArgs) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    if args.reward_id.is_empty() || args.reward_id.len() > REWARD_ID_AT_MOST {
        return Err(Error::new(Kind::Usage, "that is not a reward ID").hint("`recoup lookup ORDER` shows reward IDs"));
    }
    let within = args.wait.map(|span| span.0);
    let options = CancelOptions {
        reason: args.reason,
        ticket: args.ticket,
        dry_run: args.dry_run,
        yes: args.yes,
        follows: follows(settings, within),
    };
    options.check(report.can_ask())?;
    let flags = HostFlags { purpose: Purpose::Retraction, within, ..HostFlags::default() };
    let canceller =
        CancellerSettings { host: settings.advocate_options(flags)?, lock_wait: settings.retract.lock_wait };
    let reward_id = RewardId::new(args.reward_id);
    let receipt =
        with_clients(context, flags, async |ctx| cancel::run(ctx, &canceller, &reward_id, &options).await).await?;
    show_receipts(context, &[receipt])
}
