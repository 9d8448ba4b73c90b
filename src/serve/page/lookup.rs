//! The look-up page: shows the index entry of each order ID, and how certain the answer is.
//!
//! The page reads only the index, unless the user starts a live search. An order ID is looked up exactly as pasted. If the
//! text may mean other orders, the page shows them as suggestions.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::mask::Masks;
use super::view::{Order, in_link};
use super::{Layout, PageResult, rendered};
use crate::access::Right;
use crate::error::Result;
use crate::lookup;
use crate::model::OrderId;
use crate::model::order_text::visible;
use crate::serve::app::{App, check_count, participants};
use crate::serve::extractors::{Caller, Fields, Form, Query};

#[derive(Template)]
#[template(path = "lookup.html")]
struct LookupPage {
    layout: Layout,
    /// The content of the text field.
    text: String,
    rows: usize,
    /// `text`, encoded for a link.
    text_link: String,
    orders: Vec<Order>,
    shows_accounts: bool,
    may_see_accounts: bool,
    /// Whether there are so few orders that the script starts a preflight for each.
    few: bool,
    may_preflight: bool,
    csrf: String,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let texts = texts_of(&fields)?;
    let may_see_accounts = caller.who.may(Right::SeeAccount);
    let shows_accounts = may_see_accounts && fields.get("accounts") == Some("shown");
    let text = texts.iter().map(OrderId::as_str).collect::<Vec<_>>().join("\n");
    let (lines, is_one) = (texts.len(), texts.len() == 1);
    let answers = app.look_up_pasted(texts, participants(&caller.who))?;
    let ledger = if lines == 0 { None } else { app.actions.ledger()? };
    let masks = (!shows_accounts).then(|| masks_of(&answers));
    let mut orders = Vec::new();
    for answer in &answers {
        let known = ledger.as_ref().map(|ledger| ledger.of_order(&answer.order_id)).transpose()?.unwrap_or_default();
        orders.push(Order::of(answer, &known, masks.as_ref()));
    }
    let title = if is_one { format!("Order {}", visible(&text)) } else { "Look up".to_owned() };
    Ok(rendered(&LookupPage {
        layout: Layout::of(&app, title, Some(&caller)),
        text_link: in_link(&text),
        text,
        rows: lines.clamp(2, 8),
        few: orders.len() <= 5,
        orders,
        shows_accounts,
        may_see_accounts,
        may_preflight: caller.who.may(Right::Preflight),
        csrf: caller.csrf.clone(),
    }))
}

/// Searches the vendor for one order and shows the result.
pub(in crate::serve) async fn search(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let order_id = form.fields.order()?;
    let searched = app.actions.search(&form.caller.who, order_id.clone()).await?;
    let mut answers = app.look_up(&order_id)?;
    if answers.iter().any(lookup::Answer::is_found) {
        return Ok(Redirect::to(&format!("/lookup?orders={}", in_link(order_id.as_str()))).into_response());
    }
    for answer in &mut answers {
        answer.searched = Some(searched.clone());
    }
    Ok(rendered(&LookupPage {
        layout: Layout::of(&app, format!("Order {order_id}"), Some(&form.caller)),
        text: order_id.as_str().to_owned(),
        rows: 2,
        text_link: in_link(order_id.as_str()),
        orders: answers.iter().map(|answer| Order::of(answer, &[], Some(&masks_of(&answers)))).collect(),
        shows_accounts: false,
        may_see_accounts: false,
        may_preflight: form.caller.who.may(Right::Preflight),
        few: true,
        csrf: form.caller.csrf.clone(),
    }))
}

/// Reads the rewards of an order's confirmed retractions again, at the user's request.
pub(in crate::serve) async fn ask_again(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let order_id = form.fields.order()?;
    app.actions.ask_again(&form.caller.who, &order_id).await?;
    Ok(Redirect::to(&format!("/lookup?orders={}", in_link(order_id.as_str()))).into_response())
}

pub(super) fn masks_of(answers: &[lookup::Answer]) -> Masks {
    Masks::of(answers.iter().flat_map(|answer| &answer.matches).map(|found| found.account_id.as_str()))
}

/// Returns the lines of the text field unchanged, without blank lines.
fn texts_of(fields: &Fields) -> Result<Vec<OrderId>> {
    let lines =
        fields.all("orders").flat_map(|text| text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)));
    let mut texts = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let text = lookup::parse_typed(line)?;
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    check_count(texts.len())?;
    Ok(texts)
}
