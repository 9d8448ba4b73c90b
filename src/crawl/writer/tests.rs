//! Tests the writer of a crawl: the order of entries and calls, oversized entries, and failed writes.

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::model::{AccountId, Participant, UserId};
use crate::store::Identity;
use crate::store::index::{AccountKey, AccountRead, IndexReader, ListPass, NewRun, Page, Unread};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Returns an index with this many queued accounts.
fn queue_of(accounts: usize, dir: &TempDir) -> (Index, RunKey, Vec<Unread>) {
    let (path, identity) = (dir.path().join("recoup.db"), Identity::of_a_test());
    let mut index = Index::open(&path, &identity).expect("opens");
    let (run, _) = index.begin_run(NewRun::of("participants"), NOW).expect("begins");
    let (pass, _) = index.begin_pass(run, "", NOW).expect("begins");
    let participant = |n| {
        let id = format!("account {n}");
        Participant { user_id: UserId::new(id.as_str()), account_id: AccountId::new(id), email: None }
    };
    let participants = (0..accounts).map(participant).collect();
    let page = Page { participants, unusable: Vec::new(), cursor: String::new() };
    index.commit_page(run, &pass, &page, NOW).expect("commits");
    let reader = IndexReader::open(&path, Some(&identity)).expect("opens").expect("exists");
    let unread = reader.unread(run, AccountKey::START, accounts).expect("a queue");
    (index, run, unread)
}

fn read_without_rewards(unread: &Unread) -> Entry {
    let answer = AccountAnswer::Listed { rewards: Vec::new(), unusable: 0 };
    Entry::Read(AccountRead { key: unread.key, asked_at: NOW, answer })
}

fn accounts_read(index: &mut Index, run: RunKey) -> u64 {
    index.run(run).expect("reads").expect("a run").accounts_read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_exactly_the_answers_that_were_put_before_it_at_any_batch_size() {
    let dir = TempDir::new().expect("a folder");
    let (mut index, run, unread) = queue_of(500, &dir);
    for (batch, part) in [1, 7, 60, 100_000].into_iter().zip(unread.chunks(125)) {
        let before = accounts_read(&mut index, run);
        let (writer, task) = Writer::start(index, run, batch, || 0);
        for (n, unread) in part.iter().enumerate() {
            writer.put(read_without_rewards(unread)).await.expect("is taken");
            if n % 10 == 3 {
                let seen = writer.call(move |index| Ok(accounts_read(index, run))).await.expect("is answered");
                assert_eq!(seen - before, n as u64 + 1, "batches of {batch}");
            }
        }
        drop(writer);
        index = task.join().await.expect("everything is written");
        assert_eq!(accounts_read(&mut index, run) - before, part.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_larger_than_a_full_channel_does_not_deadlock() {
    let dir = TempDir::new().expect("a folder");
    let (index, run, unread) = queue_of(3, &dir);
    let (writer, task) = Writer::start(index, run, 4, || 0);
    let (pass, _) = writer.call(move |index| index.begin_pass(run, "", NOW)).await.expect("begins");
    writer.put(read_without_rewards(&unread[0])).await.expect("is taken");
    let page = Page { participants: Vec::new(), unusable: (0..9).collect(), cursor: String::new() };
    writer.put(Entry::Page { pass: pass.clone(), page, at: NOW }).await.expect("is taken");
    writer.put(read_without_rewards(&unread[1])).await.expect("is taken");
    drop(writer);
    let mut index = task.join().await.expect("everything is written");
    assert_eq!(accounts_read(&mut index, run), 2);
    assert_eq!(index.participants(pass.id).expect("reads"), 12, "three participants and nine unusable rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_ends_the_writer_with_its_error_and_wakes_every_sender() {
    let dir = TempDir::new().expect("a folder");
    let (index, run, unread) = queue_of(40, &dir);
    let (writer, task) = Writer::start(index, run, 2, || 0);
    let (pass, _) = writer.call(move |index| index.begin_pass(run, "", NOW)).await.expect("begins");
    let unknown = ListPass { id: pass.id + 1, ..pass };
    let page = Page { participants: Vec::new(), unusable: Vec::new(), cursor: String::new() };
    writer.put(Entry::Page { pass: unknown, page, at: NOW }).await.expect("is taken");
    let mut refused = None;
    for unread in &unread {
        refused = refused.or(writer.put(read_without_rewards(unread)).await.err());
    }
    assert_eq!(refused.expect("the channel is closed").kind, Kind::Storage);
    drop(writer);
    assert_eq!(task.join().await.map(drop).expect_err("the error of the write").kind, Kind::Storage);
}
