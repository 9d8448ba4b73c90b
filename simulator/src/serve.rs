//! Handles one request to the simulator: records, authenticates, limits, breaks and answers it, in that order.
//!
//! The simulator checks credentials before the limit, because a wrong token must use no quota. The simulator checks the
//! limit before the faults, because a fault must never hide a client that sends too fast. Other modules of the
//! simulator write the response.

use std::{sync::Arc, time::Instant};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};

use super::{
    Simulator,
    advocate::Advocate,
    auth::Scope,
    brand,
    connection::{Broken, Payload},
    control,
    options::{FaultKind, name_of},
    query,
    record::{Endpoint, Host},
    reply::{JSON, Reply, advocate_error, brand_error},
    writes::{self, Outcome},
};

/// Maximum size of a form, in bytes.
const MAX_FORM: usize = 1 << 20;
/// Maximum size of the body of a control request, in bytes. The maximum size is enough for a large reversal file.
const MAX_CONTROL: usize = 64 << 20;
/// Maximum time without a response for the fault `hang`.
const MAX_SILENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// A request to one of the simulated vendor APIs, before its body is read.
struct ApiRequest<'a> {
    host: Host,
    /// The path of the request below the tenant or the SID.
    path: &'a str,
    /// The tenant or the SID in the path of the request.
    owner: &'a str,
    query: &'a str,
    /// Whether the client requests JSON. The Advocate API has no other format than JSON.
    json: bool,
}

impl ApiRequest<'_> {
    fn error(&self, status: u16, message: &str, rs: Option<&str>) -> Reply {
        match self.host {
            Host::Advocate => advocate_error(status, message, None, rs),
            Host::Brand => brand_error(self.json, status, message, None),
        }
    }
}

