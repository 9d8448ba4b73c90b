//! What has been seen decides where a retraction stands. Pure: no I/O, no clock.
//!
//! This is the only place that says *confirmed*. It must never say so on the word of a submission alone: done is a
//! completed submission **and** every known reward of the action reading as cancelled (decision 8).

use serde::{Deserialize, Serialize};

use crate::model::{RewardId, RewardState};
use crate::store::ledger::State;

/// One reward as it was, or as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The reward.
    pub reward_id: String,
    /// The account it is in. Personal data: in the ledger for the sake of `verify`, in no receipt.
    pub account_id: String,
    /// The participant it is for, as the vendor's `rewardSource` says: `REFERRED`, `FRIEND_SIGNUP` …
    pub reward_source: Option<String>,
    /// Its state, or `missing` where the vendor no longer knows it.
    pub state: String,
    /// Its unit.
    pub unit: Option<String>,
    /// What was earned, in `unit`.
    pub assigned: Option<i64>,
    /// What of it was redeemed, in `unit`.
    pub redeemed: Option<i64>,
    /// Linked to the action for certain, and not merely to the same order: only then does its cancellation prove anything.
    #[serde(default = "linked_by_default")]
    pub linked: bool,
    /// When it was cancelled or expired, in Unix milliseconds of the vendor's clock; `None` if it was not, or without a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// It was read by GraphQL, which knows of redemptions that Get Rewards does not show: it is read again the same way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_graphql: bool,
}

fn linked_by_default() -> bool {
    true
}

/// The word for a reward that could not be read any more.
pub const MISSING: &str = "missing";

impl Snapshot {
    fn is(&self, state: RewardState) -> bool {
        self.state == state.as_str()
    }

    /// Still worth something to its owner, and cancellable as far as anybody knows.
    pub fn stands(&self) -> bool {
        self.is(RewardState::Pending) || self.is(RewardState::Available)
    }

    /// What of it is lost, in its unit: what was redeemed before it could be taken back.
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

/// How far the submission is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionSeen {
    /// There is none to look at: no answer came, so no batch ID is known.
    None,
    /// Queued, in progress, or not readable just now.
    Open,
    /// There is one, and it has not been readable for so long that the rewards alone have to tell.
    Unreadable,
    /// Complete, without an error or with `ACTION_NOT_FOUND` alone, which proves nothing (contradiction 15).
    Complete,
    /// Complete with an error of another kind.
    Refused(String),
}

/// One look at a retraction.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The submission.
    pub submission: SubmissionSeen,
    /// When it was sent, in Unix milliseconds of the vendor's clock: only what was cancelled after that can prove it.
    pub sent_at: i64,
    /// The rewards as they were before anything was sent.
    pub before: Vec<Snapshot>,
    /// Every known reward of the action now; empty where they were not read this time.
    pub rewards: Vec<Snapshot>,
    /// How often the rewards have been read since the submission completed, this time included.
    pub reads_since_complete: u32,
    /// The person's patience has ended: what is not proven now is *unconfirmed*.
    pub time_up: bool,
    /// The vendor has had all the time that it was given since the submission completed.
    pub settled: bool,
}

impl Sight {
    /// How many rewards are neither cancelled nor lost, as far as anybody can tell.
    pub fn open(&self) -> usize {
        Tally::of(&self.before, &self.rewards, self.sent_at).open()
    }
}

/// What to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing new.
    Stay,
    /// Another state, with a sentence.
    Become(State, String),
}

/// How often a reward must read as standing after a submission error before a person hears of the error.
const READS_BEFORE_ERROR: u32 = 3;

