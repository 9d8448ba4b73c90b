//! Reads one referral by REST, or by GraphQL in one document with a list of rewards.
//!
//! The vendor's facts about referrals are from `docs/vendor/program-rules.md` §2. A referral contains the names and
//! addresses of two people. `referrals` returns only its ID, its dates and its rewards. If recoup cannot read a
//! referral, the retraction continues, because the rewards are the proof and the referral only supports it.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::advocate::segment;
use super::graphql::{ListedReward, Refusal, RewardQuery};
use super::loose_json::text;
use super::{Advocate, Graph, ReadRequest};
use crate::error::{Kind, Result};

/// A referral of the vendor, without the two people. The dates of a referral are in Unix milliseconds.
#[derive(Clone)]
pub struct Referral {
    pub id: String,
    pub started: i64,
    /// When the referral converted; `None` if it has not converted.
    pub converted: Option<i64>,
    pub modified: Option<i64>,
    /// The raw JSON of the referral's rewards. REST returns at most two rewards of a referral, and GraphQL returns all.
    pub rewards: Vec<Box<RawValue>>,
}

impl fmt::Debug for Referral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Referral({}, {} rewards)", self.id, self.rewards.len())
    }
}

#[derive(Debug, Clone)]
pub enum ReferralAnswer {
    Read(Referral),
    /// recoup cannot read the referral. The variant's text says why recoup cannot read the referral, as a fragment of a
    /// sentence.
    Unreadable(String),
}

impl ReferralAnswer {
    pub(super) fn unreadable(why: impl Into<String>) -> Self {
        Self::Unreadable(why.into())
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::unreadable(match refusal {
            Refusal::NoEndpoint => "this tenant has no GraphQL endpoint",
            Refusal::Schema => "the GraphQL schema in force does not have referrals as they are published",
            Refusal::Scope => "the token may not read referrals",
            Refusal::Unnamed => "the server answers the query about it with an error",
        })
    }
}

/// The maximum number of attempts to read a referral. A referral is only supporting evidence. Therefore a long wait for
/// supporting evidence is not worthwhile.
const ATTEMPTS: u32 = 2;

impl Advocate {
    /// Reads a referral by REST.
    ///
    /// # Errors
    /// Fails with `Interrupted`, `Parked`, `Credentials` or `Tenant`. Every other failure to read a referral is
    /// [`ReferralAnswer::Unreadable`].
    pub async fn referral(&self, id: &str) -> Result<ReferralAnswer> {
        let Some(escaped) = segment(id) else {
            return Ok(ReferralAnswer::unreadable("its ID is empty or made of dots"));
        };
        let url = self.url(&format!("referrals/{escaped}"), &[])?;
        let request = ReadRequest { endpoint: "referral", url: &url, json: None, attempts: ATTEMPTS, also: None };
        match self.client().read(&request, |_, body| rest_referral(body, id)).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Ok(ReferralAnswer::unreadable("the vendor does not know it")),
            Err(error) if error.kind == Kind::Scope => Ok(ReferralAnswer::refused(Refusal::Scope)),
            Err(error) if matches!(error.kind, Kind::Vendor | Kind::Network) => {
                Ok(ReferralAnswer::Unreadable(error.message))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads rewards as [`Advocate::graph_rewards_of`] does, and a referral in the same request. If the vendor refuses
    /// the document, this function requests the rewards alone, and never again requests a referral by GraphQL.
    pub async fn graph_rewards_and_referral(
        &self,
        filter: &Value,
        id: &str,
    ) -> Result<Graph<(Vec<ListedReward>, ReferralAnswer)>> {
        let mut refusal = self.referral_refusal();
        if refusal.is_none() {
            let asked = RewardQuery::few(filter, 0);
            match self.graph_page_and_referral(&asked, id).await? {
                Graph::Answer((page, referral)) => {
                    let referral = match referral {
                        ReferralAnswer::Read(read) if read.id != id => {
                            ReferralAnswer::unreadable("GraphQL answered with another referral")
                        }
                        referral => referral,
                    };
                    return Ok(match self.graph_rewards_after(filter, page).await? {
                        Graph::Answer(rewards) => Graph::Answer((rewards, referral)),
                        Graph::Refused(refusal) => Graph::Refused(refusal),
                    });
                }
                Graph::Refused(why) => {
                    if why == Refusal::Schema {
                        self.refuse_referrals();
                    }
                    refusal = Some(why);
                }
            }
        }
        Ok(match self.graph_rewards_of(filter).await? {
            Graph::Answer(rewards) => {
                Graph::Answer((rewards, ReferralAnswer::refused(refusal.unwrap_or(Refusal::Unnamed))))
            }
            Graph::Refused(refusal) => Graph::Refused(refusal),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferralWire<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    date_referral_started: Option<&'a RawValue>,
    // A referral without `dateConverted` does not show whether it has converted. A null shows that the referral has not
    // converted.
    #[serde(borrow, default, deserialize_with = "with_null")]
    date_converted: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_modified: Option<&'a RawValue>,
    #[serde(borrow, default)]
    referred_reward: Option<&'a RawValue>,
    #[serde(borrow, default)]
    referrer_reward: Option<&'a RawValue>,
    #[serde(borrow, default)]
    rewards: Option<Vec<&'a RawValue>>,
}

/// Deserializes null as `Some`, because serde would turn null into `None`.
fn with_null<'de: 'a, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Parses a referral from a REST answer. Returns `None` for another referral. The client retries a request if its
/// answer cannot be decoded.
fn rest_referral(body: &[u8], id: &str) -> Option<ReferralAnswer> {
    let read = referral(std::str::from_utf8(body).ok()?, false)?;
    match read {
        ReferralAnswer::Read(referral) if referral.id != id => None,
        read => Some(read),
    }
}

/// Parses the JSON of a referral from REST or GraphQL. Returns `None` if the text is not a JSON object with an ID and
/// without repeated keys.
pub(super) fn referral(raw: &str, by_graphql: bool) -> Option<ReferralAnswer> {
    let wire: ReferralWire<'_> = serde_json::from_str(raw).ok()?;
    let id = text(wire.id).filter(|id| !id.is_empty())?;
    let moment = |raw: &RawValue| text(raw)?.trim().parse::<i64>().ok().filter(|ms| *ms > 0);
    let started = wire.date_referral_started.and_then(moment);
    let converted = match wire.date_converted {
        None => None,
        Some(raw) if raw.get() == "null" => Some(None),
        Some(raw) => moment(raw).map(Some),
    };
    let (Some(started), Some(converted)) = (started, converted) else {
        return Some(ReferralAnswer::unreadable("its dates do not say whether it is converted"));
    };
    let rewards: Vec<Box<RawValue>> = match (wire.rewards, by_graphql) {
        (Some(rewards), true) => rewards.into_iter().map(ToOwned::to_owned).collect(),
        (None, true) => return Some(ReferralAnswer::unreadable("it comes without its rewards")),
        (_, false) => {
            [wire.referred_reward, wire.referrer_reward].into_iter().flatten().map(ToOwned::to_owned).collect()
        }
    };
    Some(ReferralAnswer::Read(Referral {
        id,
        started,
        converted,
        modified: wire.date_modified.and_then(moment),
        rewards,
    }))
}