/// Answers one request to the simulator. If the answer to a request fails, the simulator resets the connection.
pub(super) async fn serve(simulator: &Arc<Simulator>, request: Request<Incoming>) -> Result<Response<Payload>, Broken> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    if let Some(path) = path.strip_prefix("/_simulator/") {
        let Ok(body) = Limited::new(body, MAX_CONTROL).collect().await else {
            return Ok(advocate_error(400, "The body cannot be read.", None, None).send());
        };
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        return Ok(control::answer(simulator, &head.method, path, query, &body));
    }
    if path == "/.well-known/jwks.json" {
        return Ok(simulator.webhooks.jwks().send());
    }
    let Some(mut request) = route(path, query, &head.headers) else {
        return Ok(advocate_error(404, "There is nothing here.", None, None).send());
    };
    let mut method = head.method;
    let mut form = String::new();
    if method != Method::GET {
        form = match Limited::new(body, MAX_FORM).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(_) => return Ok(request.error(400, "The body cannot be read.", None).send()),
        };
        method = effective_method(method, query, &form);
    }
    if request.host == Host::Brand
        && let Some(path) = request.path.strip_suffix(".json")
    {
        (request.path, request.json) = (path, true);
    }
    let endpoint = match request.host {
        Host::Advocate => Advocate::endpoint(&method, request.path),
        Host::Brand => brand::endpoint(&method, request.path),
    };
    let now = Instant::now();
    let _in_flight = simulator.record.begin(request.host, endpoint, now);
    if let Some(early) = simulator.limits.too_early(request.host, now) {
        let early = early.as_millis();
        simulator.record.violation(format!("{:?} was asked {early} ms before the wait was over", request.host));
    }
    if !simulator.latency.is_zero() {
        tokio::time::sleep(simulator.latency).await;
    }
    let writes = matches!(endpoint, Endpoint::DeleteActions | Endpoint::PutActions | Endpoint::CancelReward);
    if let Err(reply) = authenticate(
        simulator,
        &request,
        head.headers.get(AUTHORIZATION).map(hyper::header::HeaderValue::as_bytes),
        writes,
    ) {
        return Ok(reply.send());
    }
    let standing = simulator.limits.admit(request.host, now);
    let limits = standing.map(|standing| simulator.limits.headers(request.host, standing, now)).unwrap_or_default();
    if standing.is_some_and(|standing| standing.over) {
        simulator.record.rate_limited();
        let rs = (request.host == Host::Advocate).then_some("RS033");
        return Ok(request.error(429, "Rate limit exceeded.", rs).with(limits).send());
    }
    let fault = match endpoint {
        // Each GraphQL query counts as a request of its own for the faults, because all queries have the same path.
        Endpoint::Graphql => simulator.faults.draw(path, &form),
        _ if method == Method::GET => simulator.faults.draw(path, query),
        _ => None,
    };
    if let Some(fault) = fault
        && let Some(broken) = replace_response(simulator, &request, fault, now).await
    {
        return broken;
    }
    let reply = match (request.host, endpoint) {
        (_, Endpoint::DeleteActions | Endpoint::PutActions | Endpoint::CancelReward) => {
            let ending = if endpoint == Endpoint::CancelReward {
                writes::cancel(simulator, request.path, query, now)
            } else {
                let put = endpoint == Endpoint::PutActions;
                let form_type = starts_with(&head.headers, CONTENT_TYPE, "application/x-www-form-urlencoded");
                let sent = writes::Sent { put, json: request.json, form_type, query, form: &form };
                writes::answer(simulator, &sent, now)
            };
            match ending {
                Outcome::Reply(reply) => reply,
                Outcome::Reset => return Err(Broken),
                Outcome::Hang => {
                    tokio::time::sleep(MAX_SILENCE).await;
                    return Err(Broken);
                }
            }
        }
        (Host::Brand, Endpoint::Other) => request.error(404, "Not found", None),
        (Host::Brand, _) => brand::answer(simulator, request.json, request.path, query),
        (Host::Advocate, Endpoint::CreateExport | Endpoint::Export | Endpoint::ExportDownload | Endpoint::Exports) => {
            simulator.exports.answer(&simulator.record, endpoint, request.path, query, &form)
        }
        (Host::Advocate, Endpoint::Subscriptions) => {
            simulator.webhooks.answer(&method, &simulator.tenant, request.path, &form)
        }
        (Host::Advocate, Endpoint::Graphql) => simulator.graphql.answer(&simulator.world, &simulator.record, &form),
        (Host::Advocate, _) => {
            simulator.advocate.answer(&simulator.world, &simulator.record, endpoint, request.path, query)
        }
    };
    let reply = match request.host {
        Host::Advocate => simulator.rewrites.apply(&simulator.world, endpoint, request.path, reply),
        Host::Brand => reply,
    };
    Ok(match fault {
        Some(fault) => damage_response(simulator, reply.with(limits), fault, endpoint),
        None => reply.with(limits).send(),
    })
}

/// Returns the vendor API to which a path belongs.
fn route<'a>(path: &'a str, query: &'a str, headers: &HeaderMap) -> Option<ApiRequest<'a>> {
    let (host, rest) = match path.strip_prefix("/api/v1/") {
        Some(rest) => (Host::Advocate, rest),
        None => (Host::Brand, path.strip_prefix("/Advertisers/")?),
    };
    let (owner, path) = rest.split_once('/').unwrap_or((rest, ""));
    let json = host == Host::Brand
        && headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(JSON)));
    Some(ApiRequest { host, path, owner, query, json })
}

/// Returns the HTTP method that a request means. A POST can state another method in its query or form.
fn effective_method(method: Method, query: &str, form: &str) -> Method {
    if method != Method::POST {
        return method;
    }
    match query::value(query, "_method").or_else(|| query::value(form, "_method")).as_deref() {
        Some("DELETE") => Method::DELETE,
        Some("PUT") => Method::PUT,
        _ => method,
    }
}

