//! Reading the Advocate API: participants and rewards.
//!
//! Sources: `docs/vendor/advocate.md` §2, §6, §9. Rewards leave as raw JSON text, because where the order ID and the ActionId are in
//! them is `extract`'s question, not this module's. It must never guess at a missing list: no rewards and no readable
//! answer are different things.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::json::text;
use super::{Client, HeardClock, Host, HostOptions, Refusal, Stats, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Participant, RewardId, UserId, fnv1a};

/// Everything but RFC 3986's unreserved characters; a space becomes `%20`, which every server reads alike, unlike `+`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) const HOST: Host = Host {
    name: "Advocate",
    token_hint: "RECOUP_ADVOCATE_TOKEN, or RECOUP_ACCOUNT_SID and RECOUP_AUTH_TOKEN (or the _FILE variables)",
    url_hint: "RECOUP_ADVOCATE_URL",
};

/// A reading client of one tenant. Clones share connections, pace and counts.
#[derive(Clone)]
pub struct Advocate(Arc<Inner>);

struct Inner {
    client: Client,
    tenant: String,
    /// Base URL with the tenant, without a trailing slash.
    root: String,
    /// Get Rewards without its query: read once, for it is asked a million times.
    rewards: Url,
    /// GraphQL has refused a document because of its referral.
    refuses_referrals: AtomicBool,
}

/// One page of participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersPage {
    /// The usable rows, in the order they came.
    pub users: Vec<Participant>,
    /// Rows received, unusable ones included: what `offset` advances by (`docs/vendor/contradictions.md` 34).
    pub rows: u64,
    /// `totalCount`: all participants, where the answer says so.
    pub total: Option<u64>,
    /// The rows without a user ID or an account ID, each by a hash of its text: what is in them may name a person.
    pub unusable: Vec<u64>,
}

/// The rewards of one account. Its `Debug` says how many, not which: rewards name people.
#[derive(Clone)]
pub enum Rewards {
    /// The raw JSON text of each reward, in the order they came. May hold one twice.
    Listed(Vec<Box<RawValue>>),
    /// 404: the vendor does not know the account, or not any more.
    NoSuchAccount,
}

impl fmt::Debug for Rewards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(rewards) => write!(f, "Listed({})", rewards.len()),
            Self::NoSuchAccount => f.write_str("NoSuchAccount"),
        }
    }
}

