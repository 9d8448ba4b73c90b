//! `GET /api/v1/preflight`: whether an order can be retracted, read live, and nothing sent.

use std::sync::Arc;

use axum::extract::State;

use super::{Answered, Problem, json};
use crate::model::ActionId;
use crate::retract::receipt::Receipt;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Query};
use crate::serve::desk::Wish;
use crate::serve::wording::fit_receipt;

/// Ask whether an order can be retracted
///
/// Reads every known reward of the order live, and sends nothing. The answer is the receipt of a dry run; its `plan` is the name
/// of what would be sent, to be given back with the retraction so that nothing else is.
#[utoipa::path(get, path = "/api/v1/preflight", tag = "orders", security(("token" = ["preflight"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte"),
           ("action_id" = Option<String>, Query, description = "The one action, where the order has several"),
           ("all" = Option<bool>, Query, description = "Every action of the order")),
    responses((status = 200, description = "What would happen", body = Receipt),
              (status = 404, description = "The order is not in the index", body = Problem),
              (status = 409, description = "Several actions, or something stops", body = Problem),
              (status = 429, description = "The vendor's limit is used up", body = Problem)))]
pub(in crate::serve) async fn answer(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Answered {
    let mut wish = Wish::of(asked.order()?);
    wish.action_id = asked.text("action_id").map(ActionId::new);
    wish.all = asked.get("all") == Some("true");
    let receipt = app.on_its_own(async move |desk| desk.preflight(&caller.who, &wish).await).await?;
    Ok(json(&fit_receipt(receipt)))
}
