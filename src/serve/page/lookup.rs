//! One field: order IDs in, what is known of them out, and how sure that is.
//!
//! From the index alone, unless a person asks for the source. An order ID is looked up as it was pasted; the orders that the
//! text may mean are offered, never taken.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::shown::{Order, in_link};
use super::{Page, Shell, rendered};
use crate::access::Right;
use crate::error::Result;
use crate::lookup;
use crate::model::OrderId;
use crate::model::order_text::visible;
use crate::serve::app::{App, check_count, participants};
use crate::serve::asked::{Caller, Fields, Form, Query};

#[derive(Template)]
#[template(path = "lookup.html")]
struct LookupPage {
    shell: Shell,
    asked: String,
    /// Lines of the field.
    rows: usize,
    asked_link: String,
    orders: Vec<Order>,
    /// Accounts are in clear.
    accounts: bool,
    may_see_accounts: bool,
    /// So few that each is checked at once.
    few: bool,
    csrf: String,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Page {
    let orders = orders_of(&asked)?;
    let may_see_accounts = caller.who.may(Right::SeeAccount);
    let accounts = may_see_accounts && asked.get("accounts") == Some("shown");
    let text: Vec<&str> = orders.iter().map(OrderId::as_str).collect();
    let text = text.join("\n");
    let answers = app.look_up_pasted(orders.clone(), participants(&caller.who))?;
    let ledger = if orders.is_empty() { None } else { app.desk.ledger()? };
    let mut shown = Vec::new();
    for answer in &answers {
        let known = ledger.as_ref().map(|ledger| ledger.of_order(&answer.order_id)).transpose()?.unwrap_or_default();
        shown.push(Order::of(answer, &known, accounts));
    }
    let title = if orders.len() == 1 { format!("Order {}", visible(&text)) } else { "Look up".to_owned() };
    Ok(rendered(&LookupPage {
        shell: Shell::of(&app, title, Some(&caller)),
        asked_link: in_link(&text),
        asked: text,
        rows: orders.len().clamp(2, 8),
        few: shown.len() <= 5,
        orders: shown,
        accounts,
        may_see_accounts,
        csrf: caller.csrf.clone(),
    }))
}

/// Looks at the source for one order, and shows what came of it.
pub(in crate::serve) async fn source(State(app): State<Arc<App>>, form: Form) -> Page {
    let order_id = form.fields.order()?;
    let (wanted, who) = (order_id.clone(), form.caller.who.clone());
    let searched = app.on_its_own(async move |desk| desk.search(&who, &wanted).await).await?;
    let found = app.look_up(std::slice::from_ref(&order_id))?.iter().any(lookup::Answer::is_found);
    if found {
        return Ok(Redirect::to(&format!("/lookup?orders={}", in_link(order_id.as_str()))).into_response());
    }
    let mut answers = app.look_up(std::slice::from_ref(&order_id))?;
    for answer in &mut answers {
        answer.searched = Some(searched.clone());
    }
    let orders: Vec<Order> = answers.iter().map(|answer| Order::of(answer, &[], false)).collect();
    Ok(rendered(&LookupPage {
        shell: Shell::of(&app, format!("Order {order_id}"), Some(&form.caller)),
        asked: order_id.as_str().to_owned(),
        rows: 2,
        asked_link: in_link(order_id.as_str()),
        orders,
        accounts: false,
        may_see_accounts: false,
        few: true,
        csrf: form.caller.csrf.clone(),
    }))
}

/// One order ID a line, as it is; lines with nothing in them are none.
pub(super) fn orders_of(asked: &Fields) -> Result<Vec<OrderId>> {
    let lines =
        asked.all("orders").flat_map(|text| text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)));
    let mut orders = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let order = lookup::parse_typed(line)?;
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    check_count(orders.len())?;
    Ok(orders)
}
