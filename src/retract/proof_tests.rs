//! Property tests of the proof: recoup reports *confirmed* only if the vendor's answers prove the retraction.
//!
//! The property tests generate the vendor's answers as JSON text and pass them to the real parser. The generated
//! rewards may be missing, duplicated, contradictory, foreign, spelled differently or dated at impossible times. A
//! second, independent implementation decides from the generated data, without the parser, whether recoup may report
//! *confirmed*.

use std::cell::Cell;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::proof::{Conclusion, Observation, Snapshot, SubmissionProgress, evaluate};
use super::reward_fetch::{
    FetchedAccount, FetchedRewards, KnownReward, Location, keep_most_cautious, listed, parse_reward_of, snapshots,
};
use crate::error::Result;
use crate::extract::Mapping;
use crate::model::{AccountId, ActionId, RewardId, Target};
use crate::store::index::ApiSource;
use crate::store::ledger::State;
use crate::vendor::reward_text;

const CASES: u32 = 20_000;

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_790_000_000_000;
const SENT: i64 = NOW - 60_000;
const GIVEN: i64 = NOW - 9 * DAY;
const TENANT: &str = "acme";
const ACTION: &str = "1000.4636.158133";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    AfterTheSend,
    BeforeTheSend,
    BeforeGiven,
    Tomorrow,
    Year3000,
    Zero,
    One,
}

impl At {
    fn ms(self) -> i64 {
        match self {
            Self::AfterTheSend => SENT + 1_000,
            Self::BeforeTheSend => SENT - DAY,
            Self::BeforeGiven => GIVEN - DAY,
            Self::Tomorrow => NOW + DAY,
            Self::Year3000 => 32_503_680_000_000,
            Self::Zero => 0,
            Self::One => 1,
        }
    }
}

type Said = Option<Option<At>>;

/// One version of a reward in a vendor's answer.
#[derive(Debug, Clone)]
struct Statement {
    id: usize,
    account: Option<&'static str>,
    tenant: Option<&'static str>,
    action: Option<&'static str>,
    cancelled: Said,
    cancelled_again: Said,
    alias: Said,
    expires: Option<At>,
    redeemed: &'static str,
    statuses: Option<Vec<&'static str>>,
}

