//! Looks up the rewards of an order. Each answer about an order says as of which time it is valid and how certain it
//! is.
//!
//! The answers to look-ups come from the index. [`read_participant`] and [`search`] first read rewards from the vendor
//! and update the index. The index matches order IDs byte for byte. If the index lacks an order, the answer offers
//! similar orders, and recoup never acts on a similar order. A negative answer includes the coverage of the index: *not
//! a referral order*, *not in what has been read so far* and *unclear* are different answers.

pub mod candidates;
mod coverage;
mod in_ledger;
mod ledger_states;
mod order_list;
mod other_id;
mod participant;
pub mod referral;
mod vendor_search;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::model::order_text::visible;
use crate::model::{AccountId, ActionId, Coverage, OrderId, RewardId, RewardState, UserId};
use crate::report::table;
use crate::store::index::{IndexReader, JudgedBy, Match};

pub use candidates::{KnownCandidate, why_unclear};
pub use coverage::{describe_coverage, describe_extent, why_absence_is_unproven};
pub use in_ledger::{LedgerId, LedgerIdKind, find_in_ledger};
pub use ledger_states::update_from_ledger;
pub use order_list::{parse_typed, split_lists};
pub use other_id::{OtherId, OtherIdKind, ParticipantIds};
pub use participant::{ParticipantRead, read_participant};
pub use referral::KnownReferral;
pub use vendor_search::{VendorSearch, search};

const MAX_SUGGESTIONS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// The index has the order.
    Found,
    /// The index is complete and does not have the order.
    NotAReferral,
    /// The index lacks the order and is incomplete. Therefore a later crawl may add the order.
    NotFoundYet,
    /// The index lacks an order with the given text, and the text may be something other than an order ID.
    Unclear,
    /// The given text is a list of order IDs. `orders` has an answer for each order ID of the list.
    Several,
}

/// The answer of a look-up for one order ID.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// The order ID as the user gave it.
    pub order_id: OrderId,
    pub verdict: AnswerKind,
    /// Every reward of the order, once for each ActionId.
    pub matches: Vec<Found>,
    /// The referrals of the order's rewards, as recoup last read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrals: Vec<KnownReferral>,
    /// Order IDs in the index that are similar to the given order ID.
    pub suggestions: Vec<OrderId>,
    /// Orders that the text may mean, if the index lacks exactly this ID. recoup never acts on a candidate.
    pub candidates: Vec<KnownCandidate>,
    /// The kind and the orders of the text, if the text is an ActionId, a reward ID or a participant in the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<OtherId>,
    /// Why the verdict is `unclear`: a sentence that begins with "unclear: ".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
    /// The answers to each order ID, if the verdict is `several`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub orders: Vec<Answer>,
    /// How much of the tenant the index has read, and as of which time.
    pub coverage: Coverage,
    /// The clock that recoup uses to compute reward states.
    pub clock: JudgedBy,
    /// How far recoup searched the vendor for the order; absent if recoup did not search the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched: Option<VendorSearch>,
}

/// One reward of the order.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Found {
    /// The ActionId, if the reward has one.
    pub action_id: Option<ActionId>,
    pub reward_id: RewardId,
    pub account_id: AccountId,
    pub user_id: Option<UserId>,
    /// The newest known state of the reward, from the index and the ledger.
    pub state: RewardState,
    /// The type of the reward: `CREDIT`, `PCT_DISCOUNT` …
    pub reward_type: Option<String>,
    /// The source of the reward: `FRIEND_SIGNUP`, `REFERRED` …
    pub reward_source: Option<String>,
    /// The unit of the reward's amounts: `CENTS`, `%` …
    pub unit: Option<String>,
    /// The amount that the reward earned, in `unit`.
    pub assigned: Option<i64>,
    /// The redeemed amount of the reward, in `unit`.
    pub redeemed: Option<i64>,
    /// The ISO 4217 code of the reward's currency.
    pub currency: Option<String>,
    /// `false` if the vendor says that the reward cannot be cancelled.
    pub cancellable: Option<bool>,
    pub program_id: Option<String>,
    pub name: Option<String>,
    /// When the reward was created, RFC 3339, like every date of a reward in an answer.
    pub date_created: Option<String>,
    pub date_given: Option<String>,
    /// When the reward becomes available.
    pub date_scheduled_for: Option<String>,
    pub date_expires: Option<String>,
    pub date_cancelled: Option<String>,
    pub date_redeemed: Option<String>,
    /// `true` if recoup found the ActionId by its key, and not at a configured path.
    pub action_by_search: bool,
    /// `true` if the reward has several order IDs or ActionIds.
    pub ambiguous: bool,
    /// `true` if the vendor no longer lists the reward or its account.
    pub gone: bool,
    /// When recoup read the reward's state.
    pub read_at: String,
}

