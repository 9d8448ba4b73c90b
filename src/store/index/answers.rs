//! Answers: what is known of an order or an action. Exact matches only; suggestions are a list of their own.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{IndexReader, Via, moment};
use crate::error::Result;
use crate::model::{AccountId, ActionId, LinkKind, OrderId, Reward, UserId};

/// A reward as the index has it.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedReward {
    /// The reward.
    pub reward: Reward,
    /// The account in whose list it was; to be asked for it again. `reward.account_id` is what the reward itself says.
    pub listed_by: AccountId,
    /// What it offers, as a whole.
    pub link_kind: LinkKind,
    /// Every order ID it offers.
    pub order_ids: Vec<OrderId>,
    /// Every ActionId it offers.
    pub action_ids: Vec<ActionId>,
    /// The ActionId was found by search, not at a configured path.
    pub action_by_search: bool,
    /// It, or its account, is no longer listed by the vendor.
    pub gone: bool,
    /// Which API its links came by.
    pub via: Via,
    /// It offers different values for one thing: never retracted until a JSONPath is configured.
    pub ambiguous: bool,
    /// When it was asked for.
    pub read_at: Timestamp,
}

/// An order found on a reward, with one of the ActionIds beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The ActionId, where the reward offers one.
    pub action_id: Option<ActionId>,
    /// The reward.
    pub indexed: IndexedReward,
}

impl IndexReader {
    /// The rewards that carry exactly this order ID, oldest row first.
    pub fn find(&self, order: &OrderId) -> Result<Vec<Match>> {
        self.read(|conn| {
            let rows: Vec<(i64, Option<ActionId>)> = conn
                .prepare_cached("SELECT reward, action_id FROM links WHERE order_id = ?1 ORDER BY reward, n")?
                .query_map(params![order], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            rows.into_iter().map(|(row, action_id)| Ok(Match { action_id, indexed: indexed(conn, row)? })).collect()
        })
    }

    /// Every reward that carries exactly this order ID, or an ActionId that stands beside it on another reward, oldest row
    /// first: the referrer's and the friend's may carry different halves of the link.
    pub fn rewards_of_order(&self, order: &OrderId) -> Result<Vec<IndexedReward>> {
        self.read(|conn| {
            let rows: Vec<i64> = conn
                .prepare_cached(
                    "SELECT reward FROM links WHERE order_id = ?1
                     UNION SELECT other.reward FROM links own JOIN links other ON other.action_id = own.action_id
                         WHERE own.order_id = ?1 ORDER BY 1",
                )?
                .query_map(params![order], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            rows.into_iter().map(|row| indexed(conn, row)).collect()
        })
    }

    /// Order IDs that differ from this one in case, white space, a leading `#` or leading zeros only.
    pub fn suggestions(&self, order: &OrderId, limit: usize) -> Result<Vec<OrderId>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT order_id FROM links WHERE order_fold = ?1 AND order_id <> ?2
                 UNION SELECT order_id FROM links WHERE order_id = ?1 AND order_id <> ?2 ORDER BY 1 LIMIT ?3",
            )?
            .query_map(params![order.folded(), order, limit as i64], |row| row.get(0))?
            .collect()
        })
    }

    /// Every reward that carries exactly this ActionId: the referrer's and the friend's may be in different accounts.
    pub fn rewards_of_action(&self, action: &ActionId) -> Result<Vec<IndexedReward>> {
        self.read(|conn| {
            let rows: Vec<i64> = conn
                .prepare_cached("SELECT DISTINCT reward FROM links WHERE action_id = ?1 ORDER BY reward")?
                .query_map(params![action], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            rows.into_iter().map(|row| indexed(conn, row)).collect()
        })
    }
}

pub(super) fn indexed(conn: &Connection, row: i64) -> rusqlite::Result<IndexedReward> {
    let (mut reward, pairs) = (
        conn.prepare_cached(
            "SELECT reward_id, coalesce(rewards.account_id, accounts.account_id), user_id, reward_type, reward_source, unit,
                 program_id, name, currency, assigned, redeemed, cancellable, date_created,
                 nullif(coalesce(date_given, date_created), 0), date_scheduled_for, date_expires, date_cancelled, date_redeemed, statuses,
                 accounts.account_id, kind, by_search, rewards.gone_at IS NOT NULL OR accounts.gone_at IS NOT NULL,
                 rewards.read_at, via, date_modified
             FROM rewards JOIN accounts ON accounts.id = account JOIN findings ON findings.id = finding
                 JOIN descriptors ON descriptors.id = descriptor
             WHERE rewards.id = ?1",
        )?
        .query_row([row], from_row)?,
        conn.prepare_cached("SELECT order_id, action_id FROM links WHERE reward = ?1 ORDER BY n")?
            .query_map([row], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<(Option<OrderId>, Option<ActionId>)>, _>>()?,
    );
    for (order, action) in pairs {
        reward.order_ids.extend(order.filter(|order| !reward.order_ids.contains(order)));
        reward.action_ids.extend(action.filter(|action| !reward.action_ids.contains(action)));
    }
    Ok(reward)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<IndexedReward> {
    let link_kind = match row.get_ref(20)?.as_str()? {
        "both" => LinkKind::Both,
        "order_only" => LinkKind::OrderOnly,
        "action_only" => LinkKind::ActionOnly,
        "neither" => LinkKind::Neither,
        _ => LinkKind::Ambiguous,
    };
    let account_id: AccountId = row.get(1)?;
    // Null stands for the same text as the account's, empty text for none.
    let user_id = match row.get::<_, Option<UserId>>(2)? {
        Some(user) => Some(user).filter(|user| !user.as_str().is_empty()),
        None => Some(UserId::new(account_id.as_str())),
    };
    Ok(IndexedReward {
        reward: Reward {
            reward_id: row.get(0)?,
            account_id,
            user_id,
            reward_type: row.get(3)?,
            reward_source: row.get(4)?,
            unit: row.get(5)?,
            program_id: row.get(6)?,
            name: row.get(7)?,
            currency: row.get(8)?,
            assigned: row.get(9)?,
            redeemed: row.get(10)?,
            cancellable: row.get(11)?,
            date_created: row.get(12)?,
            date_given: row.get(13)?,
            date_scheduled_for: row.get(14)?,
            date_expires: row.get(15)?,
            date_cancelled: row.get(16)?,
            date_redeemed: row.get(17)?,
            statuses: row.get(18)?,
            date_modified: row.get(25)?,
        },
        listed_by: row.get(19)?,
        link_kind,
        order_ids: Vec::new(),
        action_ids: Vec::new(),
        action_by_search: row.get(21)?,
        gone: row.get(22)?,
        ambiguous: link_kind == LinkKind::Ambiguous,
        read_at: moment(row.get(23)?),
        via: Via::of_number(row.get(24)?),
    })
}
