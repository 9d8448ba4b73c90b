//! Tests of refreshes: counters, rewards that did not change, and accounts that are due for another reading.

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::extract::{self, Mapping};
use crate::model::{AccountId, LinkKind, OrderId};

fn open(dir: &TempDir) -> (Index, IndexReader) {
    let identity = Identity::of_a_test();
    let path = dir.path().join("recoup.db");
    let index = Index::open(&path, &identity).expect("opens");
    let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
    (index, reader)
}

fn reward(account: &str, id: &str, order: Option<&str>, modified: i64) -> (AccountId, ReadReward) {
    let raw =
        json!({"id": id, "orderId": order, "actionId": order.map(|_| "1.2.3"), "dateModified": modified}).to_string();
    let account = AccountId::new(account);
    let extracted = extract::read(&raw, &account, &Mapping::default()).expect("a reward");
    (account, ReadReward::new(extracted, &raw).via(ApiSource::GraphQl))
}

fn page(rewards: Vec<(AccountId, ReadReward)>) -> RewardListPage {
    RewardListPage { rewards, unusable: 0, cursor: "{}".to_owned() }
}

fn at(ms: i64) -> Timestamp {
    moment(ms)
}

/// Creates a finished full run by GraphQL with three rewards in two accounts.
fn full(index: &mut Index) -> RunKey {
    let (run, _) = index.begin_run(NewRun::of("graphql"), at(1000)).expect("begins");
    let rewards =
        vec![reward("a", "r1", Some("o1"), 10), reward("a", "r2", Some("o2"), 20), reward("b", "r3", Some("o3"), 30)];
    index.commit_rewards(run, &page(rewards), at(1001)).expect("commits");
    index.set_watermark(run, Some(30), Some(3)).expect("marks");
    index.recount(run).expect("counts");
    index.finish_run(run, &[], at(1100)).expect("ends");
    run
}

fn refresh(index: &mut Index, ms: i64) -> RunKey {
    let before = index.refreshable("graphql").expect("reads").expect("a run to refresh");
    let new = NewRun { refreshes: Some(before.run), ..NewRun::of("graphql") };
    index.begin_run(new, at(ms)).expect("begins").0
}

#[test]
fn what_is_read_again_counts_once_and_the_rest_goes_on_counting() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let first = full(&mut index);
    let second = refresh(&mut index, 2000);
    let rewards = vec![reward("b", "r3", Some("o3"), 40), reward("c", "r4", Some("o4"), 41)];
    let committed = index.commit_rewards(second, &page(rewards), at(2001)).expect("commits");
    assert_eq!(committed, RewardListCommitted { rewards: 4, accounts_known: 3 });
    index.set_watermark(second, Some(41), Some(4)).expect("marks");
    index.recount(second).expect("counts");
    index.finish_run(second, &[], at(2100)).expect("ends");
    let run = index.run(second).expect("reads").expect("is there");
    assert_eq!((run.base, run.is_refresh(), run.watermark), (first, true, Some(41)));
    assert_eq!((run.rewards(), run.rewards_of_its_own, run.links()), (4, 2, 4));
    let coverage = reader.coverage().expect("reads");
    assert_eq!((coverage.rewards_read, coverage.rewards_known), (4, 4));
    assert_eq!((coverage.accounts_read, coverage.accounts_known), (3, 3));
    assert_eq!(coverage.as_of.as_deref(), Some("1970-01-01T00:00:02Z"));
}

#[test]
fn another_api_that_shows_no_link_does_not_take_it_back() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    full(&mut index);
    let account = AccountId::new("a");
    let rest = |id: &str, order: Option<&str>, cancelled: i64| {
        let raw = json!({"id": id, "orderId": order, "dateCancelled": cancelled}).to_string();
        ReadReward::new(extract::read(&raw, &account, &Mapping::default()).expect("a reward"), &raw)
    };
    index
        .record_live(&account, vec![rest("r1", None, 1500), rest("r2", Some("o2"), 1501)], 0, at(3000))
        .expect("records");
    for (order, id, cancelled) in [("o1", "r1", 1500), ("o2", "r2", 1501)] {
        let found = reader.find(&OrderId::new(order)).expect("finds");
        assert_eq!(found.len(), 1, "{order}");
        let indexed = &found[0].indexed;
        assert_eq!((indexed.reward.reward_id.as_str(), indexed.reward.date_cancelled), (id, Some(cancelled)));
        assert_eq!((indexed.link_kind, indexed.via), (LinkKind::Both, ApiSource::GraphQl));
        let kept = index.raw_after(0, 9).expect("reads").into_iter().find(|(_, _, raw)| raw.contains(id));
        assert!(kept.expect("kept").2.contains("1.2.3"), "it can be extracted again");
    }
    // A new reading may remove a link only if it is from the API that gave the link.
    let second = refresh(&mut index, 4000);
    index.commit_rewards(second, &page(vec![reward("a", "r1", None, 50)]), at(4001)).expect("commits");
    assert!(reader.find(&OrderId::new("o1")).expect("finds").is_empty());
    assert_eq!(reader.coverage().expect("reads").rewards_read, 2, "r1 counts in the run that is under way");
}