/// Validates the text of an order ID, and returns it unchanged.
pub fn order_id(text: &str) -> Result<OrderId> {
    if text.is_empty() {
        return Err(Error::new(Kind::Usage, "an order ID is empty"));
    }
    if text.len() > OrderId::MAX_BYTES {
        return Err(Error::new(
            Kind::Usage,
            format!("an order ID of {} bytes is too long (at most {})", text.len(), OrderId::MAX_BYTES),
        ));
    }
    Ok(OrderId::new(text))
}

/// Answers each order from the index; returns `None` if the index does not exist yet.
pub fn run(
    reader: Option<&IndexReader>,
    orders: &[OrderId],
    participants: ParticipantIds,
    now: Timestamp,
) -> Result<Vec<Answer>> {
    let nothing = |order: &OrderId, coverage: &Coverage| -> Result<Answer> {
        Ok(Answer::nothing(order_id(order.as_str())?, coverage.clone()))
    };
    let Some(reader) = reader else {
        return orders.iter().map(|order| Ok(nothing(order, &Coverage::default())?.with_verdict())).collect();
    };
    // Uses one read transaction, because answers and coverage must match even if a crawl commits meanwhile.
    reader.at_one_moment(|reader| {
        let basis = reader.basis()?;
        let (coverage, now) = (&basis.coverage, basis.judged_now(now));
        let answer = |order: &OrderId| {
            let mut answer = nothing(order, coverage)?;
            answer.clock = now.by;
            let (matches, suggestions) = reader.find_and_suggest(order, MAX_SUGGESTIONS)?;
            answer.referrals = referral::of(reader, matches.iter().map(|found| &found.indexed))?;
            answer.matches = matches.into_iter().map(|found| Found::new(found, now.at)).collect();
            answer.suggestions = suggestions;
            if !answer.is_found() {
                answer.candidates = candidates::known(reader, order)?;
                answer.related = other_id::find(reader, order.as_str(), participants)?;
            }
            Ok(answer.with_verdict())
        };
        orders.iter().map(answer).collect()
    })
}

impl Found {
    fn new(found: Match, now: Timestamp) -> Self {
        let indexed = found.indexed;
        let state = indexed.reward.state(now.as_millisecond());
        let reward = indexed.reward;
        Self {
            action_id: found.action_id,
            reward_id: reward.reward_id,
            account_id: reward.account_id,
            user_id: reward.user_id,
            state,
            reward_type: reward.reward_type,
            reward_source: reward.reward_source,
            unit: reward.unit,
            assigned: reward.assigned,
            redeemed: reward.redeemed,
            currency: reward.currency,
            cancellable: reward.cancellable,
            program_id: reward.program_id,
            name: reward.name,
            date_created: rfc3339(reward.date_created),
            date_given: rfc3339(reward.date_given),
            date_scheduled_for: rfc3339(reward.date_scheduled_for),
            date_expires: rfc3339(reward.date_expires),
            date_cancelled: rfc3339(reward.date_cancelled),
            date_redeemed: rfc3339(reward.date_redeemed),
            action_by_search: indexed.action_by_search,
            ambiguous: indexed.ambiguous,
            gone: indexed.gone,
            read_at: indexed.read_at.to_string(),
        }
    }

    /// Returns the warnings that a table of rewards shows for this reward.
    fn warnings(&self) -> String {
        let mut warnings = Vec::new();
        if self.ambiguous {
            warnings.push("ambiguous");
        }
        if self.gone {
            warnings.push("gone");
        }
        if self.cancellable == Some(false) {
            warnings.push("not cancellable");
        }
        warnings.join(", ")
    }
}

