//! Finds the rewards of an order or an action by exact match, and finds similar order IDs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;

use super::links::{KeyIndex, action_key, links_of, order_key, rewards_by_key};
use super::sums::{ACCOUNTS, DESCRIPTORS, LINK_PATTERNS, REWARDS, damaged};
use super::{ApiSource, Index, IndexReader, moment};
use crate::error::Result;
use crate::model::order_text::skeleton;
use crate::model::{AccountId, ActionId, Link, LinkKind, OrderId, Reward, RewardId, UserId};
use crate::store::db::{DbError, Keys, Row, Tx};

/// A reward with its indexed links and state.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedReward {
    pub reward: Reward,
    /// The account in whose list the vendor returned the reward. `reward.account_id` is the account in the reward's own
    /// JSON.
    pub listed_by: AccountId,
    pub link_kind: LinkKind,
    pub order_ids: Vec<OrderId>,
    pub action_ids: Vec<ActionId>,
    /// `true` if a search found the ActionId, and `false` if the ActionId was at a configured path.
    pub action_by_search: bool,
    /// `true` if the vendor no longer lists the reward or its account.
    pub gone: bool,
    /// The API from which recoup read the links.
    pub via: ApiSource,
    /// `true` if the reward has several order IDs or several ActionIds. recoup does not retract such a reward until a
    /// JSONPath is configured.
    pub ambiguous: bool,
    /// When recoup requested the reward.
    pub read_at: Timestamp,
    /// The ID of the referral that the reward names.
    pub referral_id: Option<String>,
}

/// A reward that contains an order ID, with one ActionId linked to that order.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The ActionId; `None` if the reward links no ActionId to this order.
    pub action_id: Option<ActionId>,
    pub indexed: IndexedReward,
}

/// The SQL query for the orders of a participant's rewards. `user_id` is null if it equals the account ID, so that each
/// half of the union can use an SQL index.
const ORDERS_OF_PARTICIPANT: &str = "SELECT order_id FROM links WHERE order_id IS NOT NULL AND reward IN (
         SELECT rewards.id FROM accounts JOIN rewards ON rewards.account = accounts.id WHERE accounts.account_id = ?1
         UNION SELECT id FROM rewards WHERE user_id = ?1 AND user_id <> '')
     GROUP BY order_id ORDER BY max(reward) DESC LIMIT ?2";

const ROW_OF_REWARD: &str = "SELECT id FROM rewards WHERE reward_id = ?1";

impl IndexReader {
    /// Returns the rewards that contain exactly this order ID, oldest row first.
    pub fn find(&self, order: &OrderId) -> Result<Vec<Match>> {
        Ok(self.find_and_suggest(order, 0)?.0)
    }

    /// As [`IndexReader::find`]. Also returns at most `limit` order IDs that differ from this one only in case, white space, a
    /// leading `#` or leading zeros.
    pub fn find_and_suggest(&self, order: &OrderId, limit: usize) -> Result<(Vec<Match>, Vec<OrderId>)> {
        self.conn.read(|tx| {
            let mut rewards = rewards_by_key(tx, KeyIndex::Order, order_key(order.as_str()))?;
            let folded = order.folded();
            let others: BTreeSet<OrderId> =
                rewards.values().flatten().filter_map(|link| link.order_id.clone()).collect();
            // Filters the found order IDs, because a key ignores more differences than a suggestion does, and a found
            // reward may contain further orders.
            let others = others.into_iter().filter(|other| other != order && other.folded() == folded);
            let suggestions = others.take(limit).collect();
            retain_order(&mut rewards, order);
            let all = all_indexed(tx, &rewards)?;
            let mut matches = Vec::new();
            for (links, indexed) in rewards.into_values().zip(all) {
                let beside = links.into_iter().filter(|link| link.order_id.as_ref() == Some(order));
                matches.extend(beside.map(|link| Match { action_id: link.action_id, indexed: indexed.clone() }));
            }
            Ok((matches, suggestions))
        })
    }

    /// Returns the rewards that contain exactly this order ID, or an ActionId that another reward links to this order,
    /// oldest row first. The referrer's reward may contain only the order ID and the friend's reward only the ActionId,
    /// or the reverse.
    pub fn rewards_of_order(&self, order: &OrderId) -> Result<Vec<IndexedReward>> {
        self.conn.read(|tx| {
            let mut rewards = with_order(tx, order)?;
            let links = rewards.values().flatten().filter(|link| link.order_id.as_ref() == Some(order));
            let actions: BTreeSet<ActionId> = links.filter_map(|link| link.action_id.clone()).collect();
            for action in &actions {
                rewards.extend(with_action(tx, action)?);
            }
            all_indexed(tx, &rewards)
        })
    }

    /// Returns every reward that contains exactly this ActionId, oldest row first.
    pub fn rewards_of_action(&self, action: &ActionId) -> Result<Vec<IndexedReward>> {
        self.conn.read(|tx| all_indexed(tx, &with_action(tx, action)?))
    }

