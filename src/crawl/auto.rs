//! Which source to read from: what this tenant's token may do, what carries the link, and what each way would cost.
//!
//! A few questions are asked, each way is priced in requests and time before anything begins, and the cheapest one that is
//! complete is taken; a way that fails on its way gives way to the next. Nothing is guessed in silence: what could not be
//! seen is said, and the walk over participants is always there.

mod price;

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Options;
use crate::error::{Error, Result};
use crate::extract::{self, Mapping};
use crate::model::time_left::duration;
use crate::model::{AccountId, LinkKind};
use crate::report::{grouped, table};
use crate::store::Identity;
use crate::store::index::{Index, IndexReader, Run};
use crate::vendor::advocate::{Advocate, Rewards};
use crate::vendor::graphql::{Graph, RewardQuery, Sort};
use price::{by_export, by_graphql, by_participants};

/// Rewards looked at to see what carries the link.
const SAMPLE: u32 = 50;
/// Accounts asked for the same reason, until one has a reward.
const SAMPLE_ACCOUNTS: usize = 5;

/// Where a crawl reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The vendor's own way: list participants, then Get Rewards for each account.
    Participants,
    /// All rewards of the tenant by GraphQL.
    GraphQl,
    /// A REWARD export, then Get Rewards for the accounts in it.
    Export,
}

impl Source {
    const ALL: [Self; 3] = [Self::Participants, Self::GraphQl, Self::Export];

    /// The word for it in flags, JSON and the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Participants => "participants",
            Self::GraphQl => "graphql",
            Self::Export => "export",
        }
    }

    /// The source of a word.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What the rewards of one way carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carries {
    /// Nothing that could be seen.
    Nothing,
    /// An order ID or an ActionId, not both.
    Half,
    /// There was no reward to look at.
    Unseen,
    /// Order ID and ActionId.
    Link,
}

impl Carries {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "no link",
            Self::Half => "half of the link",
            Self::Unseen => "not seen yet",
            Self::Link => "order and action",
        }
    }
}

/// One way to read the tenant.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// The source.
    pub source: Source,
    /// Whether it can be used at all.
    pub possible: bool,
    /// Why not, or what there is to know.
    pub note: String,
    /// What its rewards carry.
    pub carries: Carries,
    /// Only what changed would be read.
    pub refresh: bool,
    /// Requests it would cost, roughly.
    pub requests: Option<u64>,
    /// Seconds it would take, roughly.
    pub seconds: Option<f64>,
}

/// What a crawl would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The unfinished run that would go on, where there is one.
    pub goes_on: Option<i64>,
    /// The source that would be read.
    pub source: Source,
    /// Every way, the one that would be taken first.
    pub ways: Vec<Way>,
    /// Participants of the tenant, as far as it says.
    pub participants: Option<u64>,
    /// Rewards of the tenant, as far as it says.
    pub rewards: Option<u64>,
    /// Requests that this plan has cost.
    pub requests: u64,
}

impl Plan {
    /// The sources to try, best first.
    pub fn order(&self) -> Vec<Source> {
        self.ways.iter().filter(|way| way.possible).map(|way| way.source).collect()
    }

    /// The plan for a person.
    pub fn lines(&self) -> Vec<String> {
        if let Some(run) = self.goes_on {
            return vec![format!("run {run} ({}) is unfinished and goes on; --full begins anew", self.source.as_str())];
        }
        let count = |number: Option<u64>| number.map_or_else(|| "an unknown number of".to_owned(), grouped);
        let mut lines = vec![format!("{} participants, {} rewards", count(self.participants), count(self.rewards))];
        let rows = self.ways.iter().enumerate().map(|(place, way)| {
            let about = |text: String| if way.possible { format!("about {text}") } else { String::new() };
            [
                if place == 0 { format!("> {}", way.source.as_str()) } else { format!("  {}", way.source.as_str()) },
                if !way.possible {
                    "not possible"
                } else if way.refresh {
                    "refresh"
                } else {
                    "full"
                }
                .to_owned(),
                if way.possible { way.carries.as_str().to_owned() } else { String::new() },
                way.requests.map(|requests| about(grouped(requests))).unwrap_or_default(),
                way.seconds.map(|seconds| about(duration(seconds))).unwrap_or_default(),
                way.note.clone(),
            ]
        });
        let header = ["source", "reads", "rewards carry", "requests", "time", ""];
        lines.extend(table(header, rows).lines().map(str::to_owned));
        lines
    }
}

