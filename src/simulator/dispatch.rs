//! DELETE and PUT on actions: checked, recorded, processed or not, and answered with the truth or with a lie.
//!
//! `--delete-fault` separates what happens from what is answered: the record says for each request whether it was
//! processed, whatever the client was told. Things a client must never do are recorded as violations here.

use std::{sync::Arc, time::Instant};

use super::{
    Simulator,
    lock::{hold, read},
    options::{DeleteFault, name_of},
    query,
    record::Host,
    reply::{JSON, Reply, brand, brand_error},
    time,
};

/// How a request ends.
pub(super) enum Ending {
    Reply(Reply),
    /// The connection is reset.
    Reset,
    /// Nothing comes.
    Hang,
}

/// The marker in the Location of a redirect: a request that bears it has followed one.
const AGAIN: &str = "redirected=1";

/// How a request came.
pub(super) struct Sent<'a> {
    pub(super) put: bool,
    pub(super) json: bool,
    pub(super) form_type: bool,
    pub(super) query: &'a str,
    pub(super) form: &'a str,
}

/// Answers one DELETE or PUT of `/Actions`.
pub(super) fn answer(simulator: &Arc<Simulator>, sent: &Sent<'_>, now: Instant) -> Ending {
    let Simulator { record, reversals, world, .. } = &**simulator;
    let params = query::pairs(sent.form);
    let verb = if sent.put { "PUT" } else { "DELETE" };
    let at = time::now_ms();
    check(simulator, sent, &params, verb);
    let request = match reversals.read(world, sent.put, sent.form, &params) {
        Ok(request) => request,
        Err(refusal) => {
            record.write(sent.put, &params, at, "400", false);
            return Ending::Reply(brand_error(sent.json, 400, "Validation Failed", Some(refusal)));
        }
    };
    let mut fault = if sent.put { DeleteFault::None } else { read(&reversals.live).delete_fault };
    if matches!(fault, DeleteFault::Status429 | DeleteFault::Bare429)
        && !hold(&simulator.made_to_wait).insert(request.names.join(" "))
    {
        fault = DeleteFault::None;
    }
    let plan = plan(fault);
    if fault != DeleteFault::None {
        record.fault(format!("delete {}", name_of(&fault)));
    }
    if !sent.put {
        record.dispatch(&request.names, plan.refused);
    }
    let queued = plan.processed.then(|| reversals.process(world, request));
    record.write(sent.put, &params, at, plan.answered, plan.processed);
    match fault {
        DeleteFault::ResetBefore | DeleteFault::ResetAfter => Ending::Reset,
        DeleteFault::HangBefore | DeleteFault::HangAfter => Ending::Hang,
        DeleteFault::None => match queued {
            Some(queued) => Ending::Reply(brand(sent.json, 200, "Queued", &queued)),
            None => Ending::Reset,
        },
        DeleteFault::Status429 => {
            simulator.limits.tell(Host::Brand, now, std::time::Duration::from_secs(1));
            let wait = vec![("retry-after", "1".to_owned()), ("x-ratelimit-reset", "1".to_owned())];
            Ending::Reply(brand_error(sent.json, 429, "Rate limit exceeded", None).with(wait))
        }
        DeleteFault::Status502 => Ending::Reply(Reply::html(502)),
        DeleteFault::Status307 => {
            let location = format!("/Advertisers/{}/Actions?{AGAIN}", reversals.sid);
            Ending::Reply(Reply::html(307).with(vec![("location", location)]))
        }
        DeleteFault::Unreadable => Ending::Reply(Reply::html(200)),
        DeleteFault::Empty => Ending::Reply(Reply::new(200, JSON, "")),
        DeleteFault::Invalid => Ending::Reply(Reply::new(200, JSON, "{\"Status\":\"QUEU")),
        _ => {
            let status = plan.answered.parse().unwrap_or(500);
            Ending::Reply(brand_error(sent.json, status, "Refused by the simulator", None))
        }
    }
}

/// What a fault does and says.
struct Plan {
    processed: bool,
    /// The client can know that nothing was done, and may send it again.
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

/// Records what no client should send.
fn check(simulator: &Simulator, sent: &Sent<'_>, params: &[(String, String)], verb: &str) {
    let record = &simulator.record;
    let get = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if sent.query.contains(AGAIN) {
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
