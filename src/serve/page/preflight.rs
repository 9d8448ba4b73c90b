//! Whether an order can be retracted, read live: the verdict with its reasons, as a page or as a part of one.
//!
//! The same road as a retraction with the last step withheld. It asks the vendor, and sends nothing.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::shown::{Verdicts, in_link};
use super::{Failure, Page, Shell, rendered};
use crate::access::Right;
use crate::error::Result;
use crate::model::ActionId;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Fields, Query};
use crate::serve::desk::Wish;

#[derive(Template)]
#[template(path = "preflight.html")]
struct PreflightPage {
    shell: Shell,
    part: Part,
}

#[derive(Template)]
#[template(path = "preflight_part.html")]
struct Part {
    order: String,
    /// The wish as the query of a link: order and action.
    link: String,
    verdicts: Option<Verdicts>,
    failure: Option<Failure>,
    may_retract: bool,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Page {
    let wish = wish_of(&asked)?;
    let (order, link) = (wish.order_id.as_str().to_owned(), link_of(&wish));
    let who = caller.who.clone();
    let made = app.on_its_own(async move |desk| desk.preflight(&who, &wish).await).await;
    let (verdicts, failure) = match made {
        Ok(receipt) => (Some(Verdicts::of(&receipt)), None),
        Err(error) => (None, Some(Failure::from(error))),
    };
    let part = Part { order, link, verdicts, failure, may_retract: caller.who.may(Right::Retract) };
    if asked.has("part") {
        return Ok(rendered(&part));
    }
    let title = format!("Order {}", part.order);
    Ok(rendered(&PreflightPage { shell: Shell::of(&app, title, Some(&caller)), part }))
}

/// The order and the action that a request is about.
pub(super) fn wish_of(asked: &Fields) -> Result<Wish> {
    let mut wish = Wish::of(asked.order()?);
    wish.action_id = asked.text("action").map(ActionId::new);
    wish.all = wish.action_id.is_none() && asked.has("all");
    Ok(wish)
}

/// The same as the query of a link.
pub(super) fn link_of(wish: &Wish) -> String {
    let order = in_link(wish.order_id.as_str());
    match &wish.action_id {
        Some(action) => format!("order={order}&action={}", in_link(action.as_str())),
        None if wish.all => format!("order={order}&all=1"),
        None => format!("order={order}"),
    }
}
