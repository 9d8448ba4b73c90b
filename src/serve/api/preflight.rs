//! `GET /api/v1/preflight`: checks live whether an order can be retracted, and sends nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AGE;

use super::{ApiResult, json};
use crate::error::{Error, Kind};
use crate::model::ActionId;
use crate::retract::receipt::Receipt;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::receipt_for_api;
use crate::serve::looking::Spends;

/// Check whether an order can be retracted
///
/// Reads every known reward of the order live and sends nothing. A reading is kept for a minute; the `Age` header says how old it
/// is, in seconds. It never uses the reserve of the quota. Returns the receipt of a dry run. Its `plan` is a fingerprint of
/// what would be sent; pass it with the retraction so that nothing else is sent.
#[utoipa::path(get, path = "/api/v1/preflight", operation_id = "checkOrder", tag = "orders", security(("token" = ["preflight"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte"),
           ("action_id" = Option<String>, Query, description = "The action, if the order has several"),
           ("all" = Option<bool>, Query, description = "Every action of the order")),
    responses((status = 200, description = "What would happen", body = Receipt),
              (status = 404, description = "The order is not in the index"),
              (status = 409, description = "Several actions, or it was handed over or refused before")))]
pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> ApiResult {
    let request = RetractRequest {
        action_id: query.text("action_id").map(ActionId::new),
        all: match query.get("all") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(Error::new(Kind::Usage, format!("all is true or false, not {other:?}")).into()),
        },
        ..RetractRequest::new(query.order()?)
    };
    let look = app.actions.look(&caller.who, &request, Spends::Looking).await?;
    let age = app.clock.now().duration_since(look.read_at).as_secs().max(0);
    let mut response = json(&receipt_for_api(look.receipt));
    response.headers_mut().insert(AGE, age.into());
    Ok(response)
}
