//! Chooses the source of a crawl by the APIs that the token may use, the rewards that contain a link, and the cost of
//! each source.
//!
//! The plan of a crawl sends a few probing requests. The plan chooses the source with the most complete links. If
//! several sources have equal links, the plan chooses the cheapest of them. The plan of a crawl reports the facts that
//! it could not determine. If a source fails during the crawl, the crawl uses the plan's next source. The source
//! `participants` is always possible.

mod cost;

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Options, graphql};
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::time_left::duration;
use crate::model::{AccountId, LinkKind, counted, grouped};
use crate::report::table;
use crate::store::index::{Index, IndexReader, Run};
use crate::store::{Identity, Place};
use crate::vendor::advocate::{Advocate, Rewards};
use crate::vendor::graphql::{Graph, RewardQuery, Sort};
use cost::{by_export, by_graphql, by_participants};

/// The number of rewards from GraphQL in which the plan searches for links.
const SAMPLE: u32 = 50;
/// The maximum number of accounts that the plan requests from Get Rewards. The plan of a crawl stops at the first
/// reward with a link.
const SAMPLE_ACCOUNTS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This source reads the list of participants, then calls Get Rewards for each account. The vendor's guide
    /// describes the source `participants`.
    Participants,
    /// This source reads all rewards of the tenant by GraphQL.
    GraphQl,
    /// This source reads a REWARD export, then calls Get Rewards for the accounts in it.
    Export,
}

impl Source {
    const ALL: [Self; 3] = [Self::Participants, Self::GraphQl, Self::Export];

    /// Returns the name of the source in flags, in JSON and in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Participants => "participants",
            Self::GraphQl => "graphql",
            Self::Export => "export",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The IDs in the sampled rewards of a source, from the least useful to the most useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPresence {
    Nothing,
    /// The sampled rewards contain an order ID or an ActionId, but not both.
    Half,
    /// The source has no reward that the plan could sample.
    Unseen,
    /// A sampled reward contains both an order ID and an ActionId.
    Link,
}

impl LinkPresence {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "no link",
            Self::Half => "half of the link",
            Self::Unseen => "not seen yet",
            Self::Link => "order and action",
        }
    }

    /// Returns which IDs the sample contains after one more reward.
    fn and(self, reward: Self) -> Self {
        if self == Self::Unseen { reward } else { self.max(reward) }
    }
}

/// A source of the crawl with its estimated cost.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    pub source: Source,
    pub possible: bool,
    /// The reason why the crawl cannot use the source, or a remark.
    pub note: String,
    pub carries: LinkPresence,
    /// `true` if the crawl from this source would read only changes.
    pub refresh: bool,
    pub requests: Option<u64>,
    pub seconds: Option<f64>,
}

/// The sources and the cost of a future crawl.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The unfinished run that the crawl would resume.
    #[serde(rename = "goes_on")]
    pub resumes: Option<i64>,
    pub source: Source,
    /// The cost estimates of all sources. The source that the plan has chosen is first.
    #[serde(rename = "ways")]
    pub estimates: Vec<Estimate>,
    /// The number of participants of the tenant, if the vendor states the number.
    pub participants: Option<u64>,
    pub rewards: Option<u64>,
    /// The number of requests that the plan itself has sent.
    pub requests: u64,
}

impl Plan {
    /// Returns the sources of the crawl to try, best first.
    pub fn order(&self) -> Vec<Source> {
        self.estimates.iter().filter(|estimate| estimate.possible).map(|estimate| estimate.source).collect()
    }

    /// Returns the plan of the crawl as text.
    pub fn lines(&self) -> Vec<String> {
        if let Some(run) = self.resumes {
            return vec![format!(
                "run {run} ({}) is unfinished and resumes; --full starts again",
                self.source.as_str()
            )];
        }
        let count = |number: Option<u64>, noun: &str| {
            number.map_or_else(|| format!("an unknown number of {noun}s"), |number| counted(number, noun))
        };
        let mut lines = vec![format!("{}, {}", count(self.participants, "participant"), count(self.rewards, "reward"))];
        let rows = self.estimates.iter().enumerate().map(|(place, estimate)| {
            let Estimate { possible, refresh, .. } = *estimate;
            let about = |text: String| if possible { format!("about {text}") } else { String::new() };
            let reads = match (possible, refresh) {
                (false, _) => "not possible",
                (true, true) => "refresh",
                (true, false) => "full",
            };
            [
                format!("{} {}", if place == 0 { ">" } else { " " }, estimate.source.as_str()),
                reads.to_owned(),
                if possible { estimate.carries.as_str().to_owned() } else { String::new() },
                estimate.requests.map(|requests| about(grouped(requests))).unwrap_or_default(),
                estimate.seconds.map(|seconds| about(duration(seconds))).unwrap_or_default(),
                estimate.note.clone(),
            ]
        });
        let header = ["source", "reads", "rewards carry", "requests", "time", ""];
        lines.extend(table(header, rows).lines().map(str::to_owned));
        lines
    }
}

