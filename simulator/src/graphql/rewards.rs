//! Selects and sorts the rewards of a GraphQL list.
//!
//! A reward filter by IDs, account, user or referral uses the formulas. A reward filter by `dateModified` reads a range
//! of the timeline, at about the cost of its page. Any other reward filter searches all rewards. The `write` module
//! writes the GraphQL response.

use serde_json::Value;

use super::{Part, document::Field};
use crate::{
    facts::{Facts, Touch},
    keys::{ActionKey, RewardKey, Side},
    timeline::Entry,
    world::World,
};

/// The number of timeline entries that the simulator reads at once, because a search must not copy all entries.
const PIECE: usize = 10_000;

/// The rewards of one page, and the total number of rewards that match.
pub(super) struct Page {
    pub(super) rows: Vec<(RewardKey, Touch)>,
    pub(super) total: u64,
}

/// The sort order of a list of rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort {
    created: bool,
    descending: bool,
}

/// A time range from inclusive `from` to exclusive `to`, in Unix milliseconds.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    fn of(filter: &Value, field: &str) -> Self {
        let get = |suffix: &str| filter[format!("{field}_{suffix}")].as_i64();
        Self { from: get("gte").unwrap_or(i64::MIN), to: get("lt").unwrap_or(i64::MAX) }
    }

    fn holds(self, moment: i64) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// A condition of the reward filter, with its ID resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named<T> {
    /// The reward filter has no condition for an object of this kind.
    Any,
    /// The filter selects only rewards of this object; `None` if no object has the ID.
    Only(Option<T>),
}

impl<T: PartialEq> Named<T> {
    fn of(text: Option<&str>, find: impl FnOnce(&str) -> Option<T>) -> Self {
        text.map_or(Self::Any, |text| Self::Only(find(text)))
    }

    fn is(&self, it: impl FnOnce() -> Option<T>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(wanted) => wanted.is_some() && *wanted == it(),
        }
    }
}

/// A reward filter with resolved IDs.
#[derive(Debug)]
struct Filter {
    ids: Option<Vec<String>>,
    account: Named<u64>,
    user: Named<u64>,
    referral: Named<(u64, u64)>,
    kind: Option<String>,
    modified: Range,
    created: Range,
    all: Vec<Filter>,
    any: Option<Vec<Filter>>,
}

impl Filter {
    fn new(world: &World, filter: &Value) -> Self {
        let text = |key: &str| filter[key].as_str();
        let list = |key: &str| filter[key].as_array();
        let parts = |key: &str| list(key).map(|parts| parts.iter().map(|part| Self::new(world, part)).collect());
        let mut ids: Option<Vec<String>> =
            list("id_in").map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        if let Some(id) = text("id_eq") {
            ids =
                Some(if ids.is_none_or(|ids| ids.iter().any(|one| one == id)) { vec![id.to_owned()] } else { vec![] });
        }
        Self {
            ids,
            account: Named::of(text("accountId_eq"), |id| world.account(id)),
            user: Named::of(text("userId_eq"), |id| world.data.find_user(id)),
            referral: Named::of(text("referralId_eq"), |id| world.data.find_referral(id)),
            kind: text("type_eq").map(str::to_owned),
            modified: Range::of(filter, "dateModified"),
            created: Range::of(filter, "dateCreated"),
            all: parts("AND").unwrap_or_default(),
            any: parts("OR"),
        }
    }

    /// Returns `true` if a range of `dateModified` is the filter's only condition.
    fn is_range(&self) -> bool {
        self.ids.is_none()
            && self.account == Named::Any
            && self.user == Named::Any
            && self.referral == Named::Any
            && self.kind.is_none()
            && (self.created.from, self.created.to) == (i64::MIN, i64::MAX)
            && self.all.is_empty()
            && self.any.is_none()
    }

    fn passes(&self, world: &World, key: RewardKey, touch: Touch, facts: &Facts) -> bool {
        let data = &world.data;
        let user = || touch.moved_to.unwrap_or_else(|| data.holder(key));
        self.modified.holds(facts.modified)
            && self.created.holds(facts.created)
            && self.kind.as_ref().is_none_or(|kind| kind == facts.kind.name())
            && self.account.is(|| Some(data.owner(user())))
            && self.user.is(|| Some(user()))
            && self.referral.is(|| (key.side != Side::Manual).then_some((key.buyer, key.order)))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&data.reward_id(key)))
            && self.all.iter().all(|part| part.passes(world, key, touch, facts))
            && self.any.as_ref().is_none_or(|any| any.iter().any(|part| part.passes(world, key, touch, facts)))
    }

    /// Returns the candidate rewards by the IDs in the filter; `None` if the filter has no ID.
    fn named(&self, world: &World) -> Option<Vec<(RewardKey, Touch)>> {
        if let Some(ids) = &self.ids {
            return Some(ids.iter().filter_map(|id| world.reward(id)).collect());
        }
        if let Named::Only(order) = self.referral {
            let Some((buyer, order)) = order else { return Some(Vec::new()) };
            let actions = (0..world.data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action });
            return Some(actions.flat_map(|action| world.rewards_of_action(action)).collect());
        }
        let owner = match (self.account, self.user) {
            (Named::Only(owner), _) => owner,
            (Named::Any, Named::Only(person)) => person.map(|person| world.data.owner(person)),
            (Named::Any, Named::Any) => return self.all.iter().find_map(|part| part.named(world)),
        };
        let mut found = Vec::new();
        if let Some(owner) = owner {
            world.rewards(owner, |key, touch| found.push((key, touch)));
        }
        Some(found)
    }
}

