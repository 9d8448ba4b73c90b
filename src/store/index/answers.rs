//! Answers: what is known of an order or an action. Exact matches only; suggestions are a list of their own.

use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, params};

use super::links::{action_key, led_to, order_key};
use super::sums::{check_key, damaged, must_add_up, row_adds_up};
use super::{IndexReader, Via, moment};
use crate::error::Result;
use crate::model::order_text::skeleton;
use crate::model::{AccountId, ActionId, LinkKind, OrderId, Reward, RewardId, UserId};

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

/// The two questions after rewards, by what tells which rows they are: the rewards, and everything that they offer. However many
/// there are, it is two questions: what an agent waits for is mostly the beginning and the end of each.
struct Which {
    rewards: &'static str,
    links: &'static str,
}

macro_rules! which {
    ($rows:expr) => {
        Which {
            rewards: concat!(
                "SELECT reward_id, coalesce(rewards.account_id, accounts.account_id), user_id, reward_type, reward_source, unit,
                     program_id, name, currency, assigned, redeemed, cancellable, date_created,
                     nullif(coalesce(date_given, date_created), 0), date_scheduled_for, date_expires, date_cancelled,
                     date_redeemed, statuses, accounts.account_id, kind, by_search,
                     rewards.gone_at IS NOT NULL OR accounts.gone_at IS NOT NULL, rewards.read_at, via, date_modified,
                     rewards.id, ",
                row_adds_up!(rewards),
                " AND ",
                row_adds_up!(accounts),
                " AND ",
                row_adds_up!(findings),
                " AND ",
                row_adds_up!(descriptors),
                " FROM rewards LEFT JOIN accounts ON accounts.id = account LEFT JOIN findings ON findings.id = finding
                     LEFT JOIN descriptors ON descriptors.id = descriptor
                 WHERE rewards.id IN (",
                $rows,
                ") ORDER BY rewards.id"
            ),
            links: concat!(
                "SELECT reward, order_id, action_id, count, ",
                row_adds_up!(links),
                " FROM links WHERE reward IN (",
                $rows,
                ") ORDER BY reward, n"
            ),
        }
    };
}

/// The rewards of an order.
macro_rules! of_order {
    () => {
        concat!("SELECT reward FROM links WHERE reward IN (", led_to!("order_key(?1)"), ") AND order_id = ?1")
    };
}

/// The rewards that carry an ActionId which stands beside an order, by one of the tables that lead there.
macro_rules! of_its_actions {
    ($keys:literal) => {
        concat!(
            "SELECT other.reward FROM links own CROSS JOIN ",
            $keys,
            " led ON led.key = action_key(own.action_id)
                 CROSS JOIN links other ON other.reward = led.reward AND other.action_id = own.action_id
             WHERE own.reward IN (",
            led_to!("order_key(?1)"),
            ") AND own.order_id = ?1"
        )
    };
}

const OF_ROW: Which = which!("?1");
const OF_REWARD: Which = which!("SELECT id FROM rewards WHERE reward_id = ?1");
const OF_ORDER: Which = which!(of_order!());
const OF_ACTION: Which =
    which!(concat!("SELECT reward FROM links WHERE reward IN (", led_to!("action_key(?1)"), ") AND action_id = ?1"));
const OF_ORDER_AND_ITS_ACTIONS: Which =
    which!(concat!(of_order!(), " UNION ", of_its_actions!("link_keys"), " UNION ", of_its_actions!("new_link_keys")));

/// Order IDs by the key of one.
const ALIKE: &str = concat!(
    "SELECT DISTINCT order_id FROM links WHERE reward IN (",
    led_to!("order_key(?1)"),
    ") AND order_id IS NOT NULL ORDER BY order_id <> ?1, order_id"
);

/// Orders by a participant's ID. A user ID is null where it is the account ID, so each half has an index of its own.
const ORDERS_OF_PARTICIPANT: &str = "SELECT order_id FROM links WHERE order_id IS NOT NULL AND reward IN (
         SELECT rewards.id FROM accounts CROSS JOIN rewards ON rewards.account = accounts.id WHERE accounts.account_id = ?1
         UNION SELECT id FROM rewards WHERE user_id = ?1 AND user_id <> '')
     GROUP BY order_id ORDER BY max(reward) DESC LIMIT ?2";

/// What one reward offers, in its own order.
type Pairs = Vec<(Option<OrderId>, Option<ActionId>)>;

impl IndexReader {
    /// The rewards that carry exactly this order ID, oldest row first.
    pub fn find(&self, order: &OrderId) -> Result<Vec<Match>> {
        self.consistent(|conn| {
            check_key(conn, order_key(order.as_str()))?;
            let mut matches = Vec::new();
            for (indexed, pairs) in rewards(conn, &OF_ORDER, order)? {
                let actions: Vec<Option<ActionId>> = pairs
                    .into_iter()
                    .filter(|(own, _)| own.as_ref() == Some(order))
                    .map(|(_, action)| action)
                    .collect();
                let each = std::iter::repeat_n(indexed, actions.len());
                matches.extend(each.zip(actions).map(|(indexed, action_id)| Match { action_id, indexed }));
            }
            Ok(matches)
        })
    }

    /// Every reward that carries exactly this order ID, or an ActionId that stands beside it on another reward, oldest row
    /// first: the referrer's and the friend's may carry different halves of the link.
    pub fn rewards_of_order(&self, order: &OrderId) -> Result<Vec<IndexedReward>> {
        self.consistent(|conn| {
            check_key(conn, order_key(order.as_str()))?;
            for (indexed, _) in rewards(conn, &OF_ORDER, order)? {
                for action in indexed.action_ids {
                    check_key(conn, action_key(action.as_str()))?;
                }
            }
            Ok(alone(rewards(conn, &OF_ORDER_AND_ITS_ACTIONS, order)?))
        })
    }

    /// Order IDs that differ from this one in case, white space, a leading `#` or leading zeros only.
    pub fn suggestions(&self, order: &OrderId, limit: usize) -> Result<Vec<OrderId>> {
        self.consistent(|conn| {
            check_key(conn, order_key(order.as_str()))?;
            let select = concat!(
                "SELECT DISTINCT order_id FROM links WHERE reward IN (",
                led_to!("order_key(?1)"),
                ") AND order_id <> ?1 ORDER BY 1"
            );
            let folded = order.folded();
            let mut statement = conn.prepare_cached(select)?;
            let led_to = statement.query_map([order], |row| row.get::<_, OrderId>(0))?;
            // A key overlooks more than a suggestion does, and a reward may offer other orders beside the one that leads to it.
            led_to.filter(|other| other.as_ref().map_or(true, |other| other.folded() == folded)).take(limit).collect()
        })
    }

    /// The reward with this ID.
    pub fn reward(&self, reward: &RewardId) -> Result<Option<IndexedReward>> {
        self.consistent(|conn| Ok(alone(rewards(conn, &OF_REWARD, reward)?).pop()))
    }

    /// Some order IDs, to see how the shop writes them.
    pub fn some_order_ids(&self, limit: usize) -> Result<Vec<OrderId>> {
        self.read(|conn| {
            let select = "SELECT order_id FROM links WHERE order_id IS NOT NULL LIMIT ?1";
            conn.prepare_cached(select)?.query_map([limit as i64], |row| row.get(0))?.collect()
        })
    }

    /// The orders of a participant's rewards, newest first, by account ID or user ID.
    pub fn orders_of_participant(&self, id: &str, limit: usize) -> Result<Vec<OrderId>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached(ORDERS_OF_PARTICIPANT)?;
            statement.query_map(params![id, limit as i64], |row| row.get(0))?.collect()
        })
    }

    /// Order IDs that people cannot tell from this one, itself included: those of the same [`skeleton`]. One look-up by key.
    pub fn alike(&self, order: &OrderId, limit: usize) -> Result<Vec<OrderId>> {
        self.consistent(|conn| {
            check_key(conn, order_key(order.as_str()))?;
            let form = skeleton(order.as_str());
            let mut statement = conn.prepare_cached(ALIKE)?;
            let led_to = statement.query_map([order], |row| row.get::<_, OrderId>(0))?;
            led_to
                .filter(|other| other.as_ref().map_or(true, |other| skeleton(other.as_str()) == form))
                .take(limit)
                .collect()
        })
    }

    /// Every reward that carries exactly this ActionId: the referrer's and the friend's may be in different accounts.
    pub fn rewards_of_action(&self, action: &ActionId) -> Result<Vec<IndexedReward>> {
        self.consistent(|conn| {
            check_key(conn, action_key(action.as_str()))?;
            Ok(alone(rewards(conn, &OF_ACTION, action)?))
        })
    }
}