/// What one reward says about a retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Cancelled after the send. `proves`: it stood before, and is linked to the action for certain.
    Cancelled { proves: bool },
    /// Cancelled before the send: named, and no proof of this retraction.
    CancelledBefore,
    /// Ran out before the send: named, and no proof.
    ExpiredBefore,
    /// Redeemed: lost.
    Redeemed,
    /// Redeemed in part, and the rest is not cancelled.
    HalfUsed,
    /// Pending or available.
    Stands,
    /// Neither cancelled nor certain to have ended before the send: why.
    Unproven(&'static str),
    /// The vendor does not know it any more.
    Missing,
}

impl Says {
    fn of(reward: &Snapshot, before: &[Snapshot], sent_at: i64) -> Self {
        let was = before.iter().find(|was| was.reward_id == reward.reward_id);
        let had = |state: RewardState| was.is_some_and(|was| was.is(state));
        let ended_before = reward.ended_at.is_some_and(|at| at < sent_at);
        let is = |state: RewardState| reward.is(state);
        if is(RewardState::Cancelled) {
            match reward.ended_at {
                _ if ended_before || had(RewardState::Cancelled) => Self::CancelledBefore,
                // One that nobody knew before proves nothing: what cancelled it is not known.
                Some(_) => Self::Cancelled {
                    proves: reward.linked && was.is_some_and(|was| was.stands() || was.is(RewardState::PartlyRedeemed)),
                },
                None => Self::Unproven("reads as cancelled without a date"),
            }
        } else if is(RewardState::Expired) {
            // One that stood in the plan had no expiry in the past.
            let is_before = ended_before || (reward.ended_at.is_none() && had(RewardState::Expired));
            if is_before && !was.is_some_and(Snapshot::stands) {
                Self::ExpiredBefore
            } else {
                Self::Unproven("has expired since and was not cancelled")
            }
        } else if is(RewardState::Redeemed) {
            Self::Redeemed
        } else if is(RewardState::PartlyRedeemed) {
            Self::HalfUsed
        } else if reward.stands() {
            Self::Stands
        } else if reward.state == MISSING {
            Self::Missing
        } else {
            // *Unclear*, and every state that a newer recoup may have written.
            Self::Unproven("has dates, amounts or statuses that cannot be read or contradict each other")
        }
    }
}

/// How the rewards of one look divide.
struct Tally {
    all: Vec<Says>,
}

impl Tally {
    fn of(before: &[Snapshot], rewards: &[Snapshot], sent_at: i64) -> Self {
        Self { all: rewards.iter().map(|reward| Says::of(reward, before, sent_at)).collect() }
    }

    fn count(&self, says: Says) -> usize {
        self.all.iter().filter(|one| **one == says).count()
    }

    fn proofs(&self) -> usize {
        self.count(Says::Cancelled { proves: true })
    }

    /// How many are neither cancelled nor lost, as far as anybody can tell.
    fn open(&self) -> usize {
        let is_open = |says: &&Says| matches!(says, Says::Stands | Says::Unproven(_) | Says::Missing);
        self.all.iter().filter(is_open).count()
    }

    /// Whether nothing speaks against it, and at least one reward for it.
    fn is_proof(&self) -> bool {
        self.open() == 0 && self.proofs() > 0
    }

    /// Why it is not proven, as the end of a sentence.
    fn why_not(&self) -> String {
        let unproven =
            self.all.iter().filter_map(|says| if let Says::Unproven(why) = says { Some(*why) } else { None });
        let mut unproven: Vec<&str> = unproven.collect();
        let (total, count) = (self.all.len(), unproven.len());
        unproven.sort_unstable();
        unproven.dedup();
        if self.count(Says::Missing) > 0 {
            format!("{} reward(s) can no longer be read", self.count(Says::Missing))
        } else if self.count(Says::Stands) > 0 {
            format!("{} of {total} reward(s) still stand", self.count(Says::Stands))
        } else if count > 0 {
            format!("of {count} of {total} reward(s): {}", unproven.join("; "))
        } else if self.count(Says::CancelledBefore) == total {
            "every reward had been cancelled already before it was sent".to_owned()
        } else {
            "none of the rewards that stood before was cancelled".to_owned()
        }
    }
}

