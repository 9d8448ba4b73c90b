//! The history page: every retraction, newest first. The history page has filters by date, person, state, value and
//! text, and exports CSV.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect};
use url::form_urlencoded::Serializer;

use super::view::{RetractionLine, count, in_link, minute};
use super::{Layout, PageResult, rendered, words};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::model::decimal::Decimal;
use crate::records::table;
use crate::refunds::dates::{self, DateOrTime};
use crate::retract::receipt::Entry;
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Query};
use crate::store::ledger::{Ledger, Retraction, Search, State as LedgerState, Watched};

const LINES_PER_PAGE: usize = 50;

/// Maximum number of retractions in one CSV file, because the service holds the file in memory.
const EXPORT_AT_MOST: usize = 20_000;

/// Number of retractions that a CSV export reads at once.
const EXPORT_PAGE: usize = 500;

/// The option of the state filter for every state that needs attention.
const OPEN: &str = "open";

/// The fields of the search form.
const FIELDS: [&str; 7] = ["q", "state", "person", "since", "until", "least", "most"];

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    layout: Layout,
    /// The values of the search form.
    text: String,
    state: String,
    person: String,
    since: String,
    until: String,
    least: String,
    most: String,
    states: Vec<&'static str>,
    persons: Vec<String>,
    /// `true` if one of the less common filters is set.
    has_more_filters: bool,
    lines: Vec<(RetractionLine, String)>,
    /// The sentence about the number of found retractions.
    count: String,
    /// Watched orders that a crawl has found since.
    found: Vec<FoundOrder>,
    /// The links to the page of older retractions, to the first page, and to the CSV file.
    older: Option<String>,
    first: Option<String>,
    export: String,
}

struct FoundOrder {
    order: String,
    link: String,
    at: String,
    ticket: String,
}

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller, Query(fields): Query) -> PageResult {
    let search = search_of(&fields)?;
    let this = Arc::clone(&app);
    let page = app.blocking(move || HistoryPage::of(&this, &caller, &fields, &search));
    Ok(rendered(&page.await?))
}

impl HistoryPage {
    fn of(app: &App, caller: &Caller, fields: &Fields, search: &Search) -> Result<Self> {
        let ledger = app.actions.ledger()?;
        let found = ledger.as_ref().map(|ledger| ledger.search(search)).transpose()?.unwrap_or_default();
        let persons = ledger.as_ref().map(Ledger::persons).transpose()?.unwrap_or_default();
        let is_unfiltered = search.before.is_none() && FIELDS.iter().all(|name| fields.text(name).is_none());
        let watched = ledger.filter(|_| is_unfiltered).map_or_else(|| Ok(Vec::new()), |ledger| ledger.watched())?;
        let entries = entries(app, &found.retractions)?;
        let lines = found.retractions.iter().zip(&entries);
        let value = |name: &str| fields.text(name).unwrap_or_default();
        let mut query = Serializer::new(String::new());
        query.extend_pairs(FIELDS.iter().filter_map(|name| Some((name, fields.text(name)?))));
        let query = query.finish();
        Ok(Self {
            layout: Layout::of(app, "History", Some(caller)),
            text: value("q"),
            state: value("state"),
            person: value("person"),
            since: value("since"),
            until: value("until"),
            least: value("least"),
            most: value("most"),
            states: LedgerState::words().collect(),
            persons,
            has_more_filters: FIELDS.iter().skip(2).any(|name| fields.text(name).is_some()),
            lines: lines.map(|(one, entry)| (RetractionLine::of(one), worth(entry))).collect(),
            count: match (found.count, is_unfiltered) {
                (0, true) => "There is no retraction yet.".to_owned(),
                (0, false) if search.before.is_none() => "No retraction matches.".to_owned(),
                (n, _) => format!("{}, the newest first.", counted(n, "retraction")),
            },
            found: watched.into_iter().filter_map(found_order).collect(),
            older: found.next.map(|before| format!("/history?{query}&before={before}")),
            first: search.before.map(|_| format!("/history?{query}")),
            export: format!("/history.csv?{query}"),
        })
    }
}

