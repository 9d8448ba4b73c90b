//! DELETE and PUT of actions, and POST to cancel a reward: checks and records the request, processes it, and answers. A
//! configured fault may prevent the processing of a write or falsify the answer.
//!
//! With `--delete-fault`, `--put-fault` and `--cancel-fault`, the response may differ from what happens. The record
//! says for each write whether the simulator processed it. The simulator records forbidden writes as violations.

use std::{sync::Arc, time::Instant};

use super::{
    Simulator, advocate,
    lock::{hold, read},
    options::{DeleteFault, name_of},
    query,
    record::{Host, Verb},
    reply::{JSON, Reply, advocate_error, brand, brand_error},
    time,
};

/// How the simulator answers a write.
pub(super) enum Outcome {
    Reply(Reply),
    /// The simulator resets the connection.
    Reset,
    /// The simulator sends no response.
    Hang,
}

/// A marker in the `Location` of a redirect. A request with this marker shows that the client has followed the
/// redirect.
const REDIRECT_MARKER: &str = "redirected=1";

/// A write that the simulator received.
pub(super) struct Sent<'a> {
    pub(super) put: bool,
    pub(super) json: bool,
    pub(super) form_type: bool,
    pub(super) query: &'a str,
    pub(super) form: &'a str,
}

/// Answers a DELETE or PUT of `/Actions`.
pub(super) fn answer(simulator: &Arc<Simulator>, sent: &Sent<'_>, now: Instant) -> Outcome {
    let Simulator { record, reversals, world, .. } = &**simulator;
    let params = query::pairs(sent.form);
    let verb = if sent.put { Verb::Put } else { Verb::Delete };
    let at = time::now_ms();
    check(simulator, sent, &params, if sent.put { "PUT" } else { "DELETE" });
    let request = match reversals.read(world, sent.put, sent.form, &params) {
        Ok(request) => request,
        Err(refusal) => {
            record.write(verb, &params, at, "400", false);
            return Outcome::Reply(brand_error(sent.json, 400, "Validation Failed", Some(refusal)));
        }
    };
    let fault = current_fault(simulator, verb, &request.names.join(" "));
    let plan = plan(fault);
    if !sent.put {
        record.dispatch("a DELETE", &request.names, plan.refused);
    }
    let queued = plan.processed.then(|| reversals.process(world, request));
    record.write(verb, &params, at, plan.answered, plan.processed);
    if fault == DeleteFault::None {
        return match queued {
            Some(queued) => Outcome::Reply(brand(sent.json, 200, "Queued", &queued)),
            None => Outcome::Reset,
        };
    }
    let location = format!("/Advertisers/{}/Actions?{REDIRECT_MARKER}", reversals.sid);
    faulty_response(simulator, fault, &plan, Host::Brand, location, now, |status| {
        brand_error(
            sent.json,
            status,
            if status == 429 { "Rate limit exceeded" } else { "Refused by the simulator" },
            None,
        )
    })
}

/// Answers a POST of `/reward/{id}/cancel`. With `--cancel-fault`, the response may differ from what happens.
pub(super) fn cancel(simulator: &Simulator, path: &str, query: &str, now: Instant) -> Outcome {
    let Simulator { record, world, .. } = simulator;
    let id = path.trim_start_matches("reward/").trim_end_matches("/cancel");
    let params = vec![("id".to_owned(), query::segment(id).into_owned())];
    let at = time::now_ms();
    if query.contains(REDIRECT_MARKER) {
        record.violation("POST followed a redirect");
    }
    let fault = current_fault(simulator, Verb::Cancel, &params[0].1);
    let plan = plan(fault);
    let reply = plan.processed.then(|| advocate::reward(world, path, true));
    let answered = match (&reply, fault) {
        (Some(reply), DeleteFault::None) => reply.status.to_string(),
        _ => plan.answered.to_owned(),
    };
    let processed = reply.as_ref().is_some_and(|reply| reply.status == 200);
    record.write(Verb::Cancel, &params, at, &answered, processed);
    if fault == DeleteFault::None {
        return reply.map_or(Outcome::Reset, Outcome::Reply);
    }
    let location = format!("/api/v1/{}/{path}?{REDIRECT_MARKER}", simulator.tenant);
    faulty_response(simulator, fault, &plan, Host::Advocate, location, now, |status| {
        let (message, rs) =
            if status == 429 { ("Rate limit exceeded.", Some("RS033")) } else { ("Refused by the simulator.", None) };
        advocate_error(status, message, None, rs)
    })
}

