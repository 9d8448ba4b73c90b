//! What has been seen decides where a retraction stands. Pure: no I/O, no clock.
//!
//! This is the only place that says *confirmed*. It must never say so on the word of a submission alone: done is a
//! completed submission **and** every known reward of the action reading as cancelled (decision 8).

use serde::{Deserialize, Serialize};

use crate::model::RewardState;
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

/// How the rewards of one look divide.
struct Tally {
    /// Stood before, and cancelled now: the only proof that something was taken back.
    newly_cancelled: usize,
    standing: usize,
    missing: usize,
    half_used: usize,
}

impl Tally {
    fn of(before: &[Snapshot], rewards: &[Snapshot]) -> Self {
        let stood = |reward: &Snapshot| {
            let was = before.iter().find(|before| before.reward_id == reward.reward_id);
            // One that nobody knew before may have been cancelled long ago: it proves nothing.
            was.is_some_and(|before| before.stands() || before.is(RewardState::PartlyRedeemed))
        };
        let count = |test: &dyn Fn(&Snapshot) -> bool| rewards.iter().filter(|reward| test(reward)).count();
        Self {
            newly_cancelled: count(&|reward| reward.is(RewardState::Cancelled) && reward.linked && stood(reward)),
            standing: count(&Snapshot::stands),
            missing: count(&|reward| reward.state == MISSING),
            half_used: count(&|reward| reward.is(RewardState::PartlyRedeemed)),
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
    let tally = Tally::of(&sight.before, &sight.rewards);
    let time_up = sight.time_up || sight.settled;
    // What happens to the rest of a partly redeemed reward is not published: it gets the same time as the others first.
    if tally.standing == 0 && tally.missing == 0 && tally.newly_cancelled > 0 && (tally.half_used == 0 || time_up) {
        return done(sight);
    }
    if let SubmissionSeen::Refused(why) = &sight.submission
        && tally.newly_cancelled == 0
    {
        // Error reasons are an open set and rewards may be slower than the submission: only when the vendor has had all its
        // time is an error taken for a refusal, since a refusal may be sent again.
        if sight.settled && tally.missing == 0 {
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
        let what = if tally.missing > 0 {
            format!("{} reward(s) can no longer be read", tally.missing)
        } else if tally.standing > 0 {
            format!("{} of {} reward(s) still stand", tally.standing, sight.rewards.len())
        } else {
            "none of the rewards that stood before was cancelled".to_owned()
        };
        let how = if sight.submission == SubmissionSeen::Unreadable { "can no longer be read" } else { "completed" };
        return Decision::Become(State::Unconfirmed, format!("the submission {how}, and {what}"));
    }
    Decision::Stay
}

/// Whether the rewards alone read as taken back, so that only the submission is left to ask.
pub fn reads_cancelled(before: &[Snapshot], rewards: &[Snapshot]) -> bool {
    let tally = Tally::of(before, rewards);
    tally.standing == 0 && tally.missing == 0 && tally.newly_cancelled > 0
}

/// What a later read says against a retraction that was proven once.
pub fn contradiction(rewards: &[Snapshot]) -> Option<String> {
    let standing = rewards.iter().filter(|reward| reward.stands()).count();
    (standing > 0)
        .then(|| format!("it was proven, but {standing} of {} reward(s) stand in a later reading", rewards.len()))
}

fn done(sight: &Sight) -> Decision {
    let total = sight.rewards.len();
    let redeemed: Vec<&Snapshot> = sight.rewards.iter().filter(|r| r.was_redeemed()).collect();
    let expired = sight.rewards.iter().filter(|r| r.is(RewardState::Expired)).count();
    let also = if expired > 0 { format!("; {expired} had expired") } else { String::new() };
    if redeemed.is_empty() {
        let all = total - expired;
        return Decision::Become(
            State::Confirmed,
            format!("{all} of {all} cancellable reward(s) read as cancelled{also}"),
        );
    }
    let lost: Vec<String> = redeemed.iter().map(|r| describe_loss(r)).collect();
    let cancelled = sight.rewards.iter().filter(|r| r.is(RewardState::Cancelled)).count();
    Decision::Become(
        State::Partial,
        format!(
            "{cancelled} of {total} reward(s) read as cancelled{also}; redeemed before, and lost: {}",
            lost.join(", ")
        ),
    )
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
        }
    }

    fn sight(submission: SubmissionSeen, states: &[&str], time_up: bool) -> Sight {
        let before = states.iter().enumerate().map(|(n, state)| {
            let was = if matches!(*state, "cancelled" | "missing") { "available" } else { state };
            Snapshot { reward_id: format!("r{n}"), ..reward(was) }
        });
        Sight {
            submission,
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
    fn a_standing_reward_contradicts_an_old_proof() {
        assert_eq!(contradiction(&[reward("cancelled"), reward("redeemed")]), None);
        assert!(contradiction(&[reward("cancelled"), reward("available")]).is_some());
    }
}