fn rfc3339(ms: Option<i64>) -> Option<String> {
    Timestamp::from_millisecond(ms?).ok().map(|at| at.to_string())
}

impl Answer {
    fn nothing(order_id: OrderId, coverage: Coverage) -> Self {
        Self {
            order_id,
            verdict: AnswerKind::NotFoundYet,
            matches: Vec::new(),
            referrals: Vec::new(),
            suggestions: Vec::new(),
            candidates: Vec::new(),
            related: None,
            unclear: None,
            orders: Vec::new(),
            coverage,
            clock: JudgedBy::default(),
            searched: None,
        }
    }

    /// Builds the answer for a text that is a list of order IDs.
    pub fn several(text: OrderId, orders: Vec<Self>) -> Self {
        let coverage = orders.first().map(|answer| answer.coverage.clone()).unwrap_or_default();
        Self { verdict: AnswerKind::Several, orders, ..Self::nothing(text, coverage) }
    }

    /// Sets the verdict of the answer from its other fields.
    fn with_verdict(mut self) -> Self {
        self.verdict = if self.is_found() {
            AnswerKind::Found
        } else {
            self.unclear = candidates::sentence(&self.order_id, &self.candidates, self.related.as_ref());
            if self.unclear.is_some() {
                AnswerKind::Unclear
            } else if self.coverage.complete && self.coverage.rewards_read > 0 {
                // A run that has read rewards is complete only if it has found order IDs in them.
                AnswerKind::NotAReferral
            } else {
                AnswerKind::NotFoundYet
            }
        };
        self
    }

    pub fn is_found(&self) -> bool {
        !self.matches.is_empty()
    }

    /// Returns `true` if the answer is meaningless because the index does not exist.
    pub fn is_without_index(&self) -> bool {
        self.coverage.as_of.is_none() && self.coverage.accounts_read == 0
    }

    /// Formats the answer to a look-up: a table, or a negative sentence, with the coverage of the index.
    pub fn describe(&self) -> String {
        let basis = describe_coverage(&self.coverage);
        let order = visible(self.order_id.as_str());
        let mut text = match (self.verdict, &self.unclear) {
            (AnswerKind::Found | AnswerKind::Several, _) => {
                let referrals = self.referrals.iter().map(KnownReferral::line);
                let lines: Vec<String> = [self.table()].into_iter().chain(referrals).chain([basis]).collect();
                format!("order {order}\n{}", lines.join("\n"))
            }
            (_, Some(unclear)) => format!("order {order}: {unclear}\n{basis}"),
            (AnswerKind::NotAReferral, None) => format!("order {order}: not a referral order, {basis}"),
            _ if self.is_without_index() => {
                format!("order {order}: no answer, because nothing has been crawled yet (run `recoup crawl`)")
            }
            _ => format!("order {order}: not in what has been read so far, {basis}"),
        };
        // If the index lacks the order, `candidates` already contains the suggestions.
        if self.is_found() && !self.suggestions.is_empty() {
            let list: Vec<_> = self.suggestions.iter().map(|order| visible(order.as_str())).collect();
            text.push_str("\nsimilar, but not the same: ");
            text.push_str(&list.join(", "));
        }
        if let Some(warning) = self.clock.warning().filter(|_| self.is_found()) {
            text.push('\n');
            text.push_str(warning);
        }
        if let Some(searched) = &self.searched {
            text.push('\n');
            text.push_str(&searched.describe());
        }
        text
    }

    fn table(&self) -> String {
        let rows = self.matches.iter().map(|found| {
            [
                found.action_id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
                found.reward_id.to_string(),
                found.account_id.as_str().to_owned(),
                found.state.to_string(),
                minute(&found.read_at),
                amount(found),
                found.program_id.clone().unwrap_or_default(),
                found
                    .date_given
                    .as_deref()
                    .or(found.date_created.as_deref())
                    .unwrap_or_default()
                    .chars()
                    .take(10)
                    .collect(),
                found.warnings(),
            ]
        });
        table(["action", "reward", "account", "state", "as of", "amount", "program", "given", "remark"], rows)
    }
}

