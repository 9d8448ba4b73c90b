//! `GET /api/v1/lookup`: returns what the index has about an order. The route must handle thousands of requests a
//! second.

use std::sync::Arc;

use axum::extract::State;

use super::{ApiResult, Problem, json};
use crate::access::Right;
use crate::error::{Error, Kind};
use crate::lookup::Answer;
use crate::model::{AccountId, UserId};
use crate::serve::app::{App, participants};
use crate::serve::extractors::{Caller, Query};
use crate::serve::page::mask::Masks;

/// Look up an order
///
/// Reads only the index and asks the vendor nothing. `verdict` is `found`, `not_a_referral`, `not_found_yet`, `unclear`, or
/// `several` for a list of order IDs, with one answer each in `orders`. `candidates` are orders that a text which is no order ID
/// may mean. An ActionId and a reward ID lead to their orders in `related`; so does a participant's ID if the token may see
/// accounts. Accounts are masked, unless such a token sends `accounts=shown`.
#[utoipa::path(get, path = "/api/v1/lookup", operation_id = "lookUpOrder", tag = "orders", security(("token" = ["lookup"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte; or what a person pasted for it"),
           ("accounts" = Option<String>, Query, description = "`shown` for unmasked account IDs")),
    responses((status = 200, description = "The answer, also if the order is not found", body = Answer)))]
pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> ApiResult {
    let order = query.order()?;
    let unmasked = match query.get("accounts") {
        None => false,
        Some("shown") => true,
        Some(other) => {
            return Err(Error::new(Kind::Usage, format!("accounts cannot be {other:?}"))
                .hint("the only value is `shown`; without it accounts are masked")
                .into());
        }
    };
    if unmasked && !caller.who.may(Right::SeeAccount) {
        return Err(Problem::forbidden(&caller.who, Right::SeeAccount));
    }
    let mut answers = app.look_up_pasted(vec![order.clone()], participants(&caller.who))?;
    if !unmasked {
        mask(&mut answers);
    }
    if answers.len() > 1 {
        return Ok(json(&Answer::several(order, answers)));
    }
    Ok(json(&answers.pop()))
}

fn mask(answers: &mut [Answer]) {
    let found = || answers.iter().flat_map(|answer| &answer.matches);
    let accounts = Masks::of(found().map(|found| found.account_id.as_str()));
    let users = Masks::of(found().filter_map(|found| found.user_id.as_ref()).map(UserId::as_str));
    for found in answers.iter_mut().flat_map(|answer| &mut answer.matches) {
        found.account_id = AccountId::new(accounts.of_account(found.account_id.as_str()));
        found.user_id = found.user_id.as_ref().map(|user| UserId::new(users.of_account(user.as_str())));
    }
}
