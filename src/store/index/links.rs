//! The links between orders and actions, and their look-up by key.
//!
//! A look-up finds a link by a key: a hash of the link's order ID or ActionId. The key of an order ID ignores the differences
//! that suggestions ignore, so one index serves exact look-ups and suggestions. Different IDs may have the same key, so
//! callers compare the IDs byte for byte.
//!
//! A damaged SQLite index could hide a link, and recoup would then report the link's order as *absent*. The table
//! `link_sums` prevents such a report: for each bucket of keys (the upper 14 bits) it has a sum over the index entries.
//! A look-up reads the whole bucket of its key and compares the sum, so a lost, changed or added entry is an error.
//! Each link also has the number of links of its reward, which reveals a lost row of the table `links` itself. The sums
//! do not detect two changes: damage to both a bucket and its sum that makes them agree again, and a deliberate change
//! by a person.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::sums::{LINKS, damaged, run_later_with_sum, summed_tables};
use crate::error::Result;
use crate::model::{Link, counted, fnv1a};
use crate::store::db::ColumnKind::Integer;
use crate::store::db::{Bulk, DbError, Keys, Row, ToValue, Tx};

/// The number of key bits below the bucket number. An index of ten million links has about 600 entries in each of its 16,384
/// buckets.
const BUCKET_SHIFT: u32 = 50;
/// The only ASCII white space character of Unicode that [`u8::is_ascii_whitespace`] excludes.
const VERTICAL_TAB: u8 = 11;

/// Returns the key of an order ID. Order IDs that differ only in case, white space, a leading `#` and leading zeros
/// have the same key. The key omits letters beyond ASCII, because another version of Unicode may fold the case of these
/// letters differently and stored keys must stay valid.
pub(super) fn order_key(order: &str) -> i64 {
    let kept = order.bytes().filter(|byte| byte.is_ascii() && !byte.is_ascii_whitespace() && *byte != VERTICAL_TAB);
    fnv1a(kept.map(|byte| byte.to_ascii_lowercase()).skip_while(|byte| matches!(byte, b'#' | b'0'))).cast_signed()
}

pub(super) fn action_key(action: &str) -> i64 {
    fnv1a(action.bytes()).cast_signed()
}

/// One of the two SQL indexes of `links`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyIndex {
    Order,
    Action,
}

impl KeyIndex {
    /// Returns the SQL query for the entries of this SQL index between two keys.
    fn entries(self) -> &'static str {
        match self {
            Self::Order => "SELECT order_key, reward, n FROM links WHERE order_key >= ?1 AND order_key <= ?2",
            Self::Action => "SELECT action_key, reward, n FROM links WHERE action_key >= ?1 AND action_key <= ?2",
        }
    }

    /// Returns the SQL query for the entries of this SQL index between two keys, and for the sum of a bucket, in a row without
    /// key.
    pub(super) fn entries_and_sum(self) -> &'static str {
        match self {
            Self::Order => {
                "SELECT order_key, reward, n FROM links WHERE order_key >= ?1 AND order_key <= ?2
                 UNION ALL SELECT NULL, order_sum, NULL FROM link_sums WHERE bucket = ?3"
            }
            Self::Action => {
                "SELECT action_key, reward, n FROM links WHERE action_key >= ?1 AND action_key <= ?2
                 UNION ALL SELECT NULL, action_sum, NULL FROM link_sums WHERE bucket = ?3"
            }
        }
    }
}

/// Returns the amount that one index entry adds to the checksum of its bucket. An amount has 32 bits, so 2^31 entries
/// cannot overflow the sum.
fn entry_sum(key: i64, reward: i64, n: i64) -> i64 {
    let bytes = [key, reward, n].into_iter().flat_map(i64::to_le_bytes);
    i64::from(fnv1a(bytes) as u32)
}

fn bucket(key: i64) -> i64 {
    key >> BUCKET_SHIFT
}

/// The changes that one transaction makes to `link_sums`. Each bucket maps to the changes of its order sum and its action
/// sum.
#[derive(Debug, Default)]
pub(super) struct LinkSumChanges(BTreeMap<i64, [i64; 2]>);