#[test]
fn what_a_full_walk_does_not_see_is_gone_unless_it_is_most_of_all() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let (first, _) = index.begin_run(NewRun::of("graphql"), at(1)).expect("begins");
    let many =
        |range: std::ops::Range<i64>| range.map(|n| reward("a", &format!("r{n}"), Some(&format!("o{n}")), n)).collect();
    index.commit_rewards(first, &page(many(0..60)), at(2)).expect("commits");
    index.finish_run(first, &[], at(3)).expect("ends");
    for (run_at, seen, expected) in
        [(10, 0..10, Unseen { gone: 0, withheld: 50 }), (20, 0..40, Unseen { gone: 20, withheld: 0 })]
    {
        let (run, _) = index.begin_run(NewRun { fresh: true, ..NewRun::of("graphql") }, at(run_at)).expect("begins");
        index.commit_rewards(run, &page(many(seen)), at(run_at + 1)).expect("commits");
        assert_eq!(index.mark_unseen_gone(run, at(run_at + 2)).expect("marks"), expected);
    }
    assert!(reader.find(&OrderId::new("o55")).expect("finds")[0].indexed.gone);
    assert!(!reader.find(&OrderId::new("o5")).expect("finds")[0].indexed.gone);
}

#[test]
fn a_queue_holds_what_was_listed_what_failed_and_what_is_old() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, reader) = open(&dir);
    let ids = |names: &[&str]| names.iter().map(|name| AccountId::new(*name)).collect::<Vec<_>>();
    let (run, _) = index.begin_run(NewRun::of("export"), at(1000)).expect("begins");
    assert_eq!(index.queue_accounts(run, &ids(&["a", "b", "a", "c"]), Some("{}"), at(1000)).expect("queues"), 3);
    assert_eq!(index.queue_accounts(run, &ids(&["b"]), None, at(1000)).expect("queues"), 0);
    let queue = reader.unread(run, AccountKey::START, 10).expect("reads");
    assert!(queue.len() == 3 && queue.iter().all(|unread| unread.listed));
    let answer = |key, ms, answer| AccountRead { key, asked_at: at(ms), answer };
    let listed = || AccountAnswer::Listed { rewards: Vec::new(), unusable: 0 };
    index
        .record(
            run,
            vec![
                answer(queue[0].key, 1001, listed()),
                answer(queue[1].key, 1900, listed()),
                answer(queue[2].key, 1001, AccountAnswer::Failed("x".into())),
            ],
        )
        .expect("records");
    index.set_watermark(run, Some(5), Some(0)).expect("marks");
    index.recount(run).expect("counts");
    index.finish_run(run, &[], at(2000)).expect("ends");
    let before = index.refreshable("export").expect("reads").expect("one");
    assert_eq!((before.accounts_known, before.accounts_read, before.accounts_failed), (3, 2, 1));

    let new = NewRun { refreshes: Some(run), ..NewRun::of("export") };
    let (second, _) = index.begin_run(new, at(3000)).expect("begins");
    assert!(reader.unread(second, AccountKey::START, 10).expect("reads").is_empty(), "nothing was queued yet");
    assert_eq!(index.queue_failed(second).expect("queues"), 1);
    assert_eq!(index.queue_older(second, at(1500), 10).expect("queues"), 1);
    let queue = reader.unread(second, AccountKey::START, 10).expect("reads");
    let names: Vec<&str> = queue.iter().map(|unread| unread.account.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(queue.iter().all(|unread| !unread.listed), "nobody claims that they are still there");
    index
        .record(
            second,
            vec![answer(queue[0].key, 3001, AccountAnswer::NoSuchAccount), answer(queue[1].key, 3001, listed())],
        )
        .expect("records");
    index.recount(second).expect("counts");
    let run = index.run(second).expect("reads").expect("is there");
    assert_eq!((run.accounts_known, run.accounts_read, run.accounts_failed), (2, 2, 0));
    assert_eq!(index.queue_older(second, at(5000), 1).expect("queues"), 1, "the oldest reading first");
}