/// What the index knows before anything is asked.
#[derive(Default)]
struct Known {
    unfinished: Option<Run>,
    accounts: u64,
    with_rewards: u64,
    refresh: Vec<Run>,
}

/// What a few questions have shown.
struct Probe {
    participants: Option<u64>,
    page: u64,
    graph: Result<GraphSeen, String>,
    exports: Result<(), String>,
    rest: Carries,
    /// How long one request took, in seconds.
    latency: f64,
}

struct GraphSeen {
    rewards: u64,
    carries: Carries,
    /// Rewards that were modified since the newest run by GraphQL or by export.
    changed: Option<u64>,
    latency: f64,
}

/// Asks a few questions and prices each way. Nothing is written.
///
/// # Errors
/// What concerns the run as a whole: credentials, tenant, quota, a signal, a host that is down.
pub async fn plan(
    index_path: &Path,
    identity: &Identity,
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
) -> Result<Plan> {
    let known = known(index_path, identity)?;
    if let Some(run) = known.unfinished.as_ref().filter(|_| !options.full)
        && let Some(source) = Source::of(&run.source)
    {
        let rest = Source::ALL.into_iter().filter(|other| *other != source);
        let way = |source| Way {
            source,
            possible: true,
            note: String::new(),
            carries: Carries::Unseen,
            refresh: run.is_refresh(),
            requests: None,
            seconds: None,
        };
        // Another way only where this one cannot serve any more, and the reference before the others.
        let ways = std::iter::once(source).chain(rest).map(way).collect();
        let goes_on = Some(run.run.number());
        return Ok(Plan { goes_on, source, ways, participants: None, rewards: None, requests: 0 });
    }
    let before = advocate.stats().requests;
    let probe = probe(advocate, mapping, options, &known).await?;
    let mut ways = vec![by_participants(&probe, &known, options), by_graphql(&probe, &known, options)];
    ways.push(by_export(&probe, &known, options));
    // The most complete first, then the cheapest; the reference wins a draw.
    ways.sort_by_key(|way| (!way.possible, std::cmp::Reverse(way.carries), way.requests.unwrap_or(u64::MAX)));
    let rewards = probe.graph.as_ref().ok().map(|seen| seen.rewards);
    Ok(Plan {
        goes_on: None,
        source: ways[0].source,
        ways,
        participants: probe.participants,
        rewards,
        requests: advocate.stats().requests - before,
    })
}

fn known(index_path: &Path, identity: &Identity) -> Result<Known> {
    // A plan must not make a file.
    if IndexReader::open(index_path, Some(identity))?.is_none() {
        return Ok(Known::default());
    }
    let index = Index::open(index_path, identity)?;
    let (accounts, with_rewards) = index.count_accounts_known()?;
    let mut refresh = Vec::new();
    for source in [Source::GraphQl, Source::Export] {
        refresh.extend(index.refreshable(source.as_str())?);
    }
    Ok(Known { unfinished: index.unfinished_run()?, accounts, with_rewards, refresh })
}

