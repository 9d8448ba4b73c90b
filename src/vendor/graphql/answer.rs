//! Decodes GraphQL answers into rows, damaged rows and refusals.
//!
//! A GraphQL error damages one row if its path contains the row's index. A GraphQL error without a row index makes the
//! whole page unreadable, because any row may be affected.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Graph, ListedReward, Refusal, RewardPage, UserEvent};
use crate::model::{AccountId, RewardId, UserId};
use crate::vendor::loose_json::{filled, number, text};
use crate::vendor::referrals::{ReferralAnswer, referral};

#[derive(Deserialize)]
pub(in crate::vendor) struct AnswerWire<'a, T> {
    #[serde(default = "none", bound(deserialize = "T: Deserialize<'de>"))]
    pub(in crate::vendor) data: Option<T>,
    #[serde(borrow, default)]
    pub(in crate::vendor) errors: Option<Vec<ErrorWire<'a>>>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
pub(in crate::vendor) struct ErrorWire<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(default)]
    path: Option<Vec<Value>>,
    #[serde(default)]
    extensions: Option<Value>,
}

impl ErrorWire<'_> {
    /// Returns the index of the damaged row: 3 for the path `["rewards", "data", 3, "userEvent"]`.
    pub(in crate::vendor) fn row(&self) -> Option<usize> {
        let path = self.path.as_ref()?;
        path.iter().find_map(|step| usize::try_from(step.as_u64()?).ok())
    }

    /// Returns `true` if the GraphQL error concerns this root field.
    fn is_of(&self, field: &str) -> bool {
        self.path.as_ref().and_then(|path| path.first()).is_some_and(|first| first == field)
    }

    pub(in crate::vendor) fn refusal(&self) -> Refusal {
        let message = self.message.and_then(text).unwrap_or_default().to_ascii_lowercase();
        let code = self.extensions.as_ref().and_then(|it| it["code"].as_str()).unwrap_or_default().to_ascii_uppercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if code.contains("VALIDATION")
            || says(&["cannot query field", "unknown argument", "unknown type", "is undefined"])
        {
            Refusal::Schema
        } else if ["UNAUTHENTICATED", "FORBIDDEN"].contains(&code.as_str())
            || says(&["not authori", "unauthori", "forbidden", "permission", "access denied"])
        {
            Refusal::Scope
        } else {
            Refusal::Unnamed
        }
    }
}

#[derive(Deserialize)]
struct RewardsData<'a> {
    #[serde(borrow, default)]
    rewards: Option<RewardsList<'a>>,
}

#[derive(Deserialize)]
struct BothData<'a> {
    #[serde(borrow, default)]
    rewards: Option<RewardsList<'a>>,
    #[serde(borrow, default)]
    referral: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RewardsList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RewardWire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "dateModified")]
    date_modified: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "referralId")]
    referral_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user: Option<UserWire<'a>>,
    #[serde(borrow, default, rename = "userEvent")]
    user_event: Option<EventId<'a>>,
}

#[derive(Deserialize)]
struct EventId<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UserWire<'a> {
    #[serde(borrow, default, rename = "accountId")]
    account_id: Option<&'a RawValue>,
}

/// Parses one page of rewards from GraphQL, or a refusal. Returns `None` for any other body. The client retries a
/// request if its answer cannot be decoded.
pub(crate) fn reward_page(body: &[u8]) -> Option<Graph<RewardPage>> {
    let answer: AnswerWire<'_, RewardsData<'_>> = serde_json::from_slice(body).ok()?;
    let errors = answer.errors.unwrap_or_default();
    let Some(list) = answer.data.and_then(|data| data.rewards) else {
        return errors.first().map(|error| Graph::Refused(error.refusal()));
    };
    page(list, &errors.iter().collect::<Vec<_>>()).map(Graph::Answer)
}

