//! `/api/v1/retractions`: retract one order, and read what became of it.
//!
//! A retraction is sent at most once, whatever a client does: the `Idempotency-Key` gives a repeated request its first answer,
//! and the ledger refuses the same action twice.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::once::{Begun, begin};
use super::{Answered, Problem, json, text};
use crate::access::Right;
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::ActionId;
use crate::retract::overrides::Override;
use crate::retract::receipt::{Entry, Receipt};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Query};
use crate::serve::desk::Wish;
use crate::serve::wording::{fit_entry, fit_receipt};

/// What is to be retracted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::serve) struct NewRetraction {
    /// The order ID, byte for byte.
    order_id: String,
    /// The one action, where the order has several.
    action_id: Option<String>,
    /// Every action of the order.
    #[serde(default)]
    all: bool,
    /// The code that goes to the vendor as it is; `RETRACTION` where it is left out.
    disposition: Option<String>,
    /// Why, in a person's words; stays in the ledger.
    reason: String,
    /// The ticket this belongs to; stays in the ledger.
    ticket: Option<String>,
    /// Stops to go on in spite of, by name; for leads.
    #[serde(default)]
    overrides: Vec<String>,
    /// Send again what failed, was not received, or is unconfirmed for a day.
    #[serde(default)]
    resend: bool,
    /// The `plan` of a preflight: where it is another one now, nothing is sent.
    plan: Option<String>,
}

/// Retract an order
///
/// Checks live, sends once, looks once, and answers with the receipt as it stands then: 201 where it is proven, 202 where it is
/// still on its way. It is followed on; ask for the retraction to see it get to `confirmed`.
#[utoipa::path(post, path = "/api/v1/retractions", tag = "retractions", security(("token" = ["retract"])),
    params(("Idempotency-Key" = String, Header, description = "1 to 200 characters, one for each retraction")),
    request_body = NewRetraction,
    responses((status = 201, description = "Proven", body = Receipt),
              (status = 202, description = "Sent, and on its way", body = Receipt),
              (status = 400, description = "Wrong usage", body = Problem),
              (status = 404, description = "The order is not in the index", body = Problem),
              (status = 409, description = "Nothing was sent, or the vendor refused", body = Problem),
              (status = 422, description = "The key was used for another request", body = Problem),
              (status = 429, description = "The vendor's limit is used up", body = Problem)))]
pub(in crate::serve) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let wish = wish_of(&body)?;
    if !wish.overrides.is_empty() && !caller.who.may(Right::Override) {
        return Err(Problem::may_not());
    }
    let once = match begin(&app, &caller, &headers, &[&body])? {
        Begun::Do(once) => once,
        Begun::Done(answer) => return Ok(answer),
    };
    let who = caller.who.clone();
    let ended = app.on_its_own(async move |desk| desk.retract(&who, &wish).await).await;
    let receipt = match ended {
        Ok(receipt) => receipt,
        Err(error) => return Ok(once.failed(&app, error)?),
    };
    let sent: Vec<i64> = receipt.retractions.iter().filter_map(|entry| entry.id).collect();
    let (problem, nothing) = (receipt.problem(), sent.is_empty());
    let receipt = fit_receipt(receipt);
    app.follow_on(&caller.who, sent);
    match problem {
        Some(error) if nothing || error.kind == Kind::VendorRefused => Ok(once.failed(&app, error)?),
        Some(_) => Ok(once.finish(&app, StatusCode::ACCEPTED, text(&receipt)?)?),
        None => Ok(once.finish(&app, StatusCode::CREATED, text(&receipt)?)?),
    }
}

/// Retractions of an order
#[utoipa::path(get, path = "/api/v1/retractions", tag = "retractions", security(("token" = ["lookup"])),
    params(("order_id" = String, Query, description = "The order ID, byte for byte")),
    responses((status = 200, description = "Every retraction of it, oldest first", body = [Entry])))]
pub(in crate::serve) async fn of_order(State(app): State<Arc<App>>, _caller: Caller, Query(asked): Query) -> Answered {
    let order = asked.order()?;
    let known = match app.desk.ledger()? {
        Some(ledger) => ledger.of_order(&order)?,
        None => Vec::new(),
    };
    let entries: Vec<Entry> = known.iter().map(|retraction| fit_entry(Entry::of(retraction, &[]))).collect();
    Ok(json(&entries))
}

/// One retraction with all its events
#[utoipa::path(get, path = "/api/v1/retractions/{id}", tag = "retractions", security(("token" = ["lookup"])),
    params(("id" = i64, Path, description = "Its number in the ledger")),
    responses((status = 200, description = "As the ledger has it", body = Entry),
              (status = 404, description = "There is none of that number", body = Problem)))]
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<i64>) -> Answered {
    let nothing = || Error::new(Kind::NotIndexed, format!("there is no retraction {id} in this ledger"));
    let ledger = app.desk.ledger()?.ok_or_else(nothing)?;
    let retraction = ledger.get(id).map_err(|_unknown| nothing())?;
    Ok(json(&fit_entry(Entry::of(&retraction, &[]))))
}

fn wish_of(body: &[u8]) -> Result<Wish> {
    let new: NewRetraction = serde_json::from_slice(body).map_err(|error| {
        Error::new(Kind::Usage, format!("the body is not usable: {error}")).hint("/api/v1/openapi.json describes it")
    })?;
    if new.reason.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "a retraction needs a reason").hint("it stays in the ledger"));
    }
    if new.all && new.action_id.is_some() {
        return Err(Error::new(Kind::Usage, "`all` and `action_id` cannot both be meant"));
    }
    let mut wish = Wish::of(lookup::order_id(&new.order_id)?);
    wish.action_id = new.action_id.map(ActionId::new);
    wish.all = new.all;
    wish.disposition = new.disposition.unwrap_or(wish.disposition);
    wish.reason = Some(new.reason);
    wish.ticket = new.ticket;
    wish.resend = new.resend;
    wish.seen = new.plan;
    for name in &new.overrides {
        let known = Override::named(name);
        wish.overrides.push(known.ok_or_else(|| Error::new(Kind::Usage, format!("there is no override {name:?}")))?);
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused_before_anything_is_read() {
        for (body, goes) in [
            (r#"{"order_id":"1","reason":"refund"}"#, true),
            (r#"{"order_id":"1","reason":"refund","overrides":["stale"],"all":true}"#, true),
            (r#"{"order_id":"1","reason":" "}"#, false),
            (r#"{"order_id":"","reason":"refund"}"#, false),
            (r#"{"order_id":"1"}"#, false),
            (r#"{"order_id":"1","reason":"r","overrides":["all"]}"#, false),
            (r#"{"order_id":"1","reason":"r","all":true,"action_id":"1.2.3"}"#, false),
            (r#"{"order_id":"1","reason":"r","amount":0}"#, false),
            ("", false),
            ("[]", false),
        ] {
            assert_eq!(wish_of(body.as_bytes()).is_ok(), goes, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body: Vec<u8>) {
            prop_assert!(wish_of(&body).is_err() || !body.is_empty());
        }
    }
}
