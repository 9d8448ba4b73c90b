//! The index compared with the simulator, row by row.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::{Home, Ran, Sim};

/// The facts of one reward: account, order IDs, ActionIds, assigned, redeemed and cancelled.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    account: String,
    orders: Vec<String>,
    actions: Vec<String>,
    assigned: Option<i64>,
    redeemed: Option<i64>,
    cancelled: bool,
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

/// Returns the simulator's current rewards.
pub fn truth(sim: &Sim) -> BTreeMap<String, Row> {
    let texts = |value: &Value| -> Vec<String> {
        sorted(value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect())
    };
    sim.truth()
        .iter()
        .map(|reward| {
            let row = Row {
                account: reward["account_id"].as_str().expect("an account").to_owned(),
                orders: texts(&reward["order_ids"]),
                actions: texts(&reward["action_ids"]),
                assigned: reward["assigned"].as_i64(),
                redeemed: reward["redeemed"].as_i64().filter(|n| *n > 0),
                cancelled: reward["state"] == "cancelled",
            };
            (reward["reward_id"].as_str().expect("an id").to_owned(), row)
        })
        .collect()
}

/// Returns the rewards of the index that are not marked as gone.
pub fn indexed(home: &Home) -> BTreeMap<String, Row> {
    if let Some(address) = home.server() {
        return indexed_on_server(address);
    }
    let conn = open(home);
    let mut statement = conn
        .prepare(
            "SELECT r.reward_id, coalesce(r.account_id, a.account_id), r.assigned, r.redeemed, r.date_cancelled,
                 (SELECT json_group_array(order_id) FROM links WHERE reward = r.id AND order_id IS NOT NULL),
                 (SELECT json_group_array(action_id) FROM links WHERE reward = r.id AND action_id IS NOT NULL)
             FROM rewards r JOIN accounts a ON a.id = r.account WHERE r.gone_at IS NULL AND a.gone_at IS NULL",
        )
        .expect("the schema");
    let texts = |json: String| sorted(serde_json::from_str(&json).expect("a list"));
    let rows = statement
        .query_map([], |row| {
            let entry = Row {
                account: row.get(1)?,
                orders: texts(row.get(5)?),
                actions: texts(row.get(6)?),
                assigned: row.get(2)?,
                redeemed: row.get::<_, Option<i64>>(3)?.filter(|n| *n > 0),
                cancelled: row.get::<_, Option<i64>>(4)?.is_some(),
            };
            Ok((row.get(0)?, entry))
        })
        .expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn indexed_on_server(address: &str) -> BTreeMap<String, Row> {
    let (server, schema) = address.split_once('?').expect("parameters");
    let schema = schema.rsplit_once("schema=").expect("a schema").1;
    let list = |column: &str| {
        format!(
            "(SELECT coalesce(json_agg({column}), '[]') FROM {schema}_index.links WHERE reward = r.id AND {column} IS NOT NULL)"
        )
    };
    let sql = format!(
        "SELECT json_build_array(r.reward_id, coalesce(r.account_id, a.account_id), r.assigned, r.redeemed, r.date_cancelled, {}, {})
         FROM {schema}_index.rewards r JOIN {schema}_index.accounts a ON a.id = r.account
         WHERE r.gone_at IS NULL AND a.gone_at IS NULL",
        list("order_id"),
        list("action_id")
    );
    let ran = std::process::Command::new("psql").args([server, "-XAtc", &sql]).output().expect("psql runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let texts = |list: &Value| {
        sorted(list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect())
    };
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let entry = Row {
            account: row[1].as_str().expect("an account").to_owned(),
            orders: texts(&row[5]),
            actions: texts(&row[6]),
            assigned: row[2].as_i64(),
            redeemed: row[3].as_i64().filter(|n| *n > 0),
            cancelled: !row[4].is_null(),
        };
        (row[0].as_str().expect("an ID").to_owned(), entry)
    };
    String::from_utf8(ran.stdout).expect("UTF-8").lines().map(row).collect()
}