impl LinkSumChanges {
    fn add(&mut self, index: KeyIndex, key: Option<i64>, reward: i64, n: i64, sign: i64) {
        if let Some(key) = key {
            self.0.entry(bucket(key)).or_default()[index as usize] += sign * entry_sum(key, reward, n);
        }
    }

    fn add_link(&mut self, link: &Link, reward: i64, n: i64, sign: i64) {
        let [order, action] = keys_of(link);
        self.add(KeyIndex::Order, order, reward, n, sign);
        self.add(KeyIndex::Action, action, reward, n, sign);
    }

    /// Writes the changed sums. Callers must call this function in the transaction that wrote the links.
    pub(super) fn write(self, tx: &Tx<'_>) -> Result<(), DbError> {
        for (bucket, [orders, actions]) in self.0 {
            tx.run_later(&ADD_TO_SUMS, &[&bucket, &orders, &actions])?;
        }
        Ok(())
    }
}

static ADD_TO_SUMS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [("bucket", Integer), ("order_sum", Integer), ("action_sum", Integer)];
    let conflict = "ON CONFLICT (bucket) DO UPDATE SET order_sum = link_sums.order_sum + excluded.order_sum,
         action_sum = link_sums.action_sum + excluded.action_sum";
    Bulk::insert(5, "link_sums", 1, &columns, conflict)
});

static INSERT_LINK: LazyLock<Bulk> = LazyLock::new(|| LINKS.bulk_insert(4, &["order_id", "action_id"], ""));

fn keys_of(link: &Link) -> [Option<i64>; 2] {
    let order = link.order_id.as_ref().map(|order| order_key(order.as_str()));
    let action = link.action_id.as_ref().map(|action| action_key(action.as_str()));
    [order, action]
}

static LINKS_OF_REWARD: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE reward = ?1 ORDER BY n", LINKS.selected));

/// Returns the links of a reward in their order. Fails if a link is damaged or missing.
pub(super) fn links_of(tx: &Tx<'_>, reward: i64) -> Result<Vec<Link>, DbError> {
    let mut count: i64 = 0;
    let links = tx.rows(&LINKS_OF_REWARD, &[&reward], |row| {
        LINKS.verify(row, 0)?;
        count = row.get(3)?;
        link_from(row)
    })?;
    if count == links.len() as i64 { Ok(links) } else { Err(damaged("the list of links of a reward")) }
}

static LINKS_OF_REWARDS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM links WHERE reward = ANY (?1) ORDER BY reward, n", LINKS.selected));

/// As [`links_of`], for many rewards on a server. Omits a reward without links.
pub(super) fn links_of_each(tx: &Tx<'_>, rewards: &[i64]) -> Result<HashMap<i64, Vec<Link>>, DbError> {
    let mut found: HashMap<i64, (i64, Vec<Link>)> = HashMap::new();
    tx.rows_in(&LINKS_OF_REWARDS, Keys::Integers(rewards), |row| {
        LINKS.verify(row, 0)?;
        let of_reward = found.entry(row.get(1)?).or_default();
        of_reward.0 = row.get(3)?;
        of_reward.1.push(link_from(row)?);
        Ok(())
    })?;
    let complete = |(reward, (count, links)): (i64, (i64, Vec<Link>))| {
        if count == links.len() as i64 { Ok((reward, links)) } else { Err(damaged("the list of links of a reward")) }
    };
    found.into_iter().map(complete).collect()
}

/// Reads a link from the selected columns of `links`.
fn link_from(row: &Row<'_>) -> Result<Link, DbError> {
    Ok(Link { order_id: row.get(4)?, action_id: row.get(6)? })
}

