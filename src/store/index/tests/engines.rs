//! The same steps give the same rows on both engines, although a server receives many rows at once.
//!
//! `TEST_POSTGRES` names the server; without it the tests are skipped with a reason.

use std::io::Write;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

use super::super::*;
use crate::extract::{self, Mapping};
use crate::model::{Participant, UserId};
use crate::store::Server;

/// Every table of the index that a crawl writes, with its columns in a fixed order.
const TABLES: [(&str, &str); 11] = [
    ("runs", "id, state, requests, accounts_known, accounts_read, rewards_unusable, values_unreadable, cursor, sum"),
    ("passes", "id, run, cursor, participants, accounts_new, accounts_returned, rows_unusable"),
    ("participants", "hash, pass"),
    (
        "accounts",
        "id, account_id, first_seen_at, seen_pass, read_run, read_at, unusable, failed_run, failed_at, failed_reason, \
         unknown, gone_at, queued_run, sum",
    ),
    ("link_patterns", "id, kind, order_path, action_path, by_search, sum"),
    ("run_link_patterns", "run, pattern, rewards, links, sum"),
    ("descriptors", "id, hash, reward_type, unit, name, sum"),
    (
        "rewards",
        "id, reward_id, account, pattern, descriptor, read_run, read_at, gone_at, account_id, user_id, assigned, source, \
         date_modified, sum",
    ),
    ("raw_rewards", "reward, format, json, sum"),
    ("links", "reward, n, count, order_id, order_key, action_id, action_key, sum"),
    ("link_sums", "bucket, order_sum, action_sum"),
];

/// Returns the same new index on a file and on a server.
fn both(dir: &TempDir) -> Option<[Index; 2]> {
    #[expect(clippy::disallowed_methods, reason = "the server of the tests is no setting")]
    let Ok(address) = std::env::var("TEST_POSTGRES") else {
        let _nobody_reads_it =
            writeln!(std::io::stderr(), "skipped: this test needs a server, which TEST_POSTGRES names");
        return None;
    };
    let name: String = dir.path().to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
    let schema = format!("e{}_{}", std::process::id(), name.to_lowercase());
    let address = SecretString::from(format!("{address}?sslmode=disable&schema={schema}"));
    let server = Place::Server(Arc::new(Server::parse(address).expect("a valid address")));
    let open = |place: Place| Index::open(place, &Identity::of_a_test()).expect("opens");
    Some([open(dir.path().join("i.db").into()), open(server)])
}

/// Every row of every table, as text.
fn rows(index: &Index) -> Vec<(&'static str, Vec<String>)> {
    let table = |(name, columns): &(&'static str, &str)| {
        let select = format!("SELECT {columns} FROM {name}");
        let width = columns.split(", ").count();
        let row = |row: &crate::store::db::Row<'_>| {
            (0..width).map(|at| row.value(at).map(|value| format!("{value:?}"))).collect::<Result<Vec<_>, _>>()
        };
        let mut rows = index.conn.read(|tx| tx.rows(&select, &[], row)).expect("reads");
        rows.sort();
        (*name, rows.into_iter().map(|row| row.join(" ")).collect())
    };
    TABLES.iter().map(table).collect()
}

