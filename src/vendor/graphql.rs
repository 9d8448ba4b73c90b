//! Reads the Advocate API by GraphQL: the rewards of the whole tenant, and the events that caused them.
//!
//! The vendor's facts about GraphQL are from `docs/vendor/advocate.md` §3 and `docs/vendor/contradictions.md` 29 to 34.
//! The published GraphQL schema dates from 2022 and the live schema may differ. Therefore a missing field gets its own
//! result ([`Refusal::Schema`]). A `Query` contains only a document with the operation `query`, because
//! `moderateGraphNodes` previews a moderation as a query but applies it as a mutation (`docs/vendor/contradictions.md`
//! 33).

mod answer;

use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ReadRequest;
use super::advocate::Advocate;
use super::referrals::ReferralAnswer;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, OrderId, RewardId, UserId};
pub(super) use answer::{AnswerWire, ErrorWire};
pub(crate) use answer::{event_list, page_and_referral, reward_page};

/// A GraphQL document that changes nothing at the vendor.
pub(super) struct Query(&'static str);

impl Query {
    /// Fails to compile if the GraphQL document does not begin with the operation `query`.
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

/// The fields of a reward that recoup requests by GraphQL. recoup does not request the names and addresses of people.
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

/// The answer to a GraphQL query, or the reason for its refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Graph<T> {
    /// The decoded answer to a GraphQL query. Some rows of a GraphQL answer may be damaged.
    Answer(T),
    /// The vendor's GraphQL server refused the query, and would also refuse a retry.
    Refused(Refusal),
}

/// Why the vendor's GraphQL server refused a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoEndpoint,
    /// The live schema lacks a field that the query requests, most likely `userEvent`.
    Schema,
    Scope,
    /// The vendor's GraphQL server gave no reason for the refusal. The requested page may be too large, or the vendor's
    /// server may be faulty.
    Unnamed,
}

impl Refusal {
    /// Returns the reason for a refused query as a fragment of a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEndpoint => "this tenant has no GraphQL endpoint",
            Self::Schema => "the GraphQL schema in force lacks userEvent, or another field that recoup needs",
            Self::Scope => "the token may not use GraphQL",
            Self::Unnamed => "the server answers every GraphQL query with an error",
        }
    }
}

/// Sorts the requested rewards by `dateModified`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    OldestFirst,
    NewestFirst,
}

#[derive(Debug, Clone)]
pub struct RewardQuery {
    /// The filter of the rewards, a `RewardFilterInput`; null selects every reward.
    pub filter: Value,
    pub sort: Sort,
    pub limit: u32,
    /// The number of rewards to skip.
    pub offset: u64,
    /// The maximum number of attempts of this query. The caller limits the retries, because the vendor can never answer
    /// a page that is too large.
    pub attempts: u32,
}

impl RewardQuery {
    /// Creates the request for one page of a query that has few results.
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

/// One page of rewards from GraphQL.
#[derive(Debug, Clone)]
pub struct RewardPage {
    /// The readable rewards of the page, in the vendor's order.
    pub rewards: Vec<ListedReward>,
    /// The number of rows on the page of rewards, including damaged rows.
    pub rows: u64,
    /// One entry for each damaged row: its reward ID, or `None` if recoup cannot read the row.
    pub damaged: Vec<Option<RewardId>>,
    /// `totalCount`: the number of rewards that match the filter.
    pub total: Option<u64>,
}

#[derive(Clone)]
pub struct ListedReward {
    pub raw: Box<RawValue>,
    pub id: RewardId,
    pub account: Option<AccountId>,
    /// When the reward was modified, in Unix milliseconds by the vendor's clock.
    pub date_modified: Option<i64>,
    pub referral_id: Option<String>,
    /// The ID of the event that caused the reward.
    pub event_id: Option<String>,
}

impl std::fmt::Debug for ListedReward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ListedReward({})", self.id)
    }
}

/// An event of the vendor that matches an order.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEvent {
    pub id: String,
    pub account: Option<AccountId>,
    pub user: Option<UserId>,
    /// When the event happened, in Unix milliseconds.
    pub date_triggered: Option<i64>,
    /// The event's fields, as the brand sent them, as JSON text.
    pub fields: String,
}

impl std::fmt::Debug for UserEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserEvent({})", self.id)
    }
}

impl Advocate {
    /// Reads one page of the tenant's rewards by GraphQL.
    ///
    /// # Errors
    /// Fails with every error of a read but `Scope`. This function returns a [`Refusal`] instead of `Scope`. `Vendor`
    /// may mean that the page is too large for the vendor.
    pub async fn graph_rewards(&self, asked: &RewardQuery) -> Result<Graph<RewardPage>> {
        self.graph("GraphQL rewards", &REWARDS, asked.variables(), asked.attempts, reward_page).await
    }

    /// Reads one page of rewards and one referral in a single GraphQL request.
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

    /// Reads every reward that matches a narrow filter, such as one account, one referral or a few reward IDs.
    ///
    /// # Errors
    /// Fails with the errors of [`Advocate::graph_rewards`]. Also fails with `Vendor` if a row is damaged or the list
    /// of rewards does not end.
    pub async fn graph_rewards_of(&self, filter: &Value) -> Result<Graph<Vec<ListedReward>>> {
        match self.graph_rewards(&RewardQuery::few(filter, 0)).await? {
            Graph::Refused(refusal) => Ok(Graph::Refused(refusal)),
            Graph::Answer(page) => self.graph_rewards_after(filter, page).await,
        }
    }

    /// Continues [`Advocate::graph_rewards_of`] after its first page.
    pub(super) async fn graph_rewards_after(
        &self,
        filter: &Value,
        first: RewardPage,
    ) -> Result<Graph<Vec<ListedReward>>> {
        let mut found: Vec<ListedReward> = Vec::new();
        // Drops a reward row that repeats another row exactly. Keeps two different rows about one reward, because the
        // caller must see the contradiction.
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
                return Err(Error::new(Kind::Vendor, "GraphQL counts more rewards than it returns"));
            }
            // If a server ignores the offset, it returns the same page each time. Therefore a page without new rows
            // ends the loop.
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
            "GraphQL returns more rewards than this filter can match: it may ignore the filter",
        ))
    }

    /// Returns the events whose `field` equals the order ID. The vendor may return other events too
    /// (`docs/vendor/contradictions.md` 32). Therefore the caller compares the fields of each event again.
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
        let json = Some(json!({"query": query.0, "variables": variables}).to_string());
        // GraphQL servers report an invalid query with status 400 or 200.
        let request = ReadRequest { endpoint, url: &url, json, attempts, also: Some(400) };
        match self.client().read(&request, |_, body| decode(body)).await {
            Ok(answer) => Ok(answer.unwrap_or(Graph::Refused(Refusal::NoEndpoint))),
            Err(error) if error.kind == Kind::Scope => Ok(Graph::Refused(Refusal::Scope)),
            Err(error) => Err(error),
        }
    }
}

/// The page size of a GraphQL query with few results, and the maximum number of its pages.
const PAGE_OF_FEW: u32 = 100;
const PAGES_OF_FEW: u32 = 50;
