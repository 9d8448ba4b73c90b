//! Polls the submission of a modification until the submission is complete, then reads the action and its rewards.
//!
//! A complete submission only says that the vendor has processed the modification. Later reads of the action and its
//! rewards are evidence but do not prove the effect. Therefore recoup never marks a modification as *confirmed*.
//! Following a modification sends nothing that changes data at the vendor.

use serde_json::json;

use super::change_of;
use super::preview::{Level, Measure, Preview};
use crate::crash;
use crate::error::{Kind, Result};
use crate::model::Target;
use crate::retract::follow::{read_rewards, submission};
use crate::retract::proof::SubmissionProgress;
use crate::retract::unknown_resolver;
use crate::retract::{Context, FollowSettings, SubmissionPolling};
use crate::store::ledger::{Ledger, Retraction, State};

/// Reads an open modification once.
pub async fn observe(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: &mut Retraction,
) -> Result<()> {
    if retraction.state == State::Unknown {
        unknown_resolver::reconcile(ctx, &follows.resolver, ledger, retraction).await?;
    }
    // The rewards do not show whether the vendor has processed a modification. Therefore a run that follows many
    // modifications reads each submission on a schedule.
    let waits = retraction.text("queued_uri").is_some() && retraction.detail("submission").is_none();
    if waits && follows.submissions == (SubmissionPolling::Sparingly { now: false }) {
        return Ok(());
    }
    let seen = submission(ctx, follows, ledger, retraction).await?;
    if matches!(seen, SubmissionProgress::Open | SubmissionProgress::None) {
        return Ok(());
    }
    let after = read_after(ctx, retraction).await?;
    let preview = change_of(retraction).map(|change| change.read_again(&after));
    let Some((state, message)) = outcome(&seen, preview.as_ref().and_then(Preview::has_changed)) else { return Ok(()) };
    if state == retraction.state {
        return Ok(());
    }
    let rewards = match read_rewards(ctx, ledger, retraction).await {
        Ok(now) => Some(now.rewards),
        // recoup ignores a failed read of the rewards, because the rewards are only evidence of an adjustment's effect.
        Err(error) if matches!(error.kind, Kind::Network | Kind::Vendor) => None,
        Err(error) => return Err(error),
    };
    crash::point("proven");
    let details = json!({ "after": after, "rewards": rewards });
    *retraction = ledger.append(retraction, state, &message, &details, ctx.clock.now())?;
    Ok(())
}

/// Computes the next state of a modification. `changed` says whether the action differs from its state before the send;
/// `None` if unknown.
fn outcome(seen: &SubmissionProgress, changed: Option<bool>) -> Option<(State, String)> {
    let read = match changed {
        Some(true) => "; what can be read of the action has changed",
        Some(false) => "; what can be read of the action has not changed so far",
        None => "; the action cannot be read",
    };
    Some(match seen {
        SubmissionProgress::Open | SubmissionProgress::None => return None,
        SubmissionProgress::Complete => {
            (State::Processed, format!("the vendor has processed it, which no published read proves{read}"))
        }
        // If the vendor refused a change, recoup may send it again. If the change took effect, recoup must not send it
        // again.
        SubmissionProgress::Refused(why) if changed == Some(true) => {
            (State::Unconfirmed, format!("the submission completed with {why}, and yet the action has changed"))
        }
        SubmissionProgress::Refused(why) => (State::Failed, format!("the vendor refused it: {why}{read}")),
        SubmissionProgress::Unreadable => (
            State::Unconfirmed,
            format!("its submission can no longer be read, so whether it was made is not known{read}"),
        ),
    })
}

/// Reads the items or amount of the action after its modification; empty if the vendor returns none.
async fn read_after(ctx: &Context<'_>, retraction: &Retraction) -> Result<Vec<(Option<String>, Measure)>> {
    // If recoup cannot read the stored plan of an adjustment, it has no values to compare the action with.
    let (Target::Action(action_id), Some(change)) = (retraction.target(), change_of(retraction)) else {
        return Ok(Vec::new());
    };
    let is_order = change.level == Level::Order;
    let read = if is_order {
        let found = ctx.brand.action(&action_id).await;
        found.map(|action| {
            let amount = action.and_then(|action| action.amount);
            amount.map(|amount| (None, Measure { quantity: None, amount: Some(amount) })).into_iter().collect()
        })
    } else {
        let found = ctx.brand.action_items(&action_id).await;
        found
            .map(|items| items.into_iter().flatten().map(|item| (Some(item.sku.clone()), Measure::of(&item))).collect())
    };
    match read {
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Network | Kind::Vendor) => Ok(Vec::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processed_is_the_best_that_is_ever_said() {
        let refused = || SubmissionProgress::Refused("Validation: MALFORMED".into());
        for (seen, changed, expected) in [
            (SubmissionProgress::Open, Some(true), None),
            (SubmissionProgress::None, None, None),
            (SubmissionProgress::Complete, Some(true), Some(State::Processed)),
            (SubmissionProgress::Complete, Some(false), Some(State::Processed)),
            (SubmissionProgress::Complete, None, Some(State::Processed)),
            (refused(), None, Some(State::Failed)),
            (refused(), Some(false), Some(State::Failed)),
            (refused(), Some(true), Some(State::Unconfirmed)),
            (SubmissionProgress::Unreadable, Some(true), Some(State::Unconfirmed)),
        ] {
            let found = outcome(&seen, changed);
            assert_eq!(found.as_ref().map(|(state, _)| *state), expected, "{seen:?} {changed:?}");
        }
    }
}
