//! Reading the Advocate API by GraphQL: rewards of the whole tenant, and the events that caused them.
//!
//! Sources: `docs/vendor/advocate.md` §3, `docs/vendor/contradictions.md` 29 to 34. The schema that is published is of 2022, the one in force is
//! not: what is gone is recognised and said, never guessed at. Only documents whose operation is `query` can be sent at all
//! (`Query`): the mutation `moderateGraphNodes` bears the name of a preview and applies it (`docs/vendor/contradictions.md` 33).

mod answer;

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Question;
use super::advocate::Advocate;
use super::referrals::ReferralAnswer;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, OrderId, RewardId, UserId};
pub(super) use answer::{AnswerWire, ErrorWire};
pub(crate) use answer::{event_list, page_and_referral, reward_page};

/// A GraphQL document that only reads. There is no way to make one of anything else.
pub(super) struct Query(&'static str);

impl Query {
    /// Fails to compile unless the document's operation is a query and it has no other.
    pub(super) const fn new(text: &'static str) -> Self {
        let (bytes, word) = (text.as_bytes(), b"query ");
        let mut at = 0;
        while at < word.len() {
            assert!(bytes[at] == word[at], "only queries");
            at += 1;
        }
        Self(text)
    }
}

/// What is needed of a reward. Names and addresses are not asked for.
macro_rules! reward_fields {
    () => {
        "id type unit value name currency cancellable statuses rewardSource programId programRewardKey referralId \
         assignedCredit redeemedCredit dateCreated dateGiven dateScheduledFor dateExpires dateCancelled dateRedeemed dateModified \
         user { id accountId } userEvent { id key fields } meta { customMeta }"
    };
}

const REWARDS: Query = Query::new(concat!(
    "query Rewards($filter: RewardFilterInput, $limit: Int!, $offset: Int!, $sortBy: [RSSortByInput!]) { \
     rewards(filter: $filter, limit: $limit, offset: $offset, sortBy: $sortBy) { totalCount data { ",
    reward_fields!(),
    " } } }",
));

const REWARDS_AND_REFERRAL: Query = Query::new(concat!(
    "query RewardsAndReferral($filter: RewardFilterInput, $limit: Int!, $offset: Int!, $sortBy: [RSSortByInput!], \
     $referral: ID!) { \
     rewards(filter: $filter, limit: $limit, offset: $offset, sortBy: $sortBy) { totalCount data { ",
    reward_fields!(),
    " } } referral(id: $referral) { id dateReferralStarted dateConverted dateModified moderationStatus rewards { ",
    reward_fields!(),
    " } } }",
));

const EVENTS: Query = Query::new(
    "query UserEvents($filter: UserEventDataFilterInput, $limit: Int!, $offset: Int!) { \
     userEvents(filter: $filter, limit: $limit, offset: $offset) { data { id key accountId userId dateTriggered fields } } }",
);

/// The answer to a query, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Graph<T> {
    /// It was answered, perhaps with some rows damaged.
    Answer(T),
    /// It was not, and asking the same again will not help.
    Refused(Refusal),
}

/// Why a query is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant has no GraphQL endpoint.
    NoEndpoint,
    /// The schema in force does not have what was asked for, `userEvent` first of all.
    Schema,
    /// The token may not ask this.
    Scope,
    /// The server would not do it, and what it says names no other reason: too large a page, or trouble of its own.
    Unnamed,
}

impl Refusal {
    /// A fragment of a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEndpoint => "this tenant has no GraphQL endpoint",
            Self::Schema => "the GraphQL schema in force does not have userEvent, or another field that was asked for",
            Self::Scope => "the token may not use GraphQL",
            Self::Unnamed => "the server answers GraphQL with errors, whatever is asked",
        }
    }
}

/// Which end of the list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The reward that was modified the longest ago.
    OldestFirst,
    /// The reward that was modified last.
    NewestFirst,
}

/// What to ask for: the filter as the schema's `RewardFilterInput`, and which part of the list.
#[derive(Debug, Clone)]
pub struct RewardQuery {
    /// `RewardFilterInput`; null for all.
    pub filter: Value,
    /// The order, always by `dateModified`.
    pub sort: Sort,
    /// Rows at most.
    pub limit: u32,
    /// Rows to skip.
    pub offset: u64,
    /// Tries at most, for a page that may be too large to be answered.
    pub attempts: u32,
}

impl RewardQuery {
    /// A page of a narrow question.
    pub(super) fn few(filter: &Value, offset: u64) -> Self {
        Self { filter: filter.clone(), sort: Sort::OldestFirst, limit: PAGE_OF_FEW, offset, attempts: u32::MAX }
    }

    fn variables(&self) -> Value {
        let order = if self.sort == Sort::OldestFirst { "ASC" } else { "DESC" };
        json!({
            "filter": self.filter, "limit": self.limit, "offset": self.offset,
            "sortBy": [{"field": "dateModified", "order": order}],
        })
    }
}

/// One page of rewards.
#[derive(Debug, Clone)]
pub struct RewardPage {
    /// The rows that are whole, in the order they came.
    pub rewards: Vec<ListedReward>,
    /// Rows received, damaged ones included.
    pub rows: u64,
    /// The rows that came with an error of their own, or that cannot be read: their IDs, where they have one.
    pub damaged: Vec<Option<RewardId>>,
    /// `totalCount`: all rewards that pass the filter.
    pub total: Option<u64>,
}

