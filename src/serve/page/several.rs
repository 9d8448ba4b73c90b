//! Retracts several orders in one step, on three pages: the checked list, the exact plans, and the result for each
//! order.
//!
//! The last page reads the ledger, so it can be reloaded, and a form that is submitted again leads to the same page.
//!
//! The checked list is part of the look-up page. Each order has its own plan, as if it were retracted alone, and the
//! confirmation contains the fingerprint of each plan that the user saw. A user retracts an order with several actions
//! on the order's own page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::reason::{ask_if_missing, reason_of};
use super::view::{Verdicts, in_link};
use super::{ErrorPage, Layout, PageResult, rendered, words};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::order_text::visible;
use crate::model::{OrderId, counted};
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Form, Query};
use crate::serve::looking::{Look, Spends};
use crate::serve::several::{NOT_IN_THIS_STEP, Outcome, RETRACTED_AT_ONCE};
use crate::serve::ui_text;
use crate::store::ledger::Retraction;

#[derive(Template)]
#[template(path = "several_review.html")]
struct ReviewPage {
    layout: Layout,
    account_sid: String,
    reason: String,
    ticket: String,
    disposition: String,
    orders: Vec<Planned>,
    /// Orders that are not part of the confirmation, each with the reason.
    left_out: Vec<LeftOut>,
    /// Why the service refuses to send these orders in one step.
    refused: Option<ErrorPage>,
    back: String,
    csrf: String,
}

struct Planned {
    id: String,
    heading: String,
    verdicts: Verdicts,
}

struct LeftOut {
    heading: String,
    link: String,
    why: String,
}

#[derive(Template)]
#[template(path = "several_outcome.html")]
struct OutcomePage {
    layout: Layout,
    lines: Vec<Line>,
    /// `true` if recoup sent nothing for some of the orders.
    has_unsent: bool,
    list: String,
}

/// The result for one order.
struct Line {
    heading: String,
    tone: &'static str,
    state: String,
    why: String,
    /// A link to the next page for the user, and the text of the link.
    link: (String, String),
}