fn sort(field: &Field) -> Result<Sort, String> {
    let by = match field.arguments.get("sortBy") {
        Some(Value::Array(by)) => by.first(),
        other => other.filter(|by| by.is_object()),
    };
    let Some(by) = by else { return Ok(Sort { created: false, descending: true }) };
    let created = match by["field"].as_str() {
        Some("dateModified") => false,
        Some("dateCreated") => true,
        _ => return Err("Rewards can be sorted by dateModified and dateCreated here.".to_owned()),
    };
    match by["order"].as_str() {
        Some("ASC") => Ok(Sort { created, descending: false }),
        Some("DESC") => Ok(Sort { created, descending: true }),
        _ => Err("\"order\" of type \"RSSortByInput\" must be ASC or DESC.".to_owned()),
    }
}

/// Returns the requested page of rewards. All rewards of the page are read at the same point in time.
pub(super) fn page(world: &World, field: &Field, part: Part) -> Result<Page, String> {
    let sort = sort(field)?;
    let filter = Filter::new(world, field.arguments.get("filter").unwrap_or(&Value::Null));
    let (limit, offset) = (part.limit as usize, part.offset as usize);
    if filter.is_range() && !sort.created {
        return Ok(range(world, filter.modified, sort.descending, limit, offset));
    }
    let tidy = world.style.tidy;
    let mut found: Vec<(Entry, RewardKey, Touch)> = Vec::new();
    let mut take = |key: RewardKey, touch: Touch| {
        let facts = world.data.facts(key, touch, tidy);
        if filter.passes(world, key, touch, &facts) {
            let moment = if sort.created { facts.created } else { facts.modified };
            found.push(((moment, world.data.tie(key)), key, touch));
        }
    };
    match filter.named(world) {
        Some(named) => named.into_iter().for_each(|(key, touch)| take(key, touch)),
        None => world.timeline(|timeline, touch| {
            let (from, to) = (timeline.rank(filter.modified.from), timeline.rank(filter.modified.to));
            for start in (from..to).step_by(PIECE) {
                for (_, tie) in timeline.slice(start, to.min(start + PIECE)) {
                    if let Some(key) = world.data.tied(tie) {
                        take(key, touch(key));
                    }
                }
            }
        }),
    }
    found.sort_unstable_by_key(|(entry, ..)| *entry);
    found.dedup_by_key(|(entry, ..)| *entry);
    if sort.descending {
        found.reverse();
    }
    let total = found.len() as u64;
    let rows = found.into_iter().skip(offset).take(limit).map(|(_, key, touch)| (key, touch)).collect();
    Ok(Page { rows, total })
}

/// Returns the rewards of `of` that match the filter.
pub(super) fn passing(world: &World, filter: Option<&Value>, of: Vec<(RewardKey, Touch)>) -> Vec<(RewardKey, Touch)> {
    let filter = Filter::new(world, filter.unwrap_or(&Value::Null));
    let passes = |(key, touch): &(RewardKey, Touch)| {
        filter.passes(world, *key, *touch, &world.data.facts(*key, *touch, world.style.tidy))
    };
    of.into_iter().filter(passes).collect()
}

/// Returns the rewards in a range of the timeline.
fn range(world: &World, range: Range, descending: bool, limit: usize, offset: usize) -> Page {
    world.timeline(|timeline, touch| {
        let low = timeline.rank(range.from);
        let high = timeline.rank(range.to).max(low);
        let (from, to) = if descending {
            let to = high.saturating_sub(offset).max(low);
            (to.saturating_sub(limit).max(low), to)
        } else {
            let from = low.saturating_add(offset).min(high);
            (from, from.saturating_add(limit).min(high))
        };
        let mut rows: Vec<(RewardKey, Touch)> = timeline
            .slice(from, to)
            .into_iter()
            .filter_map(|(_, tie)| world.data.tied(tie))
            .map(|key| (key, touch(key)))
            .collect();
        if descending {
            rows.reverse();
        }
        Page { rows, total: (high - low) as u64 }
    })
}