/// One reward of a page.
#[derive(Clone)]
pub struct ListedReward {
    /// The whole JSON.
    pub raw: Box<RawValue>,
    /// Its ID.
    pub id: RewardId,
    /// The account that has it; `None` where the answer does not say.
    pub account: Option<AccountId>,
    /// Unix milliseconds, the server's.
    pub date_modified: Option<i64>,
    /// The referral that it belongs to.
    pub referral_id: Option<String>,
    /// The event that caused it.
    pub event_id: Option<String>,
}

impl std::fmt::Debug for ListedReward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListedReward({})", self.id)
    }
}

/// An event that matches an order. Its `Debug` names nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Its ID.
    pub id: String,
    /// The account of whoever it belongs to: the buyer.
    pub account: Option<AccountId>,
    /// The buyer.
    pub user: Option<UserId>,
    /// When it happened, Unix milliseconds.
    pub date_triggered: Option<i64>,
    /// The event's body as JSON text: `{"fields": …}`.
    pub fields: String,
}

impl std::fmt::Debug for UserEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserEvent({})", self.id)
    }
}

impl Advocate {
    /// One page of the tenant's rewards, by GraphQL.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Tenant`, `Network`, `Vendor` (an outage; a page that is too large may look
    /// like one).
    pub async fn graph_rewards(&self, asked: &RewardQuery) -> Result<Graph<RewardPage>> {
        self.graph("GraphQL rewards", &REWARDS, asked.variables(), asked.attempts, reward_page).await
    }

    /// One page of rewards and a referral, in one request.
    pub(super) async fn graph_page_and_referral(
        &self,
        asked: &RewardQuery,
        referral: &str,
    ) -> Result<Graph<(RewardPage, ReferralAnswer)>> {
        let mut variables = asked.variables();
        variables["referral"] = referral.into();
        let endpoint = "GraphQL rewards and referral";
        self.graph(endpoint, &REWARDS_AND_REFERRAL, variables, asked.attempts, page_and_referral).await
    }

    /// Every reward that passes a narrow filter, by GraphQL: those of one account, of one referral, of a few IDs.
    ///
    /// # Errors
    /// As [`Advocate::graph_rewards`]; `Vendor` also if a row is damaged or the list has no end.
    pub async fn graph_rewards_of(&self, filter: &Value) -> Result<Graph<Vec<ListedReward>>> {
        match self.graph_rewards(&RewardQuery::few(filter, 0)).await? {
            Graph::Refused(refusal) => Ok(Graph::Refused(refusal)),
            Graph::Answer(page) => self.graph_rewards_after(filter, page).await,
        }
    }

    /// The same, where the first page is there already.
    pub(super) async fn graph_rewards_after(
        &self,
        filter: &Value,
        first: RewardPage,
    ) -> Result<Graph<Vec<ListedReward>>> {
        let mut found: Vec<ListedReward> = Vec::new();
        // The same row again is no news; the same reward with other words is a contradiction, which the caller must see.
        let mut known: HashSet<Box<str>> = HashSet::new();
        let (mut offset, mut page) = (0, first);
        for _ in 0..PAGES_OF_FEW {
            if !page.damaged.is_empty() {
                return Err(Error::new(Kind::Vendor, "GraphQL answered with errors in some rewards"));
            }
            offset += page.rows;
            let before = found.len();
            found.extend(page.rewards.into_iter().filter(|reward| known.insert(reward.raw.get().into())));
            if found.len() == before && page.total.is_some_and(|total| total > found.len() as u64) {
                return Err(Error::new(Kind::Vendor, "GraphQL counts more rewards than it gives"));
            }
            // A server that ignores the offset gives the same again and again.
            if found.len() == before || page.total.is_some_and(|total| offset >= total) {
                return Ok(Graph::Answer(found));
            }
            page = match self.graph_rewards(&RewardQuery::few(filter, offset)).await? {
                Graph::Refused(refusal) => return Ok(Graph::Refused(refusal)),
                Graph::Answer(page) => page,
            };
        }
        Err(Error::new(
            Kind::Vendor,
            "GraphQL gives more rewards than a narrow question can have: it may ignore the filter",
        ))
    }

    /// The events whose field of this name is exactly this order ID. The server is known to filter loosely
    /// (`docs/vendor/contradictions.md` 32): whoever calls this looks at the fields again.
    ///
    /// # Errors
    /// As [`Advocate::graph_rewards`].
    pub async fn graph_events(&self, field: &str, order: &OrderId, limit: u32) -> Result<Graph<Vec<UserEvent>>> {
        let fields = json!({ (format!("{field}_eq")): order.as_str() });
        let variables = json!({"filter": {"fields": fields}, "limit": limit, "offset": 0});
        self.graph("GraphQL userEvents", &EVENTS, variables, u32::MAX, event_list).await
    }

    pub(super) async fn graph<T>(
        &self,
        endpoint: &'static str,
        query: &Query,
        variables: Value,
        attempts: u32,
        decode: fn(&[u8]) -> Option<Graph<T>>,
    ) -> Result<Graph<T>> {
        let url = self.url("graphql", &[])?;
        let body = Bytes::from(json!({"query": query.0, "variables": variables}).to_string());
        // Servers of this kind answer a query that they cannot validate with 400 or with 200.
        let question = Question { endpoint, attempts, also: Some(400) };
        match self.client().post(question, &url, &body, |_, body| decode(body)).await {
            Ok(answer) => Ok(answer.unwrap_or(Graph::Refused(Refusal::NoEndpoint))),
            Err(error) if error.kind == Kind::Scope => Ok(Graph::Refused(Refusal::Scope)),
            Err(error) => Err(error),
        }
    }
}

/// Rewards in a page of a narrow question, and pages at most.
const PAGE_OF_FEW: u32 = 100;
const PAGES_OF_FEW: u32 = 50;
