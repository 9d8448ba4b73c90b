//! Decides what the vendor's answers prove about a retraction. Only the module `proof` sets the state *confirmed*. The
//! proof module does no I/O and reads no clock.
//!
//! A retraction is proven if its submission has completed **and** every known reward of the action reads as cancelled
//! (`docs/decisions/0003-proof-by-rewards.md`). A completed submission alone proves nothing about a retraction.

use serde::{Deserialize, Serialize};

use crate::model::{RewardId, RewardState, counted};
use crate::store::ledger::State;

/// The state and amounts of one reward when recoup read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub reward_id: String,
    /// The account of the reward. The ledger stores the account of a reward for `verify`, and no receipt shows this
    /// personal data.
    pub account_id: String,
    /// The vendor's `rewardSource`: `REFERRED`, `FRIEND_SIGNUP` …
    pub reward_source: Option<String>,
    /// The state of the reward, or [`MISSING`].
    pub state: String,
    pub unit: Option<String>,
    /// The amount that the reward earned, in `unit`.
    pub assigned: Option<i64>,
    /// The redeemed amount of the reward, in `unit`.
    pub redeemed: Option<i64>,
    /// `true` if the reward contains the retraction's ActionId, and `false` if the two share only the order ID. Only a
    /// linked reward can prove a retraction.
    #[serde(default = "linked_by_default")]
    pub linked: bool,
    /// When the reward was cancelled or expired, in Unix milliseconds of the vendor's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// `true` if GraphQL returned the reward. Get Rewards hides some redemptions. Therefore later readings of a reward
    /// from GraphQL must use GraphQL too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_graphql: bool,
}

fn linked_by_default() -> bool {
    true
}

/// State of a reward that the vendor no longer returns.
pub const MISSING: &str = "missing";

impl Snapshot {
    fn is(&self, state: RewardState) -> bool {
        self.state == state.as_str()
    }

    /// Returns `true` if the reward is pending or available.
    pub fn is_outstanding(&self) -> bool {
        self.is(RewardState::Pending) || self.is(RewardState::Available)
    }

    /// Returns the redeemed amount of the reward, in `unit`. The vendor cannot take redeemed amounts back.
    pub fn lost(&self) -> Option<i64> {
        match self.redeemed {
            Some(redeemed) if redeemed > 0 => Some(redeemed),
            _ if self.is(RewardState::Redeemed) => self.assigned,
            _ => None,
        }
    }

