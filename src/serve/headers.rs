//! Adds security headers and a request ID to every response, and logs the request.
//!
//! Pages contain no inline script or style and load nothing from another host, so the content security policy forbids
//! inline scripts, inline styles and other hosts. The log of the service contains the route of a request and never its
//! order or account.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::api::Retry;
use super::app::App;
use super::error_bodies::with_error_body;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Number of requests that this process has received. A request ID contains this number as it was when the request
/// arrived.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

pub(super) fn request_id() -> String {
    format!("{:x}-{:x}", std::process::id(), REQUESTS.fetch_add(1, Ordering::Relaxed))
}

pub(super) async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(retry) = response.extensions().get::<Retry>() {
        let seconds = retry.seconds(app.clock.now());
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    let mut response = with_error_body(response, &method, &path, &id).await;
    let status = response.status().as_u16();
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    let route = route.as_deref().unwrap_or("none");
    app.count_response(route, status);
    // By default, the service logs only changes and server errors, because log lines of every look-up and of refused
    // requests, which anyone can send, would fill the disk. The metrics count all requests.
    if (method != Method::GET && status < 400) || status >= 500 {
        tracing::info!(id, %method, route, status, ms, "answered");
    } else {
        tracing::debug!(id, %method, route, status, ms, "answered");
    }
    set_headers(response.headers_mut(), app.over_tls(), &id);
    response
}

fn set_headers(headers: &mut HeaderMap, over_tls: bool, id: &str) {
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_SECURITY_POLICY, fixed(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(X_FRAME_OPTIONS, fixed("DENY"));
    headers.insert(REFERRER_POLICY, fixed("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        fixed("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    );
    if over_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, fixed("max-age=31536000"));
    }
    headers.entry(CACHE_CONTROL).or_insert(fixed("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
