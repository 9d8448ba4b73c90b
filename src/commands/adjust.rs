//! `recoup adjust`: settings and flags → a receipt.

use super::retract::{options, reads, writer};
use super::{Context, End, warn_of_quota};
use crate::cli::AdjustArgs;
use crate::config::Wishes;
use crate::error::Result;
use crate::lookup;
use crate::model::ActionId;
use crate::model::budget::Purpose;
use crate::retract;
use crate::retract::adjust::change_flags::{ChangeFlags, change};
use crate::retract::adjust::{self, AdjustOptions};
use crate::store::ledger::Road;

pub(super) async fn run(context: &Context<'_>, args: AdjustArgs) -> Result<End> {
    let Context { settings, report, .. } = context;
    let identity = settings.identity()?;
    let within = args.send.wait.map(|span| span.0);
    let wanted = ChangeFlags { amounts: args.sku, quantities: args.quantity, deltas: args.delta, total: args.amount };
    let options = AdjustOptions {
        plan: retract::Options {
            action_id: args.action_id.map(ActionId::new),
            ..options(settings, Road::Modification, args.code, args.send)
        },
        change: change(&wanted)?,
        again: args.again,
        others_stay: args.others_stay,
    };
    options.check(report.can_ask())?;
    let order_id = lookup::order_id(&args.order)?;
    let writer = writer(settings, within)?;
    let wishes = Wishes { purpose: Purpose::Retraction, within, ..Wishes::default() };
    let advocate = context.advocate(wishes)?;
    let brand = context.brand(wishes)?;
    let reads = reads(context, &identity, &advocate, &brand);
    let receipt = adjust::run(&reads, &writer, &order_id, &options).await?;
    report.object(&receipt)?;
    for line in receipt.lines() {
        report.line(line);
    }
    warn_of_quota(&advocate, &brand, report);
    match receipt.problem() {
        None => Ok(End::Done),
        Some(problem) => Err(problem),
    }
}