/// Replaces a reward's links if the new links differ from the stored links.
pub(super) fn write_links(
    tx: &Tx<'_>,
    sums: &mut LinkSumChanges,
    reward: i64,
    old: &[Link],
    new: &[Link],
) -> Result<(), DbError> {
    if old == new {
        return Ok(());
    }
    if !old.is_empty() {
        delete_links(tx, sums, reward, old)?;
    }
    let count = new.len() as i64;
    for (n, link) in (0_i64..).zip(new) {
        let [order_key, action_key] = keys_of(link);
        let values: [&dyn ToValue; 7] = [&reward, &n, &count, &link.order_id, &order_key, &link.action_id, &action_key];
        run_later_with_sum(tx, &INSERT_LINK, &values)?;
        sums.add_link(link, reward, n, 1);
    }
    Ok(())
}

pub(super) fn delete_links(tx: &Tx<'_>, sums: &mut LinkSumChanges, reward: i64, old: &[Link]) -> Result<(), DbError> {
    for (n, link) in (0..).zip(old) {
        sums.add_link(link, reward, n, -1);
    }
    tx.run("DELETE FROM links WHERE reward = ?1", &[&reward]).map(drop)
}

/// Returns the rewards that have a link with this key, each with all its links, ordered by row. Fails if the key's
/// bucket or a link of these rewards is damaged. A key is only a hash, so the caller must compare the IDs of the
/// rewards.
pub(super) fn rewards_by_key(tx: &Tx<'_>, index: KeyIndex, key: i64) -> Result<BTreeMap<i64, Vec<Link>>, DbError> {
    let first = bucket(key) << BUCKET_SHIFT;
    let last = first | ((1 << BUCKET_SHIFT) - 1);
    let (mut sum, mut wanted) = (0, 0);
    let mut rewards = BTreeMap::new();
    tx.rows(index.entries_and_sum(), &[&first, &last, &bucket(key)], |row| {
        let (found, reward): (Option<i64>, i64) = (row.get(0)?, row.get(1)?);
        let Some(found) = found else {
            wanted = reward;
            return Ok(());
        };
        sum += entry_sum(found, reward, row.get(2)?);
        if found == key {
            rewards.insert(reward, Vec::new());
        }
        Ok(())
    })?;
    if sum != wanted {
        return Err(damaged("a bucket of links"));
    }
    let mut at_once = if tx.is_remote() && rewards.len() > 1 {
        Some(links_of_each(tx, &rewards.keys().copied().collect::<Vec<_>>())?)
    } else {
        None
    };
    for (reward, links) in &mut rewards {
        *links = match &mut at_once {
            Some(all) => all.remove(reward).unwrap_or_default(),
            None => links_of(tx, *reward)?,
        };
        if links.is_empty() {
            return Err(damaged("the list of links of a reward"));
        }
    }
    Ok(rewards)
}

