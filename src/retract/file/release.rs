//! Use case: a person declares that a line of a reversal file was not submitted.
//!
//! After the release of a file line, another channel may send the order. Therefore recoup checks first that the vendor
//! does not have the line. A line of a reversal file counts as submitted if its rewards read as cancelled or the vendor
//! lists its file. The release of a file line requires a ticket. The ledger stores the name of the person who released
//! it.

use std::time::Duration;

use serde_json::json;

use super::check::{is_listed, is_open};
use crate::error::{Error, Kind, Result};
use crate::model::{Coverage, counted};
use crate::retract::Context;
use crate::retract::dispatch::take_lock;
use crate::retract::follow::{RewardsNow, read_rewards};
use crate::retract::receipt::Receipt;
use crate::store::ledger::{Channel, State};

#[derive(Debug, Clone)]
pub struct ReleaseOptions {
    pub id: i64,
    pub ticket: String,
    pub reason: Option<String>,
    /// Longest wait for the send lock while another process sends a request or writes a reversal file.
    pub lock_wait: Duration,
}

pub async fn run(ctx: &Context<'_>, options: &ReleaseOptions) -> Result<Receipt> {
    let id = options.id;
    if options.ticket.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "releasing a line needs a ticket").hint("say it with --ticket T"));
    }
    let refused = |message: String| Error::new(Kind::Refused, format!("{message}; nothing was released"));
    if ctx.ledger()?.is_none() {
        return Err(Error::new(Kind::Failed, "there is no ledger yet: nothing was ever handed over here"));
    }
    let ledger = ctx.open_ledger()?;
    let line = ledger.get(id)?;
    if line.channel != Channel::File {
        return Err(refused(format!("retraction {id} did not go by file")));
    }
    if !is_open(&line) {
        return Err(refused(format!("retraction {id} is {}", line.state.as_str())));
    }
    if line.detail("file_submission").is_some() || line.detail("submission").is_some() {
        return Err(refused(format!("the vendor has taken the file of retraction {id}"))
            .hint("run `recoup file check`, which settles it by its rewards"));
    }
    let RewardsNow { before, rewards, .. } = read_rewards(ctx, ledger, &line).await?;
    let cancelled = rewards.iter().filter(|now| {
        let was = before.iter().find(|was| was.reward_id == now.reward_id);
        now.state == "cancelled" && was.is_none_or(|was| was.state != "cancelled")
    });
    let cancelled = cancelled.count();
    if cancelled > 0 {
        return Err(refused(format!(
            "the vendor shows {} of it as cancelled: the line was handed in",
            counted(cancelled, "reward")
        ))
        .hint("run `recoup file check`"));
    }
    match is_listed(ctx, &line).await {
        Ok(None) => {}
        Ok(Some(why)) => return Err(refused(why).hint("run `recoup file check`, which settles it by its rewards")),
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Vendor) => {
            ctx.report
                .warn(format!("the vendor's list of files could not be read ({error}), so only the rewards were"));
        }
        Err(error) => return Err(error),
    }
    let message = format!("a person says that it was not handed in (ticket {})", options.ticket);
    // The reason may contain a person's name. Therefore recoup stores the reason in the event's details, because recoup
    // can redact details and cannot redact a message.
    let details = json!({ "ticket": options.ticket, "reason": options.reason, "rewards": rewards });
    // The send lock prevents a released line from entering a reversal file that another process is writing now.
    let _lock = take_lock(ledger.place(), options.lock_wait, ctx.clock, ctx.stop).await?;
    let released = ledger.append(&line, State::Released, &message, &details, ctx.clock.now())?;
    let mut receipt = Receipt::new(ctx.identity, &released.order_id, &Coverage::default(), false);
    receipt.add(&released, &[], false);
    receipt.mark(ledger);
    Ok(receipt)
}