impl Advocate {
    /// A client for one tenant.
    ///
    /// # Errors
    /// `Kind::Config` for an unusable base URL, tenant, rate or token.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        let rewards = parse(&format!("{root}/reward"))?;
        let client = Client::new(HOST, options, None, clock, stop)?;
        Ok(Self(Arc::new(Inner {
            client,
            tenant: tenant.to_owned(),
            root,
            rewards,
            refuses_referrals: AtomicBool::new(false),
        })))
    }

    /// One page of participants: at most `limit` rows (the server may give fewer), from row `offset`. `query` is the
    /// vendor's plain-text search over e-mail, name and ID; it is known to return everyone, so match the rows again.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Tenant`, `Network`, `Vendor`.
    pub async fn users(&self, query: Option<&str>, limit: u32, offset: u64) -> Result<UsersPage> {
        let mut pairs = vec![("limit", limit.to_string()), ("offset", offset.to_string())];
        pairs.extend(query.map(|text| ("query", text.to_owned())));
        let url = self.url("users", &pairs)?;
        self.0.client.get("users", &url, users_page).await?.ok_or_else(|| {
            Error::new(Kind::Vendor, "Advocate users answered 404").hint(format!("check {}", HOST.url_hint))
        })
    }

    /// Get Rewards: every reward of one account, or of one user in it. There is no paging (`docs/vendor/advocate.md` §2).
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Tenant`, `Network`, `Vendor`.
    pub async fn rewards(&self, account: &AccountId, user: Option<&UserId>) -> Result<Rewards> {
        let mut pairs = vec![("accountId", account.as_str().to_owned())];
        pairs.extend(user.map(|user| ("userId", user.as_str().to_owned())));
        let mut url = self.0.rewards.clone();
        url.set_query(Some(&query(&pairs)));
        let listed = self.0.client.get("Get Rewards", &url, reward_list).await?;
        Ok(listed.map_or(Rewards::NoSuchAccount, Rewards::Listed))
    }

    /// The raw JSON text of one reward; `None` if the vendor does not know it. The body of another reward is no answer.
    ///
    /// # Errors
    /// `Interrupted`, `Parked`, `Credentials`, `Scope`, `Tenant`, `Network`, `Vendor`.
    pub async fn reward(&self, id: &RewardId) -> Result<Option<String>> {
        let escaped = segment(id.as_str())
            .ok_or_else(|| Error::new(Kind::Vendor, "a reward ID that is empty or made of dots cannot be looked up"))?;
        let url = self.url(&format!("reward/{escaped}"), &[])?;
        self.0.client.get("reward", &url, |body| reward_text(body, id)).await
    }

    /// The alias of the tenant that is asked.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// What the newest answer says about the host's clock; `None` before the first.
    pub fn clock_heard(&self) -> Option<HeardClock> {
        self.0.client.clock_heard()
    }

    /// What the client has done and is doing.
    pub fn stats(&self) -> Stats {
        self.0.client.stats()
    }

    /// Why GraphQL is not asked for referrals any more.
    pub(super) fn referral_refusal(&self) -> Option<Refusal> {
        self.0.refuses_referrals.load(Ordering::Relaxed).then_some(Refusal::Schema)
    }

    pub(super) fn refuse_referrals(&self) {
        self.0.refuses_referrals.store(true, Ordering::Relaxed);
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Why the quota is not shared with other processes, where that is so: a sentence.
    pub fn quota_trouble(&self) -> Option<String> {
        self.0.client.quota_trouble()
    }

    pub(super) fn url(&self, path: &str, pairs: &[(&str, String)]) -> Result<Url> {
        let mut url = format!("{}/{path}", self.0.root);
        if !pairs.is_empty() {
            url.push('?');
            url.push_str(&query(pairs));
        }
        parse(&url)
    }
}

/// Base URL and tenant, without a trailing slash.
pub(super) fn tenant_root(options: &HostOptions, tenant: &str) -> Result<String> {
    check_base(&options.base)?;
    let tenant = segment(tenant).ok_or_else(|| {
        Error::new(Kind::Config, "the tenant alias is missing")
            .hint("set RECOUP_TENANT to the alias under Tenant Details")
    })?;
    Ok(format!("{}/{tenant}", options.base.as_str().trim_end_matches('/')))
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|e| Error::new(Kind::Config, format!("the Advocate base URL cannot be used: {e}")))
}

fn query(pairs: &[(&str, String)]) -> String {
    let mut query = String::with_capacity(64);
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            query.push('&');
        }
        query.push_str(key);
        query.push('=');
        query.extend(utf8_percent_encode(value, ESCAPED));
    }
    query
}

/// A path segment, escaped. `None` for what a URL parser would resolve away: nothing, `.` and `..`.
pub(crate) fn segment(text: &str) -> Option<String> {
    if matches!(text, "" | "." | "..") { None } else { Some(utf8_percent_encode(text, ESCAPED).to_string()) }
}

#[derive(Deserialize)]
struct UsersWire<'a> {
    #[serde(borrow)]
    users: Vec<&'a RawValue>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UserWire<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "accountId")]
    account_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    email: Option<&'a RawValue>,
}

/// A page of rows that are all objects, which is every page but a strange one.
#[derive(Deserialize)]
struct PlainUsersWire<'a> {
    #[serde(borrow)]
    users: Vec<UserWire<'a>>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
}

/// `{count, totalCount, users}`; `count` is the rows of this page and of no use.
pub(crate) fn users_page(body: &Bytes) -> Option<UsersPage> {
    plain_page(body).or_else(|| any_page(body))
}

/// A page on which every row is usable, in one reading; `None` for any other.
fn plain_page(body: &Bytes) -> Option<UsersPage> {
    let page: PlainUsersWire<'_> = serde_json::from_slice(body).ok()?;
    let users: Vec<Participant> = page.users.into_iter().map(UserWire::participant).collect::<Option<_>>()?;
    Some(UsersPage { rows: users.len() as u64, users, total: total(page.total_count), unusable: Vec::new() })
}

fn total(raw: Option<&RawValue>) -> Option<u64> {
    raw.and_then(text).and_then(|text| text.trim().parse().ok())
}

fn any_page(body: &Bytes) -> Option<UsersPage> {
    let page: UsersWire<'_> = serde_json::from_slice(body).ok()?;
    let rows = page.users.len() as u64;
    let (mut users, mut unusable) = (Vec::with_capacity(page.users.len()), Vec::new());
    for row in page.users {
        let user = serde_json::from_str(row.get()).ok().and_then(UserWire::participant);
        match user {
            Some(user) => users.push(user),
            None => unusable.push(fnv1a(row.get().bytes())),
        }
    }
    Some(UsersPage { users, rows, total: total(page.total_count), unusable })
}

impl UserWire<'_> {
    fn participant(self) -> Option<Participant> {
        let filled = |raw: Option<&RawValue>| raw.and_then(text).filter(|t| !t.is_empty());
        Some(Participant {
            user_id: UserId::new(filled(self.id)?),
            account_id: AccountId::new(filled(self.account_id)?),
            email: filled(self.email),
        })
    }
}

#[derive(Deserialize)]
struct RewardsWire<'a> {
    rewards: Vec<Box<RawValue>>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    count: Option<&'a RawValue>,
}

/// A bare array, or `{rewards: […]}` from an older schema (`docs/vendor/contradictions.md` 36). Anything else is no list: taking it for
/// an empty one would lose an account's rewards in silence. So would taking a page for the whole: Get Rewards is published
/// without paging, so an envelope that counts more rewards than it holds cannot be read.
pub(crate) fn reward_list(body: &Bytes) -> Option<Vec<Box<RawValue>>> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        let wire: RewardsWire<'_> = serde_json::from_slice(body).ok()?;
        let rows = wire.rewards.len() as u64;
        let count = |raw: Option<&RawValue>| raw.and_then(text).and_then(|t| t.trim().parse::<u64>().ok());
        let is_whole = [count(wire.total_count), count(wire.count)].iter().flatten().all(|count| *count <= rows);
        return is_whole.then_some(wire.rewards);
    }
    serde_json::from_slice(body).ok()
}

/// The text of a body that is the reward of this ID.
pub(crate) fn reward_text(body: &Bytes, id: &RewardId) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
    (text(wire.id)? == id.as_str()).then(|| object_text(body)).flatten()
}

/// The text of a body that is one JSON object.
pub(crate) fn object_text(body: &Bytes) -> Option<String> {
    let object: &RawValue = serde_json::from_slice(body).ok()?;
    object.get().starts_with('{').then(|| object.get().to_owned())
}
