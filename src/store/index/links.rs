//! Links in the file: what a reward offers, and by what it is found again.
//!
//! An order is looked for as it is written and as it may have been meant, an action as it is written. Each has a key, a hash
//! of its text, and keys lead to rewards. Order IDs and ActionIds come in no order, so an index over them grows all
//! over: with millions of them, every link of a batch changes a page of its own. New keys are therefore collected in a small
//! table that costs a batch few pages however large the index is, and are moved on many thousands at a time, in order.
//!
//! A key only leads to a reward. The text of its links decides, byte for byte; here nothing may answer by the key alone.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Row, Transaction, params};

use super::pen::{Pen, Sql};
use super::sums::know_sums;
use crate::model::{Link, fnv1a};

/// Keys that are collected before they are moved on: about a megabyte.
const MANY: i64 = 1 << 16;
/// White space to Unicode, not to ASCII.
const VERTICAL_TAB: u8 = 11;

/// The key of an order ID: the same for all that differ in case, white space, a leading `#` and leading zeros only. Letters
/// beyond ASCII do not count, since another version of Unicode may see their case otherwise, and what is in the file must be
/// found by every build.
pub(super) fn order_key(order: &str) -> i64 {
    let counted = order.bytes().filter(|byte| byte.is_ascii() && !byte.is_ascii_whitespace() && *byte != VERTICAL_TAB);
    fnv1a(counted.map(|byte| byte.to_ascii_lowercase()).skip_while(|byte| matches!(byte, b'#' | b'0'))).cast_signed()
}

/// The key of an ActionId; never that of an order ID with the same text.
pub(super) fn action_key(action: &str) -> i64 {
    fnv1a([0].into_iter().chain(action.bytes())).cast_signed()
}

/// Gives SQL the two kinds of keys, as `order_key` and `action_key`, and the sums; the key of null is null.
pub fn know_keys(conn: &Connection) -> rusqlite::Result<()> {
    know_sums(conn)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("order_key", 1, flags, |context| {
        Ok(context.get_raw(0).as_str_or_null()?.map(order_key))
    })?;
    conn.create_scalar_function("action_key", 1, flags, |context| {
        Ok(context.get_raw(0).as_str_or_null()?.map(action_key))
    })
}

/// The rewards that a key leads to, as SQL.
macro_rules! led_to {
    ($key:literal) => {
        concat!(
            "SELECT reward FROM link_keys WHERE key = ",
            $key,
            " UNION ALL SELECT reward FROM new_link_keys WHERE key = ",
            $key
        )
    };
}
pub(super) use led_to;

pub(super) fn links_of(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<Vec<Link>> {
    tx.prepare_cached("SELECT order_id, action_id FROM links WHERE reward = ?1 ORDER BY n")?
        .query_map([row], link_from)?
        .collect()
}

pub(super) fn link_from(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link { order_id: row.get(0)?, action_id: row.get(1)? })
}

/// Writes a reward's links where they changed.
pub(super) fn write_links(pen: &mut Pen<'_>, row: i64, old: &[Link], new: &[Link]) -> rusqlite::Result<()> {
    if old == new {
        return Ok(());
    }
    if !old.is_empty() {
        delete_links(pen, row)?;
    }
    for (n, link) in new.iter().enumerate() {
        pen.sql(Sql::NewLink)?.execute(params![row, n as i64, new.len() as i64, link.order_id, link.action_id])?;
        let order = link.order_id.as_ref().map(|order| order_key(order.as_str()));
        let action = link.action_id.as_ref().map(|action| action_key(action.as_str()));
        for key in order.into_iter().chain(action) {
            pen.sql(Sql::NewLinkKey)?.execute([key, row])?;
        }
    }
    Ok(())
}

/// Takes a reward's links out, with all that leads to them.
pub(super) fn delete_links(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<()> {
    for keys in ["link_keys", "new_link_keys"] {
        tx.prepare_cached(&format!(
            "DELETE FROM {keys} WHERE reward = ?1 AND key IN (SELECT order_key(order_id) FROM links WHERE reward = ?1
                 UNION ALL SELECT action_key(action_id) FROM links WHERE reward = ?1)"
        ))?
        .execute([row])?;
    }
    tx.prepare_cached("DELETE FROM links WHERE reward = ?1")?.execute([row]).map(drop)
}

/// Moves the new keys to the others once they are many. Called in the transaction of every batch that may have added some.
pub(super) fn move_keys_on(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let count: i64 = tx.prepare_cached("SELECT count(*) FROM new_link_keys")?.query_row([], |row| row.get(0))?;
    if count < MANY {
        return Ok(());
    }
    tx.execute_batch(
        "INSERT OR IGNORE INTO link_keys (key, reward) SELECT key, reward FROM new_link_keys ORDER BY key, reward;
         DELETE FROM new_link_keys;",
    )
}