/// Where a retraction stands now.
pub fn judge(state: State, sight: &Sight) -> Decision {
    // Without a batch ID there is nothing to wait for but the rewards themselves, and standing ones prove nothing then.
    let submission_over = !matches!(sight.submission, SubmissionSeen::Open | SubmissionSeen::None);
    if sight.rewards.is_empty() || sight.submission == SubmissionSeen::Open {
        return Decision::Stay;
    }
    let tally = Tally::of(&sight.before, &sight.rewards, sight.sent_at);
    let time_up = sight.time_up || sight.settled;
    // What happens to the rest of a partly redeemed reward is not published: it gets the same time as the others first.
    if tally.is_proof() && (tally.count(Says::HalfUsed) == 0 || time_up) {
        return done(sight, &tally);
    }
    if let SubmissionSeen::Refused(why) = &sight.submission
        && tally.proofs() == 0
    {
        // Error reasons are an open set and rewards may be slower than the submission: only when the vendor has had all its
        // time is an error taken for a refusal, since a refusal may be sent again. What is not clear is no refusal.
        let stands_or_ended = tally.all.iter().all(|says| !matches!(says, Says::Missing | Says::Unproven(_)));
        if sight.settled && stands_or_ended && tally.count(Says::Cancelled { proves: false }) == 0 {
            return Decision::Become(State::Failed, format!("the vendor refused it: {why}; no reward was cancelled"));
        }
        if state != State::Unconfirmed && (sight.reads_since_complete >= READS_BEFORE_ERROR || time_up) {
            return Decision::Become(
                State::Unconfirmed,
                format!("the submission completed with {why}, and no reward was cancelled"),
            );
        }
    }
    if submission_over && time_up && state != State::Unconfirmed {
        let what = tally.why_not();
        let how = if sight.submission == SubmissionSeen::Unreadable { "can no longer be read" } else { "completed" };
        return Decision::Become(State::Unconfirmed, format!("the submission {how}, and {what}"));
    }
    Decision::Stay
}

/// Whether the rewards alone read as taken back, so that only the submission is left to ask.
pub fn reads_cancelled(before: &[Snapshot], rewards: &[Snapshot], sent_at: i64) -> bool {
    Tally::of(before, rewards, sent_at).is_proof()
}

/// What a later read of all rewards says against a retraction that was proven once. `gone` are rewards that a whole crawl has
/// found to be deleted at the vendor.
pub fn contradiction(proof: &[Snapshot], rewards: &[Snapshot], gone: &[RewardId]) -> Option<String> {
    let is_gone =
        |reward: &Snapshot| reward.state == MISSING && gone.iter().any(|gone| gone.as_str() == reward.reward_id);
    let read = rewards.iter().filter(|reward| !is_gone(reward));
    let against: Vec<String> = read.filter_map(|reward| objection(proof, reward)).collect();
    let all = rewards.len();
    (!against.is_empty()).then(|| {
        format!(
            "it was proven, but {} of {all} reward(s) no longer read as cancelled: {}",
            against.len(),
            against.join(", ")
        )
    })
}

/// What a later read of one reward says against the proof: it must read as cancelled, at the moment that the proof knows and with
/// nothing more redeemed, or still be in the state in which the proof names it as lost.
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

fn done(sight: &Sight, tally: &Tally) -> Decision {
    let total = sight.rewards.len();
    let (expired, earlier) = (tally.count(Says::ExpiredBefore), tally.count(Says::CancelledBefore));
    let named = |count: usize, what: &str| if count > 0 { format!("; {count} {what}") } else { String::new() };
    let also = named(earlier, "had been cancelled already before it was sent") + &named(expired, "had expired");
    let cancelled = tally.proofs() + tally.count(Says::Cancelled { proves: false });
    if !sight.rewards.iter().any(Snapshot::was_redeemed) {
        let all = total - expired - earlier;
        return Decision::Become(
            State::Confirmed,
            format!("{cancelled} of {all} cancellable reward(s) read as cancelled{also}"),
        );
    }
    let lost = losses(&sight.rewards);
    Decision::Become(State::Partial, format!("{cancelled} of {total} reward(s) read as cancelled{also}{lost}"))
}