    fn was_redeemed(&self) -> bool {
        self.is(RewardState::Redeemed) || self.is(RewardState::PartlyRedeemed) || self.redeemed.is_some_and(|n| n > 0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionProgress {
    /// The vendor did not answer the reversal request. Therefore recoup knows no batch ID.
    None,
    Open,
    /// recoup has failed to read the submission for too long. Therefore only the rewards can prove the retraction.
    Unreadable,
    /// The submission completed without an error, or only with `ACTION_NOT_FOUND`. The error `ACTION_NOT_FOUND` proves
    /// nothing (`docs/vendor/contradictions.md` 15).
    Complete,
    /// The submission completed with an error other than `ACTION_NOT_FOUND`.
    Refused(String),
}

/// What the vendor returned about a retraction in one reading.
#[derive(Debug, Clone)]
pub struct Observation {
    pub submission: SubmissionProgress,
    /// When recoup sent the request, in Unix milliseconds of the vendor's clock. Only a cancellation after the send
    /// proves the retraction.
    pub sent_at: i64,
    /// The states of the action's rewards before the send.
    pub before: Vec<Snapshot>,
    /// The newest reading of every known reward of the action; empty if recoup did not read the rewards.
    pub rewards: Vec<Snapshot>,
    /// Number of readings of the retraction since its submission completed, including this reading.
    pub reads_since_complete: u32,
    /// `true` if the configured time for the proof has passed. If the time has passed without a proof, the retraction
    /// becomes *unconfirmed*.
    pub time_up: bool,
    /// `true` if the settle time after the submission's completion has passed.
    pub settled: bool,
}

impl Observation {
    /// Counts the rewards that are neither cancelled nor lost.
    pub fn open(&self) -> usize {
        Evidence::of(&self.before, &self.rewards, self.sent_at).open()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    Stay,
    /// The retraction changes to the variant's state. The text is the message of the ledger event that records the new
    /// state.
    Become(State, String),
}

/// How often recoup must read no cancelled reward before a submission error makes the retraction *unconfirmed*.
const READS_BEFORE_ERROR: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RewardEvidence {
    /// The vendor cancelled the reward after the send. `proves` is `true` if the reward was cancellable before the send
    /// and contains this ActionId.
    Cancelled {
        proves: bool,
    },
    /// The reward was cancelled before the send. A reward that ended before the send proves nothing about the
    /// retraction.
    CancelledBefore,
    /// The reward expired before the send. A reward that ended before the send proves nothing about the retraction.
    ExpiredBefore,
    Redeemed,
    /// The reward is partly redeemed, and the rest is not cancelled.
    PartlyRedeemed,
    Outstanding,
    /// The readings prove neither a cancellation after the send nor an earlier end of the reward. The text says why the
    /// reward proves nothing.
    Unproven(&'static str),
    Missing,
}

impl RewardEvidence {
    fn of(reward: &Snapshot, before: &[Snapshot], sent_at: i64) -> Self {
        let was = before.iter().find(|was| was.reward_id == reward.reward_id);
        let had = |state: RewardState| was.is_some_and(|was| was.is(state));
        let ended_before = reward.ended_at.is_some_and(|at| at < sent_at);
        let is = |state: RewardState| reward.is(state);
        if is(RewardState::Cancelled) {
            match reward.ended_at {
                _ if ended_before || had(RewardState::Cancelled) => Self::CancelledBefore,
                // A reward proves nothing about the retraction if its state before the send is unknown.
                Some(_) => Self::Cancelled {
                    proves: reward.linked
                        && was.is_some_and(|was| was.is_outstanding() || was.is(RewardState::PartlyRedeemed)),
                },
                None => Self::Unproven("reads as cancelled without a date"),
            }
        } else if is(RewardState::Expired) {
            // A reward that the plan recorded as cancellable had not expired before the send.
            let is_before = ended_before || (reward.ended_at.is_none() && had(RewardState::Expired));
            if is_before && !was.is_some_and(Snapshot::is_outstanding) {
                Self::ExpiredBefore
            } else {
                Self::Unproven("has expired since and was not cancelled")
            }
        } else if is(RewardState::Redeemed) {
            Self::Redeemed
        } else if is(RewardState::PartlyRedeemed) {
            Self::PartlyRedeemed
        } else if reward.is_outstanding() {
            Self::Outstanding
        } else if reward.state == MISSING {
            Self::Missing
        } else {
            // The state of the reward is *unclear*, or a newer recoup wrote a state that this version does not know.
            Self::Unproven("has dates, amounts or statuses that cannot be read or contradict each other")
        }
    }
}

/// What each reward of one reading proves about the retraction.
struct Evidence {
    all: Vec<RewardEvidence>,
}

impl Evidence {
    fn of(before: &[Snapshot], rewards: &[Snapshot], sent_at: i64) -> Self {
        Self { all: rewards.iter().map(|reward| RewardEvidence::of(reward, before, sent_at)).collect() }
    }

    fn count(&self, says: RewardEvidence) -> usize {
        self.all.iter().filter(|one| **one == says).count()
    }

    fn proofs(&self) -> usize {
        self.count(RewardEvidence::Cancelled { proves: true })
    }

    fn open(&self) -> usize {
        let is_open = |says: &&RewardEvidence| {
            matches!(says, RewardEvidence::Outstanding | RewardEvidence::Unproven(_) | RewardEvidence::Missing)
        };
        self.all.iter().filter(is_open).count()
    }

    /// Returns `true` if at least one reward proves the retraction and no reward contradicts that proof.
    fn is_proof(&self) -> bool {
        self.open() == 0 && self.proofs() > 0
    }

    /// Returns the reason why the retraction is not proven, phrased as the end of a sentence.
    fn why_not(&self) -> String {
        let unproven =
            self.all.iter().filter_map(|says| if let RewardEvidence::Unproven(why) = says { Some(*why) } else { None });
        let mut unproven: Vec<&str> = unproven.collect();
        let (total, count) = (counted(self.all.len(), "reward"), unproven.len());
        unproven.sort_unstable();
        unproven.dedup();
        if self.count(RewardEvidence::Missing) > 0 {
            format!("{} can no longer be read", counted(self.count(RewardEvidence::Missing), "reward"))
        } else if self.count(RewardEvidence::Outstanding) > 0 {
            format!(
                "the vendor still shows {} of {total} as pending or available",
                self.count(RewardEvidence::Outstanding)
            )
        } else if count > 0 {
            format!("{count} of {total} can prove nothing: {}", unproven.join("; "))
        } else if self.count(RewardEvidence::CancelledBefore) == self.all.len() {
            "every reward had been cancelled already before it was sent".to_owned()
        } else {
            "none of the rewards that could be cancelled was".to_owned()
        }
    }
}

/// Computes the retraction's next state from one reading.
pub fn evaluate(state: State, observation: &Observation) -> Conclusion {
    // Without a batch ID, recoup cannot see the submission complete. Therefore only cancelled rewards can end the
    // retraction.
    let submission_over = !matches!(observation.submission, SubmissionProgress::Open | SubmissionProgress::None);
    if observation.rewards.is_empty() || observation.submission == SubmissionProgress::Open {
        return Conclusion::Stay;
    }
    let evidence = Evidence::of(&observation.before, &observation.rewards, observation.sent_at);
    let time_up = observation.time_up || observation.settled;
    // The vendor does not document what happens to the rest of a partly redeemed reward. Therefore recoup waits the
    // full time for a partly redeemed reward.
    if evidence.is_proof() && (evidence.count(RewardEvidence::PartlyRedeemed) == 0 || time_up) {
        return done(observation, &evidence);
    }
    if let SubmissionProgress::Refused(why) = &observation.submission
        && evidence.proofs() == 0
    {
        // The vendor may add reasons to a submission error, and rewards may change later than the submission. A
        // submission error counts as a refusal, which allows a resend, only if the settle time has passed and no reward
        // is unclear.
        let stands_or_ended =
            evidence.all.iter().all(|says| !matches!(says, RewardEvidence::Missing | RewardEvidence::Unproven(_)));
        if observation.settled && stands_or_ended && evidence.count(RewardEvidence::Cancelled { proves: false }) == 0 {
            return Conclusion::Become(State::Failed, format!("the vendor refused it: {why}; no reward was cancelled"));
        }
        if state != State::Unconfirmed && (observation.reads_since_complete >= READS_BEFORE_ERROR || time_up) {
            return Conclusion::Become(
                State::Unconfirmed,
                format!("the submission completed with {why}, and no reward was cancelled"),
            );
        }
    }
    if submission_over && time_up && state != State::Unconfirmed {
        let what = evidence.why_not();
        let how = if observation.submission == SubmissionProgress::Unreadable {
            "can no longer be read"
        } else {
            "completed"
        };
        return Conclusion::Become(State::Unconfirmed, format!("the submission {how}, and {what}"));
    }
    Conclusion::Stay
}

/// Returns `true` if the rewards prove the retraction, even if the submission has not completed.
pub fn reads_cancelled(before: &[Snapshot], rewards: &[Snapshot], sent_at: i64) -> bool {
    Evidence::of(before, rewards, sent_at).is_proof()
}

/// Returns how a later reading of the rewards contradicts an old proof; `None` if the two agree. `gone` contains the
/// rewards that a complete crawl found deleted.
pub fn contradiction(proof: &[Snapshot], rewards: &[Snapshot], gone: &[RewardId]) -> Option<String> {
    let is_gone =
        |reward: &Snapshot| reward.state == MISSING && gone.iter().any(|gone| gone.as_str() == reward.reward_id);
    let read = rewards.iter().filter(|reward| !is_gone(reward));
    let against: Vec<String> = read.filter_map(|reward| objection(proof, reward)).collect();
    (!against.is_empty()).then(|| {
        format!(
            "it was proven, but the vendor no longer shows {} of {} as cancelled: {}",
            against.len(),
            counted(rewards.len(), "reward"),
            against.join(", ")
        )
    })
}

/// Returns how one reward contradicts an old proof of the retraction; `None` if the reward agrees. A reward agrees with
/// an old proof if it reads as cancelled, its cancellation is no earlier than in the proof, and its redeemed amount is
/// no higher. A reward that the proof records as lost agrees if its state is unchanged.
pub fn objection(proof: &[Snapshot], reward: &Snapshot) -> Option<String> {
    let was = proof.iter().find(|was| was.reward_id == reward.reward_id);
    let id = &reward.reward_id;
    if !reward.is(RewardState::Cancelled) {
        let is_lost = |at: &Snapshot| at.was_redeemed() || at.is(RewardState::Expired);
        if !was.is_some_and(|was| was.state == reward.state && is_lost(was)) {
            return Some(format!("reward {id} is {}", reward.state.replace('_', " ")));
        }
    }
    if reward.redeemed.unwrap_or(0) > was.and_then(|was| was.redeemed).unwrap_or(0) {
        return Some(format!("of reward {id} more was redeemed since"));
    }
    match (was.and_then(|was| was.ended_at), reward.ended_at) {
        (Some(_), None) => Some(format!("reward {id} has no date of its end any more")),
        (Some(then), Some(now)) if now < then => Some(format!("the end of reward {id} has an earlier date now")),
        _ => None,
    }
}

fn done(observation: &Observation, evidence: &Evidence) -> Conclusion {
    let total = observation.rewards.len();
    let (expired, earlier) =
        (evidence.count(RewardEvidence::ExpiredBefore), evidence.count(RewardEvidence::CancelledBefore));
    let named = |count: usize, what: &str| if count > 0 { format!("; {count} {what}") } else { String::new() };
    let also = named(earlier, "had been cancelled already before it was sent") + &named(expired, "had expired");
    let cancelled = evidence.proofs() + evidence.count(RewardEvidence::Cancelled { proves: false });
    if !observation.rewards.iter().any(Snapshot::was_redeemed) {
        let all = counted(total - expired - earlier, "cancellable reward");
        return Conclusion::Become(
            State::Confirmed,
            format!("the vendor shows {cancelled} of {all} as cancelled{also}"),
        );
    }
    let lost = losses(&observation.rewards);
    let all = counted(total, "reward");
    Conclusion::Become(State::Partial, format!("the vendor shows {cancelled} of {all} as cancelled{also}{lost}"))
}

/// Describes the rewards that were redeemed, phrased as the end of a sentence; empty if no reward was redeemed.
pub fn losses(rewards: &[Snapshot]) -> String {
    let lost: Vec<String> = rewards.iter().filter(|reward| reward.was_redeemed()).map(describe_loss).collect();
    if lost.is_empty() { String::new() } else { format!("; redeemed, and lost: {}", lost.join(", ")) }
}

fn describe_loss(reward: &Snapshot) -> String {
    let unit = reward.unit.as_deref().unwrap_or("of unknown unit");
    match reward.lost() {
        Some(lost) if reward.is(RewardState::PartlyRedeemed) => {
            format!("{lost} {unit} of reward {} (not cancelled: review it by hand)", reward.reward_id)
        }
        Some(lost) => format!("{lost} {unit} of reward {}", reward.reward_id),
        None => format!("reward {}", reward.reward_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: i64 = 1_790_000_000_000;

    fn reward(state: &str) -> Snapshot {
        Snapshot {
            reward_id: format!("r-{state}"),
            account_id: "a".into(),
            reward_source: None,
            state: state.into(),
            unit: Some("CENTS".into()),
            assigned: Some(500),
            redeemed: match state {
                "partly_redeemed" => Some(200),
                "redeemed" => Some(500),
                _ => Some(0),
            },
            linked: true,
            ended_at: matches!(state, "cancelled" | "expired").then_some(if state == "expired" {
                SENT - 1
            } else {
                SENT + 1
            }),
            by_graphql: false,
        }
    }

    fn observation(submission: SubmissionProgress, states: &[&str], time_up: bool) -> Observation {
        let before = states.iter().enumerate().map(|(n, state)| {
            let was = if matches!(*state, "cancelled" | "missing") { "available" } else { state };
            Snapshot { reward_id: format!("r{n}"), ..reward(was) }
        });
        Observation {
            submission,
            sent_at: SENT,
            before: before.collect(),
            rewards: (0..).zip(states).map(|(n, s)| Snapshot { reward_id: format!("r{n}"), ..reward(s) }).collect(),
            reads_since_complete: 1,
            time_up,
            settled: false,
        }
    }

    fn state_after(observation: &Observation) -> Option<State> {
        match evaluate(State::Queued, observation) {
            Conclusion::Stay => None,
            Conclusion::Become(state, _) => Some(state),
        }
    }

    #[test]
    fn what_was_seen_decides() {
        use State::{Confirmed, Partial, Unconfirmed};
        use SubmissionProgress::{Complete, None as NoBatch, Open, Refused};
        let refused = || Refused("MALFORMED".into());
        let table: Vec<(SubmissionProgress, &[&str], bool, Option<State>)> = vec![
            // A queued submission proves nothing about a retraction, whatever state the rewards have.
            (Open, &["cancelled", "cancelled"], false, None),
            (Open, &["cancelled", "cancelled"], true, None),
            (Open, &["available"], true, None),
            // A completed submission alone does not prove the retraction.
            (Complete, &["available", "pending"], false, None),
            (Complete, &["available", "pending"], true, Some(Unconfirmed)),
            (Complete, &["cancelled", "available"], false, None),
            (Complete, &["cancelled", "available"], true, Some(Unconfirmed)),
            (Complete, &["cancelled", "missing"], false, None),
            (Complete, &["cancelled", "missing"], true, Some(Unconfirmed)),
            (Complete, &[], true, None),
            // A completed submission proves the retraction if every reward is cancelled or ended.
            (Complete, &["cancelled"], false, Some(Confirmed)),
            (Complete, &["cancelled", "cancelled"], false, Some(Confirmed)),
            (Complete, &["cancelled", "expired"], false, Some(Confirmed)),
            (Complete, &["cancelled", "redeemed"], false, Some(Partial)),
            (Complete, &["cancelled", "partly_redeemed"], false, None),
            (Complete, &["cancelled", "partly_redeemed"], true, Some(Partial)),
            // Each reward was redeemed or expired, and none was cancelled.
            (Complete, &["redeemed", "expired"], true, Some(Unconfirmed)),
            // A submission error alone does not count as a refusal.
            (refused(), &["available"], false, None),
            (refused(), &["available"], true, Some(Unconfirmed)),
            (refused(), &["cancelled"], false, Some(Confirmed)),
            (refused(), &["cancelled", "available"], true, Some(Unconfirmed)),
            // Without a batch ID, a reward that is still valid does not end the retraction.
            (NoBatch, &["available"], true, None),
            (NoBatch, &["cancelled", "available"], true, None),
            (NoBatch, &["cancelled", "cancelled"], false, Some(Confirmed)),
            (NoBatch, &["missing"], true, None),
            // If recoup cannot read the submission, only the rewards can prove the retraction.
            (SubmissionProgress::Unreadable, &["available"], true, Some(Unconfirmed)),
            (SubmissionProgress::Unreadable, &["cancelled"], false, Some(Confirmed)),
        ];
        for (submission, states, time_up, expected) in table {
            let observation = observation(submission, states, time_up);
            assert_eq!(state_after(&observation), expected, "{observation:?}");
        }
    }

    #[test]
    fn a_reward_that_was_cancelled_before_proves_nothing() {
        for submission in [SubmissionProgress::None, SubmissionProgress::Complete] {
            let mut seen = observation(submission.clone(), &["cancelled", "redeemed"], false);
            seen.before[0].state = "cancelled".into();
            seen.before[1].state = "available".into();
            assert_eq!(state_after(&seen), None, "{submission:?}");
        }
        // A reward that has the order ID but no ActionId proves nothing about the retraction.
        let mut seen = observation(SubmissionProgress::Complete, &["cancelled"], false);
        seen.rewards[0].linked = false;
        assert_eq!(state_after(&seen), None);
        // A reward that was unknown before the send proves nothing about the retraction.
        let mut seen = observation(SubmissionProgress::None, &["cancelled"], false);
        seen.before.clear();
        assert_eq!(state_after(&seen), None);
    }

    #[test]
    fn an_error_is_a_refusal_only_when_the_vendor_has_had_its_time() {
        let mut seen = observation(SubmissionProgress::Refused("MALFORMED".into()), &["available"], false);
        for (reads, expected) in [(1, None), (2, None), (3, Some(State::Unconfirmed))] {
            seen.reads_since_complete = reads;
            assert_eq!(state_after(&seen), expected);
        }
        seen.settled = true;
        assert_eq!(state_after(&seen), Some(State::Failed));
        assert!(matches!(evaluate(State::Unconfirmed, &seen), Conclusion::Become(State::Failed, _)));
    }

    #[test]
    fn the_loss_is_named() {
        let Conclusion::Become(State::Partial, message) =
            evaluate(State::Queued, &observation(SubmissionProgress::Complete, &["cancelled", "redeemed"], false))
        else {
            panic!("partial")
        };
        assert!(message.contains("500 CENTS of reward r1"), "{message}");
    }

    #[test]
    fn what_was_cancelled_before_the_send_is_no_proof_of_it_and_is_named() {
        let mut seen = observation(SubmissionProgress::Complete, &["cancelled", "cancelled"], true);
        seen.rewards[0].ended_at = Some(SENT - 1);
        let Conclusion::Become(State::Confirmed, message) = evaluate(State::Queued, &seen) else { panic!("confirmed") };
        assert_eq!(
            message,
            "the vendor shows 1 of 1 cancellable reward as cancelled; 1 had been cancelled already before it was sent"
        );
        seen.rewards[1].ended_at = Some(SENT - 1);
        let Conclusion::Become(State::Unconfirmed, message) = evaluate(State::Queued, &seen) else {
            panic!("unconfirmed")
        };
        assert!(message.contains("cancelled already before it was sent"), "{message}");
        // A reward's cancellation without a date may have happened before the send.
        seen.rewards[1].ended_at = None;
        assert_eq!(state_after(&seen), Some(State::Unconfirmed));
    }

    #[test]
    fn what_expired_after_the_send_or_is_unclear_blocks_proof() {
        for (state, ended_at) in [("expired", Some(SENT + 1)), ("expired", None), ("unclear", None), ("of 2030", None)]
        {
            let mut seen = observation(SubmissionProgress::Complete, &["cancelled", state], true);
            seen.before[1].state = if ended_at.is_some() { "expired" } else { "available" }.into();
            seen.rewards[1].ended_at = ended_at;
            assert_eq!(state_after(&seen), Some(State::Unconfirmed), "{state} {ended_at:?}");
            assert!(!reads_cancelled(&seen.before, &seen.rewards, SENT));
            // While a reward is unclear, a submission error does not count as a refusal.
            seen.submission = SubmissionProgress::Refused("MALFORMED".into());
            (seen.settled, seen.rewards[0].state) = (true, "available".into());
            assert_eq!(state_after(&seen), Some(State::Unconfirmed), "{state} {ended_at:?}");
        }
    }

    #[test]
    fn a_reward_that_no_longer_reads_as_cancelled_contradicts_an_old_proof() {
        let named = |states: &[&str]| -> Vec<Snapshot> {
            states.iter().enumerate().map(|(n, s)| Snapshot { reward_id: format!("r{n}"), ..reward(s) }).collect()
        };
        for (proof, now, contradicts) in [
            (&["cancelled", "cancelled"][..], &["cancelled", "cancelled"][..], false),
            (&["cancelled", "redeemed"], &["cancelled", "redeemed"], false),
            (&["cancelled", "expired"], &["cancelled", "expired"], false),
            (&["cancelled", "partly_redeemed"], &["cancelled", "redeemed"], true),
            (&["cancelled", "partly_redeemed"], &["cancelled", "partly_redeemed"], false),
            (&["cancelled", "expired"], &["cancelled", "redeemed"], true),
            (&["cancelled", "expired"], &["cancelled", "cancelled"], false),
            (&["cancelled", "redeemed"], &["cancelled", "expired"], true),
            (&["cancelled", "redeemed"], &["cancelled", "missing"], true),
            (&["cancelled"], &["cancelled", "cancelled"], false),
            (&["cancelled"], &["available"], true),
            (&["cancelled"], &["pending"], true),
            (&["cancelled"], &["redeemed"], true),
            (&["cancelled"], &["partly_redeemed"], true),
            (&["cancelled"], &["expired"], true),
            (&["cancelled"], &["unclear"], true),
            (&["cancelled"], &["missing"], true),
            (&["cancelled", "redeemed"], &["cancelled", "available"], true),
            (&["cancelled"], &["cancelled", "redeemed"], true),
        ] {
            let found = contradiction(&named(proof), &named(now), &[]);
            assert_eq!(found.is_some(), contradicts, "{proof:?} {now:?} {found:?}");
        }
        let cancelled = |redeemed, ended_at| vec![Snapshot { redeemed, ended_at, ..reward("cancelled") }];
        let proof = cancelled(Some(200), Some(SENT + 1));
        for (redeemed, ended_at, contradicts) in [
            (Some(200), Some(SENT + 1), false),
            (None, Some(SENT + 1), false),
            (Some(201), Some(SENT + 1), true),
            (Some(200), None, true),
            (Some(200), Some(SENT - 1), true),
        ] {
            let found = contradiction(&proof, &cancelled(redeemed, ended_at), &[]);
            assert_eq!(found.is_some(), contradicts, "{redeemed:?} {ended_at:?} {found:?}");
        }
        // A missing reward does not contradict the proof if a complete crawl has found that reward deleted.
        assert_eq!(contradiction(&named(&["cancelled"]), &named(&["missing"]), &[RewardId::new("r0")]), None);
    }
}