/// Shows the plan of each chosen order, and the form with which the user confirms the plans.
pub(in crate::serve) async fn review(State(app): State<Arc<App>>, form: Form) -> PageResult {
    if let Some(asking) = ask_if_missing(&app, &form, "/retract/several/review") {
        return Ok(asking);
    }
    let fields = &form.fields;
    let requests = requests_of(fields)?;
    let disposition = requests.first().map(|request| request.disposition.clone()).unwrap_or_default();
    let back = list_link(&requests.iter().map(|request| request.order_id.clone()).collect::<Vec<_>>());
    let looks = app.actions.look_at_several(&form.caller.who, requests.clone(), Spends::Retraction).await;
    let (mut orders, mut left_out, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
    for (request, look) in requests.iter().zip(looks) {
        let heading = visible(request.order_id.as_str()).into_owned();
        let link = format!("/lookup?orders={}", in_link(request.order_id.as_str()));
        match look.map(|look: Look| (look.receipt.clone(), Verdicts::of(look))) {
            Ok((receipt, verdicts)) if verdicts.sends => {
                receipts.push(receipt);
                orders.push(Planned { id: request.order_id.to_string(), heading, verdicts });
            }
            Ok((_, verdicts)) => left_out.push(LeftOut { heading, link, why: verdicts.heading.to_owned() }),
            Err(error) => left_out.push(LeftOut { heading, link, why: ErrorPage::from(error).message().to_owned() }),
        }
    }
    let refused = app.actions.check_several(&receipts.iter().collect::<Vec<_>>()).err().map(ErrorPage::from);
    Ok(rendered(&ReviewPage {
        layout: Layout::of(&app, format!("Retract {}?", counted(orders.len() as u64, "order")), Some(&form.caller)),
        account_sid: app.actions.settings.identity.account_sid.clone(),
        reason: reason_of(fields).unwrap_or_default(),
        ticket: fields.text("ticket").unwrap_or_default(),
        disposition,
        orders,
        left_out,
        refused,
        back,
        csrf: form.caller.csrf.clone(),
    }))
}

/// Sends the retractions whose plans the user has confirmed.
pub(in crate::serve) async fn send(State(app): State<Arc<App>>, form: Form) -> PageResult {
    let mut requests = requests_of(&form.fields)?;
    let plans: Vec<&str> = form.fields.all("seen").collect();
    if !form.fields.has("yes") || plans.len() != requests.len() {
        let unconfirmed = Error::new(Kind::Usage, "the retractions were not confirmed; nothing was sent");
        return Err(unconfirmed.hint("tick that you have read what will happen, then send it").into());
    }
    for (request, plan) in requests.iter_mut().zip(plans) {
        request.plan = Some(plan.to_owned()).filter(|plan| !plan.is_empty());
    }
    let outcomes = app.actions.retract_several(&form.caller.who, requests).await?;
    let orders: Vec<String> = outcomes.iter().map(|(order, _)| format!("&order={}", in_link(order.as_str()))).collect();
    let step = app.steps.add(&form.caller.who, outcomes, app.clock.now())?;
    Ok(Redirect::to(&format!("/retract/several/sent?step={step}{}", orders.concat())).into_response())
}

/// Shows the outcome of each order. The ledger records the orders that were sent. For each other order, the stored step
/// has the reason why recoup did not send it.
pub(in crate::serve) async fn sent(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let step = fields.get("step").unwrap_or_default();
    let mut lines = Vec::new();
    let mut orders = Vec::new();
    for text in fields.all("order").take(RETRACTED_AT_ONCE) {
        let order = lookup::order_id(text)?;
        let outcome = app.steps.outcome(&caller.who, step, &order);
        lines.push(Line::of(&order, &app.actions.recorded_retractions(&order)?, outcome));
        orders.push(order);
    }
    let title = format!("What became of {}", counted(lines.len() as u64, "order"));
    Ok(rendered(&OutcomePage {
        layout: Layout::of(&app, title, Some(&caller)),
        has_unsent: lines.iter().any(|line| line.tone == "quiet"),
        lines,
        list: list_link(&orders),
    }))
}

/// Builds one retract request for each order of the form. All requests have the same reason, ticket and disposition
/// code.
fn requests_of(fields: &Fields) -> Result<Vec<RetractRequest>> {
    let mut requests: Vec<RetractRequest> = Vec::new();
    for text in fields.all("order") {
        let request = RetractRequest::new(lookup::order_id(text)?);
        let request = RetractRequest {
            disposition: fields.text("disposition").unwrap_or(request.disposition.clone()),
            reason: reason_of(fields),
            ticket: fields.text("ticket"),
            ..request
        };
        requests.push(request.checked()?);
    }
    if requests.is_empty() {
        return Err(Error::new(Kind::Usage, "no order was chosen; nothing was sent").hint("tick at least one order"));
    }
    if requests.len() > RETRACTED_AT_ONCE {
        let message = format!("{} orders at once are too many, at most {RETRACTED_AT_ONCE}", requests.len());
        return Err(Error::new(Kind::Usage, message)
            .hint("choose fewer; a lead can upload a file of refunds as a batch; nothing was sent"));
    }
    Ok(requests)
}

/// Returns the link to the list of these orders.
fn list_link(orders: &[OrderId]) -> String {
    let ids: Vec<&str> = orders.iter().map(OrderId::as_str).collect();
    format!("/lookup?orders={}", in_link(&ids.join("\n")))
}

impl Line {
    /// Describes what became of an order. What the ledger has recorded outranks the stored outcome, which is that of one
    /// submission.
    fn of(order: &OrderId, recorded: &[Retraction], outcome: Option<Outcome>) -> Self {
        let may_be_sent = recorded.iter().any(|one| one.state.may_have_been_sent());
        match outcome {
            Some(Outcome::Recorded { error, .. }) => Self::recorded(order, recorded, error),
            // The order has earlier retractions, and this step has added none.
            Some(Outcome::NotSent(error)) if may_be_sent => {
                Self::recorded(order, recorded, Some(error.context(NOT_IN_THIS_STEP)))
            }
            Some(Outcome::NotAttempted(why)) if may_be_sent => {
                let error = Error::new(Kind::Refused, why).context(NOT_IN_THIS_STEP);
                Self::recorded(order, recorded, Some(error))
            }
            _ if may_be_sent => Self::recorded(order, recorded, None),
            Some(Outcome::NotSent(error)) => {
                let approval = error.details.as_ref().and_then(|details| details.approval);
                let link = approval.map(|id| (format!("/approvals/{id}"), format!("Approval {id}")));
                let error = ErrorPage::from(error);
                let line = Self::new(order, "quiet", error.heading, error.message);
                Self { link: link.unwrap_or(line.link), ..line }
            }
            Some(Outcome::NotAttempted(why)) => {
                Self::new(order, "quiet", "Not attempted", format!("Nothing was sent: {why}"))
            }
            Some(Outcome::Unknown(error)) => {
                let why = format!(
                    "recoup failed while it retracted this order, and the ledger has no request for it: {}. Look at the \
                     order before you retract it again.",
                    ErrorPage::from(error).message
                );
                Self::new(order, "bad", "Unknown", why)
            }
            None if !recorded.is_empty() => Self::recorded(order, recorded, None),
            None => {
                Self::new(order, "quiet", "Not in the ledger", "The ledger has no request for this order.".to_owned())
            }
        }
    }

    fn new(order: &OrderId, tone: &'static str, state: &str, why: String) -> Self {
        Self {
            heading: visible(order.as_str()).into_owned(),
            tone,
            state: state.to_owned(),
            why,
            link: (format!("/lookup?orders={}", in_link(order.as_str())), "Look at the order".to_owned()),
        }
    }

    /// Describes the retractions of an order in their present states. With an error, something was not sent, so the line is not
    /// good news.
    fn recorded(order: &OrderId, recorded: &[Retraction], error: Option<Error>) -> Self {
        let states: Vec<&str> = recorded.iter().map(|one| words::retraction_state(one.state)).collect();
        let newest = recorded.last().map(|one| one.state);
        let has_error = error.is_some();
        let why = error.map(|error| ErrorPage::from(error).message);
        let why = why.unwrap_or_else(|| newest.map(ui_text::meaning_of).unwrap_or_default().to_owned());
        let tones = || recorded.iter().map(|one| ui_text::tone_of(one.state));
        let tone = ["bad", "open", "good"].into_iter().find(|tone| tones().any(|one| one == *tone));
        let tone = tone.filter(|tone| !has_error || *tone != "good");
        let line = Self::new(order, tone.unwrap_or("open"), &states.join(", "), why);
        Self { link: (format!("/receipt?order={}", in_link(order.as_str())), "Receipt".to_owned()), ..line }
    }
}
