//! `GET /api/v1/lookup`: what the index knows of an order. The one question that is asked thousands of times a second.

use std::sync::Arc;

use axum::extract::State;

use super::{Answered, Problem, json};
use crate::access::Right;
use crate::lookup::Answer;
use crate::model::{AccountId, UserId};
use crate::serve::app::{App, participants};
use crate::serve::asked::{Caller, Query};
use crate::serve::page::masked::masked;

/// Look an order up
///
/// From the index alone: nothing is asked of the vendor. `verdict` says what the answer comes to: `found`, `not_a_referral`,
/// `not_found_yet`, `unclear`, or `several` for a list of order IDs, each with its answer in `orders`. `candidates` are orders
/// that the text may mean if it is not an order ID itself. An ActionId and a reward ID lead to their orders in `related`; so
/// does a participant's ID for a token that may see accounts. Accounts are masked, unless such a token asks for
/// `accounts=shown`.
#[utoipa::path(get, path = "/api/v1/lookup", tag = "orders", security(("token" = ["lookup"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte; or what a person pasted for it"),
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
    let participants = participants(&caller.who);
    let mut answers = app.look_up_pasted(vec![order.clone()], participants)?;
    if !shown {
        answers.iter_mut().for_each(mask);
    }
    if answers.len() > 1 {
        return Ok(json(&Answer::several(order, answers)));
    }
    Ok(json(&answers.pop()))
}

fn mask(answer: &mut Answer) {
    for found in &mut answer.matches {
        found.account_id = AccountId::new(masked(found.account_id.as_str()));
        found.user_id = found.user_id.as_ref().map(|user| UserId::new(masked(user.as_str())));
    }
}