/// Checks the credentials of a request, their permissions, and the tenant or SID.
fn authenticate(
    simulator: &Simulator,
    request: &ApiRequest<'_>,
    sent: Option<&[u8]>,
    writes: bool,
) -> Result<(), Reply> {
    if sent.is_none() {
        simulator.record.violation(format!("a request to {:?} came without credentials", request.host));
    }
    let rs = (request.host == Host::Advocate).then_some("RS045");
    let Some(scope) = sent.and_then(|header| simulator.keys.scope(header)) else {
        return Err(request.error(401, "Authentication failed.", rs));
    };
    let refused = || Err(request.error(403, "This token may not do that.", None));
    if !scope.reaches(request.host) || !scope.allows(request.path) {
        return refused();
    }
    match request.host {
        Host::Advocate if query::segment(request.owner) != simulator.tenant => {
            let message = "Missing or invalid tenant alias.";
            return Err(advocate_error(404, message, Some("TENANT_NOT_FOUND"), Some("RS045")));
        }
        Host::Brand if query::segment(request.owner) != simulator.reversals.sid => return refused(),
        _ => {}
    }
    if writes && !Scope::writes(scope) { refused() } else { Ok(()) }
}

fn starts_with(headers: &HeaderMap, name: hyper::header::HeaderName, value: &str) -> bool {
    headers.get(name).and_then(|sent| sent.to_str().ok()).is_some_and(|sent| sent.starts_with(value))
}

/// Applies a fault that replaces the response.
async fn replace_response(
    simulator: &Simulator,
    request: &ApiRequest<'_>,
    fault: FaultKind,
    now: Instant,
) -> Option<Result<Response<Payload>, Broken>> {
    let rs = (request.host == Host::Advocate).then_some("RS020");
    let reply = match fault {
        FaultKind::Status500 => request.error(500, "Internal error.", rs),
        FaultKind::Status502 => Reply::html(502),
        FaultKind::Html403 => Reply::firewall(),
        FaultKind::Status503 => request.error(503, "Try again later.", None),
        FaultKind::Absurd429 => {
            let reply = request.error(429, "Rate limit exceeded.", rs.and(Some("RS033")));
            reply.with(vec![("retry-after", "3600000".to_owned())])
        }
        FaultKind::Status429 | FaultKind::Bare429 => {
            let rs = rs.and(Some("RS033"));
            let reply = request.error(429, "Rate limit exceeded.", rs);
            if fault == FaultKind::Bare429 {
                reply
            } else {
                let wait = (request.query.len() % 2) as u64;
                simulator.limits.set_pause(request.host, now, std::time::Duration::from_secs(wait));
                reply.with(vec![("retry-after", wait.to_string())])
            }
        }
        FaultKind::Reset | FaultKind::Hang => {
            simulator.record.fault(name_of(&fault));
            if fault == FaultKind::Hang {
                tokio::time::sleep(MAX_SILENCE).await;
            }
            return Some(Err(Broken));
        }
        FaultKind::Truncated | FaultKind::InvalidJson | FaultKind::Empty | FaultKind::Duplicate => return None,
    };
    simulator.record.fault(name_of(&fault));
    Some(Ok(reply.send()))
}

/// Applies a fault that damages the response.
fn damage_response(simulator: &Simulator, mut reply: Reply, fault: FaultKind, endpoint: Endpoint) -> Response<Payload> {
    let body = std::mem::take(&mut reply.body);
    let body = match fault {
        FaultKind::Truncated => Payload::cut(body),
        FaultKind::InvalidJson => Payload::whole(body[..(body.len() / 2).max(1).min(body.len())].to_vec()),
        FaultKind::Empty => Payload::whole(Vec::new()),
        FaultKind::Duplicate if endpoint == Endpoint::Rewards => match duplicated(&body) {
            Some(body) => Payload::whole(body),
            // A list without items cannot repeat an item. Therefore the simulator sends the response undamaged.
            None => return reply.send_as(Payload::whole(body)),
        },
        _ => return reply.send_as(Payload::whole(body)),
    };
    simulator.record.fault(name_of(&fault));
    reply.send_as(body)
}

/// Repeats the first item of a JSON list at the end of the list; `None` if the body has no list or the list is empty.
fn duplicated(body: &[u8]) -> Option<Vec<u8>> {
    let mut list: serde_json::Value = serde_json::from_slice(body).ok()?;
    let items = match &mut list {
        serde_json::Value::Array(items) => items,
        other => other.get_mut("rewards")?.as_array_mut()?,
    };
    items.push(items.first()?.clone());
    serde_json::to_vec(&list).ok()
}
