//! Tests of the index on a real file.

#[cfg(feature = "postgres")]
mod engines;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::extract::{self, Mapping};
use crate::model::{AccountId, ActionId, LinkKind, OrderId, Participant, UserId};

fn identity() -> Identity {
    Identity {
        tenant: "t".into(),
        account_sid: "s".into(),
        advocate_url: "http://a".into(),
        brand_url: "http://b".into(),
    }
}

pub(super) fn open(dir: &TempDir) -> (Index, IndexReader) {
    let path = dir.path().join("recoup.db");
    let index = Index::open(&path, &identity()).expect("opens");
    let reader = IndexReader::open(&path, Some(&identity())).expect("opens").expect("exists");
    (index, reader)
}

fn at(ms: i64) -> Timestamp {
    moment(ms)
}

fn reward(account: &str, id: &str, order: Option<&str>, action: Option<&str>) -> ReadReward {
    let raw = json!({"id": id, "orderId": order, "actionId": action, "assignedCredit": 5}).to_string();
    ReadReward::new(extract::read(&raw, &AccountId::new(account), &Mapping::default()).expect("a reward"), &raw)
}

fn page(accounts: &[&str]) -> Page {
    let participants = accounts
        .iter()
        .map(|account| Participant {
            user_id: UserId::new(format!("u-{account}")),
            account_id: AccountId::new(*account),
            email: None,
        })
        .collect();
    Page { participants, unusable: Vec::new(), cursor: "next".into() }
}

fn listed(key: AccountKey, ms: i64, rewards: Vec<ReadReward>) -> AccountRead {
    AccountRead { key, asked_at: at(ms), answer: AccountAnswer::Listed { rewards, unusable: 0 } }
}

fn answered(key: AccountKey, ms: i64, answer: AccountAnswer) -> AccountRead {
    AccountRead { key, asked_at: at(ms), answer }
}

fn keys(index: &IndexReader, run: RunKey) -> Vec<AccountKey> {
    index.unread(run, AccountKey::START, 100).expect("reads").iter().map(|unread| unread.key).collect()
}

#[test]
fn an_order_is_found_with_its_reward_and_its_coverage() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    assert_eq!(reader.coverage().expect("reads").source, None);
    let (run, goes_on) = index.begin_run(NewRun::of("participants"), at(1000)).expect("begins");
    assert!(!goes_on);
    let (pass, _) = index.begin_pass(run, "start", at(1000)).expect("begins");
    let seen = index.commit_page(run, &pass, &page(&["a", "b", "a"]), at(1001)).expect("commits");
    assert_eq!(seen, PageCommitted { participants: 2, accounts_known: 2 });
    let queue = keys(&reader, run);
    let (a, b) = (queue[0], queue[1]);
    index
        .record(
            run,
            vec![
                listed(a, 1002, vec![reward("a", "r1", Some("#1001"), Some("1.2.3")), reward("a", "r2", None, None)]),
                listed(
                    b,
                    1002,
                    vec![reward("b", "r3", Some("x"), Some("1.2.3")), reward("b", "r3", Some("x"), Some("1.2.3"))],
                ),
            ],
        )
        .expect("records");
    assert!(keys(&reader, run).is_empty());

    let found = reader.find(&OrderId::new("#1001")).expect("finds");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].action_id, Some(ActionId::new("1.2.3")));
    assert_eq!((found[0].indexed.reward.assigned, found[0].indexed.link_kind), (Some(5), LinkKind::Both));
    assert_eq!(found[0].indexed.reward.account_id.as_str(), "a");
    assert!(found[0].indexed.action_by_search && !found[0].indexed.gone);
    assert!(reader.find(&OrderId::new("1001")).expect("finds").is_empty(), "exact only");
    assert_eq!(reader.find_and_suggest(&OrderId::new("001001"), 5).expect("suggests").1, [OrderId::new("#1001")]);
    assert_eq!(reader.find_and_suggest(&OrderId::new("#1001"), 5).expect("suggests").1, []);
    assert_eq!(reader.find_and_suggest(&OrderId::new("X"), 5).expect("suggests").1, [OrderId::new("x")]);
    let of_action = reader.rewards_of_action(&ActionId::new("1.2.3")).expect("finds");
    assert_eq!(of_action.iter().map(|r| r.reward.reward_id.as_str()).collect::<Vec<_>>(), ["r1", "r3"]);
    assert!(index.raw_after(1, 1).expect("reads")[0].2.contains("\"r2\""));

    let coverage = reader.coverage().expect("reads");
    assert_eq!((coverage.complete, coverage.as_of, coverage.rewards_read), (false, None, 3));
    index.finish_run(run, &[], at(2000)).expect("ends");
    let coverage = reader.coverage().expect("reads");
    assert_eq!((coverage.complete, coverage.as_of.as_deref()), (true, Some("1970-01-01T00:00:01Z")));
    assert_eq!((coverage.accounts_read, coverage.accounts_known), (2, 2));
    let last = reader.runs(1).expect("reads").pop().expect("one");
    assert_eq!((last.rewards(), last.links(), last.coverage.len()), (3, 2, 2));
}