/// Describes the first part of the index file that does not match its checksum; `None` if all parts match. The check
/// reads every row of the index except the raw JSON.
pub(in crate::store) fn first_damage(tx: &Tx<'_>) -> Result<Option<String>, DbError> {
    for table in summed_tables() {
        let mut damaged = 0;
        tx.each(&format!("SELECT {} FROM {}", table.selected, table.name), &[], |row| {
            damaged += u64::from(!table.matches(row, 0)?);
            Ok(())
        })?;
        if damaged > 0 {
            return Ok(Some(format!("{} of {} without the right checksum", counted(damaged, "row"), table.name)));
        }
    }
    let incomplete: i64 = tx.one(
        "SELECT count(*) FROM (SELECT 1 FROM links GROUP BY reward HAVING count(*) <> max(count)) AS incomplete",
        &[],
        |row| row.get(0),
    )?;
    if incomplete > 0 {
        return Ok(Some(format!("links are missing from {}", counted(incomplete, "reward"))));
    }
    // Computes the sums of a bucket twice, once from the rows of the table and once from each SQL index. A difference
    // means that an entry is missing.
    let mut of_rows = LinkSumChanges::default();
    tx.each(&format!("SELECT {} FROM links ORDER BY reward, n", LINKS.selected), &[], |row| {
        of_rows.add_link(&link_from(row)?, row.get(1)?, row.get(2)?, 1);
        Ok(())
    })?;
    let mut of_indexes = LinkSumChanges::default();
    for index in [KeyIndex::Order, KeyIndex::Action] {
        tx.each(index.entries(), &[&i64::MIN, &i64::MAX], |row| {
            of_indexes.add(index, row.get(0)?, row.get(1)?, row.get(2)?, 1);
            Ok(())
        })?;
    }
    let kept = tx.rows(
        "SELECT bucket, order_sum, action_sum FROM link_sums WHERE order_sum <> 0 OR action_sum <> 0",
        &[],
        |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?])),
    )?;
    let kept: BTreeMap<i64, [i64; 2]> = kept.into_iter().collect();
    let is_sound = of_rows.0 == kept && of_indexes.0 == kept;
    Ok((!is_sound).then(|| "an index of the links does not match its checksums".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tempfile::TempDir;

    use super::super::{Erased, Index, IndexReader, NewRun, ReadReward, RewardListPage, RunKey, moment};
    use super::*;
    use crate::extract::{self, Mapping};
    use crate::model::{AccountId, ActionId, OrderId};
    use crate::store::{Identity, StoreFile};

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
        let page = RewardListPage { rewards: rewards.collect(), unusable: 0, cursor: "{}".to_owned() };
        index.commit_rewards(run, &page, moment(ms)).expect("commits");
    }

    /// Returns three lists of reward IDs: the rewards of an order, the rewards of an order with its actions, and the
    /// rewards of an action.
    fn found(reader: &IndexReader, order: &str, action: &str) -> [Vec<String>; 3] {
        let order = OrderId::new(order);
        let ids = |rewards: Vec<super::super::IndexedReward>| {
            rewards.iter().map(|found| found.reward.reward_id.as_str().to_owned()).collect()
        };
        [
            ids(reader.find(&order).expect("finds").into_iter().map(|found| found.indexed).collect()),
            ids(reader.rewards_of_order(&order).expect("finds")),
            ids(reader.rewards_of_action(&ActionId::new(action)).expect("finds")),
        ]
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn an_order_is_found_by_its_exact_text_and_through_the_actions_beside_it() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "#1001", "1.2.3"), ("r2", "other", "1.2.3"), ("r3", "x", "4.5.6")]);
        assert_eq!(found(&reader, "#1001", "1.2.3"), [ids(&["r1"]), ids(&["r1", "r2"]), ids(&["r1", "r2"])]);
        record(&mut index, run, 4, &[("r4", "001001", "1.2.3")]);
        let all = ids(&["r1", "r2", "r4"]);
        assert_eq!(found(&reader, "#1001", "1.2.3"), [ids(&["r1"]), all.clone(), all]);
        assert_eq!(
            reader.find_and_suggest(&OrderId::new("1001"), 5).expect("suggests").1,
            [OrderId::new("#1001"), OrderId::new("001001")]
        );
        for (order, is_there) in [("x", true), ("X", false)] {
            assert_eq!(index.has_order(&OrderId::new(order)).expect("looks"), is_there, "{order}");
        }
    }

    #[test]
    fn a_link_that_a_reward_no_longer_has_is_not_found() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "old", "1.1.1"), ("r2", "old", "1.1.1"), ("r3", "old", "1.1.1")]);
        record(&mut index, run, 5, &[("r1", "new", "2.2.2"), ("r3", "new", "2.2.2")]);
        assert_eq!(found(&reader, "old", "1.1.1"), [ids(&["r2"]), ids(&["r2"]), ids(&["r2"])]);
        assert_eq!(found(&reader, "new", "2.2.2")[0], ids(&["r1", "r3"]));
        index.erase(&[AccountId::new("a")], Erased::default(), |_| ()).expect("erases");
        assert_eq!(found(&reader, "new", "2.2.2"), [ids(&[]), ids(&[]), ids(&[])]);
        assert_eq!(index.conn.read(first_damage).expect("reads"), None);
    }

    #[test]
    fn two_order_ids_with_one_key_are_not_taken_for_each_other() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        record(&mut index, run, 2, &[("r1", "é", "1.1.1"), ("r2", "ü", "2.2.2")]);
        assert_eq!(order_key("é"), order_key("ü"), "letters beyond ASCII do not count");
        assert_eq!(found(&reader, "é", "1.1.1"), [ids(&["r1"]), ids(&["r1"]), ids(&["r1"])]);
        assert_eq!(found(&reader, "ü", "2.2.2"), [ids(&["r2"]), ids(&["r2"]), ids(&["r2"])]);
        assert_eq!(found(&reader, "É", "É"), [ids(&[]), ids(&[]), ids(&[])]);
        assert_eq!(reader.find_and_suggest(&OrderId::new("É"), 5).expect("suggests").1, [OrderId::new("é")]);
    }

    #[test]
    fn an_order_whose_link_was_lost_is_an_error_and_never_absent() {
        let dir = TempDir::new().expect("a folder");
        let (mut index, reader, run) = open(&dir);
        let rewards = ["r1", "r2", "r3"].map(|id| (id, id, "1.2.3"));
        record(&mut index, run, 2, &rewards);
        let inspect = || {
            StoreFile::index(&dir.path().join("recoup.db").into(), None)
                .expect("opens")
                .expect("exists")
                .check_integrity()
        };
        inspect().expect("sound");
        for damage in [
            "DELETE FROM links WHERE reward = 2",
            "UPDATE links SET order_key = order_key + 1 WHERE reward = 2",
            "UPDATE links SET order_id = 'r9' WHERE reward = 2",
            "UPDATE links SET order_key = NULL WHERE reward = 2",
            "UPDATE link_sums SET order_sum = order_sum + 1",
            "DELETE FROM link_sums",
        ] {
            index.conn.raw().execute_batch(damage).expect("damages");
            let error = reader.find(&OrderId::new("r2")).expect_err(damage);
            assert!(error.message.contains("does not match its checksum"), "{damage}: {}", error.message);
            inspect().expect_err(damage);
            index.conn.raw().execute_batch("DELETE FROM links; DELETE FROM link_sums").expect("clears");
            let restored = index.conn.write(|tx| {
                let mut sums = LinkSumChanges::default();
                for (reward, (order, _, action)) in (1_i64..).zip(rewards) {
                    let link = Link { order_id: Some(OrderId::new(order)), action_id: Some(ActionId::new(action)) };
                    write_links(tx, &mut sums, reward, &[], &[link])?;
                }
                sums.write(tx)
            });
            restored.expect("writes");
            assert_eq!(reader.find(&OrderId::new("r2")).expect("finds").len(), 1);
            inspect().expect("sound");
        }
    }

    #[test]
    fn keys_are_the_same_in_every_build() {
        assert_eq!(order_key("O-1"), 1_817_736_920_224_704_104);
        assert_eq!(order_key(""), -3_750_763_034_362_895_579);
        assert_eq!(action_key("O-1"), 3_405_431_713_379_342_664);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn links_and_their_sums_change_together(steps in prop::collection::vec((0..6_u8, 0..4_u8, 0..4_u8, 0..12_u8), 1..20)) {
            let dir = TempDir::new().expect("a folder");
            let (mut index, _reader, run) = open(&dir);
            for (at, (reward, order, action, what)) in steps.into_iter().enumerate() {
                if what == 0 {
                    index.erase(&[AccountId::new("a")], Erased::default(), |_| ()).expect("erases");
                } else {
                    let text = |name: &str, n: u8| if n == 0 { String::new() } else { format!("{name}{n}") };
                    let (reward, order, action) = (format!("r{reward}"), text("#o", order), text("1.2.", action));
                    record(&mut index, run, at as i64 + 2, &[(reward.as_str(), order.as_str(), action.as_str())]);
                }
                prop_assert_eq!(index.conn.read(first_damage).expect("reads"), None);
            }
        }
    }

    proptest! {
        /// recoup finds suggestions by key, so the key must ignore every difference that suggestions ignore.
        #[test]
        fn order_ids_that_fold_alike_have_one_key(order in "[ \\t#0a-cA-C\u{e9}\u{c9}\u{a0}\u{3000}-]{0,8}") {
            let folded = OrderId::new(order.as_str()).folded();
            prop_assert_eq!(order_key(&order), order_key(&folded), "{:?} and {:?}", order, folded);
        }
    }
}