    /// Returns the order IDs that look the same to a person as this one, because they have the same [`skeleton`]. The
    /// given order ID itself comes first.
    pub fn alike(&self, order: &OrderId, limit: usize) -> Result<Vec<OrderId>> {
        self.conn.read(|tx| {
            let form = skeleton(order.as_str());
            let mut alike = order_ids_by_key(tx, order)?;
            let same = alike.take(order);
            let others = alike.into_iter().filter(|other| skeleton(other.as_str()) == form);
            Ok(same.into_iter().chain(others).take(limit).collect())
        })
    }

    pub fn reward(&self, reward: &RewardId) -> Result<Option<IndexedReward>> {
        self.conn.read(|tx| {
            let row: Option<i64> = tx.opt(ROW_OF_REWARD, &[reward], |row| row.get(0))?;
            let Some(row) = row else { return Ok(None) };
            let found = indexed(tx, row, &links_of(tx, row)?)?;
            if found.reward.reward_id != *reward {
                return Err(damaged("the index of rewards"));
            }
            Ok(Some(found))
        })
    }

    /// Returns some order IDs that show the format of the shop's IDs.
    pub fn some_order_ids(&self, limit: usize) -> Result<Vec<OrderId>> {
        let select = "SELECT order_id FROM links WHERE order_id IS NOT NULL LIMIT ?1";
        self.conn.read(|tx| tx.rows(select, &[&(limit as u64)], |row| row.get(0)))
    }

    /// Returns the orders of a participant's rewards, newest first. The parameter `id` is an account ID or a user ID.
    pub fn orders_of_participant(&self, id: &str, limit: usize) -> Result<Vec<OrderId>> {
        self.conn.read(|tx| tx.rows(ORDERS_OF_PARTICIPANT, &[&id, &(limit as u64)], |row| row.get(0)))
    }
}

impl Index {
    /// Returns `true` if a reward contains exactly this order ID.
    pub fn has_order(&self, order: &OrderId) -> Result<bool> {
        self.conn.read(|tx| Ok(!with_order(tx, order)?.is_empty()))
    }
}

fn with_order(tx: &Tx<'_>, order: &OrderId) -> Result<BTreeMap<i64, Vec<Link>>, DbError> {
    let mut rewards = rewards_by_key(tx, KeyIndex::Order, order_key(order.as_str()))?;
    retain_order(&mut rewards, order);
    Ok(rewards)
}

fn retain_order(rewards: &mut BTreeMap<i64, Vec<Link>>, order: &OrderId) {
    rewards.retain(|_, links| links.iter().any(|link| link.order_id.as_ref() == Some(order)));
}

fn with_action(tx: &Tx<'_>, action: &ActionId) -> Result<BTreeMap<i64, Vec<Link>>, DbError> {
    let mut rewards = rewards_by_key(tx, KeyIndex::Action, action_key(action.as_str()))?;
    rewards.retain(|_, links| links.iter().any(|link| link.action_id.as_ref() == Some(action)));
    Ok(rewards)
}

/// Returns every order ID of the rewards that share the key of this order.
fn order_ids_by_key(tx: &Tx<'_>, order: &OrderId) -> Result<BTreeSet<OrderId>, DbError> {
    let rewards = rewards_by_key(tx, KeyIndex::Order, order_key(order.as_str()))?;
    Ok(rewards.into_values().flatten().filter_map(|link| link.order_id).collect())
}

static WHOLE_REWARDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, {}, {}, {} FROM rewards JOIN accounts ON accounts.id = rewards.account
             JOIN link_patterns ON link_patterns.id = rewards.pattern JOIN descriptors ON descriptors.id = rewards.descriptor",
        REWARDS.selected, ACCOUNTS.selected, LINK_PATTERNS.selected, DESCRIPTORS.selected
    )
});

static REWARD_OF_ROW: LazyLock<String> = LazyLock::new(|| format!("{} WHERE rewards.id = ?1", *WHOLE_REWARDS));

static REWARDS_OF_ROWS: LazyLock<String> =
    LazyLock::new(|| format!("{} WHERE rewards.id = ANY (?1) ORDER BY rewards.id", *WHOLE_REWARDS));

/// Reads the reward of a row. Fails if one of the reward's rows in the joined tables is damaged or missing.
pub(super) fn indexed(tx: &Tx<'_>, row: i64, links: &[Link]) -> Result<IndexedReward, DbError> {
    let found = tx.opt(&REWARD_OF_ROW, &[&row], |row| verified(row, links))?;
    found.ok_or_else(|| damaged("a reward that has links"))
}

/// As [`indexed`], for several rewards, in the order of their rows. A server reads all of them in one statement.
fn all_indexed(tx: &Tx<'_>, rewards: &BTreeMap<i64, Vec<Link>>) -> Result<Vec<IndexedReward>, DbError> {
    if !tx.is_remote() || rewards.len() < 2 {
        return rewards.iter().map(|(row, links)| indexed(tx, *row, links)).collect();
    }
    let rows: Vec<i64> = rewards.keys().copied().collect();
    let found = tx.rows_in(&REWARDS_OF_ROWS, Keys::Integers(&rows), |row| {
        let links = rewards.get(&row.get(1)?).ok_or_else(|| damaged("the index of rewards"))?;
        verified(row, links)
    })?;
    if found.len() == rows.len() { Ok(found) } else { Err(damaged("a reward that has links")) }
}

