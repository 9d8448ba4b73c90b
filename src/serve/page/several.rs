//! Retracts several orders in one step, on three pages: the checked list, the exact plans, and the result for each
//! order.
//!
//! The checked list is part of the look-up page. Each order has its own plan, as if it were retracted alone, and the
//! confirmation contains the fingerprint of each plan that the user saw. A user retracts an order with several actions
//! on the order's own page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::retract::reason_of;
use super::view::{Verdicts, in_link};
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::counted;
use crate::model::order_text::visible;
use crate::retract::request::RetractRequest;
use crate::serve::app::App;
use crate::serve::extractors::{Fields, Form};
use crate::serve::looking::{Look, Spends};
use crate::serve::several::{Outcome, RETRACTED_AT_ONCE};
use crate::serve::ui_text;
use crate::store::ledger::State as LedgerState;

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
    let fields = &form.fields;
    let requests = requests_of(fields)?;
    let disposition = requests.first().map(|request| request.disposition.clone()).unwrap_or_default();
    let back = list_link(&requests);
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
    let list = list_link(&requests);
    let outcomes = app.actions.retract_several(&form.caller.who, requests).await?;
    let lines: Vec<Line> = outcomes.into_iter().map(|(order, outcome)| Line::of(order.as_str(), outcome)).collect();
    Ok(rendered(&OutcomePage {
        layout: Layout::of(
            &app,
            format!("What became of {}", counted(lines.len() as u64, "order")),
            Some(&form.caller),
        ),
        has_unsent: lines.iter().any(|line| line.tone == "quiet"),
        lines,
        list,
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
fn list_link(requests: &[RetractRequest]) -> String {
    let ids: Vec<&str> = requests.iter().map(|request| request.order_id.as_str()).collect();
    format!("/lookup?orders={}", in_link(&ids.join("\n")))
}

impl Line {
    fn of(order: &str, outcome: Outcome) -> Self {
        let heading = visible(order).into_owned();
        let order_page = || (format!("/lookup?orders={}", in_link(order)), "Look at the order".to_owned());
        match outcome {
            Outcome::Recorded(receipt) => {
                let states: Vec<&str> = receipt.retractions.iter().map(|entry| entry.state.as_str()).collect();
                let newest = states.iter().find_map(|word| LedgerState::named(word));
                let why = receipt.error.map(|error| ErrorPage::from(error).message);
                Self {
                    heading,
                    tone: newest.map_or("open", ui_text::tone_of),
                    state: states.join(", ").replace('_', " "),
                    why: why.unwrap_or_else(|| newest.map(ui_text::meaning_of).unwrap_or_default().to_owned()),
                    link: (format!("/receipt?order={}", in_link(order)), "Receipt".to_owned()),
                }
            }
            Outcome::NotSent(error) => {
                let approval = error.details.as_ref().and_then(|details| details.approval);
                let link = approval.map(|id| (format!("/approvals/{id}"), format!("Approval {id}")));
                let error = ErrorPage::from(error);
                Self {
                    heading,
                    tone: "quiet",
                    state: error.heading.to_owned(),
                    why: error.message,
                    link: link.unwrap_or_else(order_page),
                }
            }
            Outcome::NotAttempted(why) => Self {
                heading,
                tone: "quiet",
                state: "Not attempted".to_owned(),
                why: format!("Nothing was sent: {why}"),
                link: order_page(),
            },
        }
    }
}
