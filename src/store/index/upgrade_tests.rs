//! A file of version 1, brought up to date, is what a new file would be: the same shape, and the same answers.

use rusqlite::params;
use tempfile::TempDir;

use super::*;
use crate::extract::{self, Mapping};
use crate::model::{AccountId, ActionId, LinkKind, OrderId, RewardId, RewardState, UserId};
use crate::store::shape::shape;

const VERSION_1: &str = include_str!("../../../tests/fixtures/index-1.sql");

fn identity() -> Identity {
    let text = |text: &str| text.to_owned();
    Identity { tenant: text("t"), account_sid: text("s"), advocate_url: text("http://a"), brand_url: text("http://b") }
}

/// A reward with everything, as an older recoup wrote it down.
const FULL: &str = r#"{"id":"6aab88c5188a3b9e28bc59eb","type":"CREDIT","orderId":"O-007","actionId":"1.2.3"}"#;
/// One whose ID is not of the vendor's usual form, from a list that is not its own account's.
const ODD: &str = r#"{"id":"6AAB88C5188A3B9E28BC59EB","orderId":"x","actionId":"1.2.3","userId":"someone"}"#;

/// Writes a file as recoup 0.1 left it.
fn version_1(path: &Path) {
    let conn = Connection::open(path).expect("a file");
    conn.execute_batch(VERSION_1).expect("the old schema");
    let pack = |raw: &str| lz4_flex::block::compress_prepend_size(raw.as_bytes());
    conn.execute_batch(
        "INSERT INTO identity VALUES ('tenant', 't'), ('account_sid', 's'), ('advocate_url', 'http://a'),
             ('brand_url', 'http://b'), ('ledger_id', 'abc'), ('ledger_head', '7');
         INSERT INTO runs (source, state, started_at, finished_at, complete, requests, accounts_known, accounts_read)
             VALUES ('participants', 'finished', 1000, 2000, 1, 9, 2, 2), ('participants', 'running', 3000, NULL, 0, 1, 2, 1);
         INSERT INTO sweeps (run, began_at, cursor, participants) VALUES (1, 1000, '{}', 2);
         INSERT INTO participants VALUES (-5, 1), (77, 1);
         INSERT INTO accounts (account_id, first_seen_at, seen_sweep, read_run, read_at)
             VALUES ('ann@shop.example', 1001, 1, 1, 1002), ('bob', 1001, 1, 1, 1003);
         INSERT INTO findings VALUES (1, 'both', '$.orderId', '$.actionId', 1);
         INSERT INTO run_findings VALUES (1, 1, 2, 2);",
    )
    .expect("rows");
    let insert = "INSERT INTO rewards (reward_id, account, finding, read_run, read_at, gone_at, account_id, user_id,
             reward_type, reward_source, unit, program_id, name, currency, assigned, redeemed, cancellable, date_created,
             date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, statuses, unreadable, raw)
         VALUES (?1, ?2, 1, 1, 1002, ?3, ?4, ?5, ?6, 'REFERRED', 'CENTS', 'friends', 'Dollar Credit', 'CAD', 2500, 0, ?7,
             10, ?8, NULL, 9000, ?9, NULL, NULL, 3, ?10)";
    let none: Option<String> = None;
    conn.execute(
        insert,
        params!["6aab88c5188a3b9e28bc59eb", 1, None::<i64>, none, "ann@shop.example", "CREDIT", 1, 10, 20, pack(FULL)],
    )
    .expect("a reward");
    conn.execute(
        insert,
        params!["6AAB88C5188A3B9E28BC59EB", 2, 5, "carl", "someone", none, None::<i64>, 11, None::<i64>, pack(ODD)],
    )
    .expect("a reward");
    conn.execute_batch(
        "INSERT INTO links (reward, order_id, action_id, order_fold)
             VALUES (1, 'O-007', '1.2.3', 'o-007'), (2, 'x', '1.2.3', NULL), (2, 'y', NULL, NULL);
         PRAGMA user_version = 1;",
    )
    .expect("links");
    conn.pragma_update(None, "application_id", LAYOUT.application_id).expect("a mark");
}

fn upgraded() -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("recoup.db");
    version_1(&path);
    (dir, path)
}

