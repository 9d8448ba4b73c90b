//! Follows a sent retraction until it is proven or the time is up.
//!
//! If few retractions are open, each read starts with the submission, and reads the rewards after the submission has
//! completed. If many retractions are open, each read starts with the rewards, and reads the submission only if the
//! rewards suggest that the retraction has ended. If recoup knows no batch ID, only the rewards can prove the
//! retraction, and `unknown_resolver` looks for the request in the submissions list. `retract` follows a retraction
//! after a send, and `verify` follows open retractions. `verify` also reads a proven retraction again, because a reward
//! can change after the proof. Following a retraction sends nothing that changes data at the vendor.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::dispatch::mark_unknown;
use super::match_submissions::{CLOCK_TOLERANCE, has_passed};
use super::plan::StoredPlan;
use super::proof::{
    Conclusion, MISSING, Observation, Snapshot, SubmissionProgress, contradiction, evaluate, reads_cancelled,
};
use super::referral::{self, ReferralSnapshot};
use super::reward_fetch::{KnownReward, fetch, snapshots};
use super::{Context, FollowSettings, PACE, SubmissionPolling, adjust, cancel, unknown_resolver};
use crate::clock::signed;
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, RewardId, Target, VENDOR_TIME_INEXACT_MS};
use crate::store::ProcessLock;
use crate::store::index::{ApiSource, IndexedReward};
use crate::store::ledger::{Channel, Event, Ledger, Retraction, State};
use crate::vendor::{ReferralAnswer, SubmissionStatus};

/// Follows one retraction until it ends, the time is up, or a signal arrives.
pub async fn follow(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: Retraction,
) -> Result<Retraction> {
    let order = retraction.order_id.clone();
    let Some(mut retraction) = recover_dead_sender(ctx, ledger, retraction)? else {
        return Err(Error::new(Kind::Busy, format!("order {order} is being retracted right now by another process"))
            .hint("run `recoup verify` in a moment"));
    };
    if matches!(retraction.state, State::Confirmed | State::Partial) {
        return check_again(ctx, ledger, retraction).await;
    }
    if retraction.state == State::NotReceived {
        // The rewards can still prove a retraction that recoup marked as *not received*.
        observe(ctx, follows, ledger, &mut retraction, false, &mut 0).await?;
        return Ok(retraction);
    }
    let began = Instant::now();
    // A single read has no time limit of its own, because the caller limits all reads together.
    let end = if follows.wait.is_zero() { None } else { began.checked_add(follows.wait) };
    let mut pause = follows.first_poll;
    let mut reads_since_complete = 0;
    let progress = ctx.report.progress("following the submission");
    while retraction.state.is_open() {
        let over = began.elapsed().saturating_add(pause) > follows.wait;
        let last = over || ctx.stop.is_cancelled();
        let time_up = over && follows.concludes;
        let before = retraction.state;
        let observed = Box::pin(observe(ctx, follows, ledger, &mut retraction, time_up, &mut reads_since_complete));
        match within(ctx, end, observed).await {
            Ok(()) => {}
            // Another process follows the same retraction and wrote its ledger entry first. The ledger entry of the
            // other process is equally valid.
            Err(error) if error.kind == Kind::Busy => retraction = ledger.get(retraction.id)?,
            // recoup reads the retraction again after a network or vendor error. An error about credentials ends the
            // reading of the retraction.
            Err(error) if matches!(error.kind, Kind::Network | Kind::Vendor) && !last => {
                ctx.report.note(format!("could not read just now: {error}"));
            }
            Err(error) => return Err(error),
        }
        let was_found = before == State::Unknown && retraction.state == State::Queued;
        if last && !was_found {
            break;
        }
        let text = format!("{}; next read in {pause:.0?}", retraction.state.as_str());
        progress.show(u64::from(reads_since_complete), None, &text);
        if retraction.state.is_open() && !was_found {
            tokio::select! {
                () = ctx.clock.sleep(pause) => {}
                () = ctx.stop.cancelled() => {}
            }
        }
        pause = follows.longer(pause);
    }
    Ok(retraction)
}

/// Runs `work`, and stops any wait for the vendor's quota at `end`, because `--wait` also limits that wait.
pub(super) async fn within<T>(
    ctx: &Context<'_>,
    end: Option<Instant>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(end) = end else { return work.await };
    let mut work = std::pin::pin!(work);
    let mut check_at = end;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep_until(check_at) => check_at = Instant::now() + PACE,
        }
        let waits = [ctx.advocate.stats().waiting_until, ctx.brand.stats().waiting_until];
        let Some(until) = waits.into_iter().flatten().max() else { continue };
        if until.duration_since(ctx.clock.now()) > signed(PACE) {
            return Err(Error::new(
                Kind::Parked,
                format!("the quota is used up until {until:.0}, and the time to follow it (`--wait`) is over"),
            )
            .hint("run `recoup verify` then; it is never sent twice"));
        }
    }
}