#[test]
fn a_refresh_moves_marks_and_forgives() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (first, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(first, "", at(1)).expect("begins");
    index.commit_page(first, &pass, &page(&["a", "b", "c"]), at(1)).expect("commits");
    let queue = keys(&reader, first);
    let (a, b, c) = (queue[0], queue[1], queue[2]);
    let r = |account, id| reward(account, id, Some(id), Some("1.2.3"));
    index
        .record(
            first,
            vec![
                listed(a, 2, vec![r("a", "r1"), r("a", "r2")]),
                listed(b, 2, vec![r("b", "r3")]),
                answered(c, 2, AccountAnswer::Failed("timed out".into())),
            ],
        )
        .expect("records");
    assert_eq!(reader.failed_accounts().expect("reads")[0].reason, "timed out");
    assert!(keys(&reader, first).is_empty(), "a failed account waits for the end of the run");
    assert_eq!(reader.failed(first, AccountKey::START, 9).expect("reads").len(), 1);
    index.finish_run(first, &["one account failed".into()], at(3)).expect("ends");
    assert!(!reader.coverage().expect("reads").complete);

    let verdict = PassEvidence { total: Some(1), whole: true, still: true, counted: true };
    let (second, goes_on) = index.begin_run(NewRun::of("participants"), at(10)).expect("begins");
    assert!(!goes_on);
    assert_eq!(keys(&reader, second).len(), 3);
    index
        .record(
            second,
            vec![
                listed(a, 11, vec![r("a", "r1"), r("a", "r3")]),
                answered(b, 11, AccountAnswer::NoSuchAccount),
                listed(c, 11, vec![]),
            ],
        )
        .expect("records");
    let gone = |order: &str| reader.find(&OrderId::new(order)).expect("finds")[0].indexed.gone;
    assert_eq!((gone("r1"), gone("r2"), gone("r3")), (false, true, false));
    let (pass, _) = index.begin_pass(second, "", at(12)).expect("begins");
    index.commit_page(second, &pass, &page(&["a"]), at(13)).expect("commits");
    let end = index.end_pass(second, pass.id, verdict, at(14)).expect("ends");
    assert_eq!((end.accounts_vanished, end.quiet), (1, false), "c is not listed any more");
    let run = index.run(second).expect("reads").expect("one");
    assert_eq!((run.accounts_known, run.accounts_read, run.accounts_failed, run.rewards()), (1, 1, 0, 2));
    assert_eq!(index.accounts_gone_since(at(10)).expect("counts"), 2);

    let (pass, goes_on) = index.begin_pass(second, "", at(15)).expect("begins");
    assert!(!goes_on);
    index.commit_page(second, &pass, &page(&["a", "b"]), at(16)).expect("commits");
    assert_eq!(keys(&reader, second), [b], "one that is back is read again");
    index.record(second, vec![listed(b, 17, vec![r("b", "r2")])]).expect("records");
    assert!(!gone("r2"));
    let run = index.run(second).expect("reads").expect("one");
    assert_eq!((run.accounts_known, run.accounts_read, run.rewards()), (2, 2, 3));
    let end = index.end_pass(second, pass.id, verdict, at(18)).expect("ends");
    assert!(end.quiet);
    assert_eq!(index.passes(second).expect("reads").len(), 2);
}

