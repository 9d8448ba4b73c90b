//! Searches the vendor for an order that the index lacks.
//!
//! recoup queries GraphQL `userEvents` for the order ID (`docs/vendor/advocate.md` §3), and reads the rewards of the
//! found event. Only an attempt shows whether a tenant allows the query for events. If the tenant refuses the query for
//! events, recoup reads the newest rewards, within a budget of requests. The index stores the rewards that a search of
//! the vendor finds. If the search of the vendor does not find the order, the answer says how far the search went. The
//! order may still exist.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::{AccountId, OrderId, counted};
use crate::store::index::{ApiSource, Index, ReadReward};
use crate::vendor::advocate::{Advocate, Rewards};
use crate::vendor::graphql::{Graph, ListedReward, RewardPage, RewardQuery, Sort, UserEvent};

/// Names of the event field that contains the order ID. recoup first tries the names of event fields that the index has
/// seen. The vendor's reserved events use the field name `order_id`.
const ORDER_ID_FIELDS: [&str; 6] = ["order_id", "orderId", "OrderId", "oid", "Oid", "orderNumber"];
/// Maximum number of events that recoup requests for one field name.
const MAX_EVENTS: u32 = 10;
/// Number of rewards on a page of the search.
const PAGE_SIZE: u32 = 100;
/// Maximum delay of a reward after its event, in milliseconds: one day.
const MAX_DELAY_MS: i64 = 86_400_000;

/// How far recoup searched the vendor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct VendorSearch {
    /// Number of requests that the search sent.
    pub requests: u64,
    /// Whether the vendor allowed a query for the order ID.
    pub asked_directly: bool,
    /// Names of the event fields that recoup queried for the order ID.
    pub fields: Vec<String>,
    /// Number of events that contain exactly this order ID.
    pub events: u64,
    /// Number of rewards of any order that the search read.
    pub rewards: u64,
    /// Number of accounts that the search read.
    pub accounts: u64,
    /// The search read every reward that was modified since this time, RFC 3339.
    pub back_to: Option<String>,
    /// Why the search stopped, or why the vendor refused the query for the order ID.
    pub notes: Vec<String>,
}

impl VendorSearch {
    /// Formats the result of the search as text.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.asked_directly {
            parts.push(match self.events {
                0 => format!("the vendor knows no event whose {} is this order", self.fields.join(", ")),
                events => format!("the vendor has {} with this order", counted(events, "event")),
            });
        }
        if let Some(back_to) = &self.back_to {
            parts.push(format!("everything modified since {back_to} was read"));
        }
        if self.accounts > 0 {
            parts.push(format!("read again {}, those that were read longest ago", counted(self.accounts, "account")));
        }
        parts.extend(self.notes.iter().cloned());
        format!("searched the vendor with {}: {}", counted(self.requests, "request"), parts.join("; "))
    }
}

/// Searches the vendor for one order with at most `budget` requests.
///
/// # Errors
/// Fails with `Interrupted`, `Parked`, `Credentials`, `Tenant`, `Network`, or with `Storage` if the index fails.
pub async fn search(
    advocate: &Advocate,
    index: &mut Index,
    mapping: &Mapping,
    clock: &Clock,
    order: &OrderId,
    budget: u64,
) -> Result<VendorSearch> {
    let mut search =
        Search { advocate, index, mapping, clock, order, began: advocate.stats().requests, budget, unusable: 0 };
    let mut searched = VendorSearch::default();
    search.query_events(&mut searched).await?;
    if !search.is_indexed()? {
        search.read_newest(&mut searched).await?;
    }
    searched.requests = search.spent();
    if search.unusable > 0 {
        // The order may be in one of them.
        searched.back_to = None;
        searched.notes.push(format!("{} could not be used: no account or no JSON", counted(search.unusable, "reward")));
    }
    Ok(searched)
}

struct Search<'a> {
    advocate: &'a Advocate,
    index: &'a mut Index,
    mapping: &'a Mapping,
    clock: &'a Clock,
    order: &'a OrderId,
    began: u64,
    budget: u64,
    /// Number of received rewards that name no account or cannot be parsed.
    unusable: u64,
}