/// How many links would not be found, because a key does not lead to them. Asks for the keys of every link.
pub(in crate::store) fn links_without_keys(conn: &Connection) -> rusqlite::Result<u64> {
    know_keys(conn)?;
    let led = |key: &str| {
        format!(
            "(EXISTS (SELECT 1 FROM link_keys AS led WHERE led.key = {key} AND led.reward = links.reward)
                 OR EXISTS (SELECT 1 FROM new_link_keys AS led WHERE led.key = {key} AND led.reward = links.reward))"
        )
    };
    let (order, action) = (led("order_key(order_id)"), led("action_key(action_id)"));
    let select = format!(
        "SELECT count(*) FROM links WHERE order_id IS NOT NULL AND NOT {order} OR action_id IS NOT NULL AND NOT {action}"
    );
    conn.query_row(&select, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tempfile::TempDir;

    use super::super::{Erased, Index, IndexReader, NewRun, ReadReward, RewardRows, RunKey, moment};
    use super::*;
    use crate::extract::{self, Mapping};
    use crate::model::{AccountId, ActionId, OrderId, RewardId};
    use crate::store::Identity;

    fn open(dir: &TempDir) -> (Index, IndexReader, RunKey) {
        let identity = Identity::of_a_test();
        let path = dir.path().join("recoup.db");
        let mut index = Index::open(&path, &identity).expect("opens");
        let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
        let (run, _) = index.begin_run(NewRun::of("graphql"), moment(1)).expect("begins");
        (index, reader, run)
    }

    fn record(index: &mut Index, run: RunKey, ms: i64, rewards: &[(&str, &str, &str)]) {
        let account = AccountId::new("a");
        let rewards = rewards.iter().map(|(id, order, action)| {
            let raw = json!({"id": id, "orderId": order, "actionId": action}).to_string();
            let extracted = extract::read(&raw, &account, &Mapping::default()).expect("a reward");
            (account.clone(), ReadReward::new(extracted, &raw))
        });
        let page = RewardRows { rewards: rewards.collect(), unusable: 0, cursor: "{}".to_owned() };
        index.commit_rewards(run, &page, moment(ms)).expect("commits");
    }

    fn count(index: &Index, table: &str) -> i64 {
        index
            .read(|conn| conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)))
            .expect("counts")
    }

    /// What is known of an order and of an action: IDs of rewards.
    fn found(reader: &IndexReader, order: &str, action: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let id = |id: &RewardId| id.as_str().to_owned();
        let order = OrderId::new(order);
        (
            reader.find(&order).expect("finds").iter().map(|found| id(&found.indexed.reward.reward_id)).collect(),
            reader.rewards_of_order(&order).expect("finds").iter().map(|found| id(&found.reward.reward_id)).collect(),
            reader
                .rewards_of_action(&ActionId::new(action))
                .expect("finds")
                .iter()
                .map(|found| id(&found.reward.reward_id))
                .collect(),
        )
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    /// As many keys as are collected before they are moved on. They lead to no reward.
    fn fill(index: &mut Index) {
        let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT OR IGNORE INTO new_link_keys (key, reward) SELECT n * 1000003, -n FROM n";
        index.write(|tx, _| tx.execute(many, [MANY]).map(drop)).expect("fills");
    }

    #[test]
    fn links_are_found_before_and_after_their_keys_are_moved_on_and_across_both() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "#1001", "1.2.3"), ("r2", "other", "1.2.3")]);
        let expected = (ids(&["r1"]), ids(&["r1", "r2"]), ids(&["r1", "r2"]));
        assert_eq!((count(&index, "link_keys"), count(&index, "new_link_keys")), (0, 4));
        assert_eq!(found(&reader, "#1001", "1.2.3"), expected);
        fill(&mut index);
        record(&mut index, run, 3, &[("r3", "x", "4.5.6")]);
        assert_eq!((count(&index, "link_keys"), count(&index, "new_link_keys")), (MANY + 6, 0));
        assert_eq!(found(&reader, "#1001", "1.2.3"), expected);
        record(&mut index, run, 4, &[("r4", "001001", "1.2.3")]);
        assert_eq!(count(&index, "new_link_keys"), 2);
        assert_eq!(
            found(&reader, "#1001", "1.2.3"),
            (ids(&["r1"]), ids(&["r1", "r2", "r4"]), ids(&["r1", "r2", "r4"]))
        );
        assert_eq!(found(&reader, "001001", "").1, ids(&["r1", "r2", "r4"]), "from the new to the moved");
        assert_eq!(
            reader.suggestions(&OrderId::new("1001"), 5).expect("suggests"),
            [OrderId::new("#1001"), OrderId::new("001001")]
        );
        assert!(
            index.has_order(&OrderId::new("x")).expect("looks") && !index.has_order(&OrderId::new("X")).expect("looks")
        );
    }

    #[test]
    fn what_leads_to_a_link_goes_with_it_wherever_it_is() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "old", "1.1.1")]);
        fill(&mut index);
        record(&mut index, run, 3, &[("r2", "old", "1.1.1")]);
        record(&mut index, run, 4, &[("r3", "old", "1.1.1")]);
        assert_eq!((count(&index, "link_keys"), count(&index, "new_link_keys")), (MANY + 4, 2));
        record(&mut index, run, 5, &[("r1", "new", "2.2.2"), ("r3", "new", "2.2.2")]);
        assert_eq!((count(&index, "link_keys"), count(&index, "new_link_keys")), (MANY + 2, 4));
        assert_eq!(found(&reader, "old", "1.1.1"), (ids(&["r2"]), ids(&["r2"]), ids(&["r2"])));
        assert_eq!(found(&reader, "new", "2.2.2").0, ids(&["r1", "r3"]));
        index.erase(&[AccountId::new("a")], Erased::default(), |_| ()).expect("erases");
        assert_eq!((count(&index, "link_keys"), count(&index, "new_link_keys")), (MANY, 0));
    }

    #[test]
    fn two_texts_with_one_key_are_not_taken_for_each_other() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "mine", "1.1.1"), ("r2", "yours", "2.2.2")]);
        // As if all four had one hash.
        index
            .write(|tx, _| {
                tx.execute_batch(
                    "INSERT OR IGNORE INTO link_keys SELECT one.key, other.reward FROM new_link_keys one, new_link_keys other",
                )
            })
            .expect("collides");
        assert_eq!(found(&reader, "mine", "1.1.1"), (ids(&["r1"]), ids(&["r1"]), ids(&["r1"])));
        assert_eq!(found(&reader, "yours", "2.2.2"), (ids(&["r2"]), ids(&["r2"]), ids(&["r2"])));
        assert_eq!(found(&reader, "Mine", "mine"), (vec![], vec![], vec![]));
        assert_eq!(reader.suggestions(&OrderId::new("MINE"), 5).expect("suggests"), [OrderId::new("mine")]);
    }

    #[test]
    fn keys_are_the_same_in_every_build() {
        assert_eq!((order_key("O-1"), action_key("O-1")), (KEPT[0], KEPT[1]));
        assert_eq!(order_key(""), KEPT[2]);
    }

    /// As they stand in files.
    const KEPT: [i64; 3] = [1_817_736_920_224_704_104, -6_874_711_304_230_145_790, -3_750_763_034_362_895_579];

    /// Keys that a link should have and has not, and keys that no link has.
    fn at_odds(index: &Index) -> (i64, i64) {
        let of_links = "SELECT order_key(order_id) AS key, reward FROM links WHERE order_id IS NOT NULL
             UNION SELECT action_key(action_id), reward FROM links WHERE action_id IS NOT NULL";
        let kept = "SELECT key, reward FROM link_keys WHERE reward > 0 UNION SELECT key, reward FROM new_link_keys WHERE reward > 0";
        let count = |sql: String| {
            index.read(|conn| conn.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get(0)))
        };
        (
            count(format!("SELECT * FROM ({of_links}) EXCEPT SELECT * FROM ({kept})")).expect("counts"),
            count(format!("SELECT * FROM ({kept}) EXCEPT SELECT * FROM ({of_links})")).expect("counts"),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn links_and_keys_never_part(steps in prop::collection::vec((0..6_u8, 0..4_u8, 0..4_u8, 0..12_u8), 1..20)) {
            let dir = TempDir::new().expect("a folder");
            let (mut index, _reader, run) = open(&dir);
            for (at, (reward, order, action, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => fill(&mut index),
                    1 => drop(index.erase(&[AccountId::new("a")], Erased::default(), |_| ()).expect("erases")),
                    _ => {
                        let text = |name: &str, n: u8| if n == 0 { String::new() } else { format!("{name}{n}") };
                        let (reward, order, action) = (format!("r{reward}"), text("#o", order), text("1.2.", action));
                        record(&mut index, run, at as i64 + 2, &[(reward.as_str(), order.as_str(), action.as_str())]);
                    }
                }
                prop_assert_eq!(at_odds(&index), (0, 0));
            }
        }
    }

    proptest! {
        /// A suggestion is found by its key, so what suggestions overlook must not count in it.
        #[test]
        fn what_folds_alike_has_one_key(order in "[ \\t#0a-cA-C\u{e9}\u{c9}\u{a0}\u{3000}-]{0,8}") {
            let folded = OrderId::new(order.as_str()).folded();
            prop_assert_eq!(order_key(&order), order_key(&folded), "{:?} and {:?}", order, folded);
        }
    }
}