#[test]
fn a_killed_run_goes_on_and_full_begins_another() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "0", at(1)).expect("begins");
    index.commit_page(run, &pass, &page(&["a"]), at(1)).expect("commits");
    drop(index);
    let (mut index, _) = open(&dir);
    assert_eq!(index.begin_run(NewRun::of("participants"), at(2)).expect("begins"), (run, true));
    let (again, goes_on) = index.begin_pass(run, "0", at(2)).expect("begins");
    assert_eq!((goes_on, again.id, again.cursor.as_str()), (true, pass.id, "next"));
    let (fresh, goes_on) =
        index.begin_run(NewRun { fresh: true, ..NewRun::of("participants") }, at(3)).expect("begins");
    assert!(fresh != run && !goes_on);
    assert_eq!(
        reader.runs(9).expect("reads").iter().map(|r| r.state).collect::<Vec<_>>(),
        [RunState::Running, RunState::Replaced]
    );
}

#[test]
fn live_answers_count_and_are_not_undone_by_older_ones() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let ann = AccountId::new("ann");
    index.record_live(&ann, vec![reward("ann", "r0", Some("o"), None)], 0, at(1)).expect("records");
    assert_eq!(reader.find(&OrderId::new("o")).expect("finds").len(), 1);
    assert_eq!(reader.coverage().expect("reads").rewards_read, 0, "no crawl, no claim");
    let (run, _) = index.begin_run(NewRun::of("participants"), at(2)).expect("begins");
    let key = keys(&reader, run)[0];
    index.record_live(&ann, vec![reward("ann", "r0", Some("o"), Some("1.2.3"))], 2, at(9)).expect("records");
    index.record(run, vec![listed(key, 5, vec![reward("ann", "r0", Some("old"), None)])]).expect("records");
    assert_eq!(reader.find(&OrderId::new("o")).expect("finds")[0].action_id, Some(ActionId::new("1.2.3")));
    index.record_reward(&reward("bob", "r9", Some("o"), None), at(10)).expect("records");
    let run = index.run(run).expect("reads").expect("one");
    assert_eq!((run.accounts_known, run.accounts_read, run.rewards(), run.links()), (2, 1, 2, 2));
    assert_eq!(run.rewards_unusable, 2);
}

#[test]
fn extracting_again_moves_links_and_counters() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    index
        .record_live(&AccountId::new("a"), vec![reward("a", "r", Some("o"), Some("1.2.3"))], 0, at(2))
        .expect("records");
    let mapping = Mapping::new(&["$.id".into()], &["$.nothing".into()]).expect("paths");
    let batch: Vec<Reextracted> = index
        .raw_after(0, 10)
        .expect("reads")
        .into_iter()
        .map(|(row, account, raw)| Reextracted {
            row,
            extracted: extract::read(&raw, &account, &mapping).expect("a reward"),
        })
        .collect();
    index.reextract(&batch).expect("writes");
    assert!(reader.find(&OrderId::new("o")).expect("finds").is_empty());
    assert_eq!(reader.find(&OrderId::new("r")).expect("finds")[0].indexed.link_kind, LinkKind::OrderOnly);
    let run = index.run(run).expect("reads").expect("one");
    assert_eq!((run.rewards(), run.links(), run.coverage.len()), (1, 1, 1));
}

const WHOLE: PassEvidence = PassEvidence { total: None, whole: true, still: true, counted: false };

