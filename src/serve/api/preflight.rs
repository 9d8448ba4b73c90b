//! `GET /api/v1/preflight`: whether an order can be retracted, read live; nothing is sent.

use std::sync::Arc;

use axum::extract::State;

use super::{ApiResult, json};
use crate::error::{Error, Kind};
use crate::model::ActionId;
use crate::retract::receipt::Receipt;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::receipt_for_api;

/// Check whether an order can be retracted
///
/// Reads every known reward of the order live and sends nothing. Returns the receipt of a dry run. Its `plan` is a fingerprint of
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
    let receipt = app.actions.retract(&caller.who, request, true).await?;
    Ok(json(&receipt_for_api(receipt)))
}
