//! Runs random sequences of commands. After each command the ledger, the simulator and the rules of sending must agree.
//!
//! Each sequence of commands has a seed, kills processes and makes the vendor misbehave. A failed sequence prints its
//! seed and every step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::copied_ledger::copy_main_files;
use crate::support::{Home, Sim, size, wait_until};

const FAULTS: [&str; 9] = ["none", "none", "none", "400", "401", "500-after", "reset-before", "reset-after", "empty"];

/// The crash points of the feature `failpoints`.
const POINTS: [&str; 8] =
    ["planned", "sending", "answered", "queued", "completed", "proven", "planned:2", "answered:2"];

struct Model {
    sim: Sim,
    home: Home,
    dice: fastrand::Rng,
    orders: Vec<String>,
    rewards: Vec<String>,
    /// How often a person ordered a resend, by order ID.
    resends: BTreeMap<String, usize>,
    done: Vec<String>,
}

/// Creates a home in which recoup may read the vendor's list of submissions at once.
fn home_of(sim: &Sim) -> Home {
    let home = Home::new(sim);
    home.configure_more("list_after = '1ms'");
    home.configure_more("list_gap = '2ms'");
    home
}

impl Model {
    fn new(seed: u64) -> Self {
        let sim = Sim::start(&["--participants", "1500", "--seed", &seed.to_string()]);
        let home = home_of(&sim);
        home.crawl();
        let (mut orders, mut rewards) = (Vec::new(), Vec::new());
        for kind in ["plain", "two_actions", "redeemed", "old_conversion", "already_cancelled", "all_redeemed"] {
            let examples: Value = serde_json::from_str(&sim.get("examples")).expect("the examples");
            for one in examples[kind].as_array().into_iter().flatten().take(3) {
                orders.push(one["order_id"].as_str().expect("an order").to_owned());
                rewards.extend(
                    one["reward_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
                );
            }
        }
        Self {
            sim,
            home,
            dice: fastrand::Rng::with_seed(seed),
            orders,
            rewards,
            resends: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// Continues the test with copies of the two main database files, without their WAL files.
    fn go_on_with_a_copy(&mut self) {
        self.done.push("copied the main files alone".to_owned());
        let copy = copy_main_files(&self.home, home_of(&self.sim));
        let audit = copy.run(&["audit", "verify"]);
        // A copy of the main file during a checkpoint may be half a file. If the audit reports half a file, the test
        // keeps the original ledger.
        if !audit.stdout.contains("half a copy") {
            self.home = copy;
        }
    }

    /// Checks that recoup refuses to send if the ledger's file has two hard links.
    fn try_a_second_name(&mut self, order: &str) {
        if !self.home.has_ledger() {
            return;
        }
        self.done.push(format!("a hard link to the ledger, and retract {order}"));
        let link = self.home.path("second-name.db");
        std::fs::hard_link(self.home.ledger(), &link).expect("a second name");
        let before = self.sim.deletes().len();
        for by in [self.home.ledger(), link.clone()] {
            let args = ["retract", order, "--all", "--yes", "--json"];
            let ran = self.home.command(&args).env("RECOUP_LEDGER", by).output().expect("it runs");
            assert_eq!(ran.status.code(), Some(3), "{ran:?}: {:?}", self.done);
        }
        assert_eq!(self.sim.deletes().len(), before, "{:?}", self.done);
        std::fs::remove_file(link).expect("one name is left");
    }

    fn order(&mut self) -> String {
        self.orders[self.dice.usize(0..self.orders.len())].clone()
    }

    /// Runs a command, or kills it at a random request or crash point.
    fn run(&mut self, args: &[&str]) {
        if cfg!(feature = "failpoints") && self.dice.u8(0..6) == 0 {
            let point = POINTS[self.dice.usize(0..POINTS.len())];
            self.done.push(format!("{} (killed at {point})", args.join(" ")));
            self.home.command(args).env("RECOUP_CRASH_AT", point).output().expect("it runs");
            return;
        }
        let kill = self.dice.u8(0..4) == 0;
        self.done.push(format!("{}{}", args.join(" "), if kill { " (killed)" } else { "" }));
        if !kill {
            let ran = self.home.run(args);
            assert!(ran.code.is_some(), "{:?}: {ran:?}", self.done);
            return;
        }
        let goal = self.sim.requests() + self.dice.u64(0..12);
        let mut child = self.home.command(args).spawn().expect("it starts");
        wait_until("a moment to kill it", || {
            self.sim.requests() >= goal || child.try_wait().expect("its state").is_some()
        });
        drop(child.kill());
        child.wait().expect("it ends");
    }

    fn step(&mut self) {
        let order = self.order();
        // The last steps need files.
        match self.dice.u8(0..if self.home.server().is_some() { 11 } else { 15 }) {
            0 => self.run(&["crawl", "--source", "participants", "--json"]),
            1 | 2 => self.run(&["retract", &order, "--yes", "--json", "--wait", "300ms"]),
            3 => self.run(&["retract", &order, "--all", "--yes", "--json", "--wait", "300ms"]),
            4 | 5 => {
                let some: Vec<String> = (0..4).map(|_| self.order()).collect();
                let file = self.home.path("refunds.csv");
                let mut writer = csv::Writer::from_path(&file).expect("a file");
                for cell in std::iter::once("order_id").chain(some.iter().map(String::as_str)) {
                    writer.write_record([cell]).expect("a row");
                }
                writer.flush().expect("written");
                drop(writer);
                let (file, out) = (file.display().to_string(), self.home.path("out.csv").display().to_string());
                self.run(&[
                    "retract", "--file", &file, "--out", &out, "--force", "--all", "--yes", "--json", "--wait", "300ms",
                ]);
            }
            6 | 7 => {
                let fault = FAULTS[self.dice.usize(0..FAULTS.len())];
                let reads = ["0", "0", "0.05"][self.dice.usize(0..3)];
                self.done.push(format!("vendor: {fault}, faults {reads}"));
                self.sim.post(&format!("set?delete-fault={fault}&cancel-fault={fault}&faults={reads}"));
            }
            8 => self.run(&["verify", "--json"]),
            9 => {
                *self.resends.entry(order.clone()).or_default() += 1;
                self.run(&[
                    "retract", &order, "--all", "--yes", "--json", "--wait", "300ms", "--resend", "--reason", "by hand",
                ]);
            }
            10 => {
                let reward = self.rewards[self.dice.usize(0..self.rewards.len())].clone();
                self.run(&[
                    "cancel-reward",
                    &reward,
                    "--yes",
                    "--ticket",
                    "T",
                    "--reason",
                    "by hand",
                    "--wait",
                    "300ms",
                    "--json",
                ]);
            }
            11 | 12 => self.go_on_with_a_copy(),
            13 => self.try_a_second_name(&order),
            _ => {
                let folder = self.home.path(&format!("backup-{}", self.done.len())).display().to_string();
                self.run(&["backup", &folder, "--json"]);
            }
        }
    }

    fn check(&self) {
        let told = || format!("{:#?}", self.done);
        if !self.home.has_ledger() {
            assert_eq!(self.sim.deletes().len(), 0, "{}", told());
            return;
        }
        let audit = self.home.run(&["audit", "verify"]);
        if audit.stderr.contains("nothing was ever retracted here") {
            // The command was killed before the ledger had its schema, so it sent nothing.
            assert_eq!(self.sim.deletes().len(), 0, "{}", told());
            return;
        }
        assert_eq!(audit.code, Some(0), "{audit:?}: {}", told());
        let mut actions: BTreeMap<String, Value> = BTreeMap::new();
        for line in self.sim.get("actions").lines().filter(|line| !line.is_empty()) {
            let action: Value = serde_json::from_str(line).expect("an action");
            if let Some(id) = action["action_id"].as_str() {
                actions.insert(id.to_owned(), action);
            }
        }
        // Reads the ledger past recoup after a kill.
        let states = "SELECT coalesce(r.action_id, ''), r.road, e.state FROM retractions r JOIN events e ON e.id =
             (SELECT max(id) FROM events WHERE retraction_id = r.id AND state IS NOT NULL)";
        let rows = self.home.rows("ledger", states);
        let known: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        let linked = self.home.rows("ledger", "SELECT reward_id FROM retraction_rewards").concat();
        let linked: BTreeSet<String> = linked.into_iter().collect();
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for delete in self.sim.deletes() {
            let id = delete["params"]["ActionId"].as_str().expect("an ActionId").to_owned();
            assert!(known.contains(id.as_str()), "{id} was sent, and the ledger has nothing of it: {}", told());
            if delete["processed"] == true {
                for reward in actions[&id]["rewards"].as_array().into_iter().flatten() {
                    let by_us = reward["cancelled_at"].as_i64() >= delete["at_ms"].as_i64();
                    let reward = reward["reward_id"].as_str().expect("an id");
                    assert!(!by_us || linked.contains(reward), "{reward} went and is not in the ledger: {}", told());
                }
            }
            // Refused credentials prove that the vendor did nothing, so recoup may send again.
            if !matches!(delete["answered"].as_str(), Some("401" | "403" | "429")) {
                *sent.entry(id).or_default() += 1;
            }
        }
        let order_of = |id: &str| actions[id]["order_id"].as_str().expect("an order").to_owned();
        for (id, times) in &sent {
            let asked = self.resends.get(&order_of(id)).copied().unwrap_or(0);
            assert!(*times <= 1 + asked, "{id} was sent {times} times, {asked} by hand: {}", told());
        }
        for row in &rows {
            let id = &row[0];
            if row[1] == "reversal" && row[2] == "confirmed" {
                let gone = |reward: &Value| matches!(reward["state"].as_str(), Some("cancelled" | "expired"));
                let rewards = actions[id]["rewards"].as_array().expect("rewards");
                assert!(rewards.iter().all(gone), "{id} is confirmed, and {rewards:?}: {}", told());
            }
        }
        // The simulator reports a resend after `not_received` as a duplicate. The test has already counted the resend.
        let by_hand = |what: &str| {
            what.starts_with("duplicate dispatch: ")
                && sent.keys().any(|id| what.contains(&format!(" {id},")) && self.resends.contains_key(&order_of(id)))
        };
        // If a process is killed right after the vendor asked for a pause, no process knows of the pause.
        let unheard = |what: &str| {
            what.ends_with("before the wait was over") && self.done.iter().any(|step| step.contains("(killed"))
        };
        let is_one = |what: &Value| what.as_str().is_none_or(|what| !by_hand(what) && !unheard(what));
        let violations: Vec<Value> = self.sim.violations().into_iter().filter(is_one).collect();
        assert!(violations.is_empty(), "{violations:?}: {}", told());
    }
}

fn walk(seed: u64, steps: usize) {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
        model.check();
    }
    assert!(!model.sim.deletes().is_empty(), "nothing was ever sent: {:#?}", model.done);
}

/// The test runs 3 sequences of 25 steps, or the numbers in `TEST_WALKS` and `TEST_STEPS`.
#[cfg(unix)]
#[test]
fn in_any_order_of_commands_nothing_is_sent_twice_and_only_done_is_called_done() {
    let steps = size("TEST_STEPS", 25);
    for seed in 1..=size("TEST_WALKS", 3) {
        walk(seed as u64, steps);
    }
}
