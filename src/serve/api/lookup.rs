//! `GET /api/v1/lookup`: what the index knows of an order. The one question that is asked thousands of times a second.

use std::sync::Arc;

use axum::extract::State;

use super::{Answered, Problem, json};
use crate::access::Right;
use crate::lookup::Answer;
use crate::model::{AccountId, UserId};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Query};
use crate::serve::page::masked::masked;

/// Look an order up
///
/// From the index alone: nothing is asked of the vendor. `coverage` says how sure the answer is. Accounts are masked, unless
/// `accounts=shown` is asked for by somebody who may see them.
#[utoipa::path(get, path = "/api/v1/lookup", tag = "orders", security(("token" = ["lookup"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte"),
           ("accounts" = Option<String>, Query, description = "`shown` for account IDs in clear")),
    responses((status = 200, description = "What is known, which may be nothing", body = Answer),
              (status = 400, description = "No order ID, or one that cannot be", body = Problem),
              (status = 401, description = "No valid token", body = Problem),
              (status = 403, description = "Not allowed", body = Problem)))]
pub(in crate::serve) async fn answer(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Answered {
    let order = asked.order()?;
    let shown = asked.get("accounts") == Some("shown");
    if shown && !caller.who.may(Right::SeeAccount) {
        return Err(Problem::may_not());
    }
    let mut answers = app.look_up(std::slice::from_ref(&order))?;
    if !shown {
        answers.iter_mut().for_each(mask);
    }
    // One order was asked for, so there is one answer.
    Ok(json(&answers.pop()))
}

fn mask(answer: &mut Answer) {
    for found in &mut answer.matches {
        found.account_id = AccountId::new(masked(found.account_id.as_str()));
        found.user_id = found.user_id.as_ref().map(|user| UserId::new(masked(user.as_str())));
    }
}