/// What the vendor says about an account or a page, in small numbers.
#[derive(Debug, Clone)]
enum Step {
    Read { account: u8, rewards: Vec<(u8, u8, u8)>, ms: u8 },
    Gone { account: u8, ms: u8 },
    Failed { account: u8, ms: u8 },
    Page { accounts: Vec<(u8, u8)>, unusable: Vec<u8>, ms: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let rewards = prop::collection::vec((0..8_u8, 0..4_u8, 0..3_u8), 0..5);
    prop_oneof![
        6 => (0..5_u8, rewards, 0..20_u8).prop_map(|(account, rewards, ms)| Step::Read { account, rewards, ms }),
        1 => (0..5_u8, 0..20_u8).prop_map(|(account, ms)| Step::Gone { account, ms }),
        1 => (0..5_u8, 0..20_u8).prop_map(|(account, ms)| Step::Failed { account, ms }),
        2 => (prop::collection::vec((0..5_u8, 0..3_u8), 0..6), prop::collection::vec(0..3_u8, 0..3), 0..20_u8)
            .prop_map(|(accounts, unusable, ms)| Step::Page { accounts, unusable, ms }),
    ]
}

fn account(n: u8) -> AccountId {
    AccountId::new(format!("account {n}"))
}

fn reward(of: u8, (id, order, name): (u8, u8, u8)) -> ReadReward {
    let order = (order > 0).then(|| format!("#O{order}"));
    let raw = json!({"id": format!("r{id}"), "orderId": order, "actionId": order.as_ref().map(|_| format!("1.2.{id}")),
        "name": format!("name {name}"), "assignedCredit": 5, "accountId": account(of).as_str()})
    .to_string();
    ReadReward::new(extract::read(&raw, &account(of), &Mapping::default()).expect("a reward"), &raw)
}

fn entry(step: &Step, pass: &ListPass) -> Entry {
    let read = |of: u8, ms: u8, answer| {
        // The accounts of the first page have the numbers from 1.
        Entry::Read(AccountRead { key: AccountKey(i64::from(of) + 1), asked_at: moment(i64::from(ms) + 10), answer })
    };
    match step {
        Step::Read { account, rewards, ms } => {
            let rewards = rewards.iter().map(|one| reward(*account, *one)).collect();
            read(*account, *ms, AccountAnswer::Listed { rewards, unusable: u64::from(ms % 3) })
        }
        Step::Gone { account, ms } => read(*account, *ms, AccountAnswer::NoSuchAccount),
        Step::Failed { account, ms } => read(*account, *ms, AccountAnswer::Failed("broken".to_owned())),
        Step::Page { accounts, unusable, ms } => {
            let participant = |(of, user): &(u8, u8)| Participant {
                user_id: UserId::new(format!("user {user}")),
                account_id: account(*of),
                email: None,
            };
            let participants = accounts.iter().map(participant).collect();
            let unusable = unusable.iter().map(|hash| u64::from(*hash)).collect();
            let page = Page { participants, unusable, cursor: format!("after {ms}") };
            Entry::Page { pass: pass.clone(), page, at: moment(i64::from(*ms) + 10) }
        }
    }
}

/// Commits batches of a crawl over the participants.
fn crawl(index: &mut Index, batches: &[Vec<Step>]) -> (RunKey, Vec<PageCommitted>) {
    let (run, _) = index.begin_run(NewRun::of("participants"), moment(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "", moment(5)).expect("begins");
    let first = Step::Page { accounts: (0..5).map(|n| (n, 0)).collect(), unusable: Vec::new(), ms: 0 };
    let mut counts = index.commit(run, &[entry(&first, &pass)]).expect("commits");
    for batch in batches {
        let entries: Vec<Entry> = batch.iter().map(|step| entry(step, &pass)).collect();
        counts.extend(index.commit(run, &entries).expect("commits"));
    }
    (run, counts)
}

/// Commits pages of the list of all rewards.
fn list(index: &mut Index, run: RunKey, batches: &[Vec<Step>]) {
    for (ms, batch) in (40..).zip(batches) {
        let of_step = |step: &Step| match step {
            Step::Read { account: of, rewards, .. } => {
                rewards.iter().map(|one| (account(*of), reward(*of, *one).via(ApiSource::GraphQl))).collect()
            }
            _ => Vec::new(),
        };
        let rewards = batch.iter().flat_map(of_step).collect();
        let page = RewardListPage { rewards, unusable: 1, cursor: format!("page {ms}") };
        index.commit_rewards(run, &page, moment(ms)).expect("commits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_batches_give_the_same_rows_on_both_engines(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..5),
    ) {
        let dir = TempDir::new().expect("a folder");
        let Some([mut file, mut server]) = both(&dir) else { return Ok(()) };
        let ((run, counts), (_, counts_on_server)) = (crawl(&mut file, &batches), crawl(&mut server, &batches));
        prop_assert_eq!(counts, counts_on_server);
        for index in [&mut file, &mut server] {
            list(index, run, &batches);
        }
        for (one, other) in rows(&file).into_iter().zip(rows(&server)) {
            prop_assert_eq!(one, other);
        }
        let damage = server.conn.read(links::first_damage).map_err(|error| TestCaseError::fail(error.message))?;
        prop_assert_eq!(damage, None);
    }
}

#[test]
fn a_row_that_a_batch_writes_twice_has_its_last_values() {
    let dir = TempDir::new().expect("a folder");
    let Some([mut file, mut server]) = both(&dir) else { return };
    let step = |ms, order| Step::Read { account: 0, rewards: vec![(1, order, 0)], ms };
    let moved = Step::Read { account: 1, rewards: vec![(1, 2, 0), (2, 1, 0)], ms: 9 };
    let batches = [vec![step(1, 1), step(2, 2), step(3, 3)], vec![step(8, 1), moved]];
    for index in [&mut file, &mut server] {
        crawl(index, &batches);
        let links = "SELECT order_id FROM links ORDER BY reward";
        let orders: Vec<String> = index.conn.read(|tx| tx.rows(links, &[], |row| row.get(0))).expect("reads");
        assert_eq!(orders, ["#O2", "#O1"]);
    }
    assert_eq!(rows(&file), rows(&server));
}

#[test]
fn a_server_gives_every_reward_of_an_order_or_an_error() {
    let dir = TempDir::new().expect("a folder");
    let Some([mut file, mut server]) = both(&dir) else { return };
    let step = Step::Read { account: 0, rewards: vec![(1, 1, 0), (2, 1, 0), (3, 2, 0)], ms: 1 };
    let readers = [&mut file, &mut server].map(|index| {
        crawl(index, &[vec![step.clone()]]);
        IndexReader::open(index.conn.place().clone(), None).expect("opens").expect("is there")
    });
    let find = |reader: &IndexReader, order: &str| reader.find_and_suggest(&OrderId::new(order), 5);
    for order in ["#O1", "#O2", "o1", "#O9"] {
        let [on_file, on_server] = readers.each_ref().map(|reader| find(reader, order).expect("finds"));
        assert_eq!(on_file, on_server, "{order}");
    }
    assert_eq!(find(&readers[1], "#O1").expect("finds").0.len(), 2);
    assert_eq!(find(&readers[1], "o1").expect("finds"), (Vec::new(), vec![OrderId::new("#O1")]));
    for (damage, repair) in [
        ("UPDATE rewards SET assigned = 6 WHERE reward_id = 'r2'", "UPDATE rewards SET assigned = 5"),
        ("UPDATE link_sums SET order_sum = order_sum + 1", "UPDATE link_sums SET order_sum = order_sum - 1"),
        ("UPDATE links SET count = 2", "UPDATE links SET count = 1"),
        ("DELETE FROM link_sums", "SELECT 1"),
    ] {
        assert!(find(&readers[1], "#O1").is_ok(), "before {damage}");
        server.conn.write(|tx| tx.run(damage, &[]).map(drop)).expect("damages");
        assert!(find(&readers[1], "#O1").is_err(), "{damage}");
        server.conn.write(|tx| tx.run(repair, &[]).map(drop)).expect("repairs");
    }
}