impl Search<'_> {
    fn spent(&self) -> u64 {
        self.advocate.stats().requests - self.began
    }

    fn has_budget(&self) -> bool {
        self.spent() < self.budget
    }

    fn is_indexed(&self) -> Result<bool> {
        self.index.has_order(self.order)
    }

    /// Finds events of the order at the vendor, and reads their rewards: from the buyer's account, from the same
    /// referral, and from the same day.
    async fn query_events(&mut self, searched: &mut VendorSearch) -> Result<()> {
        let mut names = self.index.order_fields()?;
        names.extend(ORDER_ID_FIELDS.map(str::to_owned));
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        for name in names {
            if !self.has_budget() {
                return Ok(());
            }
            let events = match self.advocate.graph_events(&name, self.order, MAX_EVENTS).await {
                Ok(Graph::Answer(events)) => events,
                Ok(Graph::Refused(refusal)) => {
                    searched.notes.push(format!("the vendor cannot be queried for the order ({})", refusal.as_str()));
                    return Ok(());
                }
                Err(error) if error.kind == Kind::Vendor => {
                    searched.notes.push("the vendor cannot be queried for the order at the moment".to_owned());
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            // The vendor may return events that do not match the query. Therefore recoup checks each event again.
            let answered = events.len();
            let events: Vec<UserEvent> = events.into_iter().filter(|event| self.carries(event)).collect();
            if answered > 0 && events.is_empty() {
                searched
                    .notes
                    .push(format!("events cannot be queried by {name}: the vendor returns other events, too"));
                continue;
            }
            searched.asked_directly = true;
            searched.fields.push(name);
            searched.events += events.len() as u64;
            for event in &events {
                searched.rewards += self.rewards_of_event(event).await?;
            }
            if !events.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn carries(&self, event: &UserEvent) -> bool {
        let fields: Value = serde_json::from_str(&event.fields).unwrap_or_default();
        let reward = json!({"id": event.id, "userEvent": {"fields": fields}});
        let extracted = extract::read(&reward.to_string(), &AccountId::new(""), self.mapping);
        extracted.is_ok_and(|it| it.links.iter().any(|link| link.order_id.as_ref() == Some(self.order)))
    }

    async fn rewards_of_event(&mut self, event: &UserEvent) -> Result<u64> {
        let mut kept = 0;
        let mut referrals: Vec<String> = Vec::new();
        let mut filters: Vec<Value> = Vec::new();
        filters.extend(event.account.as_ref().map(|account| json!({"accountId_eq": account.as_str()})));
        let mut at = 0;
        while let Some(filter) = filters.get(at).cloned() {
            at += 1;
            if !self.has_budget() {
                return Ok(kept);
            }
            let asked_at = self.clock.now();
            let found = match self.advocate.graph_rewards_of(&filter).await {
                Ok(Graph::Answer(found)) => found,
                Ok(Graph::Refused(_)) => return Ok(kept),
                Err(error) if error.kind == Kind::Vendor => return Ok(kept),
                Err(error) => return Err(error),
            };
            let of_event: Vec<ListedReward> =
                found.into_iter().filter(|reward| reward.event_id.as_deref() == Some(&event.id)).collect();
            for reward in &of_event {
                if let Some(referral) = reward.referral_id.as_ref().filter(|it| !referrals.contains(it)) {
                    referrals.push(referral.clone());
                    filters.push(json!({"referralId_eq": referral}));
                }
            }
            kept += self.store(of_event, asked_at)?;
        }
        if kept == 0
            && let Some(triggered) = event.date_triggered
        {
            // The buyer's account has no reward of this event, but the referrer's account may have one.
            let filter = json!({"dateCreated_gte": triggered, "dateCreated_lt": triggered + MAX_DELAY_MS});
            let (mut offset, mut total) = (0, None);
            while self.has_budget() && total.is_none_or(|total| offset < total) {
                let asked_at = self.clock.now();
                let Some(page) = self.page(filter.clone(), Sort::OldestFirst, offset).await? else { break };
                offset += page.rows;
                total = page.total.or(Some(0));
                let of_event = page.rewards.into_iter().filter(|reward| reward.event_id.as_deref() == Some(&event.id));
                kept += self.store(of_event.collect(), asked_at)?;
                if page.rows == 0 {
                    break;
                }
            }
        }
        Ok(kept)
    }

    /// Reads the vendor's newest rewards back to the watermark of the index. Without GraphQL, reads the accounts again
    /// whose last reading is oldest.
    async fn read_newest(&mut self, searched: &mut VendorSearch) -> Result<()> {
        let known = self.index.newest_finished_run()?.filter(|run| run.complete).and_then(|run| run.watermark);
        let (mut offset, mut oldest, mut is_whole) = (0, None::<i64>, true);
        while self.has_budget() {
            let asked_at = self.clock.now();
            let Some(page) = self.page(Value::Null, Sort::NewestFirst, offset).await? else { break };
            let RewardPage { rewards, rows, total, .. } = page;
            offset += rows;
            let moments: Vec<i64> = rewards.iter().filter_map(|reward| reward.date_modified).collect();
            is_whole &= moments.is_sorted_by(|one, next| one >= next) && moments.len() as u64 == rows;
            oldest = moments.last().copied().or(oldest);
            searched.rewards += self.store(rewards, asked_at)?;
            let reached = known.is_some_and(|known| oldest.is_some_and(|oldest| oldest < known));
            if self.is_indexed()? || reached || rows == 0 || total.is_some_and(|total| offset >= total) {
                break;
            }
        }
        if offset > 0 {
            let at = oldest.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            searched.back_to = at.filter(|_| is_whole).map(|at| at.to_string());
            if !is_whole {
                searched.notes.push(format!("read {}, in no reliable order", counted(offset, "reward")));
            }
            return Ok(());
        }
        if !self.has_budget() {
            return Ok(());
        }
        // Get Rewards offers no sort order and no list of changes. Therefore recoup reads whole accounts again.
        let most = self.budget.saturating_sub(self.spent());
        for account in self.index.oldest_readings(most)? {
            if !self.has_budget() || self.is_indexed()? {
                break;
            }
            let asked_at = self.clock.now();
            let answer = self.advocate.rewards(&account, None).await.and_then(|answer| match answer {
                Rewards::Listed(raw) => ReadReward::all(raw, &account, self.mapping).map(Some),
                Rewards::NoSuchAccount => Ok(None),
            });
            let answer = match answer {
                Err(error) if matches!(error.kind, Kind::Vendor | Kind::Scope) => continue,
                answer => answer?,
            };
            if let Some((rewards, unusable)) = answer {
                searched.rewards += rewards.len() as u64;
                self.index.record_live(&account, rewards, unusable, asked_at)?;
            }
            searched.accounts += 1;
        }
        Ok(())
    }

    /// Reads one page of rewards by GraphQL; returns `None` if GraphQL is not available.
    async fn page(&mut self, filter: Value, sort: Sort, offset: u64) -> Result<Option<RewardPage>> {
        let query = RewardQuery { filter, sort, limit: PAGE_SIZE, offset, attempts: u32::MAX };
        match self.advocate.graph_rewards(&query).await {
            Ok(Graph::Answer(page)) => Ok(Some(page)),
            Ok(Graph::Refused(_)) | Err(Error { kind: Kind::Vendor, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn store(&mut self, rewards: Vec<ListedReward>, asked_at: jiff::Timestamp) -> Result<u64> {
        let mut kept = 0;
        for reward in rewards {
            let account = reward.account.as_ref();
            let extracted = account.and_then(|account| extract::read(reward.raw.get(), account, self.mapping).ok());
            let Some(extracted) = extracted else {
                self.unusable += 1;
                continue;
            };
            let read = ReadReward::new(extracted, reward.raw.get()).via(ApiSource::GraphQl);
            self.index.record_reward(&read, asked_at)?;
            kept += 1;
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_says_how_far_the_search_went() {
        let fields = vec!["order_id".to_owned()];
        let searched = VendorSearch { requests: 7, asked_directly: true, fields, ..VendorSearch::default() };
        assert_eq!(
            searched.describe(),
            "searched the vendor with 7 requests: the vendor knows no event whose order_id is this order"
        );
        let searched = VendorSearch {
            requests: 100,
            rewards: 9000,
            back_to: Some("2026-11-23T09:42:13Z".to_owned()),
            notes: vec!["the vendor cannot be queried for the order (x)".to_owned()],
            ..VendorSearch::default()
        };
        assert_eq!(
            searched.describe(),
            "searched the vendor with 100 requests: everything modified since 2026-11-23T09:42:13Z was read; the \
             vendor cannot be queried for the order (x)"
        );
    }
}
