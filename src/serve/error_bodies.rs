//! Adds bodies to error responses that no handler has written: unknown path, wrong method, oversized body, time-out.
//!
//! axum and hyper send their error responses with an empty body. The service gives a browser an HTML page and an API
//! client a problem object, both with a hint.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::actions::ORDERS_AT_MOST;
use super::api::{PROBLEM_JSON, Problem};
use super::page::ErrorPage;
use super::routes::{Audience, all};

const HTML: &str = "text/html; charset=utf-8";

/// Returns heading and message of an error status, the hint for the page, and the hint for the API.
fn texts(status: StatusCode) -> (&'static str, &'static str, String, String) {
    let upload = "a lead can upload a file of refunds as a batch";
    let api_upload = "send a file of refunds to POST /api/v1/batches";
    let described = "/api/v1/openapi.json lists every request";
    let texts = |heading, message, page: &str, api: &str| (heading, message, page.to_owned(), api.to_owned());
    match status {
        StatusCode::NOT_FOUND => texts("Not found", "there is nothing at this address", "start at /lookup", described),
        StatusCode::METHOD_NOT_ALLOWED => texts(
            "Wrong request method",
            "this address exists but does not accept this request method",
            &format!("look up order IDs with the form at /lookup, up to {ORDERS_AT_MOST}; {upload}"),
            described,
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => texts(
            "The request timed out",
            "the response was not ready in time; the action goes on in the background",
            "check the receipt of the order before you send anything again",
            "read the retractions of the order, or repeat the request with the same Idempotency-Key",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => texts(
            "The request is too large",
            "a form or a JSON body has at most 64 KB, a file at most 10 MB",
            &format!("look up fewer order IDs at once, up to {ORDERS_AT_MOST}; {upload}"),
            api_upload,
        ),
        StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => texts(
            "The address is too long",
            "address and headers of a request have at most 64 KB together",
            &format!("look up fewer order IDs at once, up to {ORDERS_AT_MOST}; {upload}"),
            &format!("look up one `order_id` with each request; {api_upload}"),
        ),
        StatusCode::BAD_REQUEST => {
            texts("Invalid request", "the request cannot be read", "go back and reload the page", described)
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            texts("Invalid request", "the body has an unsupported content type", "use the form of the page", described)
        }
        _ => texts(
            "Something went wrong",
            "the request could not be answered",
            "try again; the log of the service has the details",
            "try again; the log of the service has the details",
        ),
    }
}

/// Returns the content type and the body of an error response.
pub(super) fn body_of(status: StatusCode, audience: Audience, request_id: &str) -> (&'static str, String) {
    let (heading, message, page, api) = texts(status);
    if audience == Audience::Api {
        let kind = match status {
            StatusCode::NOT_FOUND => "not_indexed",
            status if status.is_client_error() => "usage",
            _ => "failed",
        };
        let problem = Problem::new(status, kind, heading, message).hint(api);
        return (PROBLEM_JSON, with_request_id(problem.json().as_bytes(), request_id).unwrap_or_default());
    }
    (HTML, ErrorPage::new(status, heading, message.to_owned(), page).html())
}

/// Adds a body to an error response, unless a handler has written a body of the right content type. Adds the request ID
/// to an API client's problem object.
pub(super) async fn with_error_body(response: Response, method: &Method, path: &str, request_id: &str) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let audience = audience_of(path);
    if !is_error || *method == Method::HEAD || audience == Audience::Machine {
        return response;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_written = kind.starts_with(if audience == Audience::Api { PROBLEM_JSON } else { "text/html" });
    if is_written && audience == Audience::Page {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let written = if is_written { to_bytes(body, usize::MAX).await.ok() } else { None };
    let (kind, body) = match written.and_then(|bytes| with_request_id(&bytes, request_id)) {
        Some(body) => (PROBLEM_JSON, body),
        None => body_of(status, audience, request_id),
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// Returns a problem object with the request ID; `None` if the body is not a JSON object.
fn with_request_id(problem: &[u8], request_id: &str) -> Option<String> {
    let mut problem: Map<String, Value> = serde_json::from_slice(problem).ok()?;
    problem.insert("request_id".to_owned(), request_id.into());
    serde_json::to_string(&problem).ok()
}

fn audience_of(path: &str) -> Audience {
    if path == "/api" || path.starts_with("/api/") {
        return Audience::Api;
    }
    let is_machine = all().iter().any(|route| route.audience == Audience::Machine && route.path == path);
    if is_machine { Audience::Machine } else { Audience::Page }
}
