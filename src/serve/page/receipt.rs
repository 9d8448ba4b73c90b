//! The receipt of an order. The page updates the receipt live until every retraction is settled.
//!
//! A receipt shows only the ledger's records. Server-sent events update the page of a receipt. If the browser runs no
//! scripts, the page reloads while a retraction is open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::view::{RetractionLine, in_link, is_open};
use super::{Layout, PageResult, rendered};
use crate::error::{Error, Kind, Result};
use crate::model::OrderId;
use crate::retract::receipt::{Entry, Receipt};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Query};
use crate::serve::flag_names::entry_for;
use crate::serve::routes::Audience;

/// Interval between two reads of the ledger for the event stream.
const POLL: Duration = Duration::from_millis(500);

/// The receipt's page reloads after this many seconds if the browser runs no scripts.
const RELOAD_SECONDS: u32 = 3;

#[derive(Template)]
#[template(path = "receipt.html")]
struct ReceiptPage {
    layout: Layout,
    fragment: Fragment,
    /// The path of the receipt's event stream.
    live: String,
}

#[derive(Template)]
#[template(path = "receipt_part.html")]
struct Fragment {
    order: String,
    tenant: String,
    account_sid: String,
    retractions: Vec<(RetractionLine, Entry)>,
    /// The receipt as text that a user can copy into a ticket.
    text: String,
    open: bool,
}

pub(in crate::serve) async fn show(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let order = fields.order()?;
    let fragment = fragment_of(&app, &order)?;
    let mut layout = Layout::of(&app, format!("Receipt for order {order}"), Some(&caller));
    layout.reload_seconds = if fragment.open { RELOAD_SECONDS } else { 0 };
    let live = format!("/receipt/live?order={}", in_link(order.as_str()));
    Ok(rendered(&ReceiptPage { layout, fragment, live }))
}

/// Streams the receipt after each change until no retraction is open.
pub(in crate::serve) async fn live(State(app): State<Arc<App>>, _caller: Caller, Query(fields): Query) -> PageResult {
    let order = fields.order()?;
    let stop = app.stop.clone();
    let state = (app, order, None::<String>, false);
    let events = stream::unfold(state, move |(app, order, seen, done)| {
        let stop = stop.clone();
        async move {
            if done {
                return None;
            }
            loop {
                let fragment = fragment_of(&app, &order).ok()?;
                // A carriage return would end the line of a server-sent event.
                let (html, open) = (fragment.render().ok()?.replace('\r', " "), fragment.open);
                if seen.as_ref() != Some(&html) || !open {
                    let name = if open { "receipt" } else { "end" };
                    let event = Event::default().event(name).data(&html);
                    return Some((Ok::<_, Infallible>(event), (app, order, Some(html), !open)));
                }
                tokio::select! {
                    () = app.clock.sleep(POLL) => {}
                    () = stop.cancelled() => return None,
                }
            }
        }
    });
    let mut response: Response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    // The header `X-Accel-Buffering` makes nginx pass the stream on without buffering.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

fn fragment_of(app: &App, order: &OrderId) -> Result<Fragment> {
    let unknown = || Error::new(Kind::NotIndexed, "this ledger has no retraction of this order");
    let ledger = app.actions.ledger()?.ok_or_else(unknown)?;
    let known = ledger.of_order(order)?;
    if known.is_empty() {
        return Err(unknown());
    }
    let coverage = app.index.with(|reader| reader.map(|reader| reader.coverage()).transpose())?.unwrap_or_default();
    let identity = &app.actions.settings.identity;
    let receipt = Receipt::of_ledger(identity, order, &coverage, &ledger, &known);
    let mut entries: Vec<Entry> = known.iter().map(|one| entry_for(Entry::of(one, &[]), Audience::Page)).collect();
    app.actions.update_entries(&mut entries)?;
    let retractions = known.iter().map(RetractionLine::of).zip(entries).rev();
    Ok(Fragment {
        order: order.as_str().to_owned(),
        tenant: identity.tenant.clone(),
        account_sid: identity.account_sid.clone(),
        retractions: retractions.collect(),
        text: receipt.lines().join("\n"),
        open: is_open(&known),
    })
}