/// Marks a retraction *unknown* if the process that sent it has died; returns `None` if that process is alive.
fn recover_dead_sender(ctx: &Context<'_>, ledger: &Ledger, retraction: Retraction) -> Result<Option<Retraction>> {
    if retraction.state != State::Sending {
        return Ok(Some(retraction));
    }
    let Some(_lock) = ProcessLock::try_take(ledger.place(), "send")? else { return Ok(None) };
    // The sending process may have recorded the outcome and exited since this process read the retraction.
    let newest = ledger.get(retraction.id)?;
    if newest.state == State::Sending {
        mark_unknown(ledger, &newest, ctx.clock.now()).map(Some)
    } else {
        Ok(Some(newest))
    }
}

/// Reads the rewards of a proven retraction again. If a reward no longer reads as cancelled, recoup withdraws the proof
/// of the retraction. Returns an error if recoup cannot read the rewards, because no receipt may report an old proof as
/// a new proof.
async fn check_again(ctx: &Context<'_>, ledger: &Ledger, retraction: Retraction) -> Result<Retraction> {
    let RewardsNow { mut rewards, referrals, .. } = read_rewards(ctx, ledger, &retraction).await.map_err(|error| {
        let at = retraction.events.iter().rfind(|event| event.changes_state()).map_or("earlier", |event| &event.at);
        error.context(format!("it was proven at {at}, and its rewards could not be read again now"))
    })?;
    let before = StoredPlan::of(&retraction)?.referrals;
    let (after, new) = referral::after(ctx, &retraction, &before, referrals, &rewards).await?;
    rewards.extend(new);
    let proof: Vec<Snapshot> =
        retraction.detail("rewards").and_then(|kept| serde_json::from_value(kept.clone()).ok()).unwrap_or_default();
    match contradiction(&proof, &rewards, &gone(ctx, &retraction)?) {
        None => Ok(retraction),
        Some(message) => {
            let details = proof_details(&rewards, &after);
            ledger.append(&retraction, State::Unconfirmed, &message, &details, ctx.clock.now())
        }
    }
}

/// Returns the action's rewards that a complete crawl found deleted.
fn gone(ctx: &Context<'_>, retraction: &Retraction) -> Result<Vec<RewardId>> {
    let gone = indexed_rewards(ctx, &retraction.target())?.into_iter().filter(|indexed| indexed.gone);
    Ok(gone.map(|indexed| indexed.reward.reward_id).collect())
}

pub(super) fn indexed_rewards(ctx: &Context<'_>, target: &Target) -> Result<Vec<IndexedReward>> {
    ctx.read_index(|index| match (index, target) {
        (None, _) => Ok(Vec::new()),
        (Some(index), Target::Action(action_id)) => index.rewards_of_action(action_id),
        (Some(index), Target::Order { order_id, .. }) => {
            Ok(index.find(order_id)?.into_iter().map(|found| found.indexed).collect())
        }
    })
}

/// Returns when the request was sent, in Unix milliseconds of the vendor's clock. If the clock difference is unknown,
/// returns the earliest possible time.
pub(super) fn sent_at_ms(retraction: &Retraction, kept: &StoredPlan) -> i64 {
    // The date of this submission is the vendor's, because recoup added the submission from the vendor's list.
    if let Some(at) = retraction.text("submitted_at").and_then(|at| at.parse::<Timestamp>().ok()) {
        return at.as_millisecond() - VENDOR_TIME_INEXACT_MS;
    }
    let handed_over = || retraction.events.iter().find(|event| event.state == State::HandedOver)?.moment();
    let sent = retraction.sent_at().and_then(|at| at.parse::<Timestamp>().ok()).or_else(handed_over);
    let sent = sent.or_else(|| retraction.events.first()?.moment()).unwrap_or(Timestamp::MAX).as_millisecond();
    match kept.clock_ahead {
        Some(ahead) => sent.saturating_sub(ahead.saturating_mul(1_000)).saturating_sub(VENDOR_TIME_INEXACT_MS),
        None => sent.saturating_sub(CLOCK_TOLERANCE.as_millis() as i64),
    }
}

