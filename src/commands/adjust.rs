//! `recoup adjust`: runs an adjustment from flags and settings, and prints its receipt.

use super::retract::{options, show_receipts, with_clients, writer};
use super::{CommandContext, Exit};
use crate::cli::AdjustArgs;
use crate::config::HostFlags;
use crate::error::Result;
use crate::lookup;
use crate::model::ActionId;
use crate::model::budget::Purpose;
use crate::retract;
use crate::retract::adjust::change_flags::{ChangeFlags, change};
use crate::retract::adjust::{self, AdjustOptions};
use crate::store::ledger::Channel;

pub(super) async fn run(context: &CommandContext<'_>, args: AdjustArgs) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    let within = args.send.wait.map(|span| span.0);
    let wanted = ChangeFlags { amounts: args.sku, quantities: args.quantity, deltas: args.delta, total: args.amount };
    let options = AdjustOptions {
        plan: retract::Options {
            action_id: args.action_id.map(ActionId::new),
            ..options(settings, Channel::Modification, args.code, args.send)
        },
        change: change(&wanted)?,
        again: args.again,
        others_stay: args.others_stay,
    };
    options.check(report.can_ask())?;
    let order_id = lookup::order_id(&args.order)?;
    let writer = writer(settings, within)?;
    let flags = HostFlags { purpose: Purpose::Retraction, within, ..HostFlags::default() };
    let receipt =
        with_clients(context, flags, async |ctx| adjust::run(ctx, &writer, &order_id, &options).await).await?;
    show_receipts(context, &[receipt])
}
