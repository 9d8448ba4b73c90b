//! Reads participants and rewards from the Advocate API.
//!
//! The vendor's facts about the Advocate API are from `docs/vendor/advocate.md` §2, §6, §9. `advocate` returns rewards
//! as raw JSON, in which `extract` finds the order ID and the ActionId. A reward response that is not a list is an
//! error and never an empty list, because an empty list means that the account has no rewards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::loose_json::{filled, number, text};
use super::{Client, Host, HostClock, HostOptions, Refusal, Stats, check_base};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Participant, RewardId, UserId, fnv1a};

/// The characters that a URL escapes: all but the unreserved characters of RFC 3986. A space in a URL becomes `%20`,
/// because some servers do not decode `+`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) const HOST: Host = Host {
    name: "Advocate",
    token_hint: "RECOUP_ADVOCATE_TOKEN, or RECOUP_ACCOUNT_SID and RECOUP_AUTH_TOKEN (or the _FILE variables)",
    url_hint: "RECOUP_ADVOCATE_URL",
};

/// Reads the data of one tenant from the Advocate API. All clones of an Advocate client share one set of connections,
/// one pacer and one set of counters.
#[derive(Clone)]
pub struct Advocate(Arc<Inner>);

struct Inner {
    client: Client,
    tenant: String,
    /// The Advocate API's base URL with the tenant, without a trailing slash.
    root: String,
    /// Whether the vendor's GraphQL server has refused a document that requests a referral.
    refuses_referrals: AtomicBool,
}

/// One page of the tenant's participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersPage {
    /// The participants that have a user ID and an account ID, in the vendor's order.
    pub users: Vec<Participant>,
    /// The number of rows on the page of participants, including `unusable` rows. The offset of the next page advances
    /// by the number of rows, including `unusable` rows (`docs/vendor/contradictions.md` 34).
    pub rows: u64,
    /// `totalCount`: the number of participants of the tenant or of the search.
    pub total: Option<u64>,
    /// A hash of each row that lacks a user ID or an account ID. recoup does not keep the row itself, because it names
    /// a person.
    pub unusable: Vec<u64>,
}

/// The rewards of one account.
#[derive(Clone)]
pub enum Rewards {
    /// The raw JSON of each reward, in the vendor's order. The vendor may list one reward twice.
    Listed(Vec<Box<RawValue>>),
    /// The vendor answered 404, because it does not know the account or has deleted it.
    NoSuchAccount,
}

/// Prints only the number of rewards, because rewards name people.
impl fmt::Debug for Rewards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(rewards) => write!(f, "Listed({})", rewards.len()),
            Self::NoSuchAccount => f.write_str("NoSuchAccount"),
        }
    }
}

impl Advocate {
    /// # Errors
    /// Fails with `Config` if the base URL, the tenant, the rate or the token is unusable.
    pub fn new(options: &HostOptions, tenant: &str, clock: Clock, stop: CancellationToken) -> Result<Self> {
        let root = tenant_root(options, tenant)?;
        let client = Client::new(HOST, options, None, clock, stop)?;
        Ok(Self(Arc::new(Inner { client, tenant: tenant.to_owned(), root, refuses_referrals: AtomicBool::new(false) })))
    }

    /// Reads one page of the tenant's participants: at most `limit` rows from row `offset`. The vendor may return fewer
    /// rows than `limit`. `query` is the text of the vendor's search over e-mail, name and ID. The vendor may return
    /// participants that do not match `query`. Therefore the caller compares the returned participants again.
    pub async fn users(&self, query: Option<&str>, limit: u32, offset: u64) -> Result<UsersPage> {
        let (limit, offset) = (limit.to_string(), offset.to_string());
        let mut pairs = vec![("limit", limit.as_str()), ("offset", offset.as_str())];
        pairs.extend(query.map(|text| ("query", text)));
        let url = self.url("users", &pairs)?;
        self.client().get("users", &url, users_page).await?.ok_or_else(|| {
            Error::new(Kind::Vendor, "Advocate users answered 404").hint(format!("check {}", HOST.url_hint))
        })
    }

    /// Reads every reward of an account, or of one of its users, by the vendor's endpoint Get Rewards. The vendor
    /// publishes no paging for the list of rewards (`docs/vendor/advocate.md` §2).
    pub async fn rewards(&self, account: &AccountId, user: Option<&UserId>) -> Result<Rewards> {
        let mut pairs = vec![("accountId", account.as_str())];
        pairs.extend(user.map(|user| ("userId", user.as_str())));
        let url = self.url("reward", &pairs)?;
        let listed = self.client().get("Get Rewards", &url, reward_list).await?;
        Ok(listed.map_or(Rewards::NoSuchAccount, Rewards::Listed))
    }