/// Reads the submission and the rewards of a retraction once, and records changes in the ledger.
async fn observe(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: &mut Retraction,
    time_up: bool,
    reads_since_complete: &mut u32,
) -> Result<()> {
    if retraction.channel == Channel::Modification {
        return adjust::follow::observe(ctx, follows, ledger, retraction).await;
    }
    if retraction.channel == Channel::Reward {
        return cancel::observe(ctx, follows, ledger, retraction, time_up).await;
    }
    // If the ledger has recorded the submission's completion, recoup does not request the submission again.
    let sparing = match follows.submissions {
        SubmissionPolling::Always => None,
        SubmissionPolling::Sparingly { now } => Some(now || time_up),
    };
    let sparing =
        sparing.filter(|_| retraction.text("queued_uri").is_some() && retraction.detail("submission").is_none());
    let mut seen = match sparing {
        None => submission(ctx, follows, ledger, retraction).await?,
        Some(_) => SubmissionProgress::Open,
    };
    if seen == SubmissionProgress::Open && sparing.is_none() {
        return Ok(());
    }
    let RewardsNow { before, rewards, referrals } = read_rewards(ctx, ledger, retraction).await?;
    let kept = StoredPlan::of(retraction)?;
    let sent_at = sent_at_ms(retraction, &kept);
    if sparing.is_some_and(|ask| ask || reads_cancelled(&before, &rewards, sent_at)) {
        seen = submission(ctx, follows, ledger, retraction).await?;
    }
    if seen == SubmissionProgress::Open {
        return Ok(());
    }
    let submission = seen;
    *reads_since_complete += 1;
    let completed = retraction.events.iter().rev().find(|event| event.details.get("submission").is_some());
    let settled = submission == SubmissionProgress::Unreadable
        || completed.and_then(Event::moment).is_some_and(|at| has_passed(at, follows.settle, ctx.clock.now()));
    let reads_since_complete = *reads_since_complete;
    let mut observation = Observation { submission, sent_at, before, rewards, reads_since_complete, time_up, settled };
    let mut decision = evaluate(retraction.state, &observation);
    let mut after = Vec::new();
    if concludes(&decision) {
        let new;
        (after, new) = referral::after(ctx, retraction, &kept.referrals, referrals, &observation.rewards).await?;
        if !new.is_empty() {
            observation.rewards.extend(new);
            decision = evaluate(retraction.state, &observation);
        }
    }
    if let Conclusion::Become(state, mut message) = decision {
        if let Some(evidence) = referral::evidence(state, &kept.referrals, &after, observation.open()) {
            message = format!("{message}; {evidence}");
        }
        crash::point("proven");
        let details = proof_details(&observation.rewards, &after);
        *retraction = ledger.append(retraction, state, &message, &details, ctx.clock.now())?;
    }
    if retraction.state == State::Unknown {
        unknown_resolver::reconcile(ctx, &follows.resolver, ledger, retraction).await?;
    }
    Ok(())
}

/// Builds the event details of a conclusion about a retraction: its rewards, and its referrals if any exist.
fn proof_details(rewards: &[Snapshot], referrals: &[ReferralSnapshot]) -> Value {
    if referrals.is_empty() {
        json!({ "rewards": rewards })
    } else {
        json!({ "rewards": rewards, "referrals": referrals })
    }
}

/// Returns `true` if a conclusion about a retraction is based on the rewards. Only a conclusion from rewards needs the
/// referrals. Each referral costs one REST request.
fn concludes(decision: &Conclusion) -> bool {
    matches!(decision, Conclusion::Become(State::Confirmed | State::Partial | State::Unconfirmed, _))
}

pub(super) struct RewardsNow {
    /// The states of the action's rewards before the send.
    pub before: Vec<Snapshot>,
    /// The newest reading of every known reward of the action.
    pub rewards: Vec<Snapshot>,
    referrals: Vec<(String, ReferralAnswer)>,
}