#[test]
fn an_upgraded_file_has_the_shape_of_a_new_one() {
    let (dir, path) = upgraded();
    drop(Index::open(&path, &identity()).expect("upgrades"));
    let fresh = dir.path().join("fresh.db");
    drop(Index::open(&fresh, &identity()).expect("opens"));
    let (upgraded, fresh) = (shape(&path), shape(&fresh));
    assert!(fresh.values().flatten().any(|part| part.starts_with("CHECK")), "the conditions are compared");
    assert_eq!(upgraded.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
    for (name, parts) in &fresh {
        assert_eq!(&upgraded[name], parts, "{name}");
    }
}

#[test]
fn an_upgraded_file_gives_the_answers_it_gave() {
    let (_dir, path) = upgraded();
    // A reader may be the first to open it.
    let reader = IndexReader::open(&path, Some(&identity())).expect("upgrades").expect("exists");
    let found = reader.find(&OrderId::new("O-007")).expect("finds");
    assert_eq!(found.len(), 1);
    let indexed = &found[0].indexed;
    let reward = &indexed.reward;
    assert_eq!(found[0].action_id, Some(ActionId::new("1.2.3")));
    assert_eq!(
        (reward.reward_id.as_str(), reward.account_id.as_str()),
        ("6aab88c5188a3b9e28bc59eb", "ann@shop.example")
    );
    assert_eq!(reward.user_id.as_ref().map(UserId::as_str), Some("ann@shop.example"));
    let texts = [&reward.reward_type, &reward.reward_source, &reward.unit, &reward.program_id, &reward.name];
    assert_eq!(
        texts.map(|text| text.as_deref()),
        ["CREDIT", "REFERRED", "CENTS", "friends", "Dollar Credit"].map(Some)
    );
    assert_eq!((reward.currency.as_deref(), reward.statuses.as_deref()), (Some("CAD"), None));
    assert_eq!((reward.assigned, reward.redeemed, reward.cancellable), (Some(2500), Some(0), Some(true)));
    assert_eq!((reward.date_created, reward.date_given, reward.date_expires), (Some(10), Some(10), Some(9000)));
    assert_eq!((reward.date_scheduled_for, reward.date_cancelled, reward.date_redeemed), (None, Some(20), None));
    // Its dates are a few milliseconds after 1970.
    assert_eq!(reward.state(0), RewardState::Unclear);
    assert_eq!(
        (indexed.listed_by.as_str(), indexed.link_kind, indexed.gone),
        ("ann@shop.example", LinkKind::Both, false)
    );
    assert!(indexed.action_by_search);
    assert_eq!(indexed.read_at, moment(1002));

    let of_action = reader.rewards_of_action(&ActionId::new("1.2.3")).expect("finds");
    assert_eq!(of_action.len(), 2);
    let odd = &of_action[1];
    assert_eq!((odd.reward.reward_id.as_str(), odd.listed_by.as_str()), ("6AAB88C5188A3B9E28BC59EB", "bob"));
    assert_eq!((odd.reward.account_id.as_str(), odd.reward.reward_type.as_deref()), ("carl", None));
    assert_eq!(odd.reward.user_id.as_ref().map(UserId::as_str), Some("someone"));
    assert_eq!((odd.reward.date_created, odd.reward.date_given, odd.reward.cancellable), (Some(10), Some(11), None));
    assert_eq!((odd.gone, odd.order_ids.len()), (true, 2));
    assert_eq!(reader.suggestions(&OrderId::new("o-007"), 5).expect("suggests"), [OrderId::new("O-007")]);
    assert_eq!(reader.raw(&RewardId::new("6aab88c5188a3b9e28bc59eb")).expect("reads").as_deref(), Some(FULL));
    assert_eq!(reader.raw(&RewardId::new("6AAB88C5188A3B9E28BC59EB")).expect("reads").as_deref(), Some(ODD));
    assert_eq!(reader.ledger().expect("reads"), Some(("abc".to_owned(), Head { sequence: 7, hash: String::new() })));
    let coverage = reader.coverage().expect("reads");
    assert_eq!((coverage.complete, coverage.accounts_read, coverage.rewards_read), (true, 2, 2));
    // What an older recoup did not read.
    assert_eq!(reader.program_rules().expect("reads"), []);
    assert_eq!(reader.referral("r").expect("reads"), None);
}

#[test]
fn a_crawl_goes_on_in_an_upgraded_file() {
    let (_dir, path) = upgraded();
    let mut index = Index::open(&path, &identity()).expect("upgrades");
    let (run, goes_on) = index.begin_run(NewRun::of("participants"), moment(4000)).expect("begins");
    assert!(goes_on);
    let unread = index.unread(run, AccountKey::START, 9).expect("reads");
    assert_eq!(unread.iter().map(|unread| unread.account.as_str()).collect::<Vec<_>>(), ["ann@shop.example", "bob"]);
    let account = AccountId::new("ann@shop.example");
    let again = ReadReward::new(extract::read(FULL, &account, &Mapping::default()).expect("a reward"), FULL);
    let answer = AccountAnswer::Listed { rewards: vec![again], unusable: 0 };
    index.record(run, vec![AccountRead { key: unread[0].key, asked_at: moment(4001), answer }]).expect("records");
    let raw = index.raw_after(0, 9).expect("reads");
    assert_eq!(raw.len(), 2, "the same reward is the same row");
    let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
    assert_eq!(reader.find(&OrderId::new("O-007")).expect("finds")[0].indexed.read_at, moment(4001));
}

#[test]
fn a_file_that_cannot_be_upgraded_stays_as_it_is() {
    let (_dir, path) = upgraded();
    let conn = Connection::open(&path).expect("opens");
    conn.execute_batch("PRAGMA foreign_keys = off; DELETE FROM accounts WHERE id = 2").expect("damages");
    drop(conn);
    let refused = Index::open(&path, &identity()).expect_err("rows refer to nothing");
    assert!(refused.message.contains("refer to nothing"), "{}", refused.message);
    let conn = Connection::open(&path).expect("opens");
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    assert_eq!(version, 1);
}