/// Parses a GraphQL answer with a page of rewards and a referral, or a refusal of both. A GraphQL error in the referral
/// does not affect the rewards.
pub(crate) fn page_and_referral(body: &[u8]) -> Option<Graph<(RewardPage, ReferralAnswer)>> {
    let answer: AnswerWire<'_, BothData<'_>> = serde_json::from_slice(body).ok()?;
    let errors = answer.errors.unwrap_or_default();
    let (of_referral, others): (Vec<_>, Vec<_>) = errors.iter().partition(|error| error.is_of("referral"));
    let Some((data, list)) = answer.data.and_then(|mut data| data.rewards.take().map(|list| (data, list))) else {
        // A GraphQL error about the whole query takes precedence over an error about the referral.
        return others.first().or(of_referral.first()).map(|error| Graph::Refused(error.refusal()));
    };
    let page = page(list, &others)?;
    let referral = match (of_referral.first(), data.referral) {
        (Some(error), _) => ReferralAnswer::refused(error.refusal()),
        (None, None) => ReferralAnswer::unreadable("the vendor does not know it"),
        (None, Some(raw)) => {
            let read = referral(raw.get(), true);
            read.unwrap_or_else(|| ReferralAnswer::unreadable("the vendor's answer about it cannot be read"))
        }
    };
    Some(Graph::Answer((page, referral)))
}

fn page(list: RewardsList<'_>, errors: &[&ErrorWire<'_>]) -> Option<RewardPage> {
    if errors.iter().any(|error| error.row().is_none_or(|row| row >= list.data.len())) {
        return None;
    }
    let damaged_rows: Vec<usize> = errors.iter().filter_map(|error| error.row()).collect();
    let rows = list.data.len() as u64;
    let (mut rewards, mut damaged) = (Vec::with_capacity(list.data.len()), Vec::new());
    for (index, raw) in list.data.into_iter().enumerate() {
        match listed(raw) {
            Some(reward) if damaged_rows.contains(&index) => damaged.push(Some(reward.id)),
            Some(reward) => rewards.push(reward),
            None => damaged.push(None),
        }
    }
    Some(RewardPage { rewards, rows, damaged, total: number(list.total_count) })
}

fn listed(raw: &RawValue) -> Option<ListedReward> {
    let wire: RewardWire<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(ListedReward {
        id: RewardId::new(filled(wire.id)?),
        account: wire.user.and_then(|user| filled(user.account_id)).map(AccountId::new),
        date_modified: number(wire.date_modified),
        referral_id: filled(wire.referral_id),
        event_id: wire.user_event.and_then(|event| filled(event.id)),
        raw: raw.to_owned(),
    })
}

#[derive(Deserialize)]
struct EventsData<'a> {
    #[serde(borrow, default, rename = "userEvents")]
    user_events: Option<EventsList<'a>>,
}

#[derive(Deserialize)]
struct EventsList<'a> {
    #[serde(borrow)]
    data: Vec<EventWire<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventWire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    account_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_triggered: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fields: Option<&'a RawValue>,
}

pub(crate) fn event_list(body: &[u8]) -> Option<Graph<Vec<UserEvent>>> {
    let answer: AnswerWire<'_, EventsData<'_>> = serde_json::from_slice(body).ok()?;
    let errors = answer.errors.unwrap_or_default();
    let Some(list) = answer.data.and_then(|data| data.user_events) else {
        return errors.first().map(|error| Graph::Refused(error.refusal()));
    };
    if !errors.is_empty() {
        return None;
    }
    let event = |wire: EventWire<'_>| {
        Some(UserEvent {
            id: filled(wire.id)?,
            account: filled(wire.account_id).map(AccountId::new),
            user: filled(wire.user_id).map(UserId::new),
            date_triggered: number(wire.date_triggered),
            fields: wire.fields.map_or_else(|| "null".to_owned(), |fields| fields.get().to_owned()),
        })
    };
    Some(Graph::Answer(list.data.into_iter().filter_map(event).collect()))
}