/// What of these rewards was redeemed, as the end of a sentence; empty if nothing was.
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

    fn sight(submission: SubmissionSeen, states: &[&str], time_up: bool) -> Sight {
        let before = states.iter().enumerate().map(|(n, state)| {
            let was = if matches!(*state, "cancelled" | "missing") { "available" } else { state };
            Snapshot { reward_id: format!("r{n}"), ..reward(was) }
        });
        Sight {
            submission,
            sent_at: SENT,
            before: before.collect(),
            rewards: (0..).zip(states).map(|(n, s)| Snapshot { reward_id: format!("r{n}"), ..reward(s) }).collect(),
            reads_since_complete: 1,
            time_up,
            settled: false,
        }
    }

    fn state_after(sight: &Sight) -> Option<State> {
        match judge(State::Queued, sight) {
            Decision::Stay => None,
            Decision::Become(state, _) => Some(state),
        }
    }

    #[test]
    fn what_was_seen_decides() {
        use State::{Confirmed, Partial, Unconfirmed};
        use SubmissionSeen::{Complete, None as NoBatch, Open, Refused};
        let refused = || Refused("MALFORMED".into());
        let table: Vec<(SubmissionSeen, &[&str], bool, Option<State>)> = vec![
            // A queued submission proves nothing, whatever the rewards look like.
            (Open, &["cancelled", "cancelled"], false, None),
            (Open, &["cancelled", "cancelled"], true, None),
            (Open, &["available"], true, None),
            // Complete is not done.
            (Complete, &["available", "pending"], false, None),
            (Complete, &["available", "pending"], true, Some(Unconfirmed)),
            (Complete, &["cancelled", "available"], false, None),
            (Complete, &["cancelled", "available"], true, Some(Unconfirmed)),
            (Complete, &["cancelled", "missing"], false, None),
            (Complete, &["cancelled", "missing"], true, Some(Unconfirmed)),
            (Complete, &[], true, None),
            // Done.
            (Complete, &["cancelled"], false, Some(Confirmed)),
            (Complete, &["cancelled", "cancelled"], false, Some(Confirmed)),
            (Complete, &["cancelled", "expired"], false, Some(Confirmed)),
            (Complete, &["cancelled", "redeemed"], false, Some(Partial)),
            (Complete, &["cancelled", "partly_redeemed"], false, None),
            (Complete, &["cancelled", "partly_redeemed"], true, Some(Partial)),
            // Nothing was cancelled: nothing was taken back.
            (Complete, &["redeemed", "expired"], true, Some(Unconfirmed)),
            // An error ends the waiting, not the doubt.
            (refused(), &["available"], false, None),
            (refused(), &["available"], true, Some(Unconfirmed)),
            (refused(), &["cancelled"], false, Some(Confirmed)),
            (refused(), &["cancelled", "available"], true, Some(Unconfirmed)),
            // No answer came: only the rewards can tell, and standing ones prove nothing.
            (NoBatch, &["available"], true, None),
            (NoBatch, &["cancelled", "available"], true, None),
            (NoBatch, &["cancelled", "cancelled"], false, Some(Confirmed)),
            (NoBatch, &["missing"], true, None),
            // A submission that is gone leaves the word to the rewards, and is no end without them.
            (SubmissionSeen::Unreadable, &["available"], true, Some(Unconfirmed)),
            (SubmissionSeen::Unreadable, &["cancelled"], false, Some(Confirmed)),
        ];
        for (submission, states, time_up, expected) in table {
            let sight = sight(submission, states, time_up);
            assert_eq!(state_after(&sight), expected, "{sight:?}");
        }
    }

    #[test]
    fn a_reward_that_was_cancelled_before_proves_nothing() {
        for submission in [SubmissionSeen::None, SubmissionSeen::Complete] {
            let mut seen = sight(submission.clone(), &["cancelled", "redeemed"], false);
            seen.before[0].state = "cancelled".into();
            seen.before[1].state = "available".into();
            assert_eq!(state_after(&seen), None, "{submission:?}");
        }
        // Nor does one that merely carries the same order.
        let mut seen = sight(SubmissionSeen::Complete, &["cancelled"], false);
        seen.rewards[0].linked = false;
        assert_eq!(state_after(&seen), None);
        // Nor does one that nobody knew before.
        let mut seen = sight(SubmissionSeen::None, &["cancelled"], false);
        seen.before.clear();
        assert_eq!(state_after(&seen), None);
    }

    #[test]
    fn an_error_is_a_refusal_only_when_the_vendor_has_had_its_time() {
        let mut seen = sight(SubmissionSeen::Refused("MALFORMED".into()), &["available"], false);
        for (reads, expected) in [(1, None), (2, None), (3, Some(State::Unconfirmed))] {
            seen.reads_since_complete = reads;
            assert_eq!(state_after(&seen), expected);
        }
        seen.settled = true;
        assert_eq!(state_after(&seen), Some(State::Failed));
        assert!(matches!(judge(State::Unconfirmed, &seen), Decision::Become(State::Failed, _)));
    }

    #[test]
    fn the_loss_is_named() {
        let Decision::Become(State::Partial, message) =
            judge(State::Queued, &sight(SubmissionSeen::Complete, &["cancelled", "redeemed"], false))
        else {
            panic!("partial")
        };
        assert!(message.contains("500 CENTS of reward r1"), "{message}");
    }

    #[test]
    fn what_was_cancelled_before_the_send_is_no_proof_of_it_and_is_named() {
        let mut seen = sight(SubmissionSeen::Complete, &["cancelled", "cancelled"], true);
        seen.rewards[0].ended_at = Some(SENT - 1);
        let Decision::Become(State::Confirmed, message) = judge(State::Queued, &seen) else { panic!("confirmed") };
        assert_eq!(
            message,
            "1 of 1 cancellable reward(s) read as cancelled; 1 had been cancelled already before it was sent"
        );
        seen.rewards[1].ended_at = Some(SENT - 1);
        let Decision::Become(State::Unconfirmed, message) = judge(State::Queued, &seen) else { panic!("unconfirmed") };
        assert!(message.contains("cancelled already before it was sent"), "{message}");
        // A cancellation without a date may be of any time.
        seen.rewards[1].ended_at = None;
        assert_eq!(state_after(&seen), Some(State::Unconfirmed));
    }

    #[test]
    fn what_expired_after_the_send_or_is_unclear_blocks_proof() {
        for (state, ended_at) in [("expired", Some(SENT + 1)), ("expired", None), ("unclear", None), ("of 2030", None)]
        {
            let mut seen = sight(SubmissionSeen::Complete, &["cancelled", state], true);
            seen.before[1].state = if ended_at.is_some() { "expired" } else { "available" }.into();
            seen.rewards[1].ended_at = ended_at;
            assert_eq!(state_after(&seen), Some(State::Unconfirmed), "{state} {ended_at:?}");
            assert!(!reads_cancelled(&seen.before, &seen.rewards, SENT));
            // Nor does it make an error of the submission a refusal, which could be sent again.
            seen.submission = SubmissionSeen::Refused("MALFORMED".into());
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
        // What a whole crawl has found deleted at the vendor is no reward any more.
        assert_eq!(contradiction(&named(&["cancelled"]), &named(&["missing"]), &[RewardId::new("r0")]), None);
    }
}
