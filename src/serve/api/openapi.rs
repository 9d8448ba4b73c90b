//! `GET /api/v1/openapi.json`: the API's own description (OpenAPI 3.1), generated from its handlers.
//!
//! The macros on the handlers describe each operation. This module adds the common parts of the API description:
//! servers, headers, error responses and examples. The service checks the query parameters of a request against the API
//! description, so the description cannot differ from the service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{PROBLEM_JSON, Problem};
use crate::serve::extractors::Fields;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "recoup",
        description = "Finds the action behind an order ID and retracts it, with proof. `docs/api.md` has the promises of this API: \
                       versions, idempotency, limits, and what may be added without notice.",
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "/", description = "The service that serves this description")),
    tags(
        (name = "orders", description = "Look an order up, and check whether it can be retracted. Nothing is sent."),
        (name = "retractions", description = "Retract an order once, and read what became of it."),
        (name = "batches", description = "Plan a file of refunds, apply the plan, and download the outcomes."),
        (name = "approvals", description = "Requests that need a second person."),
        (name = "service", description = "The state of index, ledger and quota, and this description.")
    ),
    paths(
        super::lookup::show,
        super::preflight::show,
        super::retractions::create,
        super::retractions::list,
        super::retractions::one,
        super::batches::create,
        super::batches::list,
        super::batches::one,
        super::batches::apply,
        super::batches::outcomes,
        super::approvals::list,
        super::approvals::create,
        super::approvals::one,
        super::approvals::approve,
        super::approvals::decline,
        super::approvals::withdraw,
        super::status::show,
        describe,
    ),
    components(schemas(super::problem::Body)),
    modifiers(&Tokens)
)]
struct Description;

/// Adds the security scheme for bearer tokens to the description.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`recoup user token add`"));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    complete(&mut document);
    document
});

/// The query parameters of each method and path. The `bool` is `true` if the parameter may repeat.
static QUERIES: LazyLock<BTreeMap<(String, String), BTreeMap<String, bool>>> = LazyLock::new(|| {
    let mut queries = BTreeMap::new();
    for (path, method, operation) in operations(&DOCUMENT) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let names = parameters.filter(|parameter| parameter["in"] == "query").map(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            (name, parameter["schema"]["type"] == "array")
        });
        queries.insert((method.to_ascii_uppercase(), path.to_owned()), names.collect());
    }
    queries
});

/// Describe this API
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "describeApi", tag = "service", security(()),
    responses((status = 200, description = "This document", body = Object)))]
