//! The live preflight of an order, on its own page or as a fragment of the look-up page.
//!
//! A preflight is a dry run of the retraction: it reads from the vendor and sends nothing.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::lookup::masks_of;
use super::order::{RewardRow, rows_of, update_rows};
use super::view::{Verdicts, in_link};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::Right;
use crate::error::Result;
use crate::model::ActionId;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Query};
use crate::serve::looking::Spends;

#[derive(Template)]
#[template(path = "preflight.html")]
struct PreflightPage {
    layout: Layout,
    fragment: Fragment,
}

#[derive(Template)]
#[template(path = "preflight_part.html")]
struct Fragment {
    order: String,
    /// The query string with the order and the action, for links.
    query: String,
    verdicts: Option<Verdicts>,
    error: Option<ErrorPage>,
    /// The rewards of the order with their newest states.
    rows: Vec<RewardRow>,
    may_retract: bool,
    may_override: bool,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let request = request_of(&fields)?;
    let (order, query) = (request.order_id.as_str().to_owned(), query_of(&request));
    let looked = app.actions.look(&caller.who, &request, Spends::Looking).await;
    let answers = app.look_up(&request.order_id)?;
    let shows_accounts = caller.who.may(Right::SeeAccount) && fields.get("accounts") == Some("shown");
    let masks = (!shows_accounts).then(|| masks_of(&answers));
    let options = &app.options.page;
    let mut rows: Vec<RewardRow> = answers.iter().flat_map(|answer| rows_of(answer, masks.as_ref(), options)).collect();
    let (verdicts, error) = match looked {
        Ok(look) => {
            update_rows(&mut rows, &look, request.action_id.as_ref(), options);
            (Some(Verdicts::of(look)), None)
        }
        Err(error) => (None, Some(ErrorPage::from(error))),
    };
    let (may_retract, may_override) = (caller.who.may(Right::Retract), caller.who.may(Right::Override));
    let fragment = Fragment { order, query, verdicts, error, rows, may_retract, may_override };
    if fields.has("part") {
        return Ok(rendered(&fragment));
    }
    let title = format!("Order {}", fragment.order);
    Ok(rendered(&PreflightPage { layout: Layout::of(&app, title, Some(&caller)), fragment }))
}

/// Builds the request from the fields for order and action.
pub(super) fn request_of(fields: &Fields) -> Result<RetractRequest> {
    let mut request = RetractRequest::new(fields.order()?);
    request.action_id = fields.text("action").map(ActionId::new);
    request.all = request.action_id.is_none() && fields.has("all");
    Ok(request)
}

/// Returns the query string of a link to the same order and action.
pub(super) fn query_of(request: &RetractRequest) -> String {
    let order = in_link(request.order_id.as_str());
    match &request.action_id {
        Some(action) => format!("order={order}&action={}", in_link(action.as_str())),
        None if request.all => format!("order={order}&all=1"),
        None => format!("order={order}"),
    }
}