fn open(home: &Home) -> Connection {
    Connection::open_with_flags(home.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the index")
}

/// Fails if a row of the index differs from the simulator, or if `lookup` does not find an order.
#[track_caller]
pub fn assert_index_is_truth(home: &Home, sim: &Sim) {
    let (truth, mut indexed) = (truth(sim), indexed(home));
    for (id, row) in &truth {
        let mut found = indexed.remove(id).unwrap_or_else(|| panic!("reward {id} is not in the index: {row:?}"));
        // The expected rows of the simulator have amounts of credits only. The index also has the percentage or the
        // amount of other reward types.
        found.assigned = found.assigned.filter(|_| row.assigned.is_some());
        assert_eq!(&found, row, "reward {id}");
    }
    assert_eq!(indexed.keys().next(), None, "in the index, not at the vendor, and not marked as gone");
    let orders = sorted(truth.values().flat_map(|row| row.orders.clone()).collect());
    let found = lookup_all(home, &orders);
    assert_eq!(found.len(), orders.len());
    let states: BTreeMap<String, Value> = sim
        .truth()
        .into_iter()
        .map(|r| (r["reward_id"].as_str().unwrap_or_default().to_owned(), r["state"].clone()))
        .collect();
    for (order, answer) in orders.iter().zip(&found) {
        assert_eq!(answer["order_id"], order.as_str());
        for found in answer["matches"].as_array().into_iter().flatten().filter(|m| m["gone"] == false) {
            let id = found["reward_id"].as_str().unwrap_or_default();
            assert_eq!(Some(&found["state"]), states.get(id), "state of reward {id}");
        }
        let rewards: Vec<&str> =
            answer["matches"].as_array().into_iter().flatten().filter_map(|m| m["reward_id"].as_str()).collect();
        let expected: Vec<&String> =
            truth.iter().filter(|(_, row)| row.orders.contains(order)).map(|(id, _)| id).collect();
        assert!(expected.iter().all(|id| rewards.contains(&id.as_str())), "{order:?}: {expected:?} in {rewards:?}");
    }
}

/// Looks up all orders with one command that reads them from standard input.
fn lookup_all(home: &Home, orders: &[String]) -> Vec<Value> {
    if orders.is_empty() {
        return Vec::new();
    }
    let args = ["lookup", "-", "--json"];
    let mut child = home.command(&args).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its standard input");
    let list = orders.join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(list.as_bytes()));
    let ran = Ran::of(&args, child.wait_with_output().expect("it ends"));
    writer.join().expect("the writer").expect("the list");
    ran.expect(0);
    ran.objects()
}

#[test]
fn a_path_too_long_for_sqlite_is_refused_and_the_longest_allowed_works() {
    let sim = Sim::start(&["--participants", "20"]);
    let home = Home::new(&sim);
    if home.skip_on_server("it concerns paths of files") {
        return;
    }
    let folder = home.path("").canonicalize().expect("the folder");
    // recoup derives the ledger's and the users' paths from the index's path. The longest of the three paths decides
    // whether recoup accepts the index's path.
    let path_of = |bytes: usize, name: &str| {
        let mut path = folder.clone();
        loop {
            let left = bytes - path.as_os_str().len() - 1 - name.len();
            match left {
                0 => return path.join(name),
                1..=101 => return path.join(format!("{}{name}", "x".repeat(left))),
                _ => path.push("d".repeat(99)),
            }
        }
    };
    for (bytes, works) in
        [(480, true), (503, true), (504, true), (505, false), (512, false), (513, false), (900, false)]
    {
        let database = path_of(bytes, "i.db");
        assert_eq!(database.as_os_str().len(), bytes);
        let short = home.path(&format!("ledger-{bytes}.db"));
        let run = |args: &[&str]| {
            let mut command = home.command(args);
            command.env("RECOUP_DATABASE", &database).env("RECOUP_LEDGER", &short);
            Ran::of(args, command.output().expect("the binary runs"))
        };
        let ran = run(&["crawl", "--source", "participants"]);
        if works {
            ran.expect(0);
            run(&["lookup", "x"]).expect(4);
            run(&["doctor"]).expect(0);
        } else {
            ran.expect(3);
            let said = &ran.stderr;
            assert!(said.contains(&format!("the path of the index has {bytes} bytes")), "{said}");
            assert!(said.contains("at most 504") && said.contains("RECOUP_DATABASE"), "{said}");
        }
        // recoup also limits the length of the ledger's path.
        let args = ["status"];
        let ledger = path_of(bytes, "l.db");
        let output = home.command(&args).env("RECOUP_LEDGER", &ledger).output().expect("the binary runs");
        let ran = Ran::of(&args, output);
        // recoup derives the path of the users' database from the ledger's path, and it is longer.
        ran.expect(if bytes <= 480 { 0 } else { 3 });
    }
    let name = "n".repeat(240);
    let output = home.command(&["status"]).env("RECOUP_DATABASE", home.path(&name)).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("has 240 bytes"), "{said}");
}
