//! Tests of a damaged index: a look-up is refused, gives the same answer as before, or says that it is incomplete.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{Home, Sim, ready, size};

/// Tables of the index that no look-up reads: raw rewards and the list of participants.
const ASIDE: [&str; 2] = ["raw_rewards", "participants"];

/// Returns the texts to look up: known orders, an unknown order, an ActionId and a reward ID.
fn texts(sim: &Sim) -> Vec<String> {
    let (one, two) = (sim.example("plain"), sim.example("redeemed"));
    let mut texts = vec![one.order_id, two.order_id, "no such order".to_owned(), "77001122".to_owned()];
    texts.extend(one.action_ids);
    texts
}

/// Returns the answers of the look-ups, or `None` after an error.
fn answers(home: &Home, index: &std::path::Path, texts: &[String]) -> Option<Vec<Value>> {
    let mut args: Vec<&str> = vec!["lookup", "--json"];
    args.extend(texts.iter().map(String::as_str));
    let output = home.command(&args).env("RECOUP_DATABASE", index).output().expect("it runs");
    assert!(output.status.code().is_some(), "{output:?}");
    if !matches!(output.status.code(), Some(0 | 4)) {
        return None;
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    Some(lines.filter(|line: &Value| line["verdict"].is_string()).collect())
}

/// Returns the page size, and the pages of each b-tree that a look-up may read.
fn pages(index: &std::path::Path) -> (usize, Vec<Vec<usize>>) {
    let conn = Connection::open(index).expect("the index");
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
    let mut rows = conn.prepare("SELECT name, pageno, pgsize FROM dbstat").expect("dbstat");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))).expect("rows");
    let (mut size, mut pages) = (0, BTreeMap::<String, Vec<usize>>::new());
    for row in rows {
        let (name, page, bytes) = row.expect("a row");
        size = bytes as usize;
        pages.entry(name).or_default().push(page as usize);
    }
    pages.retain(|name, _| !ASIDE.contains(&name.as_str()));
    (size, pages.into_values().collect())
}

/// The test flips 300 bytes, or the number in `TEST_FLIPS`.
#[test]
fn a_flipped_byte_in_the_index_never_gives_a_wrong_complete_answer() {
    let (sim, home) = ready(&[]);
    if home.skip_on_server("it damages SQLite's file") {
        return;
    }
    let texts = texts(&sim);
    let (page_size, pages) = pages(&home.database());
    let good = answers(&home, &home.database(), &texts).expect("answers");
    assert!(good.len() == texts.len() && good.iter().all(|answer| answer["coverage"]["complete"] == true), "{good:?}");
    let file = std::fs::read(home.database()).expect("the index");
    let copy = home.path("damaged.db");
    let mut dice = fastrand::Rng::with_seed(16);
    let (mut refused, mut same) = (0, 0);
    for n in 0..size("TEST_FLIPS", 300) {
        // Every fourth flip hits a random byte of the index file. Each other flip hits a non-empty page of a randomly
        // chosen b-tree that look-ups read.
        let at = if n % 4 == 0 {
            dice.usize(0..file.len())
        } else {
            let tree = &pages[dice.usize(0..pages.len())];
            let begin = (tree[dice.usize(0..tree.len())] - 1) * page_size;
            let used: Vec<usize> = (begin..begin + page_size).filter(|at| file[*at] != 0).collect();
            used[dice.usize(0..used.len())]
        };
        let mut damaged = file.clone();
        damaged[at] ^= dice.u8(1..);
        std::fs::write(&copy, &damaged).expect("a copy");
        for log in ["damaged.db-wal", "damaged.db-shm"] {
            drop(std::fs::remove_file(home.path(log)));
        }
        match answers(&home, &copy, &texts) {
            None => refused += 1,
            Some(mut found) => {
                // If the damage hits the stored offset of the vendor's clock, the field `clock` of the answer is
                // `local`.
                for (found, good) in found.iter_mut().zip(&good) {
                    if found["clock"] == "local" {
                        found["clock"] = good["clock"].clone();
                    }
                }
                same += u32::from(found == good);
                let claims = found
                    .iter()
                    .zip(&good)
                    .filter(|(found, good)| found != good && found["coverage"]["complete"] == true);
                let wrong: Vec<_> = claims.collect();
                assert!(wrong.is_empty(), "flip {n}, byte {at} (page {}): {wrong:#?}", at / page_size + 1);
            }
        }
    }
    assert!(refused > 5 && same > 100, "{refused} refused, {same} the same");
}
