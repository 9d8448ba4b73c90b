//! The simulator's Advocate API: users, the rewards of an account, one reward, and the reward's cancellation (if
//! `writes` permits it).
//!
//! The simulator writes Advocate responses as bytes from [`World`]. The caller of the Advocate API has already applied
//! authentication, limits and faults to the request.

use super::{
    names::hex,
    options::Options,
    query,
    random::Tag,
    record::{Endpoint, Record},
    referrals,
    reply::{JSON, Reply, advocate_error},
    reward_json::{Object, integer},
    time,
    world::World,
};

/// Options of the simulated Advocate API.
#[derive(Debug)]
pub(super) struct Advocate {
    max_limit: u64,
    query_returns_all: bool,
    envelope: bool,
}

impl Advocate {
    pub(super) fn new(options: &Options) -> Self {
        Self { max_limit: options.max_limit, query_returns_all: options.query_returns_all, envelope: options.envelope }
    }

    /// Returns the Advocate endpoint of a path below the tenant.
    pub(super) fn endpoint(method: &hyper::Method, path: &str) -> Endpoint {
        let (get, post) = (method == hyper::Method::GET, method == hyper::Method::POST);
        match path {
            "reward" if get => Endpoint::Rewards,
            "users" if get => Endpoint::Users,
            _ if path == "subscription" || path.starts_with("subscription/") => Endpoint::Subscriptions,
            "graphql" if post => Endpoint::Graphql,
            _ if get && path.starts_with("account/") => Endpoint::User,
            _ if get && path.starts_with("reward/") => Endpoint::Reward,
            _ if get && path.starts_with("referrals/") => Endpoint::Referral,
            _ if post && path.starts_with("reward/") && path.ends_with("/cancel") => Endpoint::CancelReward,
            _ if get || post => super::export::Exports::endpoint(get, path).unwrap_or(Endpoint::Other),
            _ => Endpoint::Other,
        }
    }

    pub(super) fn answer(&self, world: &World, record: &Record, endpoint: Endpoint, path: &str, query: &str) -> Reply {
        match endpoint {
            Endpoint::Rewards => self.rewards(world, record, query),
            Endpoint::Users => self.users(world, query),
            Endpoint::User => user(world, path),
            Endpoint::Reward => reward(world, path, false),
            Endpoint::Referral => referrals::answer(world, path),
            _ => advocate_error(404, "There is nothing here.", None, None),
        }
    }

    fn rewards(&self, world: &World, record: &Record, query: &str) -> Reply {
        let Some(account) = query::value(query, "accountId").filter(|id| !id.is_empty()) else {
            let mut reply = advocate_error(400, "accountId is required.", Some("VALIDATION_FAILED"), None);
            let errors = br#","validationErrors":["object has missing required properties ([\"accountId\"])"]}"#;
            reply.body.pop();
            reply.body.extend_from_slice(errors);
            return reply;
        };
        let Some(owner) = world.account(&account) else {
            let sent = query::raw(query, "accountId").unwrap_or_default();
            if sent.contains('+') && world.account(&account.replace(' ', "+")).is_some() {
                record.violation("an account ID was sent with a plus that is not percent-encoded");
            }
            return advocate_error(404, "No such account.", None, Some("RS041"));
        };
        if world.deleted_accounts.has(owner) {
            return advocate_error(404, "No such account.", None, Some("RS041"));
        }
        world.rewards_read(1);
        if world.fails(owner) {
            return advocate_error(500, "Internal error.", None, Some("RS020"));
        }
        let user = query::value(query, "userId");
        let kind = query::value(query, "rewardTypeFilter");
        let mut out = Vec::with_capacity(2048);
        out.extend_from_slice(if self.envelope { b"{\"rewards\":[" } else { b"[" });
        let empty = out.len();
        world.rewards(owner, |key, touch| {
            let holder = touch.moved_to.unwrap_or_else(|| world.data.holder(key));
            if user.as_ref().is_some_and(|user| *user != world.data.user_id(holder)) {
                return;
            }
            let before = out.len();
            if before > empty {
                out.push(b',');
            }
            let facts = world.style.write(&mut out, &world.data, key, touch);
            if kind.as_ref().is_some_and(|kind| kind != facts.kind.name()) {
                out.truncate(before);
            }
        });
        out.extend_from_slice(if self.envelope { b"]}" } else { b"]" });
        Reply::new(200, JSON, out)
    }