/// The state of the index before the probing requests.
#[derive(Default)]
struct IndexFacts {
    unfinished: Option<Run>,
    accounts: u64,
    accounts_with_rewards: u64,
    /// The runs that a refresh could follow. A run by GraphQL precedes a run by export.
    refreshable: Vec<Run>,
}

/// The results of the plan's probing requests. The result for an unusable source is the reason why the source is
/// unusable.
struct Probe {
    participants: Option<u64>,
    /// The number of participants that the vendor returns on a page.
    page: u64,
    graph: Result<GraphProbe, String>,
    exports: Result<(), String>,
    get_rewards: LinkPresence,
    /// The average duration of a request to the REST API, in seconds.
    latency: f64,
}

struct GraphProbe {
    rewards: u64,
    carries: LinkPresence,
    /// The number of rewards modified since the newest run that a refresh could follow.
    changed: Option<u64>,
    /// The average duration of a request to GraphQL, in seconds.
    latency: f64,
    /// Some accounts of the tenant that have rewards.
    accounts: Vec<AccountId>,
}

/// Sends a few requests to the vendor and estimates the cost of each source. Planning a crawl does not change the
/// index.
///
/// # Errors
/// Fails with every error that concerns the crawl as a whole: credentials, tenant, quota, a signal, or a host that is
/// down.
pub async fn plan(
    index_place: &Place,
    identity: &Identity,
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
) -> Result<Plan> {
    let facts = index_facts(index_place, identity)?;
    if let Some(run) = facts.unfinished.as_ref().filter(|_| !options.full)
        && let Some(source) = Source::from_name(&run.source)
    {
        return Ok(resume(run, source));
    }
    let before = advocate.stats().requests;
    let probe = probe(advocate, mapping, options, &facts).await?;
    let mut estimates = vec![
        by_participants(&probe, &facts, options),
        by_graphql(&probe, &facts, options),
        by_export(&probe, &facts, options),
    ];
    // The source with the most complete links is first. Sources with equal links are sorted by cost. The sort is
    // stable. Therefore `participants` precedes a source that is equal.
    estimates.sort_by_key(|it| (!it.possible, std::cmp::Reverse(it.carries), it.requests.unwrap_or(u64::MAX)));
    Ok(Plan {
        resumes: None,
        source: estimates[0].source,
        estimates,
        participants: probe.participants,
        rewards: probe.graph.as_ref().ok().map(|graph| graph.rewards),
        requests: advocate.stats().requests - before,
    })
}

/// Returns the plan for an unfinished run: the run's source first, then the other sources in case that source fails.
fn resume(run: &Run, source: Source) -> Plan {
    let others = Source::ALL.into_iter().filter(|other| *other != source);
    let estimate = |source| Estimate {
        source,
        possible: true,
        note: String::new(),
        carries: LinkPresence::Unseen,
        refresh: run.is_refresh(),
        requests: None,
        seconds: None,
    };
    let estimates = std::iter::once(source).chain(others).map(estimate).collect();
    let resumes = Some(run.run.number());
    Plan { resumes, source, estimates, participants: None, rewards: None, requests: 0 }
}

fn index_facts(index_place: &Place, identity: &Identity) -> Result<IndexFacts> {
    // Stops here if the index is missing, because opening it for writing would create the file.
    if IndexReader::open(index_place, Some(identity))?.is_none() {
        return Ok(IndexFacts::default());
    }
    let index = Index::open(index_place, identity)?;
    let (accounts, accounts_with_rewards) = index.count_accounts_known()?;
    let mut refreshable = Vec::new();
    for source in [Source::GraphQl, Source::Export] {
        refreshable.extend(index.refreshable(source.as_str())?);
    }
    Ok(IndexFacts { unfinished: index.unfinished_run()?, accounts, accounts_with_rewards, refreshable })
}

