//! The look-up page: one order on one screen, or several orders as a list.
//!
//! The look-up page reads only the index and the ledger, unless the user starts a live search or checks all orders.
//! recoup looks up an order ID exactly as the user pasted it. If the text may mean other orders, the page shows these
//! orders as suggestions.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::mask::Masks;
use super::order::Order;
use super::view::{Time, Verdicts, in_link, time};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::access::Right;
use crate::error::Result;
use crate::lookup;
use crate::model::OrderId;
use crate::model::order_text::visible;
use crate::retract::request::RetractRequest;
use crate::serve::app::{App, check_count, participants};
use crate::serve::extractors::{Caller, Fields, Form, Query};
use crate::serve::looking::Spends;
use crate::serve::several::{CHECKED_AT_ONCE, RETRACTED_AT_ONCE};
use crate::store::ledger::Ledger;

/// The maximum number of order IDs for which the page searches the ledger for tickets and ActionIds, because the ledger
/// has no index of tickets.
const TICKETS_AT_MOST: usize = 10;

#[derive(Template)]
#[template(path = "lookup.html")]
struct LookupPage {
    layout: Layout,
    /// The text of the search box, encoded for a link.
    text_link: String,
    /// The text of the search box, for a form.
    text: String,
    orders: Vec<ListedOrder>,
    search: Search,
    shows_accounts: bool,
    may_see_accounts: bool,
    may_preflight: bool,
    may_retract: bool,
    /// Number of the listed orders that the user can check with the vendor, because the index has them.
    checkable: usize,
    /// `true` if the service checked the orders with the vendor for this page.
    is_checked: bool,
    /// Number of orders that the user can retract together.
    sendable: usize,
    at_once: usize,
    checked_at_once: usize,
    reasons: Vec<String>,
    csrf: String,
}

/// An order of the look-up page, in a checked list with the result of its preflight.
struct ListedOrder {
    order: Order,
    check: Check,
}

/// The live search that the page shows for one order.
enum Search {
    No,
    /// The result, and when the user searched.
    Done(String, Time),
    /// The user has searched, and the service does not store the result any more.
    Forgotten,
}

enum Check {
    /// The service did not check the order with the vendor.
    No,
    Read(Box<Verdicts>),
    Failed(ErrorPage),
}

impl ListedOrder {
    /// `true` if the page offers to retract this order together with others.
    fn is_sendable(&self) -> bool {
        matches!(&self.check, Check::Read(verdicts) if verdicts.sends)
    }

    /// `true` if a person must choose an action on the order's own page.
    fn needs_choice(&self) -> bool {
        self.order.nothing.is_none() && self.order.actions.len() > 1
    }
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let texts = texts_of(&fields)?;
    let text = texts.iter().map(OrderId::as_str).collect::<Vec<_>>().join("\n");
    let answers = app.look_up_pasted(texts, participants(&caller.who))?;
    let shows_accounts = caller.who.may(Right::SeeAccount) && fields.get("accounts") == Some("shown");
    let mut page = LookupPage::of(&app, &caller, text, &answers, shows_accounts)?;
    if let [one] = answers.as_slice()
        && fields.has("searched")
    {
        page.search = Search::of(&app, &caller, &one.order_id);
    }
    if let [one] = answers.as_slice()
        && (one.is_found() || !page.orders[0].order.history.is_empty())
    {
        app.recent.opened(&caller.who.name, &one.order_id, app.clock.now());
    }
    Ok(rendered(&page))
}

/// Checks several orders with the vendor and shows the list with a verdict for each order. The request to check orders
/// is a POST of a form, so that a link on another site cannot spend the quota.
pub(in crate::serve) async fn check(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let texts = texts_of(&form.fields)?;
    let text = texts.iter().map(OrderId::as_str).collect::<Vec<_>>().join("\n");
    let answers = app.look_up_pasted(texts, participants(&form.caller.who))?;
    let mut page = LookupPage::of(&app, &form.caller, text, &answers, false)?;
    page.check(&app, &form.caller).await;
    Ok(rendered(&page))
}