/// Formats a time to the minute.
fn minute(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

fn amount(found: &Found) -> String {
    let unit = found.currency.as_deref().or(found.unit.as_deref()).unwrap_or_default();
    match (found.assigned, found.redeemed) {
        (Some(assigned), Some(redeemed)) if redeemed > 0 => format!("{assigned} {unit} ({redeemed} redeemed)"),
        (Some(assigned), _) => format!("{assigned} {unit}").trim_end().to_owned(),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(complete: bool, as_of: Option<&str>) -> Coverage {
        Coverage {
            complete,
            as_of: as_of.map(str::to_owned),
            source: Some("participants".to_owned()),
            accounts_read: 48_210,
            accounts_known: 48_212,
            rewards_read: 5,
            rewards_known: 5,
            accounts_forgotten: 0,
        }
    }

    fn nothing(coverage: Coverage) -> String {
        Answer::nothing(OrderId::new("1001"), coverage).with_verdict().describe()
    }

    #[test]
    fn a_no_comes_with_its_coverage() {
        let at = Some("2026-11-23T09:42:13Z");
        for (coverage, expected) in [
            (
                coverage(true, at),
                "order 1001: not a referral order, as of 2026-11-23 09:42 UTC, 48,210 of 48,212 accounts read",
            ),
            (
                coverage(false, at),
                "order 1001: not in what has been read so far, as of 2026-11-23 09:42 UTC, 48,210 of 48,212 accounts read, \
                 with gaps",
            ),
            (
                coverage(false, None),
                "order 1001: not in what has been read so far, the first crawl has not finished: 48,210 of 48,212 accounts \
                 read",
            ),
            (Coverage::default(), "order 1001: no answer, because nothing has been crawled yet (run `recoup crawl`)"),
        ] {
            assert_eq!(nothing(coverage), expected);
        }
    }

    #[test]
    fn a_no_is_unclear_if_another_order_may_be_meant_or_the_text_has_invisible_characters() {
        let answer = |text: &str, candidates: &[&str]| {
            let known =
                |id: &&str| KnownCandidate { order_id: OrderId::new(*id), because: "with a # in front".to_owned() };
            let candidates = candidates.iter().map(known).collect();
            let nothing = Answer::nothing(OrderId::new(text), coverage(true, Some("2026-11-23T09:42:13Z")));
            Answer { candidates, ..nothing }.with_verdict()
        };
        for (text, candidates, verdict, said) in [
            ("1001", &[][..], AnswerKind::NotAReferral, "order 1001: not a referral order, as of "),
            (
                "1001",
                &["#1001"],
                AnswerKind::Unclear,
                "order 1001: unclear: no order is written exactly like this; did you ",
            ),
            (
                "1001\u{202c}",
                &[],
                AnswerKind::Unclear,
                "order 1001<U+202C>: unclear: the text has U+202C behind it; no order ",
            ),
        ] {
            let answer = answer(text, candidates);
            assert_eq!(answer.verdict, verdict, "{text:?}");
            assert!(answer.describe().starts_with(said), "{}", answer.describe());
        }
    }

    #[test]
    fn an_empty_or_too_long_order_id_is_a_usage_error() {
        for text in [String::new(), "x".repeat(10_000)] {
            assert_eq!(order_id(&text).expect_err("refused").kind, Kind::Usage);
        }
        assert_eq!(order_id(" 007 ").expect("taken as it is").as_str(), " 007 ");
    }

    #[test]
    fn reading_a_participant_says_what_was_read() {
        for ((seen, cut, accounts, unknown, rewards), text) in [
            ((0, false, 0, 0, 0), "0 participants compared; no participant matched, so nothing was read"),
            ((1, false, 1, 0, 1), "1 participant compared; 1 account matched and was read live, 1 reward"),
            (
                (955, true, 2, 1, 0),
                "955 participants compared, and there were more than are read; 2 accounts matched and were read live, \
                 0 rewards; 1 account listed but unknown to Get Rewards",
            ),
        ] {
            let looked =
                ParticipantRead { participants_seen: seen, cut_short: cut, accounts, unknown, rewards, forgotten: 0 };
            assert_eq!(looked.describe(), text);
        }
    }
}