/// Reads a reward from a row of [`WHOLE_REWARDS`]. Fails if a part of the row is damaged.
fn verified(row: &Row<'_>, links: &[Link]) -> Result<IndexedReward, DbError> {
    let mut at = 0;
    for table in [&*REWARDS, &*ACCOUNTS, &*LINK_PATTERNS, &*DESCRIPTORS] {
        table.verify(row, at)?;
        at += table.width();
    }
    let found = from_row(row, links)?;
    let has_links = matches!(found.link_kind, LinkKind::Both | LinkKind::OrderOnly | LinkKind::ActionOnly);
    if has_links && links.is_empty() {
        return Err(damaged("the list of links of a reward"));
    }
    Ok(found)
}

/// Reads a reward from the columns of `rewards`, `accounts`, `link_patterns` and `descriptors`. The checksum of each
/// table comes before the table's other columns.
fn from_row(row: &Row<'_>, links: &[Link]) -> Result<IndexedReward, DbError> {
    // The positions of the checksums of the tables `accounts`, `link_patterns` and `descriptors`.
    const ACCOUNT: usize = 23;
    const PATTERN: usize = ACCOUNT + 4;
    const DESCRIPTOR: usize = PATTERN + 6;
    let link_kind = match row.get(PATTERN + 2)? {
        "both" => LinkKind::Both,
        "order_only" => LinkKind::OrderOnly,
        "action_only" => LinkKind::ActionOnly,
        "neither" => LinkKind::Neither,
        _ => LinkKind::Ambiguous,
    };
    let listed_by: AccountId = row.get(ACCOUNT + 2)?;
    let account_id = row.get::<Option<AccountId>>(9)?.unwrap_or_else(|| listed_by.clone());
    let user_id = match row.get::<Option<UserId>>(10)? {
        Some(user) => Some(user).filter(|user| !user.as_str().is_empty()),
        None => Some(UserId::new(account_id.as_str())),
    };
    let date_created: Option<i64> = row.get(14)?;
    let account_gone_at: Option<i64> = row.get(ACCOUNT + 3)?;
    let (mut order_ids, mut action_ids) = (Vec::new(), Vec::new());
    for link in links {
        if let Some(order) = link.order_id.as_ref().filter(|order| !order_ids.contains(*order)) {
            order_ids.push(order.clone());
        }
        if let Some(action) = link.action_id.as_ref().filter(|action| !action_ids.contains(*action)) {
            action_ids.push(action.clone());
        }
    }
    Ok(IndexedReward {
        reward: Reward {
            reward_id: row.get(2)?,
            account_id,
            user_id,
            reward_type: row.get(DESCRIPTOR + 3)?,
            reward_source: row.get(DESCRIPTOR + 4)?,
            unit: row.get(DESCRIPTOR + 5)?,
            program_id: row.get(DESCRIPTOR + 6)?,
            name: row.get(DESCRIPTOR + 7)?,
            currency: row.get(DESCRIPTOR + 8)?,
            assigned: row.get(12)?,
            redeemed: row.get(13)?,
            cancellable: row.get(DESCRIPTOR + 10)?,
            date_created,
            date_given: row.get::<Option<i64>>(15)?.or(date_created).filter(|given| *given != 0),
            date_scheduled_for: row.get(16)?,
            date_expires: row.get(17)?,
            date_cancelled: row.get(18)?,
            date_redeemed: row.get(19)?,
            statuses: row.get(DESCRIPTOR + 9)?,
            date_modified: row.get(22)?,
        },
        listed_by,
        link_kind,
        order_ids,
        action_ids,
        action_by_search: row.get(PATTERN + 5)?,
        gone: account_gone_at.is_some() || row.get::<Option<i64>>(8)?.is_some(),
        ambiguous: link_kind == LinkKind::Ambiguous,
        read_at: moment(row.get(7)?),
        via: ApiSource::of_number(row.get(21)?),
        referral_id: row.get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::Identity;
    use crate::store::db::ToValue;

    #[test]
    fn no_query_about_a_pasted_text_scans_a_table() {
        let dir = TempDir::new().expect("a folder");
        let index = Index::open(dir.path().join("recoup.db"), &Identity::of_a_test()).expect("opens");
        let entries = [KeyIndex::Order, KeyIndex::Action].map(KeyIndex::entries_and_sum);
        for query in [ORDERS_OF_PARTICIPANT, ROW_OF_REWARD, entries[0], entries[1]] {
            let args: [&dyn ToValue; 3] = [&"1", &"1", &"1"];
            let args = &args[..["?1", "?2", "?3"].iter().filter(|name| query.contains(**name)).count()];
            let explain = format!("EXPLAIN QUERY PLAN {query}");
            let plan: Vec<String> = index.conn.read(|tx| tx.rows(&explain, args, |row| row.get(3))).expect("plans");
            assert!(!plan.is_empty() && plan.iter().all(|step| !step.starts_with("SCAN ")), "{query}: {plan:#?}");
        }
    }
}