    fn users(&self, world: &World, query: &str) -> Reply {
        let limit = query::number(query, "limit").unwrap_or(10).clamp(1, self.max_limit);
        let offset = query::number(query, "offset").unwrap_or(0);
        let wanted = query::value(query, "query").filter(|text| !text.is_empty() && !self.query_returns_all);
        let (people, total) = match wanted {
            None => world.page(offset, limit),
            Some(text) => {
                let text = text.to_lowercase();
                let found: Vec<u64> = world.everyone().filter(|person| matches(world, *person, &text)).collect();
                let total = found.len() as u64;
                (found.into_iter().skip(offset as usize).take(limit as usize).collect(), total)
            }
        };
        let mut out = Vec::with_capacity(people.len() * 600 + 64);
        out.extend_from_slice(b"{\"count\":");
        integer(&mut out, people.len() as i64);
        out.extend_from_slice(b",\"totalCount\":");
        integer(&mut out, total as i64);
        out.extend_from_slice(b",\"users\":[");
        for (place, person) in people.into_iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_user(&mut out, world, person);
        }
        out.extend_from_slice(b"]}");
        Reply::new(200, JSON, out)
    }
}

/// Returns `true` if the participant's e-mail address, name or ID contains the text. The vendor does not publish how
/// the query of `/users` searches.
fn matches(world: &World, person: u64, text: &str) -> bool {
    let data = &world.data;
    let name = format!("{} {}", data.first_name(person), data.last_name(person));
    [name, data.user_id(person), data.email(person)].iter().any(|field| field.to_lowercase().contains(text))
}

pub(super) fn write_user(out: &mut Vec<u8>, world: &World, person: u64) {
    let data = &world.data;
    let look = data.hash(Tag::Look, person, 1);
    let tidy = world.style.tidy;
    let mut user = Object::new(out, !tidy && look & 3 > 0, false);
    let (first, last) = (data.first_name(person), data.last_name(person));
    user.text("id", Some(&data.user_id(person)));
    user.text("accountId", Some(&data.account_id(data.owner(person))));
    user.text("email", shows_email(world, person).then(|| data.email(person)).as_deref());
    user.text("firstName", Some(first));
    user.text("lastName", Some(last));
    user.text("lastInitial", Some(&last[..1].to_uppercase()));
    user.text("referralCode", Some(&format!("{}{person}", first.to_uppercase())));
    user.text("imageUrl", Some(""));
    user.number("dateCreated", Some(data.joined(person)));
    let mut digits = [0; 32];
    hex(&mut digits[..16], look);
    hex(&mut digits[16..], data.scramble(person));
    user.text("emailHash", std::str::from_utf8(&digits).ok());
    user.null("cookieId");
    user.null("paymentProviderId");
    user.text("locale", (look >> 12 & 1 == 0).then_some("en_US"));
    user.text("countryCode", (look >> 12 & 1 == 0).then_some("US"));
    user.text("referralSource", Some("DIRECT"));
    user.null("dateBlocked");
    user.end();
}

/// Returns `true` if the user object has an e-mail address. A few simulated participants have no e-mail address.
pub(super) fn shows_email(world: &World, person: u64) -> bool {
    world.style.tidy || world.data.hash(Tag::Look, person, 1) >> 4 & 31 > 0
}

/// Answers a request for `account/{accountId}/user/{userId}`.
fn user(world: &World, path: &str) -> Reply {
    let parts: Vec<&str> = path.split('/').collect();
    let found = match parts[..] {
        ["account", account, "user", user] => world.account(&query::segment(account)).and_then(|owner| {
            let user = query::segment(user);
            world.data.members(owner).find(|person| world.is_here(*person) && world.data.user_id(*person) == user)
        }),
        _ => None,
    };
    let Some(person) = found else { return advocate_error(404, "No such user.", None, Some("RS042")) };
    let mut out = Vec::new();
    write_user(&mut out, world, person);
    Reply::new(200, JSON, out)
}

/// Answers a request for `reward/{id}` or `reward/{id}/cancel`.
pub(super) fn reward(world: &World, path: &str, cancel: bool) -> Reply {
    let id = path.trim_start_matches("reward/");
    let id = if cancel { id.strip_suffix("/cancel").unwrap_or_default() } else { id };
    let Some((key, mut touch)) = world.reward(&query::segment(id)) else {
        return advocate_error(404, "Reward not found.", None, None);
    };
    if cancel {
        let now = time::now_ms();
        if !world.cancel_reward(key, now) {
            return advocate_error(400, "Reward is not cancellable.", None, None);
        }
        touch.cancelled = Some(now);
    }
    let mut out = Vec::with_capacity(1024);
    world.style.write(&mut out, &world.data, key, touch);
    Reply::new(200, JSON, out)
}