pub(in crate::serve) async fn describe() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// Rejects a query parameter that is unknown or repeated without permission, because a misspelt or doubled parameter
/// would change what recoup reads or sends. `path` is the route's pattern.
pub(in crate::serve) fn check_query(method: &str, path: &str, query: &str) -> Result<(), Problem> {
    let Some(known) = QUERIES.get(&(method.to_owned(), path.to_owned())) else { return Ok(()) };
    let invalid = |detail: String| {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let hint = if names.is_empty() {
            "this request has no query parameters".to_owned()
        } else {
            format!("the parameters are {}", names.join(", "))
        };
        Problem::new(StatusCode::BAD_REQUEST, "usage", "Invalid request", detail).hint(hint)
    };
    let (fields, mut seen) = (Fields::parse(query.as_bytes()), BTreeSet::new());
    for (name, _) in fields.pairs() {
        match known.get(name) {
            None => return Err(invalid(format!("there is no parameter {name:?}"))),
            Some(false) if !seen.insert(name) => return Err(invalid(format!("the parameter {name} is given twice"))),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Returns an iterator over all operations of the API: path, method and description.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn complete(document: &mut Value) {
    let problem = &mut document["components"]["schemas"]["Problem"];
    problem["properties"]["request_id"] =
        json!({"type": "string", "description": "The ID of the request, as in `X-Request-Id`."});
    if let Some(required) = problem["required"].as_array_mut() {
        required.push("request_id".into());
    }
    document["components"]["headers"] = headers();
    document["components"]["responses"] =
        ERRORS.iter().map(|error| (error.name.to_owned(), error.response())).collect();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, methods) in paths {
        for (_, operation) in methods.as_object_mut().into_iter().flatten() {
            complete_operation(operation);
        }
    }
}

fn complete_operation(operation: &mut Value) {
    let is_public = operation["security"] == json!([{}]);
    let has_parameter = |place: &str, name: &str| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.into_iter().any(|one| one["in"] == place && (name.is_empty() || one["name"] == name))
    };
    let is_idempotent = has_parameter("header", "Idempotency-Key");
    let (is_list, has_path) = (has_parameter("query", "cursor"), has_parameter("path", ""));
    let changes = is_idempotent || operation["operationId"] == "applyBatch";
    let body = operation.get("requestBody").is_some();
    let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if body {
        let content = &mut operation["requestBody"]["content"];
        let kind = if content.get("text/csv").is_some() { "text/csv" } else { "application/json" };
        content[kind]["example"] = example(&name, "request");
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for error in ERRORS {
        let applies = match error.applies {
            Applies::Always => true,
            Applies::Secured => !is_public,
            Applies::Path => has_path,
            Applies::Change => changes,
            Applies::Keyed => is_idempotent,
            Applies::Body => body,
        };
        if applies && !responses.contains_key(error.status) {
            let reference = json!({"$ref": format!("#/components/responses/{}", error.name)});
            responses.insert(error.status.to_owned(), reference);
        }
    }
    for (status, response) in responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none()) {
        let is_error = status.starts_with(['4', '5']);
        if is_error && let Some(error) = ERRORS.iter().find(|error| error.status == status) {
            response["content"] = error.content();
        } else if let Some(kind) = response["content"].as_object().and_then(|content| content.keys().next().cloned()) {
            response["content"][kind.as_str()]["example"] = example(&name, status);
        }
        let mut names = vec!["X-Request-Id"];
        names.extend(["RateLimit-Policy", "RateLimit"].into_iter().filter(|_| !is_public));
        names.extend(is_idempotent.then_some("Idempotent-Replayed").filter(|_| !is_error));
        names.extend((status == "201" || status == "202").then_some("Location"));
        names.extend((status == "202").then_some("Retry-After"));
        names.extend((is_list && status == "200").then_some("Link"));
        response["headers"] = references(&names);
    }
}

/// Returns `$ref` objects for the common headers with these names.
fn references(names: &[&str]) -> Value {
    let reference = |name: &&str| {
        let key = name.replace('-', "");
        ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{key}")}))
    };
    Value::Object(names.iter().map(reference).collect())
}

fn headers() -> Value {
    let header = |kind: &str, description: &str, example: Value| json!({"description": description, "schema": {"type": kind}, "example": example});
    json!({
        "XRequestId": header("string", "The ID of the request. The log of the service names it.", json!("1f4-2a")),
        "RateLimitPolicy": header("string", "The limit of this token: `q` requests in `w` seconds.", json!("\"token\";q=6000;w=60")),
        "RateLimit": header("string", "`r` is the number of requests that are left.", json!("\"token\";r=5999")),
        "RetryAfter": header("integer", "Seconds to wait before the same request, or before reading what an accepted request has become.", json!(2)),
        "Location": header("string", "The address of what the request has created or started.", json!("/api/v1/retractions/17")),
        "Link": header("string", "The next page as `rel=\"next\"`; missing on the last page.", json!("</api/v1/retractions?cursor=MTc>; rel=\"next\"")),
        "IdempotentReplayed": header("string", "`true` if this is the response of an earlier request with the same `Idempotency-Key`.", json!("true")),
    })
}

/// The operations that may respond with a common error.
#[derive(Clone, Copy)]
enum Applies {
    Always,
    /// All operations that require a token.
    Secured,
    /// All operations on one item.
    Path,
    /// All operations that change something.
    Change,
    /// All operations with an `Idempotency-Key`.
    Keyed,
    /// All operations with a request body.
    Body,
}

/// An error response that several operations have.
struct CommonError {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    applies: Applies,
    /// `kind`, `title` and `detail` of the example of this error.
    example: [&'static str; 3],
}

const ERRORS: &[CommonError] = &[
    CommonError {
        status: "400",
        name: "BadRequest",
        description: "The request is invalid: a missing, repeated or unknown parameter, or a bad value",
        applies: Applies::Always,
        example: ["usage", "Invalid request", "there is no parameter \"order\""],
    },
    CommonError {
        status: "401",
        name: "Unauthorized",
        description: "No token, or an unknown, expired or revoked one",
        applies: Applies::Secured,
        example: ["unauthorized", "No valid token", "the request has no valid API token"],
    },
    CommonError {
        status: "403",
        name: "Forbidden",
        description: "The token or its user's role lacks the scope in `missing_scope`",
        applies: Applies::Secured,
        example: ["forbidden", "Not allowed", "the token lacks the scope `retract`"],
    },
    CommonError {
        status: "404",
        name: "NotFound",
        description: "There is nothing of that number or ID",
        applies: Applies::Path,
        example: ["not_indexed", "Not found", "there is no retraction \"999\" in this ledger"],
    },
    CommonError {
        status: "409",
        name: "Conflict",
        description: "Refused in this state; `action_ids`, `overrides` and `needs_approval` say what the caller can do",
        applies: Applies::Change,
        example: [
            "ambiguous",
            "It is unclear which action is meant",
            "this order has 2 actions: 1000.4784.1, 1000.4784.2",
        ],
    },
    CommonError {
        status: "413",
        name: "TooLarge",
        description: "The body is larger than 64 KB, or a file larger than 10 MB",
        applies: Applies::Body,
        example: ["usage", "The request is too large", "a form or a JSON body has at most 64 KB, a file at most 10 MB"],
    },
    CommonError {
        status: "422",
        name: "KeyReused",
        description: "The `Idempotency-Key` belongs to a request with another path, query or body",
        applies: Applies::Keyed,
        example: [
            "usage",
            "This key was used for another request",
            "the Idempotency-Key belongs to a request with another path, query or body",
        ],
    },
    CommonError {
        status: "429",
        name: "TooManyRequests",
        description: "`rate_limited`: the limit of this token is used up. `parked`: the vendor's limit is used up",
        applies: Applies::Secured,
        example: [
            "rate_limited",
            "Too many requests",
            "this token has used up its 6000 requests a minute; nothing was done",
        ],
    },
    CommonError {
        status: "5XX",
        name: "ServerError",
        description: "500: the service failed. 502: the vendor could not be reached. 503: the service is stopping. 504: the \
                      response was not ready in time, and the action goes on",
        applies: Applies::Always,
        example: [
            "failed",
            "The request timed out",
            "the response was not ready in time; the action goes on in the background",
        ],
    },
];

impl CommonError {
    fn response(&self) -> Value {
        let mut names = vec!["X-Request-Id"];
        names.extend(
            ["RateLimit-Policy", "RateLimit"].into_iter().filter(|_| !matches!(self.status, "400" | "401" | "5XX")),
        );
        names.extend(matches!(self.status, "429" | "5XX").then_some("Retry-After"));
        json!({
            "description": self.description,
            "headers": references(&names),
            "content": self.content(),
        })
    }

    fn content(&self) -> Value {
        json!({PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": self.example()}})
    }

    fn example(&self) -> Value {
        let [kind, title, detail] = self.example;
        let status: u16 = self.status.parse().unwrap_or(504);
        let mut problem = json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail, "kind": kind, "request_id": "1f4-2a",
        });
        if self.status == "403" {
            problem["missing_scope"] = "retract".into();
        }
        if self.status == "409" {
            problem["action_ids"] = json!(["1000.4784.1", "1000.4784.2"]);
            problem["overrides"] = json!([]);
            problem["needs_approval"] = false.into();
            problem["hint"] = "name one of `action_ids` in `action_id`, or set `all`; nothing was sent".into();
        }
        problem
    }
}

/// Examples of requests and responses, by operation and then by `request` or status. A test compares the examples with
/// responses of the service.
static EXAMPLES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());

/// Returns the example of an operation's request or response; `null` if the operation has none.
fn example(operation: &str, what: &str) -> Value {
    EXAMPLES.get(operation).map(|examples| examples[what].clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::routes::{Access, Audience, all};

    #[test]
    fn the_description_has_every_route_of_the_api_with_its_scope() {
        let described: BTreeMap<(String, String), String> = operations(&DOCUMENT)
            .map(|(path, method, operation)| {
                let scope = operation["security"][0]["token"][0].as_str().unwrap_or_default();
                ((method.to_ascii_uppercase(), path.to_owned()), scope.to_owned())
            })
            .collect();
        let routes: BTreeMap<(String, String), String> = all()
            .into_iter()
            .filter(|route| route.audience == Audience::Api)
            .map(|route| {
                let scope = match route.access {
                    Access::Requires(right) => right.as_str(),
                    _ => "",
                };
                ((route.method.to_owned(), route.path.to_owned()), scope.to_owned())
            })
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_success_and_every_body_has_an_example() {
        for (path, method, operation) in operations(&DOCUMENT) {
            let responses = operation["responses"].as_object().expect("responses");
            let successes = responses.iter().filter(|(status, _)| status.starts_with('2')).map(|(_, one)| one);
            for described in successes.chain(operation.get("requestBody")) {
                let content = described["content"].as_object().expect("a body");
                assert!(content.values().all(|one| !one["example"].is_null()), "{method} {path}: {described}");
            }
        }
    }

    #[test]
    fn a_parameter_that_would_be_dropped_is_refused() {
        for (method, path, query, detail) in [
            ("GET", "/api/v1/lookup", "order_id=1&accounts=shown", ""),
            ("GET", "/api/v1/lookup", "", ""),
            ("GET", "/api/v1/lookup", "order_id=1&order_id=2", "the parameter order_id is given twice"),
            ("GET", "/api/v1/lookup", "order=1", "there is no parameter \"order\""),
            ("GET", "/api/v1/status", "a", "there is no parameter \"a\""),
            ("POST", "/api/v1/batches", "reason=x&override=stale&override=shared", ""),
            ("POST", "/api/v1/batches", "reason=x&reason=y", "the parameter reason is given twice"),
            ("GET", "/api/v1/retractions", "state=queued&state=unknown", ""),
            ("POST", "/api/v1/retractions", "order_id=1", "there is no parameter \"order_id\""),
        ] {
            let refused = check_query(method, path, query).err().map(|problem| problem.json()).unwrap_or_default();
            let expected =
                serde_json::from_str::<Value>(&refused).map_or_else(|_| Value::Null, |it| it["detail"].clone());
            assert_eq!(expected.as_str().unwrap_or_default(), detail, "{method} {path}?{query}");
        }
    }
}
