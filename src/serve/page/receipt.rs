//! The receipt of an order, as the ledger has it, followed live until it is proven.
//!
//! It says no more than the ledger does. A stream of events tells a browser when something new is written down; without a script
//! the page is read again by itself while something is open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::shown::{Line, in_link, is_open, minute};
use super::{Page, Shell, rendered};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::retract::receipt::{Entry, Receipt};
use crate::retract::referral::ReferralLine;
use crate::serve::app::App;
use crate::serve::asked::{Caller, Query};
use crate::serve::wording::{Surface, fitted};
use crate::store::ledger::Retraction;

/// Pause between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(500);

/// Seconds after which the page is read again where there is no script.
const AGAIN: u32 = 3;

#[derive(Template)]
#[template(path = "receipt.html")]
struct ReceiptPage {
    shell: Shell,
    part: Part,
    live: String,
}

#[derive(Template)]
#[template(path = "receipt_part.html")]
struct Part {
    order: String,
    tenant: String,
    account_sid: String,
    lines: Vec<(Line, Steps)>,
    /// The whole receipt, fit for a ticket.
    text: String,
    open: bool,
}

/// What happened to one retraction.
struct Steps {
    message: String,
    reason: String,
    batch_id: String,
    sent_at: String,
    confirmed_at: String,
    rewards: Vec<[String; 5]>,
    /// Lines about the referrals of the rewards.
    referrals: Vec<String>,
    check: Vec<String>,
    events: Vec<(String, String, String)>,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Page {
    let order = asked.order()?;
    let part = part_of(&app, &order)?;
    let mut shell = Shell::of(&app, format!("Receipt for order {order}"), Some(&caller));
    shell.again = if part.open { AGAIN } else { 0 };
    let live = format!("/receipt/live?order={}", in_link(order.as_str()));
    Ok(rendered(&ReceiptPage { shell, part, live }))
}

/// The receipt again, each time that the ledger has something new of it, until nothing is open.
pub(in crate::serve) async fn live(State(app): State<Arc<App>>, _caller: Caller, Query(asked): Query) -> Page {
    let order = asked.order()?;
    let stop = app.stop.clone();
    let state = (app, order, None::<String>, false);
    let events = stream::unfold(state, move |(app, order, seen, done)| {
        let stop = stop.clone();
        async move {
            if done {
                return None;
            }
            loop {
                let part = part_of(&app, &order).ok()?;
                // A carriage return cannot be sent in an event.
                let (html, open) = (part.render().ok()?.replace('\r', " "), part.open);
                if seen.as_ref() != Some(&html) || !open {
                    let name = if open { "receipt" } else { "end" };
                    let event = Event::default().event(name).data(&html);
                    return Some((Ok::<_, Infallible>(event), (app, order, Some(html), !open)));
                }
                tokio::select! {
                    () = app.clock.sleep(LOOK) => {}
                    () = stop.cancelled() => return None,
                }
            }
        }
    });
    let mut response: Response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // A proxy that gathers answers would hold the news back.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

fn part_of(app: &App, order: &OrderId) -> Result<Part> {
    let known = match app.desk.ledger()? {
        Some(ledger) => ledger.of_order(order)?,
        None => Vec::new(),
    };
    if known.is_empty() {
        return Err(Error::new(Kind::NotIndexed, "nothing of this order was ever retracted here"));
    }
    let coverage = app.index(|reader| reader.map(|reader| reader.coverage()).transpose())?.unwrap_or_default();
    let identity = &app.desk.options.identity;
    let mut receipt = Receipt::new(identity, order, &coverage, false);
    for retraction in &known {
        receipt.add(retraction, &[], false);
    }
    let entries = known.iter().rev().map(|one| (Line::of(one), Steps::of(one)));
    Ok(Part {
        order: order.as_str().to_owned(),
        tenant: identity.tenant.clone(),
        account_sid: identity.account_sid.clone(),
        lines: entries.collect(),
        text: receipt.lines().join("\n"),
        open: is_open(&known),
    })
}

impl Steps {
    fn of(retraction: &Retraction) -> Self {
        let entry = Entry::of(retraction, &[]);
        let rewards = entry.rewards.iter().map(|reward| {
            [
                reward.reward_id.clone(),
                reward.reward_source.clone().unwrap_or_default(),
                reward.amount(),
                reward.before.clone(),
                reward.after.clone().unwrap_or_else(|| "not read since".to_owned()),
            ]
        });
        let events = entry.events.iter().map(|event| {
            let what = if event.kind == "state" { event.state.as_str() } else { &event.kind };
            (minute(&event.at), what.to_owned(), fitted(&event.message, Surface::Page))
        });
        Self {
            message: fitted(&entry.message, Surface::Page),
            reason: entry.reason.clone().unwrap_or_default(),
            batch_id: entry.batch_id.clone().unwrap_or_default(),
            sent_at: entry.sent_at.as_deref().map(minute).unwrap_or_default(),
            confirmed_at: entry.confirmed_at.as_deref().map(minute).unwrap_or_default(),
            rewards: rewards.collect(),
            referrals: entry.referrals.iter().flat_map(ReferralLine::lines).collect(),
            check: entry.check.iter().map(|step| fitted(step, Surface::Page)).collect(),
            events: events.collect(),
        }
    }
}
