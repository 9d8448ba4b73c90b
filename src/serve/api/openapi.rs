//! `GET /api/v1/openapi.json`: the API's own description, generated from its handlers.

use axum::response::Response;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::json;

#[derive(OpenApi)]
#[openapi(
    info(title = "recoup", description = "Finds the action behind an order ID and retracts it, with proof."),
    paths(
        super::lookup::show,
        super::preflight::show,
        super::retractions::create,
        super::retractions::of_order,
        super::retractions::one,
        super::batches::create,
        super::batches::one,
        super::batches::apply,
        super::batches::outcomes,
        super::status::show,
    ),
    modifiers(&Tokens)
)]
struct Description;

/// Adds the bearer token to the description.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`recoup user token add`"));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

pub(in crate::serve) async fn describe() -> Response {
    json(&Description::openapi())
}