/// The reward in this row.
pub(super) fn indexed(conn: &Connection, row: i64) -> rusqlite::Result<IndexedReward> {
    alone(rewards(conn, &OF_ROW, &row)?).pop().ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn alone(rewards: Vec<(IndexedReward, Pairs)>) -> Vec<IndexedReward> {
    rewards.into_iter().map(|(indexed, _)| indexed).collect()
}

/// A reward with what it offers, and how many links it must have.
struct Offered {
    row: i64,
    indexed: IndexedReward,
    pairs: Pairs,
    links: Option<i64>,
}

/// Rewards with what each offers, by row; an error if a row is not what was written, or one is missing.
fn rewards(conn: &Connection, which: &Which, of: &dyn ToSql) -> rusqlite::Result<Vec<(IndexedReward, Pairs)>> {
    let mut found: Vec<Offered> = conn
        .prepare_cached(which.rewards)?
        .query_map([of], |row| {
            must_add_up(row.get(27)?, "a reward")?;
            Ok(Offered { row: row.get(26)?, indexed: from_row(row)?, pairs: Pairs::new(), links: None })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut links = conn.prepare_cached(which.links)?;
    let mut rows = links.query([of])?;
    // Both come by row, so the place moves on only.
    let mut at = 0;
    while let Some(row) = rows.next()? {
        must_add_up(row.get(4)?, "a link")?;
        let (reward, order, action): (i64, Option<OrderId>, Option<ActionId>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        while found.get(at).is_some_and(|known| known.row < reward) {
            at += 1;
        }
        let Some(offered) = found.get_mut(at).filter(|known| known.row == reward) else {
            return Err(damaged("a reward that has links"));
        };
        let indexed = &mut offered.indexed;
        if let Some(order) = order.as_ref().filter(|order| !indexed.order_ids.contains(order)) {
            indexed.order_ids.push(order.clone());
        }
        if let Some(action) = action.as_ref().filter(|action| !indexed.action_ids.contains(action)) {
            indexed.action_ids.push(action.clone());
        }
        offered.links = row.get(3)?;
        offered.pairs.push((order, action));
    }
    for offered in &found {
        let has_some = matches!(offered.indexed.link_kind, LinkKind::Both | LinkKind::OrderOnly | LinkKind::ActionOnly);
        let wanted = offered.links.unwrap_or(i64::from(has_some));
        if wanted != offered.pairs.len() as i64 {
            return Err(damaged("the list of links of a reward"));
        }
    }
    Ok(found.into_iter().map(|offered| (offered.indexed, offered.pairs)).collect())
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::Identity;
    use crate::store::index::Index;

    #[test]
    fn no_question_about_a_pasted_text_reads_a_whole_table() {
        let dir = TempDir::new().expect("a folder");
        let index = Index::open(&dir.path().join("recoup.db"), &Identity::of_a_test()).expect("opens");
        for question in
            [ORDERS_OF_PARTICIPANT, OF_REWARD.rewards, OF_REWARD.links, OF_ACTION.rewards, OF_ACTION.links, ALIKE]
        {
            let plan: Vec<String> = index
                .read(|conn| {
                    let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {question}"))?;
                    let given = plan.parameter_count();
                    plan.query_map(rusqlite::params_from_iter(vec!["1"; given]), |row| row.get(3))?.collect()
                })
                .expect("plans");
            assert!(plan.len() > 1 && plan.iter().all(|step| !step.starts_with("SCAN ")), "{question}: {plan:#?}");
        }
    }
}