impl LookupPage {
    fn of(
        app: &Arc<App>,
        caller: &Caller,
        text: String,
        answers: &[lookup::Answer],
        shows_accounts: bool,
    ) -> Result<Self> {
        let ledger = if answers.is_empty() { None } else { app.actions.ledger()? };
        let masks = (!shows_accounts).then(|| masks_of(answers));
        let searches_tickets = answers.len() <= TICKETS_AT_MOST;
        let mut orders = Vec::new();
        for answer in answers {
            let of_order = |ledger: &Ledger| ledger.of_order(&answer.order_id);
            let known = ledger.as_ref().map(of_order).transpose()?.unwrap_or_default();
            let in_ledger = match &ledger {
                Some(ledger) if searches_tickets && answer.related.is_none() => {
                    lookup::find_in_ledger(ledger, answer.order_id.as_str())?
                }
                _ => None,
            };
            let order = Order::of(answer, &known, in_ledger, masks.as_ref(), &app.options.page);
            orders.push(ListedOrder { order, check: Check::No });
        }
        let title = match answers {
            [] => "Look up".to_owned(),
            [one] => format!("Order {}", visible(one.order_id.as_str())),
            several => format!("{} orders", several.len()),
        };
        let mut layout = Layout::of(app, title, Some(caller));
        layout.search.clone_from(&text);
        layout.focuses_search = orders.is_empty();
        Ok(Self {
            layout,
            text_link: in_link(&text),
            text,
            checkable: orders.iter().filter(|one| one.order.nothing.is_none()).count(),
            is_checked: false,
            sendable: 0,
            orders,
            search: Search::No,
            shows_accounts,
            may_see_accounts: caller.who.may(Right::SeeAccount),
            may_preflight: caller.who.may(Right::Preflight),
            may_retract: caller.who.may(Right::Retract),
            at_once: RETRACTED_AT_ONCE,
            checked_at_once: CHECKED_AT_ONCE,
            reasons: app.options.page.reasons.clone(),
            csrf: caller.csrf.clone(),
        })
    }

    /// Runs a preflight of each order that the index has and that needs no choice of an action.
    async fn check(&mut self, app: &Arc<App>, caller: &Caller) {
        let mut listed: Vec<&mut ListedOrder> = self
            .orders
            .iter_mut()
            .filter(|one| one.order.nothing.is_none() && !one.needs_choice())
            .take(CHECKED_AT_ONCE)
            .collect();
        let requests = listed.iter().map(|one| RetractRequest::new(OrderId::new(&one.order.id))).collect();
        let looks = app.actions.look_at_several(&caller.who, requests, Spends::Looking).await;
        for (one, look) in listed.iter_mut().zip(looks) {
            one.check = match look {
                Ok(look) => Check::Read(Box::new(Verdicts::of(look))),
                Err(error) => Check::Failed(error.into()),
            };
        }
        self.is_checked = true;
        self.sendable = self.orders.iter().filter(|one| one.is_sendable()).count();
    }
}

impl Search {
    fn of(app: &App, caller: &Caller, order: &OrderId) -> Self {
        match app.searches.of(&caller.who.name, order, app.clock.now()) {
            Some((result, at)) => Self::Done(result.describe(), time(&at.to_string())),
            None => Self::Forgotten,
        }
    }
}

/// Searches the vendor for one order, and redirects to the order's page, which shows the result. Therefore a reload
/// of that page does not search again.
pub(in crate::serve) async fn search(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let order_id = form.fields.order()?;
    let searched = app.actions.search(&form.caller.who, order_id.clone()).await?;
    app.searches.add(&form.caller.who.name, &order_id, searched, app.clock.now());
    Ok(Redirect::to(&format!("/lookup?searched=1&orders={}", in_link(order_id.as_str()))).into_response())
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

/// Returns the lines of the search box unchanged, without blank lines.
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