    /// Reads the raw JSON of one reward; `None` if the vendor does not know the reward's ID. A response with the ID of
    /// another reward counts as unreadable.
    pub async fn reward(&self, id: &RewardId) -> Result<Option<String>> {
        let escaped = segment(id.as_str())
            .ok_or_else(|| Error::new(Kind::Vendor, "a reward ID that is empty or made of dots cannot be looked up"))?;
        let url = self.url(&format!("reward/{escaped}"), &[])?;
        self.client().get("reward", &url, |body| reward_text(body, id)).await
    }

    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// Returns the vendor's clock compared with this machine's; `None` before the vendor's first answer.
    pub fn host_clock(&self) -> Option<HostClock> {
        self.client().host_clock()
    }

    pub fn stats(&self) -> Stats {
        self.client().stats()
    }

    /// Returns why this process cannot share the quota with other processes, as a sentence; `None` if it can.
    pub fn quota_trouble(&self) -> Option<String> {
        self.client().quota_trouble()
    }

    /// Returns why the client no longer requests referrals by GraphQL; `None` if it still does.
    pub(super) fn referral_refusal(&self) -> Option<Refusal> {
        self.0.refuses_referrals.load(Ordering::Relaxed).then_some(Refusal::Schema)
    }

    pub(super) fn refuse_referrals(&self) {
        self.0.refuses_referrals.store(true, Ordering::Relaxed);
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn url(&self, path: &str, pairs: &[(&str, &str)]) -> Result<Url> {
        let mut url = parse_url(&format!("{}/{path}", self.0.root))?;
        if !pairs.is_empty() {
            let pair = |(key, value): &(&str, &str)| format!("{key}={}", utf8_percent_encode(value, ESCAPED));
            url.set_query(Some(&pairs.iter().map(pair).collect::<Vec<_>>().join("&")));
        }
        Ok(url)
    }
}

/// Returns base URL and tenant of the Advocate API, without a trailing slash.
pub(super) fn tenant_root(options: &HostOptions, tenant: &str) -> Result<String> {
    check_base(&options.base)?;
    let tenant = segment(tenant).ok_or_else(|| {
        Error::new(Kind::Config, "the tenant alias is missing")
            .hint("set RECOUP_TENANT to the alias under Tenant Details")
    })?;
    Ok(format!("{}/{tenant}", options.base.as_str().trim_end_matches('/')))
}

pub(super) fn parse_url(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| Error::new(Kind::Config, format!("the Advocate base URL cannot be used: {error}")))
}

/// Escapes one segment of a URL's path. Returns `None` for an empty text, `.` and `..`, because a URL parser would
/// remove such a segment.
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

/// Parses a page of participants: `{count, totalCount, users}`. The parser of participants ignores `count`, which is
/// the number of rows on the page.
pub(crate) fn users_page(body: &[u8]) -> Option<UsersPage> {
    let page: UsersWire<'_> = serde_json::from_slice(body).ok()?;
    let rows = page.users.len() as u64;
    let (mut users, mut unusable) = (Vec::with_capacity(page.users.len()), Vec::new());
    for row in page.users {
        match participant(row) {
            Some(user) => users.push(user),
            None => unusable.push(fnv1a(row.get().bytes())),
        }
    }
    Some(UsersPage { users, rows, total: number(page.total_count), unusable })
}

fn participant(row: &RawValue) -> Option<Participant> {
    let user: UserWire<'_> = serde_json::from_str(row.get()).ok()?;
    // PostgreSQL cannot store NUL.
    let storable = |raw| filled(raw).filter(|text| !text.contains('\0'));
    Some(Participant {
        user_id: UserId::new(storable(user.id)?),
        account_id: AccountId::new(storable(user.account_id)?),
        email: storable(user.email),
    })
}

#[derive(Deserialize)]
struct RewardsWire<'a> {
    rewards: Vec<Box<RawValue>>,
    #[serde(borrow, default, rename = "totalCount")]
    total_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    count: Option<&'a RawValue>,
}

/// Parses the rewards of an account: a bare array, or `{rewards: […]}` of an older schema
/// (`docs/vendor/contradictions.md` 36). If the object counts more rewards than it contains, the response is
/// unreadable. Get Rewards has no published paging, so recoup could not fetch the missing rewards.
pub(crate) fn reward_list(body: &[u8]) -> Option<Vec<Box<RawValue>>> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        let wire: RewardsWire<'_> = serde_json::from_slice(body).ok()?;
        let rows = wire.rewards.len() as u64;
        let counts = [wire.total_count, wire.count].map(number::<u64>);
        return counts.iter().flatten().all(|count| *count <= rows).then_some(wire.rewards);
    }
    serde_json::from_slice(body).ok()
}

/// Returns the response body as text if it is the reward with this ID.
pub(crate) fn reward_text(body: &[u8], id: &RewardId) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
    (text(wire.id)? == id.as_str()).then(|| object_text(body)).flatten()
}

/// Returns the response body as text if it is one JSON object.
pub(crate) fn object_text(body: &[u8]) -> Option<String> {
    let object: &RawValue = serde_json::from_slice(body).ok()?;
    object.get().starts_with('{').then(|| object.get().to_owned())
}
