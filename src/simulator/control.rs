//! The control paths under `/_simulator/`: the record, the truth, and changes while it runs.
//!
//! They need no credentials and are never limited, broken or recorded. They exist for tests and for people who learn;
//! the vendor has nothing of the kind.

use std::sync::Arc;

use clap::ValueEnum as _;
use hyper::{Method, Response};
use serde_json::json;

use super::{
    Simulator,
    lock::write,
    options::{DeleteFault, even_mix, fault, rate},
    query,
    reply::Reply,
    time,
    truth::{self, Examples},
    wire::Payload,
};

/// Answers `/_simulator/{path}`.
pub(super) fn answer(simulator: &Arc<Simulator>, method: &Method, path: &str, query: &str) -> Response<Payload> {
    let world = &simulator.world;
    let reply = match (path, *method == Method::POST) {
        ("record", false) => Reply::json(200, &simulator.record.to_json()),
        ("truth" | "accounts", false) => {
            let lines = truth::lines(world.clone(), path == "accounts");
            return Reply::new(200, "application/x-ndjson", "").send_as(Payload::Pieces(Box::new(lines)));
        }
        ("examples", false) => Reply::json(200, &Examples::find(world).to_json()),
        ("record/reset", true) => {
            simulator.record.reset();
            done(1)
        }
        ("set", true) => set(simulator, query),
        ("change", true) => match query::number(query, "accounts") {
            Some(accounts) => done(world.change_accounts(accounts) as usize),
            None => wrong(400, "say how many accounts"),
        },
        ("cancel", true) => match query::value(query, "action").and_then(|id| world.action(&id)) {
            Some(action) => done(world.cancel_action(action, time::now_ms())),
            None => wrong(404, "no such action"),
        },
        ("delete-reward" | "redeem" | "move-reward", true) => {
            match query::value(query, "id").and_then(|id| world.reward(&id)) {
                Some((key, _)) if path == "redeem" => {
                    if world.redeem(key, time::now_ms()) {
                        done(1)
                    } else {
                        wrong(400, "not redeemable")
                    }
                }
                Some((key, _)) if path == "delete-reward" => {
                    world.delete_reward(key);
                    done(1)
                }
                Some((key, _)) => match query::value(query, "account").and_then(|id| world.account(&id)) {
                    Some(owner) => {
                        world.move_reward(key, owner);
                        done(1)
                    }
                    None => wrong(404, "no such account"),
                },
                None => wrong(404, "no such reward"),
            }
        }
        _ => wrong(404, "no such control path, or the wrong method for it"),
    };
    reply.send()
}

fn done(changed: usize) -> Reply {
    Reply::json(200, &json!({"changed": changed}))
}

fn wrong(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message}))
}

/// Changes settings: all of the query, or, where one of them is wrong, none of it.
fn set(simulator: &Arc<Simulator>, query: &str) -> Reply {
    let mut live = super::lock::read(&simulator.reversals.live).clone();
    let mut exports = super::lock::read(&simulator.exports.live).clone();
    let mut graphql = super::lock::read(&simulator.graphql.live).clone();
    let (mut rates, mut churn, mut reward_churn) = (None, 0, 0);
    for (key, value) in query::pairs(query) {
        let understood = match key.as_str() {
            "faults" => rate(&value).map(|rate| rates.get_or_insert_with(Vec::new).extend(even_mix(rate))).is_ok(),
            "fault" => fault(&value).map(|one| rates.get_or_insert_with(Vec::new).push(one)).is_ok(),
            "delete-fault" => DeleteFault::from_str(&value, true).map(|fault| live.delete_fault = fault).is_ok(),
            "rule-missing" => value.parse().map(|missing| live.rule_missing = missing).is_ok(),
            "submission-error" => {
                live.submission_error = value;
                true
            }
            key if key.starts_with("graphql") || key == "user-events" => graphql.set(key, &value),
            "reward-churn" => value.parse().map(|changes: u64| reward_churn += changes).is_ok(),
            "churn" => value.parse().map(|events: u64| churn += events).is_ok(),
            key if key.starts_with("export") => exports.set(key, &value),
            _ => false,
        };
        if !understood {
            return wrong(400, &format!("{key} is no setting, or its value is wrong"));
        }
    }
    *write(&simulator.reversals.live) = live;
    *write(&simulator.exports.live) = exports;
    *write(&simulator.graphql.live) = graphql;
    if let Some(rates) = rates {
        simulator.faults.set(rates);
    }
    if churn > 0 {
        simulator.world.churn_more(churn);
    }
    if reward_churn > 0 {
        simulator.world.churn_rewards(reward_churn);
    }
    done(1)
}
