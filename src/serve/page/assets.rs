//! Style, script and icon: compiled in, never from elsewhere.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

/// An hour, and no longer: after an upgrade nobody works with the old script for long.
const KEPT: &str = "public, max-age=3600";

pub(in crate::serve) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, KEPT)], include_str!("../../../assets/recoup.css"))
}

pub(in crate::serve) async fn script() -> impl IntoResponse {
    let kind = "text/javascript; charset=utf-8";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, KEPT)], include_str!("../../../assets/recoup.js"))
}

pub(in crate::serve) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, KEPT)], include_str!("../../../assets/recoup.svg"))
}
