//! The control paths below `/_simulator/`: they return the record and the truth, and change settings and data while the
//! simulator runs.
//!
//! Control paths need no credentials. Limits, faults and the record do not apply to control paths. Control paths are
//! for tests and training. The vendor has no control paths.

use std::sync::Arc;

use clap::ValueEnum as _;
use hyper::{Method, Response};
use serde_json::json;

use super::{
    Simulator,
    connection::Payload,
    examples::Examples,
    lock::write,
    options::{DeleteFault, FileErrors, OnOff, SubmissionsList, clock, even_mix, fault, rate, time as duration},
    query,
    reply::Reply,
    time, truth,
};

/// Answers a request for `/_simulator/{path}`.
pub(super) fn answer(
    simulator: &Arc<Simulator>,
    method: &Method,
    path: &str,
    query: &str,
    body: &str,
) -> Response<Payload> {
    let world = &simulator.world;
    let reply = match (path, *method == Method::POST) {
        ("record", false) => Reply::json(200, &simulator.record.to_json()),
        ("truth" | "accounts", false) => {
            let lines = truth::lines(world.clone(), path == "accounts");
            return Reply::new(200, "application/x-ndjson", "").send_as(Payload::Pieces(Box::new(lines)));
        }
        ("actions", false) => match query::value(query, "id") {
            None => {
                let lines = truth::actions(world.clone());
                return Reply::new(200, "application/x-ndjson", "").send_as(Payload::Pieces(Box::new(lines)));
            }
            Some(id) => match world.action(&id) {
                Some(action) => Reply::json(200, &truth::action(world, action)),
                None => wrong(404, "no such action"),
            },
        },
        ("webhook", true) => simulator.webhooks.control(&simulator.tenant, query),
        ("file", true) => file(simulator, query, body),
        ("examples", false) => Reply::json(200, &Examples::find(world).to_json()),
        ("record/reset", true) => {
            simulator.record.reset();
            done(1)
        }
        ("set", true) => set(simulator, query),
        ("rewrite", true) => match query::value(query, "id") {
            Some(id) if simulator.rewrites.set(&id, body) => done(1),
            _ => wrong(400, "say which reward, and how as a JSON object of set, repeat, also, hidden, as, only"),
        },
        ("change", true) => match query::number(query, "accounts") {
            Some(accounts) => done(world.change_accounts(accounts) as usize),
            None => wrong(400, "say how many accounts"),
        },
        ("vanish", true) => {
            world.deleted_accounts.begin(query::number(query, "after").unwrap_or(0), query::number(query, "accounts"));
            done(1)
        }
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

/// Accepts the upload of a reversal file, as the vendor's FTP server does.
fn file(simulator: &Simulator, query: &str, body: &str) -> Reply {
    let Simulator { world, reversals, files, record, .. } = simulator;
    let name = query::value(query, "name").unwrap_or_else(|| format!("file-{}.csv", files.count() + 1).into());
    let Some(taken) = files.take(world, reversals, &name, body) else {
        return wrong(400, "the first line names neither OrderId nor ActionId");
    };
    record.dispatch("a line of a file", &taken.names, false);
    record.file(json!({"batch_id": taken.id, "name": name, "rows": taken.rows, "at_ms": time::now_ms()}));
    Reply::json(200, &json!({"batch_id": taken.id, "rows": taken.rows, "errors": taken.errors}))
}

/// Changes all settings in the query of a control request. If one setting in the query is invalid, changes no setting.
fn set(simulator: &Arc<Simulator>, query: &str) -> Reply {
    let mut live = super::lock::read(&simulator.reversals.live).clone();
    let mut exports = super::lock::read(&simulator.exports.live).clone();
    let mut graphql = super::lock::read(&simulator.graphql.live).clone();
    let mut programs = *super::lock::read(&simulator.world.programs.live);
    let mut referrals = *super::lock::read(&simulator.world.referrals.live);
    let mut link = *super::lock::read(&simulator.files.link);
    let (mut rates, mut churn, mut reward_churn) = (None, 0, 0);
    for (key, value) in query::pairs(query) {
        let understood = match key.as_str() {
            "faults" => rate(&value).map(|rate| rates.get_or_insert_with(Vec::new).extend(even_mix(rate))).is_ok(),
            "fault" => fault(&value).map(|one| rates.get_or_insert_with(Vec::new).push(one)).is_ok(),
            "delete-fault" => DeleteFault::from_str(&value, true).map(|fault| live.delete_fault = fault).is_ok(),
            "put-fault" => DeleteFault::from_str(&value, true).map(|fault| live.put_fault = fault).is_ok(),
            "cancel-fault" => DeleteFault::from_str(&value, true).map(|fault| live.cancel_fault = fault).is_ok(),
            "submissions-list" => SubmissionsList::from_str(&value, true).map(|to| live.submissions_list = to).is_ok(),
            "submissions-late" => duration(&value).map(|late| live.submissions_late = late).is_ok(),
            "file-errors" => FileErrors::from_str(&value, true).map(|to| link = to).is_ok(),
            "clock" => clock(&value).map(time::set_clock).is_ok(),
            "date" => OnOff::from_str(&value, true).map(|on| time::set_date(on == OnOff::On)).is_ok(),
            "rule-missing" | "program-rule" | "rule-works" => programs.set(&key, &value),
            "referral-after" | "referral-rewards" => referrals.set(&key, &value),
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
    *write(&simulator.world.programs.live) = programs;
    *write(&simulator.world.referrals.live) = referrals;
    *write(&simulator.files.link) = link;
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
