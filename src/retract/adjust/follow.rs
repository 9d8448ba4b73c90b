//! Following a modification: its submission, and what can be read of the action and its rewards afterwards.
//!
//! The submission says whether the vendor has processed it, and nothing says more: what is read afterwards is evidence and no
//! proof. This must never call a modification confirmed, and must never send anything.

use serde_json::json;

use super::change_of;
use super::preview::{Level, Measure, Preview};
use crate::crash;
use crate::error::{Kind, Result};
use crate::model::Target;
use crate::retract::doubt;
use crate::retract::follow::{rewards_now, submission};
use crate::retract::judge::SubmissionSeen;
use crate::retract::{Context, Follows, Submissions};
use crate::store::ledger::{Ledger, Retraction, State};

/// One look at a modification that is open.
pub async fn look(ctx: &Context<'_>, follows: &Follows, ledger: &Ledger, retraction: &mut Retraction) -> Result<()> {
    if retraction.state == State::Unknown {
        doubt::reconcile(ctx, &follows.doubts, ledger, retraction).await?;
    }
    // No reward says when it is time to ask, so where there are many they are asked about when it is their turn.
    let waits = retraction.text("queued_uri").is_some() && retraction.detail("submission").is_none();
    if waits && follows.submissions == (Submissions::Sparingly { now: false }) {
        return Ok(());
    }
    let seen = submission(ctx, follows, ledger, retraction).await?;
    if matches!(seen, SubmissionSeen::Open | SubmissionSeen::None) {
        return Ok(());
    }
    let after = read_after(ctx, retraction).await?;
    let preview = change_of(retraction).map(|change| change.read_again(&after));
    let Some((state, message)) = outcome(&seen, preview.as_ref().and_then(Preview::has_changed)) else { return Ok(()) };
    if state == retraction.state {
        return Ok(());
    }
    let rewards = match rewards_now(ctx, ledger, retraction).await {
        Ok((_, rewards)) => Some(rewards),
        // Evidence, and no more.
        Err(error) if matches!(error.kind, Kind::Network | Kind::Vendor) => None,
        Err(error) => return Err(error),
    };
    crash::point("proven");
    let details = json!({ "after": after, "rewards": rewards });
    *retraction = ledger.append(retraction, state, &message, &details, ctx.clock.now())?;
    Ok(())
}

/// Where it stands now; `changed` says whether what was to change reads differently than before, where that is known. Pure.
fn outcome(seen: &SubmissionSeen, changed: Option<bool>) -> Option<(State, String)> {
    let read = match changed {
        Some(true) => "; what can be read of the action has changed",
        Some(false) => "; what can be read of the action has not changed so far",
        None => "; the action cannot be read",
    };
    Some(match seen {
        SubmissionSeen::Open | SubmissionSeen::None => return None,
        SubmissionSeen::Complete => {
            (State::Processed, format!("the vendor has processed it, which no published read proves{read}"))
        }
        // A refusal may be sent again: what has changed all the same must not be.
        SubmissionSeen::Refused(why) if changed == Some(true) => {
            (State::Unconfirmed, format!("the submission completed with {why}, and yet the action has changed"))
        }
        SubmissionSeen::Refused(why) => (State::Failed, format!("the vendor refused it: {why}{read}")),
        SubmissionSeen::Unreadable => (
            State::Unconfirmed,
            format!("its submission can no longer be read, so whether it was made is not known{read}"),
        ),
    })
}

/// What the vendor shows of what was to change; empty where it shows nothing.
async fn read_after(ctx: &Context<'_>, retraction: &Retraction) -> Result<Vec<(Option<String>, Measure)>> {
    // What nobody knows the change of shows nothing by what is there now.
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
        let refused = || SubmissionSeen::Refused("Validation: MALFORMED".into());
        for (seen, changed, expected) in [
            (SubmissionSeen::Open, Some(true), None),
            (SubmissionSeen::None, None, None),
            (SubmissionSeen::Complete, Some(true), Some(State::Processed)),
            (SubmissionSeen::Complete, Some(false), Some(State::Processed)),
            (SubmissionSeen::Complete, None, Some(State::Processed)),
            (refused(), None, Some(State::Failed)),
            (refused(), Some(false), Some(State::Failed)),
            (refused(), Some(true), Some(State::Unconfirmed)),
            (SubmissionSeen::Unreadable, Some(true), Some(State::Unconfirmed)),
        ] {
            let found = outcome(&seen, changed);
            assert_eq!(found.as_ref().map(|(state, _)| *state), expected, "{seen:?} {changed:?}");
        }
    }
}