#[test]
fn an_account_that_get_rewards_does_not_know_waits_for_the_list_to_agree() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "", at(1)).expect("begins");
    index.commit_page(run, &pass, &page(&["a", "b"]), at(1)).expect("commits");
    let queue = reader.unread(run, AccountKey::START, 9).expect("reads");
    assert!(queue.iter().all(|unread| unread.listed));
    let reads: Vec<AccountRead> = queue.iter().map(|unread| answered(unread.key, 2, AccountAnswer::Unknown)).collect();
    index.record(run, reads).expect("records");
    index.end_pass(run, pass.id, WHOLE, at(3)).expect("ends");
    let state = index.run(run).expect("reads").expect("one");
    assert_eq!((state.accounts_known, state.accounts_failed, state.accounts_unknown), (2, 2, 2), "none has vanished");
    let (pass, _) = index.begin_pass(run, "", at(4)).expect("begins");
    index.commit_page(run, &pass, &page(&["a"]), at(5)).expect("commits");
    // Even an unproven pass marks the account as gone, because neither the list nor Get Rewards knows the account.
    let end = index.end_pass(run, pass.id, PassEvidence { whole: false, ..WHOLE }, at(6)).expect("ends");
    assert_eq!(end.accounts_vanished, 1);
    let state = index.run(run).expect("reads").expect("one");
    assert_eq!((state.accounts_known, state.accounts_failed, state.accounts_unknown), (1, 1, 1));
    assert_eq!((reader.failed_count().expect("counts"), index.unread_count(run).expect("counts")), (1, 0));
}

#[test]
fn a_list_that_lost_most_of_its_accounts_is_not_believed() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, _) = open(&dir);
    let names: Vec<String> = (0..50).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "", at(1)).expect("begins");
    index.commit_page(run, &pass, &page(&names), at(1)).expect("commits");
    index.end_pass(run, pass.id, WHOLE, at(2)).expect("ends");
    for (listed, gone, withheld) in [(0, 0, 50), (24, 0, 26), (26, 24, 0), (10, 16, 0)] {
        let (pass, _) = index.begin_pass(run, "", at(10)).expect("begins");
        index.commit_page(run, &pass, &page(&names[..listed]), at(11)).expect("commits");
        let end = index.end_pass(run, pass.id, WHOLE, at(12)).expect("ends");
        assert_eq!((end.accounts_vanished, end.accounts_withheld), (gone, withheld), "{listed} listed");
    }
}

#[test]
fn an_account_that_comes_back_within_a_run_shows_that_the_order_proves_nothing() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, _) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let mut pass = |accounts: &[&str], counted: bool, ms: i64| {
        let (pass, _) = index.begin_pass(run, "", at(ms)).expect("begins");
        index.commit_page(run, &pass, &page(accounts), at(ms)).expect("commits");
        index.end_pass(run, pass.id, PassEvidence { counted, ..WHOLE }, at(ms)).expect("ends")
    };
    assert!(pass(&["a", "b"], false, 1).whole);
    assert_eq!(pass(&["a"], false, 2).accounts_vanished, 1);
    let end = pass(&["a", "b"], false, 3);
    assert_eq!((end.accounts_returned, end.whole, end.quiet), (1, false, false));
    let end = pass(&["a"], false, 4);
    assert_eq!((end.whole, end.accounts_vanished), (false, 0), "continuity marks nobody any more");
    assert!(pass(&["a", "b"], true, 5).whole, "counting does");
}

#[test]
fn a_row_that_pages_share_is_counted_once() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, _) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "", at(1)).expect("begins");
    for unusable in [vec![1, 2], vec![2, 3]] {
        index.commit_page(run, &pass, &Page { unusable, ..page(&["a", "b"]) }, at(1)).expect("commits");
    }
    assert_eq!(index.participants(pass.id).expect("counts"), 5, "two people, and three rows without");
}