async fn probe(advocate: &Advocate, mapping: &Mapping, options: &Options, facts: &IndexFacts) -> Result<Probe> {
    let began = Instant::now();
    let users = advocate.users(None, options.page_size, 0).await?;
    let latency = began.elapsed().as_secs_f64();
    let graph = keep_reason(probe_graphql(advocate, mapping, options, facts).await)?;
    let exports = match keep_reason(advocate.exports(1).await)? {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("this tenant has no exports".to_owned()),
        Err(why) => Err(why),
    };
    let listed = users.users.into_iter().map(|user| user.account_id);
    let with_rewards = graph.as_ref().map(|graph| graph.accounts.clone()).unwrap_or_default();
    let get_rewards = probe_get_rewards(advocate, mapping, with_rewards.into_iter().chain(listed)).await?;
    // If a page of participants has fewer rows than requested and the list has more, the number of rows is the vendor's
    // own limit.
    let is_short = users.total.is_some_and(|total| total > users.rows.max(1));
    let page = if is_short { users.rows.max(1) } else { u64::from(options.page_size) };
    Ok(Probe { participants: users.total, page, graph, exports, get_rewards, latency })
}

/// Converts a failure that concerns only one source into the reason why that source is unusable.
fn keep_reason<T>(probed: Result<T>) -> Result<Result<T, String>> {
    match probed {
        Ok(value) => Ok(Ok(value)),
        Err(error) if concerns_one_source(&error) => Ok(Err(error.message)),
        Err(error) => Err(error),
    }
}

fn concerns_one_source(error: &Error) -> bool {
    matches!(error.kind, Kind::Scope | Kind::Vendor | Kind::Network)
}

async fn probe_graphql(
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
    facts: &IndexFacts,
) -> Result<GraphProbe> {
    let query =
        |filter: Value, limit: u32| RewardQuery { filter, sort: Sort::NewestFirst, limit, offset: 0, attempts: 3 };
    let began = Instant::now();
    let page = match advocate.graph_rewards(&query(Value::Null, SAMPLE)).await? {
        Graph::Answer(page) => page,
        Graph::Refused(refusal) => return Err(graphql::refused(refusal)),
    };
    let latency = began.elapsed().as_secs_f64();
    let (mut carries, mut accounts) = (LinkPresence::Unseen, Vec::new());
    for reward in &page.rewards {
        // The index cannot store a reward without an account. Therefore the link of a reward without an account is
        // useless.
        let Some(account) = &reward.account else {
            carries = carries.and(LinkPresence::Nothing);
            continue;
        };
        carries = carries.and(links_in(reward.raw.get(), account, mapping));
        if accounts.len() < SAMPLE_ACCOUNTS && !accounts.contains(account) {
            accounts.push(account.clone());
        }
    }
    let watermark = facts.refreshable.first().and_then(|run| run.watermark).filter(|_| !options.full);
    let changed = match watermark {
        None => None,
        Some(from) => match advocate.graph_rewards(&query(json!({"dateModified_gte": from}), 1)).await? {
            Graph::Answer(page) => page.total,
            Graph::Refused(_) => None,
        },
    };
    Ok(GraphProbe { rewards: page.total.unwrap_or(page.rows), carries, changed, latency, accounts })
}

/// Requests a few accounts from Get Rewards, starting with accounts that have rewards.
async fn probe_get_rewards(
    advocate: &Advocate,
    mapping: &Mapping,
    accounts: impl Iterator<Item = AccountId>,
) -> Result<LinkPresence> {
    let mut carries = LinkPresence::Unseen;
    let mut requested = BTreeSet::new();
    for account in accounts {
        if requested.len() >= SAMPLE_ACCOUNTS || carries == LinkPresence::Link {
            break;
        }
        if !requested.insert(account.clone()) {
            continue;
        }
        match keep_reason(advocate.rewards(&account, None).await)? {
            Ok(Rewards::Listed(rewards)) => {
                for raw in rewards {
                    carries = carries.and(links_in(raw.get(), &account, mapping));
                }
            }
            Ok(Rewards::NoSuchAccount) | Err(_) => {}
        }
    }
    Ok(carries)
}

fn links_in(raw: &str, account: &AccountId, mapping: &Mapping) -> LinkPresence {
    match extract::read(raw, account, mapping).map(|extracted| extracted.kind) {
        Ok(LinkKind::Both | LinkKind::Ambiguous) => LinkPresence::Link,
        Ok(LinkKind::OrderOnly | LinkKind::ActionOnly) => LinkPresence::Half,
        Ok(LinkKind::Neither) | Err(_) => LinkPresence::Nothing,
    }
}