/// Returns the fault that applies to a write. A 429 applies only to the first attempt of a write.
fn current_fault(simulator: &Simulator, verb: Verb, names: &str) -> DeleteFault {
    let live = read(&simulator.reversals.live);
    let fault = match verb {
        Verb::Delete => live.delete_fault,
        Verb::Put => live.put_fault,
        Verb::Cancel => live.cancel_fault,
    };
    drop(live);
    let waits = matches!(fault, DeleteFault::Status429 | DeleteFault::Bare429);
    if waits && !hold(&simulator.made_to_wait).insert(format!("{} {names}", verb.name())) {
        return DeleteFault::None;
    }
    if fault != DeleteFault::None {
        simulator.record.fault(format!("{} {}", verb.name(), name_of(&fault)));
    }
    fault
}

/// Returns the response of a fault. `refuse` writes an error in the form of the host.
fn faulty_response(
    simulator: &Simulator,
    fault: DeleteFault,
    plan: &Plan,
    host: Host,
    location: String,
    now: Instant,
    refuse: impl Fn(u16) -> Reply,
) -> Outcome {
    match fault {
        DeleteFault::ResetBefore | DeleteFault::ResetAfter => Outcome::Reset,
        DeleteFault::HangBefore | DeleteFault::HangAfter => Outcome::Hang,
        DeleteFault::Status429 => {
            simulator.limits.set_pause(host, now, std::time::Duration::from_secs(1));
            let wait = vec![("retry-after", "1".to_owned()), ("x-ratelimit-reset", "1".to_owned())];
            Outcome::Reply(refuse(429).with(wait))
        }
        DeleteFault::Status502 => Outcome::Reply(Reply::html(502)),
        DeleteFault::Status307 => Outcome::Reply(Reply::html(307).with(vec![("location", location)])),
        DeleteFault::Unreadable => Outcome::Reply(Reply::html(200)),
        DeleteFault::Empty => Outcome::Reply(Reply::new(200, JSON, "")),
        DeleteFault::Invalid => Outcome::Reply(Reply::new(200, JSON, "{\"Status\":\"QUEU")),
        _ => Outcome::Reply(refuse(plan.answered.parse().unwrap_or(500))),
    }
}

/// What a fault does with a write, and how it answers.
struct Plan {
    processed: bool,
    /// Whether the response proves that the simulator processed nothing. If the response proves that the simulator
    /// processed nothing, the client may send the request again.
    refused: bool,
    answered: &'static str,
}

fn plan(fault: DeleteFault) -> Plan {
    use DeleteFault as F;
    let (processed, refused, answered) = match fault {
        F::None => (true, false, "200"),
        F::Status400 => (false, true, "400"),
        F::Status401 => (false, true, "401"),
        F::Status403 => (false, true, "403"),
        F::Status404 => (false, true, "404"),
        F::Status409 => (false, true, "409"),
        F::Status429 | F::Bare429 => (false, true, "429"),
        F::Status408 => (false, false, "408"),
        F::Before500 => (false, false, "500"),
        F::After500 => (true, false, "500"),
        F::Status502 => (false, false, "502"),
        F::Status307 => (false, false, "307"),
        F::ResetBefore => (false, false, "reset"),
        F::ResetAfter => (true, false, "reset"),
        F::HangBefore => (false, false, "hang"),
        F::HangAfter => (true, false, "hang"),
        F::Unreadable => (true, false, "200 html"),
        F::Empty => (true, false, "200 empty"),
        F::Invalid => (true, false, "200 invalid"),
    };
    Plan { processed, refused, answered }
}

/// Records the violations in a write.
fn check(simulator: &Simulator, sent: &Sent<'_>, params: &[(String, String)], verb: &str) {
    let record = &simulator.record;
    let get = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if sent.query.contains(REDIRECT_MARKER) {
        record.violation(format!("{verb} followed a redirect"));
    }
    if !sent.json {
        record.violation(format!("{verb} did not ask for JSON"));
    }
    if !sent.form_type {
        record.violation(format!("{verb} is not application/x-www-form-urlencoded"));
    }
    if !sent.put && !get("Amount").is_some_and(|amount| amount.parse::<f64>().is_ok_and(|amount| amount == 0.0)) {
        record.violation("DELETE without Amount=0");
    }
    if get("ActionId").is_none() && get("OrderId").is_none() {
        record.violation(format!("{verb} names neither ActionId nor OrderId"));
    }
}
