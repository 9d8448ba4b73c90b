//! Style sheet, script and icon, compiled into the binary. The pages load nothing from another host.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

/// After an upgrade of recoup, a browser uses its cached copies of these files for at most one hour.
const CACHE: &str = "public, max-age=3600";

pub(in crate::serve) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, CACHE)], include_str!("../../../assets/recoup.css"))
}

pub(in crate::serve) async fn script() -> impl IntoResponse {
    let kind = "text/javascript; charset=utf-8";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, CACHE)], include_str!("../../../assets/recoup.js"))
}

pub(in crate::serve) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, CACHE)], include_str!("../../../assets/recoup.svg"))
}