/// Returns the retractions that the search form finds, as a CSV file.
pub(in crate::serve) async fn export(State(app): State<Arc<App>>, _caller: Caller, Query(fields): Query) -> PageResult {
    let search = Search { limit: EXPORT_PAGE, before: None, ..search_of(&fields)? };
    let this = Arc::clone(&app);
    let file = app.blocking(move || csv_file(&this, search)).await?;
    let mut response = file.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let name = HeaderValue::from_static("attachment; filename=\"history.csv\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

fn csv_file(app: &App, mut search: Search) -> Result<String> {
    let Some(ledger) = app.actions.ledger()? else { return table::history([]) };
    let mut retractions: Vec<Retraction> = Vec::new();
    loop {
        let found = ledger.search(&search)?;
        if found.count > EXPORT_AT_MOST as u64 {
            let (found, most) = (count(found.count), count(EXPORT_AT_MOST as u64));
            return Err(Error::new(
                Kind::Usage,
                format!("{found} retractions are too many for one file, at most {most}"),
            )
            .hint("choose a shorter time"));
        }
        retractions.extend(found.retractions);
        let Some(next) = found.next else { break };
        search.before = Some(next);
    }
    let entries = entries(app, &retractions)?;
    table::history(retractions.iter().zip(&entries))
}

/// Returns the receipts of retractions, with the currencies of the index.
fn entries(app: &App, retractions: &[Retraction]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = retractions.iter().map(|one| Entry::of(one, &[])).collect();
    app.actions.update_entries(&mut entries)?;
    Ok(entries)
}

/// Parses the search form. An invalid field is an error, because ignoring a filter would show too many retractions.
fn search_of(fields: &Fields) -> Result<Search> {
    let states = match fields.text("state").as_deref() {
        None => Vec::new(),
        Some(OPEN) => LedgerState::needing_attention().collect(),
        Some(word) => {
            vec![LedgerState::named(word).ok_or_else(|| Error::new(Kind::Usage, "there is no state of that name"))?]
        }
    };
    let before = fields.text("before").map(|text| {
        text.parse().map_err(|_not_a_number| {
            Error::new(Kind::Usage, "the page of older retractions has no such number").hint("search again")
        })
    });
    Ok(Search {
        text: fields.text("q"),
        states,
        person: fields.text("person"),
        since: date(fields, "since")?.map(DateOrTime::earliest),
        // The filter by date includes the last day of the range.
        until: date(fields, "until")?.map(|day| {
            let last = day.latest();
            last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(last)
        }),
        cents: (cents(fields, "least")?, cents(fields, "most")?),
        before: before.transpose()?,
        limit: LINES_PER_PAGE,
    })
}

fn date(fields: &Fields, name: &str) -> Result<Option<DateOrTime>> {
    let Some(text) = fields.text(name) else { return Ok(None) };
    let parsed = dates::parse(&text).ok().flatten();
    parsed.map(Some).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{text:?} is not a date")).hint("write it as 2026-03-01; a day is one in UTC")
    })
}

fn cents(fields: &Fields, name: &str) -> Result<Option<i64>> {
    let Some(text) = fields.text(name) else { return Ok(None) };
    let cents = Decimal::parse(&text).and_then(Decimal::cents);
    cents.map(Some).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{text:?} is not an amount")).hint("write it as 42.00, without a currency")
    })
}

/// Sums the value of a retraction's rewards by unit and currency, as text.
fn worth(entry: &Entry) -> String {
    let mut sums: Vec<(Option<&str>, Option<&str>, i64)> = Vec::new();
    for reward in &entry.rewards {
        let Some(number) = reward.assigned else { continue };
        let (unit, currency) = (reward.unit.as_deref(), reward.currency.as_deref());
        match sums.iter_mut().find(|sum| (sum.0, sum.1) == (unit, currency)) {
            Some((.., sum)) => *sum = sum.saturating_add(number),
            None => sums.push((unit, currency, number)),
        }
    }
    let words = sums.into_iter().map(|(unit, currency, sum)| words::amount(Some(sum), unit, currency));
    words.collect::<Vec<_>>().join(", ")
}

fn found_order(watched: Watched) -> Option<FoundOrder> {
    Some(FoundOrder {
        at: minute(&watched.found_at?),
        link: in_link(watched.order_id.as_str()),
        order: watched.order_id.as_str().to_owned(),
        ticket: watched.ticket.unwrap_or_default(),
    })
}

/// Redirects from a retraction's number to the receipt of its order.
pub(in crate::serve) async fn one(State(app): State<Arc<App>>, _caller: Caller, Path(id): Path<i64>) -> PageResult {
    let unknown = || Error::new(Kind::NotIndexed, format!("there is no retraction {id} in this ledger"));
    let ledger = app.actions.ledger()?.ok_or_else(unknown)?;
    let retraction = ledger.get(id).map_err(|_unknown| unknown())?;
    Ok(Redirect::to(&format!("/receipt?order={}", in_link(retraction.order_id.as_str()))).into_response())
}
