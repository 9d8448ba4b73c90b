//! History: every retraction, open and doubtful ones first, found by order, action, ticket, person or state.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};

use super::shown::{Line, in_link, minute};
use super::{Page, Shell, rendered};
use crate::error::{Error, Kind};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Query};
use crate::store::ledger::{Search, State as Stands, Watched};

/// Lines of one page.
const LINES: usize = 50;

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    shell: Shell,
    text: String,
    state: String,
    states: Vec<&'static str>,
    lines: Vec<Line>,
    /// Orders that were refunded before anything of them was known, and have turned up since.
    turned_up: Vec<TurnedUp>,
    /// The link to older ones, where there are any.
    older: Option<String>,
    first: bool,
}

struct TurnedUp {
    order: String,
    link: String,
    at: String,
    ticket: String,
}

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Page {
    let text = asked.text("q").unwrap_or_default();
    let word = asked.text("state").unwrap_or_default();
    let state = Stands::named(&word);
    if state.is_none() && !word.is_empty() {
        return Err(Error::new(Kind::Usage, "there is no state of that name").into());
    }
    let before = asked.get("before").and_then(|id| id.parse().ok());
    let search = Search { text: (!text.is_empty()).then(|| text.clone()), state, before, limit: LINES + 1 };
    let ledger = app.desk.ledger()?;
    let mut found = ledger.as_ref().map_or_else(|| Ok(Vec::new()), |ledger| ledger.search(&search))?;
    // Whoever waits for an order looks here, and not into the log of a crawl.
    let is_asked = before.is_none() && text.is_empty() && state.is_none();
    let watched = ledger.filter(|_| is_asked).map_or_else(|| Ok(Vec::new()), |ledger| ledger.watched())?;
    let more = found.len() > LINES;
    found.truncate(LINES);
    // What is open comes first on the first page alone, and is not counted among the older ones.
    let last = found.iter().map(|one| one.id).min();
    let older =
        more.then(|| last.map(|id| format!("/history?q={}&state={word}&before={id}", in_link(&text)))).flatten();
    Ok(rendered(&HistoryPage {
        shell: Shell::of(&app, "History", Some(&caller)),
        text,
        state: word,
        states: Stands::words().collect(),
        lines: found.iter().map(Line::of).collect(),
        turned_up: watched.into_iter().filter_map(turned_up).collect(),
        older,
        first: before.is_none(),
    }))
}

fn turned_up(one: Watched) -> Option<TurnedUp> {
    Some(TurnedUp {
        at: minute(&one.found_at?),
        link: in_link(one.order_id.as_str()),
        order: one.order_id.as_str().to_owned(),
        ticket: one.ticket.unwrap_or_default(),
    })
}

/// One retraction: the receipt of its order.
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<i64>) -> Page {
    let nothing = || Error::new(Kind::NotIndexed, format!("there is no retraction {id} in this ledger"));
    let ledger = app.desk.ledger()?.ok_or_else(nothing)?;
    let retraction = ledger.get(id).map_err(|_unknown| nothing())?;
    Ok(Redirect::to(&format!("/receipt?order={}", in_link(retraction.order_id.as_str()))).into_response())
}
