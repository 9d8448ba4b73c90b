//! `GET /api/v1/openapi.json`: the API's own description, generated from its handlers.

use axum::response::Response;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::json;

#[derive(OpenApi)]
#[openapi(
    info(title = "recoup", description = "From order ID to ActionId, and the retraction of that action, with proof."),
    paths(
        super::lookup::answer,
        super::preflight::answer,
        super::retractions::create,
        super::retractions::of_order,
        super::retractions::one,
        super::batches::create,
        super::batches::one,
        super::batches::apply,
        super::batches::outcomes,
        super::status::answer,
    ),
    modifiers(&Tokens)
)]
struct Description;

/// How a request says who asks.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`recoup user token add`"));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// The description.
pub(in crate::serve) async fn describe() -> Response {
    json(&Description::openapi())
}