impl Statement {
    /// Builds the reward's JSON as text, because text can contain a key twice.
    fn json(&self) -> String {
        let mut keys = vec![
            format!(r#""id":"r{}","orderId":"o","dateGiven":{GIVEN}"#, self.id),
            format!(r#""assignedCredit":500,"redeemedCredit":{}"#, self.redeemed),
        ];
        let texts = [("accountId", self.account), ("tenantAlias", self.tenant), ("actionId", self.action)];
        keys.extend(texts.iter().filter_map(|(key, text)| Some(format!(r#""{key}":"{}""#, (*text)?))));
        let dates = [
            ("dateCancelled", self.cancelled),
            ("dateCancelled", self.cancelled_again),
            ("date_cancelled", self.alias),
            ("dateExpires", self.expires.map(Some)),
        ];
        let date = |at: Option<At>| at.map_or_else(|| "null".to_owned(), |at| at.ms().to_string());
        keys.extend(dates.iter().filter_map(|(key, said)| Some(format!(r#""{key}":{}"#, date((*said)?)))));
        keys.extend(self.statuses.as_ref().map(|words| format!(r#""statuses":["{}"]"#, words.join(r#"",""#))));
        format!("{{{}}}", keys.join(","))
    }

    /// Returns `true` if the parser accepts the reward, and the reward belongs to this account and tenant.
    fn is_readable(&self, account: &str) -> bool {
        self.account.is_none_or(|named| named == account)
            && self.tenant.is_none_or(|named| named == TENANT)
            && (self.cancelled.is_none() || self.cancelled_again.is_none())
    }

    fn is_of_the_action(&self) -> bool {
        self.action.is_none_or(|named| named == ACTION)
    }

    /// Returns `true` if the reward's statuses show that the reward ended, although its dates do not.
    fn is_undated(&self, word: &str) -> bool {
        let says = |word: &str| self.statuses.as_ref().is_some_and(|words| words.contains(&word));
        let is_cancelled = word == "CANCELLED";
        let is_other = !is_cancelled && (says("CANCELLED") || self.expires.is_some());
        let is_odd = self.redeemed != "0" || says("REINSTATED");
        self.is_expired() && says(word) && !says("AVAILABLE") && !is_other && !is_odd
    }

    fn is_expired(&self) -> bool {
        let stated = self.cancelled.or(self.cancelled_again);
        stated.or(self.alias).flatten().is_none_or(|at| at == At::Zero)
    }

    /// Returns when the reward ended, according to all its fields; `None` if the fields leave the time uncertain.
    fn end(&self) -> Option<At> {
        let says = |word: &str| self.statuses.as_ref().is_some_and(|words| words.contains(&word));
        // The reward was partly redeemed, or one of its statuses is undocumented.
        if self.redeemed != "0" || says("REINSTATED") {
            return None;
        }
        let stated = self.cancelled.or(self.cancelled_again);
        let cancelled = stated.or(self.alias).flatten().filter(|at| *at != At::Zero);
        let is_denied = says("AVAILABLE") || (says("EXPIRED") && !says("CANCELLED"));
        match cancelled {
            Some(At::AfterTheSend | At::BeforeTheSend) if !is_denied => cancelled,
            Some(_) => None,
            // Without a date, the time of the reward's cancellation is unknown.
            None if says("CANCELLED") => None,
            None => self.expires.filter(|at| *at == At::BeforeTheSend),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Available,
    Pending,
    Cancelled,
    Expired,
}

impl Before {
    fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    fn stood(self) -> bool {
        matches!(self, Self::Available | Self::Pending)
    }
}

/// All answers of the vendor for one retraction.
#[derive(Debug, Clone)]
struct Case {
    /// The states of the generated rewards before the send. A generated reward's position is its ID, and determines its
    /// account.
    before: Vec<Before>,
    lists: [Vec<Statement>; 2],
    /// The answer to a read of one reward by its ID. `None` stands for a 404.
    by_id: Vec<Option<Statement>>,
}

fn account(id: usize) -> &'static str {
    ["a0", "a1"][id % 2]
}

impl Case {
    fn known(&self) -> Vec<KnownReward> {
        let known = |id| KnownReward {
            reward_id: RewardId::new(format!("r{id}")),
            account_id: AccountId::new(account(id)),
            via: ApiSource::Rest,
        };
        (0..self.before.len()).map(known).collect()
    }

    /// Passes the generated answers through the production code, which parses them, resolves duplicates, locates each
    /// reward and evaluates the result. Returns an error if the production code cannot parse a generated answer.
    fn decide(&self) -> Result<Conclusion> {
        let (now, mapping) = (Timestamp::from_millisecond(NOW).expect("a moment"), Mapping::default());
        let known = self.known();
        let mut accounts = Vec::new();
        for (place, list) in self.lists.iter().enumerate() {
            let id = AccountId::new(account(place));
            if known.iter().any(|known| known.account_id == id) {
                let read =
                    |said: &Statement| parse_reward_of(&said.json(), Some(&id), TENANT, &mapping, ApiSource::Rest);
                let rewards = list.iter().map(read).collect::<Result<_>>()?;
                accounts.push(FetchedAccount { account: id, rewards: Some(rewards), asked_at: now });
            }
        }
        keep_most_cautious(&mut accounts, NOW);
        let mut found = Vec::new();
        for (known, by_id) in known.into_iter().zip(&self.by_id) {
            let place = match (listed(&accounts, &known), by_id) {
                (Some(place), _) => place,
                (None, None) => Location::Missing,
                (None, Some(said)) => match reward_text(&Bytes::from(said.json()), &known.reward_id) {
                    Some(raw) => Location::of(parse_reward_of(&raw, None, TENANT, &mapping, ApiSource::Rest)?, &known),
                    None => return Ok(Conclusion::Stay),
                },
            };
            found.push((known, place));
        }
        let before: Vec<Snapshot> = self.before.iter().enumerate().map(|(id, was)| snapshot(id, *was)).collect();
        let look = FetchedRewards { found, accounts, now, clock_error: None, referrals: Vec::new() };
        let rewards = snapshots(&look, &Target::Action(ActionId::new(ACTION)), &before);
        let sight = Observation {
            submission: SubmissionProgress::Complete,
            sent_at: SENT,
            before,
            rewards,
            reads_since_complete: 1,
            time_up: true,
            settled: false,
        };
        Ok(evaluate(State::Queued, &sight))
    }

    /// Returns why *confirmed* would be wrong. Returns `None` if every version of every known reward reads as cancelled
    /// after the send, or as ended before the send.
    fn objection(&self, message: &str) -> Option<String> {
        let asked = |place: usize| place < self.before.len();
        let said = || self.lists.iter().enumerate().filter(|(place, _)| asked(*place));
        let all = || said().flat_map(|(_, list)| list);
        if let Some(bad) = said().find_map(|(place, list)| list.iter().find(|said| !said.is_readable(account(place)))) {
            return Some(format!("unreadable: {bad:?}"));
        }
        let (mut taken, mut earlier, mut expired) = (0, 0, 0);
        let of_target = all().filter(|said| said.action == Some(ACTION)).map(|said| said.id);
        let mut ids: Vec<usize> = (0..self.before.len()).chain(of_target).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let was = self.before.get(id).copied();
            let mut about: Vec<&Statement> = all().filter(|said| said.id == id).collect();
            if about.is_empty() {
                let Some(said) = self.by_id[id].as_ref() else { return Some(format!("r{id} is missing")) };
                if said.id != id || said.account != Some(account(id)) || !said.is_readable(account(id)) {
                    return Some(format!("r{id} by its ID: {said:?}"));
                }
                about.push(said);
            }
            if was.is_some() && said().any(|(place, list)| place != id % 2 && list.iter().any(|said| said.id == id)) {
                // If only another account lists the reward, the reward has moved or is a different reward. If both
                // accounts list the reward, the version of the reward's own account counts.
                let home = said().any(|(place, list)| place == id % 2 && list.iter().any(|said| said.id == id));
                if !home {
                    return Some(format!("r{id} is in another account"));
                }
            }
            let mut ends = Vec::new();
            for said in about {
                if !said.is_of_the_action() {
                    return Some(format!("r{id} is of another action: {said:?}"));
                }
                match said.end() {
                    Some(end) => ends.push((end, said.is_expired())),
                    // The reward had ended before the send, and its statuses still show that. Therefore the date of the
                    // reward's end does not matter.
                    None if was == Some(Before::Cancelled) && said.is_undated("CANCELLED") => {}
                    None if was == Some(Before::Expired) && said.is_undated("EXPIRED") => {
                        ends.push((At::BeforeTheSend, true));
                    }
                    None => return Some(format!("r{id} is not certain to have ended: {said:?}")),
                }
            }
            let after = ends.iter().all(|(end, _)| *end == At::AfterTheSend) && !ends.is_empty();
            if ends.iter().any(|(_, is_expired)| *is_expired) {
                expired += 1;
            } else if after && was != Some(Before::Cancelled) {
                taken += usize::from(was.is_some_and(Before::stood));
            } else {
                earlier += 1;
            }
        }
        if taken == 0 {
            return Some("nothing that stood before was taken back".to_owned());
        }
        for (count, words) in [(earlier, "had been cancelled already before it was sent"), (expired, "had expired")] {
            if count > 0 && !message.contains(&format!("{count} {words}")) {
                return Some(format!("{count} {words}, and that is not named"));
            }
        }
        None
    }
}

fn snapshot(id: usize, was: Before) -> Snapshot {
    Snapshot {
        reward_id: format!("r{id}"),
        account_id: account(id).to_owned(),
        reward_source: None,
        state: was.word().to_owned(),
        unit: None,
        assigned: Some(500),
        redeemed: Some(0),
        linked: true,
        ended_at: (!was.stood()).then_some(At::BeforeTheSend.ms()),
        by_graphql: false,
    }
}

fn any_at() -> impl Strategy<Value = At> {
    prop_oneof![
        12 => Just(At::AfterTheSend),
        2 => Just(At::BeforeTheSend),
        1 => Just(At::BeforeGiven),
        1 => Just(At::Tomorrow),
        1 => Just(At::Year3000),
        1 => Just(At::Zero),
        1 => Just(At::One),
    ]
}

fn seldom<T: std::fmt::Debug + Clone + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    prop_oneof![20 => Just(None), 1 => value.prop_map(Some)].boxed()
}

fn any_statement(id: usize) -> impl Strategy<Value = Statement> {
    let said = || prop_oneof![6 => any_at().prop_map(Some), 1 => Just(None)];
    let words = prop::sample::subsequence(vec!["AVAILABLE", "CANCELLED", "EXPIRED", "REINSTATED"], 1..=2);
    let id = prop_oneof![40 => Just(id), 1 => 0..4_usize];
    let places = (
        prop_oneof![30 => Just(true), 1 => Just(false)],
        prop_oneof![30 => Just(true), 1 => Just(false)],
        seldom(prop_oneof![Just(TENANT), Just("elsewhere")]),
        prop_oneof![20 => Just(Some(ACTION)), 1 => Just(None), 1 => Just(Some("9.9.9"))],
    );
    let dates =
        (prop_oneof![12 => said().prop_map(Some), 1 => Just(None)], seldom(said()), seldom(said()), seldom(any_at()));
    let amounts = prop::sample::select(vec!["200", "500", "-1", "\"3.5\"", "true", "{}", "[[]]"]);
    let rest = (seldom(amounts), seldom(words));
    (id, places, dates, rest).prop_map(
        |(id, (at_home, named, tenant, action), (cancelled, again, alias, expires), rest)| {
            let (redeemed, statuses) = rest;
            let account = if at_home { named.then(|| account(id)) } else { Some("somebody") };
            let redeemed = redeemed.unwrap_or("0");
            Statement {
                id,
                account,
                tenant,
                action,
                cancelled,
                cancelled_again: again,
                alias,
                expires,
                redeemed,
                statuses,
            }
        },
    )
}

fn any_case() -> impl Strategy<Value = Case> {
    (1..=3_usize).prop_flat_map(|count| {
        let before = prop_oneof![
            8 => Just(Before::Available),
            2 => Just(Before::Pending),
            1 => Just(Before::Cancelled),
            1 => Just(Before::Expired),
        ];
        // Number of versions of each generated reward in a list, which is usually 1.
        let times = prop_oneof![10 => Just(1_usize), 2 => Just(0), 2 => Just(2)];
        let lists = (0..count)
            .map(|id| times.clone().prop_flat_map(move |times| prop::collection::vec(any_statement(id), times)));
        let by_id: Vec<_> =
            (0..count).map(|id| prop_oneof![1 => Just(None), 3 => any_statement(id).prop_map(Some)]).collect();
        (prop::collection::vec(before, count), lists.collect::<Vec<_>>(), by_id).prop_map(|(before, said, by_id)| {
            let mut lists = [Vec::new(), Vec::new()];
            for (id, said) in said.into_iter().enumerate() {
                lists[id % 2].extend(said);
            }
            Case { before, lists, by_id }
        })
    })
}

#[test]
fn confirmed_says_no_more_than_the_answers() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let confirmed = Cell::new(0_u32);
    let result = TestRunner::new(config).run(&any_case(), |case| {
        if let Ok(Conclusion::Become(State::Confirmed, message)) = case.decide() {
            confirmed.set(confirmed.get() + 1);
            let objection = case.objection(&message);
            prop_assert!(objection.is_none(), "{}: {message}", objection.unwrap_or_default());
        }
        Ok(())
    });
    if let Err(failed) = result {
        panic!("{failed}");
    }
    // Fails if too few generated cases reach *confirmed*, because the property would then test almost nothing.
    assert!(confirmed.get() > CASES / 10, "{} of {CASES} cases were confirmed", confirmed.get());
}

#[test]
fn a_version_that_expired_does_not_hide_a_redeemed_amount_of_another() {
    let said = |id, cancelled: Said, expires, redeemed| Statement {
        id,
        account: Some(account(id)),
        tenant: None,
        action: Some(ACTION),
        cancelled,
        cancelled_again: None,
        alias: None,
        expires,
        redeemed,
        statuses: None,
    };
    let taken_back = Some(Some(At::AfterTheSend));
    let expired = said(0, Some(None), Some(At::BeforeTheSend), "0");
    for redeemed in ["0", "200"] {
        let other = said(0, taken_back, None, redeemed);
        for versions in [[expired.clone(), other.clone()], [other, expired.clone()]] {
            let case = Case {
                before: vec![Before::Expired, Before::Available],
                lists: [versions.to_vec(), vec![said(1, taken_back, None, "0")]],
                by_id: vec![None, None],
            };
            let wanted = if redeemed == "0" { State::Confirmed } else { State::Partial };
            let decided = case.decide().expect("readable");
            assert!(matches!(&decided, Conclusion::Become(state, _) if *state == wanted), "{redeemed}: {decided:?}");
        }
    }
}