/// Reads the rewards of the plan, the rewards that the index has gained since the plan, and other rewards of the action
/// in the same accounts.
pub(super) async fn read_rewards(ctx: &Context<'_>, ledger: &Ledger, retraction: &Retraction) -> Result<RewardsNow> {
    let kept = StoredPlan::of(retraction)?;
    if retraction.channel == Channel::Reward {
        let rewards = cancel::read_again(ctx, &kept.rewards).await?;
        return Ok(RewardsNow { before: kept.rewards, rewards, referrals: Vec::new() });
    }
    let target = retraction.target();
    let indexed = indexed_rewards(ctx, &target)?;
    let account = |was: &Snapshot| {
        // A later crawl may have found the reward in another account.
        let newer = indexed.iter().find(|indexed| indexed.reward.reward_id.as_str() == was.reward_id);
        newer.map_or_else(|| AccountId::new(was.account_id.as_str()), |newer| newer.listed_by.clone())
    };
    let mut known: Vec<KnownReward> = kept
        .rewards
        .iter()
        .map(|r| KnownReward {
            reward_id: RewardId::new(r.reward_id.as_str()),
            account_id: account(r),
            via: if r.by_graphql { ApiSource::GraphQl } else { ApiSource::Rest },
        })
        .collect();
    let mut gone = Vec::new();
    for indexed in indexed {
        if known.iter().all(|known| known.reward_id != indexed.reward.reward_id) {
            gone.extend(indexed.gone.then(|| indexed.reward.reward_id.clone()));
            known.push(KnownReward {
                reward_id: indexed.reward.reward_id,
                account_id: indexed.listed_by,
                via: indexed.via,
            });
        }
    }
    let referrals: Vec<String> = kept.referrals.iter().map(|referral| referral.referral_id.clone()).collect();
    let mut seen = fetch(ctx, &known, &referrals).await?;
    seen.check_sources()?;
    if let Some(error) = seen.clock_error {
        return Err(error);
    }
    seen.record_in_index(ctx, &target);
    let mut rewards = snapshots(&seen, &target, &kept.rewards);
    // Drops a reward that the plan lacks, that a crawl found deleted, and that the vendor does not return now.
    rewards.retain(|reward| reward.state != MISSING || gone.iter().all(|id| id.as_str() != reward.reward_id));
    // A reward that a person cancelled individually proves nothing about the retraction.
    for reward in rewards.iter_mut().filter(|reward| reward.linked) {
        let alone = ledger.attempts_by(Channel::Reward, &reward.reward_id)?;
        reward.linked = !alone.iter().any(|cancelled| cancelled.state.may_have_been_sent());
    }
    Ok(RewardsNow { before: kept.rewards, rewards, referrals: std::mem::take(&mut seen.referrals) })
}

/// Reads the progress of the submission, and records the submission's completion in the ledger once.
pub(super) async fn submission(
    ctx: &Context<'_>,
    follows: &FollowSettings,
    ledger: &Ledger,
    retraction: &mut Retraction,
) -> Result<SubmissionProgress> {
    if let Some(known) = retraction.detail("submission") {
        return Ok(seen_from(known));
    }
    let queued = retraction.events.iter().find(|event| event.state == State::Queued);
    let given_up = queued.and_then(Event::moment).is_some_and(|at| has_passed(at, follows.settle, ctx.clock.now()));
    let Some(queued_uri) = retraction.text("queued_uri").map(str::to_owned) else {
        // A submission that recoup added from the vendor's list may lack a link. recoup cannot read a submission
        // without a link.
        let is_nameless = retraction.state == State::Queued && given_up;
        return Ok(if is_nameless { SubmissionProgress::Unreadable } else { SubmissionProgress::None });
    };
    let found = match ctx.brand.submission(&queued_uri).await {
        Ok(Some(found)) => found,
        // The vendor keeps submissions for at most 90 days. After the time `given_up`, only the rewards can prove the
        // retraction.
        Ok(None) => return Ok(if given_up { SubmissionProgress::Unreadable } else { SubmissionProgress::Open }),
        Err(error) if given_up && error.kind == Kind::Vendor => return Ok(SubmissionProgress::Unreadable),
        Err(error) => return Err(error),
    };
    // The settle time starts at the recorded completion. Therefore this machine's clock must be right before the ledger
    // records the completion.
    ctx.vendor_now()?;
    if !found.is_complete() {
        // An unknown status of a submission may be an undocumented final status.
        let is_strange = matches!(found.status, SubmissionStatus::Other(_));
        return Ok(if given_up && is_strange { SubmissionProgress::Unreadable } else { SubmissionProgress::Open });
    }
    let details = json!({ "submission": {
        "status": "Complete",
        "error_type": found.error_type,
        "error_reasons": found.error_reasons,
        "inconclusive": found.is_clean() || found.is_inconclusive(),
        "completion_date": found.completion_date,
    }});
    let message = if found.is_clean() {
        "the submission completed".to_owned()
    } else if found.is_inconclusive() {
        "the submission completed with ACTION_NOT_FOUND, which is normal for Advocate and proves nothing".to_owned()
    } else {
        format!(
            "the submission completed with {} {}",
            found.error_type.as_deref().unwrap_or("an error"),
            found.error_reasons.join(" ")
        )
    };
    *retraction = ledger.append(retraction, retraction.state, &message, &details, ctx.clock.now())?;
    crash::point("completed");
    Ok(retraction.detail("submission").map_or(SubmissionProgress::Open, seen_from))
}

fn seen_from(submission: &serde_json::Value) -> SubmissionProgress {
    if submission["inconclusive"].as_bool().unwrap_or(false) {
        return SubmissionProgress::Complete;
    }
    let reasons: Vec<&str> =
        submission["error_reasons"].as_array().into_iter().flatten().filter_map(|reason| reason.as_str()).collect();
    let kind = submission["error_type"].as_str().unwrap_or("error");
    SubmissionProgress::Refused(format!("{kind}: {}", reasons.join(" ")))
}