#[test]
fn a_later_reading_of_one_reward_outlives_an_earlier_one_of_its_account() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let (pass, _) = index.begin_pass(run, "", at(1)).expect("begins");
    index.commit_page(run, &pass, &page(&["a"]), at(1)).expect("commits");
    let key = keys(&reader, run)[0];
    index.record_reward(&reward("a", "r", Some("new"), None), at(9)).expect("records");
    index.record_reward(&reward("a", "s", Some("kept"), None), at(9)).expect("records");
    index.record(run, vec![listed(key, 5, vec![reward("a", "r", Some("old"), None)])]).expect("records");
    let orders = |order: &str| reader.find(&OrderId::new(order)).expect("finds");
    assert_eq!((orders("new").len(), orders("old").len()), (1, 0));
    assert!(!orders("kept")[0].indexed.gone, "not in an answer from before it was read");
    assert_eq!(index.run(run).expect("reads").expect("one").rewards(), 2);
}

#[test]
fn a_run_that_read_nothing_is_taken_back_and_one_that_did_stays() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (first, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    index.finish_run(first, &[], at(2)).expect("ends");
    let (second, _) = index.begin_run(NewRun::of("participants"), at(3)).expect("begins");
    let (pass, _) = index.begin_pass(second, "", at(3)).expect("begins");
    assert!(index.withdraw_run(second).expect("writes"));
    assert_eq!(reader.runs(1).expect("reads").pop().map(|run| run.run), Some(first));
    let (second, goes_on) = index.begin_run(NewRun::of("participants"), at(4)).expect("begins");
    assert!(!goes_on);
    let (pass, _) = index.begin_pass(second, &pass.cursor, at(4)).expect("begins");
    index.commit_page(second, &pass, &page(&["a"]), at(5)).expect("commits");
    assert!(!index.withdraw_run(second).expect("writes"));
    assert!(reader.coverage().expect("reads").complete, "answers rest on the finished one");
}

#[test]
fn paths_without_end_become_one() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, _) = open(&dir);
    let (run, _) = index.begin_run(NewRun::of("participants"), at(1)).expect("begins");
    let rewards = (0..300).map(|n| {
        let name: String = [n / 26, n % 26].iter().map(|letter| char::from(b'a' + *letter as u8)).collect();
        let raw = json!({"id": n, "basket": {name: {"orderId": "o", "actionId": "1.2.3"}}}).to_string();
        ReadReward::new(extract::read(&raw, &AccountId::new("a"), &Mapping::default()).expect("a reward"), raw.as_str())
    });
    let rewards: Vec<ReadReward> = rewards.collect();
    for half in [&rewards[..150], &rewards[..]] {
        index.record_live(&AccountId::new("a"), half.to_vec(), 0, at(2)).expect("records");
    }
    let state = index.run(run).expect("reads").expect("one");
    assert_eq!((state.rewards(), state.with_order(), state.coverage.len()), (300, 300, 201));
    assert_eq!(state.coverage[0].order_path.as_deref(), Some("other paths"));
    assert_eq!(state.coverage[0].rewards, 100);
}

#[test]
fn a_batch_that_collides_is_repeated_without_anything_of_its_first_attempt() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (key, read) = (vec![7_u8; 32], reward("a", "r1", Some("o1"), Some("1.2.3")));
    let mut tries = 0;
    let written = index.write_batch(|batch| {
        assert!(!batch.forgotten.has("a"), "the rollback removed the tombstone");
        tries += 1;
        let listed_by = AccountId::new("a");
        let account = batch.add_account(&listed_by, &batch::NewAccount::default())?;
        let ancestry = batch::RunAncestry::of(batch.tx, RunKey(0))?;
        let write =
            reward_rows::RewardWrite { ancestry, account, listed_by: &listed_by, asked_at: at(1), reward: &read };
        write.write(batch, None)?;
        if tries == 1 {
            let mac = crate::store::ledger::mac_of(&key, "a");
            batch.tx.run("INSERT INTO tombstones (key, mac, at) VALUES (?1, ?2, 1)", &[&key, &mac])?;
            batch.forgotten.refresh(batch.tx)?;
            assert!(batch.forgotten.has("a"));
            return Err(DbError::Retry);
        }
        Ok(tries)
    });
    assert_eq!(written.expect("writes"), 2);
    assert_eq!(reader.find(&OrderId::new("o1")).expect("finds").len(), 1);
    assert_eq!(index.conn.read(first_damage).expect("reads"), None);
}