async fn probe(advocate: &Advocate, mapping: &Mapping, options: &Options, known: &Known) -> Result<Probe> {
    let began = Instant::now();
    let users = advocate.users(None, options.page_size, 0).await?;
    let latency = began.elapsed().as_secs_f64();
    let mut accounts: Vec<AccountId> = Vec::new();
    let graph = match graph(advocate, mapping, options, known, &mut accounts).await {
        Ok(seen) => seen,
        Err(error) if is_about_this_way(&error) => Err(error.message),
        Err(error) => return Err(error),
    };
    let exports = match advocate.exports(1).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("this tenant has no exports".to_owned()),
        Err(error) if is_about_this_way(&error) => Err(error.message),
        Err(error) => return Err(error),
    };
    accounts.extend(users.users.iter().map(|user| user.account_id.clone()));
    let rest = rest(advocate, mapping, accounts).await?;
    let rows = users.rows.max(1);
    // A short page of a longer list shows what the server gives at most.
    let page = if users.total.is_some_and(|total| total > rows) { rows } else { u64::from(options.page_size) };
    Ok(Probe { participants: users.total, page, graph, exports, rest, latency })
}

/// A failure that says something about one way only.
fn is_about_this_way(error: &Error) -> bool {
    use crate::error::Kind::{Network, Scope, Vendor};
    matches!(error.kind, Scope | Vendor | Network)
}

async fn graph(
    advocate: &Advocate,
    mapping: &Mapping,
    options: &Options,
    known: &Known,
    accounts: &mut Vec<AccountId>,
) -> Result<Result<GraphSeen, String>> {
    let ask =
        |filter: Value, limit: u32| RewardQuery { filter, sort: Sort::NewestFirst, limit, offset: 0, attempts: 3 };
    let began = Instant::now();
    let page = match advocate.graph_rewards(&ask(Value::Null, SAMPLE)).await? {
        Graph::Answer(page) => page,
        Graph::Refused(refusal) => return Ok(Err(refusal.as_str().to_owned())),
    };
    let latency = began.elapsed().as_secs_f64();
    let mut carries = if page.rewards.is_empty() { Carries::Unseen } else { Carries::Nothing };
    for reward in &page.rewards {
        let Some(account) = &reward.account else { continue };
        carries = carries_of(reward.raw.get(), account, mapping).max(if carries == Carries::Unseen {
            Carries::Nothing
        } else {
            carries
        });
        if accounts.len() < SAMPLE_ACCOUNTS && !accounts.contains(account) {
            accounts.push(account.clone());
        }
    }
    let watermark = known.refresh.first().and_then(|run| run.watermark).filter(|_| !options.full);
    let changed = match watermark {
        None => None,
        Some(from) => match advocate.graph_rewards(&ask(json!({"dateModified_gte": from}), 1)).await? {
            Graph::Answer(page) => page.total,
            Graph::Refused(_) => None,
        },
    };
    Ok(Ok(GraphSeen { rewards: page.total.unwrap_or(page.rows), carries, changed, latency }))
}

/// What Get Rewards carries, on accounts that are known to have rewards first.
async fn rest(advocate: &Advocate, mapping: &Mapping, accounts: Vec<AccountId>) -> Result<Carries> {
    let mut seen = Carries::Unseen;
    let mut asked = BTreeSet::new();
    for account in accounts {
        if asked.len() >= SAMPLE_ACCOUNTS || seen == Carries::Link {
            break;
        }
        if !asked.insert(account.clone()) {
            continue;
        }
        match advocate.rewards(&account, None).await {
            Ok(Rewards::Listed(list)) => {
                for raw in list {
                    let one = carries_of(raw.get(), &account, mapping);
                    seen = if seen == Carries::Unseen { one } else { seen.max(one) };
                }
            }
            Ok(Rewards::NoSuchAccount) => {}
            Err(error) if is_about_this_way(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

fn carries_of(raw: &str, account: &AccountId, mapping: &Mapping) -> Carries {
    match extract::read(raw, account, mapping).map(|extracted| extracted.kind) {
        Ok(LinkKind::Both | LinkKind::Ambiguous) => Carries::Link,
        Ok(LinkKind::OrderOnly | LinkKind::ActionOnly) => Carries::Half,
        Ok(LinkKind::Neither) | Err(_) => Carries::Nothing,
    }
}
