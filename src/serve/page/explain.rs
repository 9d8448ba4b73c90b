//! The form in which a person explains the columns of an uploaded file. No meaning is preselected for a doubtful column.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::mask::mask;
use super::view::minute;
use super::{ErrorPage, Layout, PageResult, rendered};
use crate::error::{Error, Kind};
use crate::refunds::read::{NeedsMapping, Parsed};
use crate::refunds::unclear_columns::UnclearColumn;
use crate::refunds::{AmountMeans, Column, ColumnMapping};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Form};
use crate::serve::file_options::FileOptions;
use crate::serve::flag_names::file_hint;
use crate::serve::routes::Audience;

/// The meanings that a person can choose for a column of a refund file: value and label.
const MEANINGS: [(&str, &str); 7] = [
    ("order", "the order ID"),
    ("refunded", "the refunded amount"),
    ("new-amount", "the new amount of the order (0 = refunded in full)"),
    ("total", "the total of the order before the refund"),
    ("status", "the status"),
    ("date", "the date of the refund"),
    ("nothing", "not about the refund"),
];

/// Maximum length of a displayed cell, in characters.
const CELL_CHARS: usize = 60;

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    layout: Layout,
    part: String,
    created: String,
    person: String,
    /// Why the submitted choices of meanings are incomplete; empty before the first submission.
    reason: String,
    /// The column that this file lacks to match a known export format.
    near: String,
    /// Name and recognised meaning of every column of the file.
    header: Vec<(String, String)>,
    rows: Vec<Vec<String>>,
    choices: Vec<Choice>,
    /// The columns that recoup recognises. The person may still choose another meaning for a recognised column.
    others: Vec<Choice>,
    refunded_when: String,
    statuses: Vec<String>,
    csrf: String,
}

struct Choice {
    place: usize,
    name: String,
    /// What the column may contain: recoup's guess, or the recognised meaning.
    hint: String,
    examples: String,
    chosen: String,
}

impl Choice {
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        MEANINGS.iter().map(|(value, words)| (*value, *words, *value == self.chosen))
    }
}

pub(in crate::serve) fn show(app: &Arc<App>, caller: &Caller, id: &str) -> PageResult {
    let (batch, upload) = app.stored_upload(id)?;
    match app.read_upload(&upload, &batch.file_options) {
        Ok(Parsed::NeedsMapping(doubtful)) => {
            let order_is_open = doubtful.unclear.is_empty();
            let reason = if order_is_open { sentence(&doubtful.error) } else { String::new() };
            render_form(app, caller, id, &doubtful, &reason, &Fields::default())
        }
        Ok(Parsed::Complete(_)) => Err(needs_no_explanation().into()),
        Err(error) => Err(ErrorPage::of_file(error)),
    }
}

/// Plans the refund file with the person's explanation of its columns. If the explanation is incomplete, shows the form
/// again with the reason.
pub(in crate::serve) async fn submit(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> PageResult {
    let Form { caller, fields } = form;
    let (batch, upload) = app.stored_upload(&id)?;
    let doubtful = match app.read_upload(&upload, &batch.file_options) {
        Ok(Parsed::NeedsMapping(doubtful)) => *doubtful,
        Ok(Parsed::Complete(_)) => return Err(needs_no_explanation().into()),
        Err(error) => return Err(ErrorPage::of_file(error)),
    };
    let show_again = |doubtful: &NeedsMapping, reason: &str| {
        let mut page = render_form(&app, &caller, &id, doubtful, reason, &fields)?;
        *page.status_mut() = StatusCode::BAD_REQUEST;
        Ok(page)
    };
    let explained = match explained(&batch.file_options.mapping, &doubtful, &fields) {
        Ok(explained) => explained,
        Err(reason) => return show_again(&doubtful, &reason),
    };
    let options = FileOptions { mapping: explained, ..batch.file_options.clone() };
    match app.read_upload(&upload, &options) {
        Ok(Parsed::Complete(refunds)) => {
            app.plan_explained(&caller.who, batch, *refunds, options)?;
            Ok(Redirect::to(&format!("/batch/{id}")).into_response())
        }
        Ok(Parsed::NeedsMapping(still)) => {
            let reason = sentence(&still.error);
            let new =
                still.unclear.into_iter().filter(|doubt| doubtful.unclear.iter().all(|it| it.place != doubt.place));
            let unclear = doubtful.unclear.iter().cloned().chain(new.collect::<Vec<_>>()).collect();
            show_again(&NeedsMapping { unclear, ..doubtful }, &reason)
        }
        Err(error) => show_again(&doubtful, &sentence(&error)),
    }
}

/// Returns the error for an upload whose columns the settings now explain. A GET request must not start planning, so
/// the person must upload the file again.
fn needs_no_explanation() -> Error {
    Error::new(Kind::Refused, "the settings have changed since the upload, and now explain the columns of the file")
        .hint("upload it again")
}

/// Joins the message and the hint of an error. Omits a hint about a field of the upload form, because the form of
/// explanations does not have the field.
fn sentence(error: &Error) -> String {
    let hint = error.hint.as_deref().and_then(|hint| file_hint(hint, Audience::Page)).unwrap_or_default();
    if hint.is_empty() || hint.contains('“') {
        format!("{}.", error.message)
    } else {
        format!("{}; {hint}.", error.message)
    }
}

fn field(place: usize) -> String {
    format!("column_{place}")
}

/// Returns the column mapping that the form describes. Choices that the form leaves open keep their value from the
/// upload.
fn explained(before: &ColumnMapping, doubtful: &NeedsMapping, fields: &Fields) -> Result<ColumnMapping, String> {
    let header = &doubtful.columns.header;
    let mut by_meaning: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut open = Vec::new();
    for (place, name) in header.iter().enumerate() {
        match fields.text(&field(place)) {
            Some(chosen) => {
                let known = MEANINGS.iter().find(|(value, _)| *value == chosen);
                let (value, _) = known.ok_or_else(|| format!("“{chosen}” is not a meaning of a column."))?;
                by_meaning.entry(value).or_default().push(place);
            }
            None if doubtful.unclear.iter().any(|doubt| doubt.place == place) => open.push(format!("“{name}”")),
            None => {}
        }
    }
    if !open.is_empty() {
        return Err(format!("Choose what each of these columns means: {}.", open.join(", ")));
    }
    let one = |meaning: &str| -> Result<Option<String>, String> {
        match by_meaning.get(meaning).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([place]) => Ok(Some(name_of(header, *place))),
            Some(places) => {
                let names: Vec<String> = places.iter().map(|place| format!("“{}”", header[*place])).collect();
                let words = MEANINGS.iter().find(|(value, _)| *value == meaning).map_or(meaning, |(_, words)| words);
                Err(format!("Only one column can be {words}, and these were chosen: {}.", names.join(", ")))
            }
        }
    };
    let (refunded, new) = (one("refunded")?, one("new-amount")?);
    if refunded.is_some() && new.is_some() {
        return Err("Choose either the refunded amount or the new amount, not both.".to_owned());
    }
    let means = match (&refunded, &new) {
        (Some(_), _) => Some(AmountMeans::Refunded),
        (None, Some(_)) => Some(AmountMeans::NewAmount),
        (None, None) => before.amount_means,
    };
    let refunded_when: Vec<String> = lines(fields).map(str::to_owned).collect();
    let status_column = one("status")?;
    match (&status_column, refunded_when.as_slice()) {
        (Some(name), []) => return Err(format!("Say which values of “{name}” mean refunded.")),
        (None, [_, ..]) => return Err("Choose the column that has the status, or leave its values empty.".to_owned()),
        _ => {}
    }
    let ignored = by_meaning.get("nothing").into_iter().flatten().map(|place| header[*place].clone());
    Ok(ColumnMapping {
        order_column: one("order")?.or_else(|| before.order_column.clone()),
        amount_column: refunded.or(new).or_else(|| before.amount_column.clone()),
        amount_means: means,
        total_column: one("total")?.or_else(|| before.total_column.clone()),
        status_column: status_column.or_else(|| before.status_column.clone()),
        refunded_when: if refunded_when.is_empty() { before.refunded_when.clone() } else { refunded_when },
        date_column: one("date")?.or_else(|| before.date_column.clone()),
        ignore_columns: before.ignore_columns.iter().cloned().chain(ignored).collect(),
        recognise_by: Vec::new(),
    })
}

/// Returns the statuses that mean *refunded*. The field of the form has one status on each line.
fn lines(fields: &Fields) -> impl Iterator<Item = &str> {
    fields.get("refunded_when").unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Returns the name of a column. A repeated column name gets its number, as in `NAME#2`.
fn name_of(header: &[String], place: usize) -> String {
    let name = &header[place];
    let before = header[..place].iter().filter(|other| *other == name).count();
    let is_repeated = before > 0 || header[place + 1..].contains(name);
    if is_repeated { format!("{name}#{}", before + 1) } else { name.clone() }
}

fn render_form(
    app: &Arc<App>,
    caller: &Caller,
    id: &str,
    doubtful: &NeedsMapping,
    reason: &str,
    fields: &Fields,
) -> PageResult {
    let batch = app.batch(id)?;
    let header = &doubtful.columns.header;
    let taken_for = |place: usize| {
        let doubt = doubtful.unclear.iter().find(|doubt| doubt.place == place);
        let column = Column::ALL.into_iter().find(|column| doubtful.columns.get(*column) == Some(place));
        match (doubt, column) {
            (Some(doubt), _) => format!("looks like {}", doubt.looks_like.words()),
            (None, Some(column)) => format!("taken for the {}", column.words()),
            (None, None) => "not used".to_owned(),
        }
    };
    let shown = |text: &str| -> String {
        let text: String = text.trim().chars().take(CELL_CHARS).collect();
        if text.contains('@') { mask(&text) } else { text }
    };
    let choice = |place: usize, doubt: Option<&UnclearColumn>| {
        let of_rows = || {
            doubtful.first_rows.iter().filter_map(|row| row.get(place).cloned()).filter(|cell| !cell.trim().is_empty())
        };
        let examples: Vec<String> = doubt.map_or_else(|| of_rows().take(3).collect(), |doubt| doubt.examples.clone());
        Choice {
            place,
            name: header
                .get(place)
                .filter(|name| !name.is_empty())
                .cloned()
                .unwrap_or_else(|| format!("column {}", place + 1)),
            hint: taken_for(place),
            examples: examples.iter().map(|text| shown(text)).collect::<Vec<_>>().join(", "),
            chosen: fields.text(&field(place)).unwrap_or_default(),
        }
    };
    let in_doubt = |place: usize| doubtful.unclear.iter().find(|doubt| doubt.place == place);
    let places = 0..header.len();
    let (choices, others): (Vec<Choice>, Vec<Choice>) = if doubtful.unclear.is_empty() {
        (places.map(|place| choice(place, None)).collect(), Vec::new())
    } else {
        let of = |wanted: bool| places.clone().filter(move |place| in_doubt(*place).is_some() == wanted);
        (
            of(true).map(|place| choice(place, in_doubt(place))).collect(),
            of(false).map(|place| choice(place, None)).collect(),
        )
    };
    let statuses = doubtful.unclear.iter().filter(|doubt| doubt.looks_like.is_word()).flat_map(|doubt| &doubt.examples);
    let near = doubtful
        .error
        .hint
        .as_deref()
        .and_then(|hint| hint.split("; ").find(|clause| clause.starts_with("with a column ")));
    Ok(rendered(&ExplainPage {
        layout: Layout::of(app, format!("Batch {id}: columns to explain"), Some(caller)),
        part: format!("/batch/{id}"),
        created: minute(&batch.created_at),
        person: batch.person,
        reason: reason.to_owned(),
        near: near.unwrap_or_default().to_owned(),
        header: header.iter().enumerate().map(|(place, name)| (name.clone(), taken_for(place))).collect(),
        rows: doubtful.first_rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect(),
        choices,
        others,
        refunded_when: fields.get("refunded_when").unwrap_or_default().to_owned(),
        statuses: statuses.map(|text| shown(text)).collect(),
        csrf: caller.csrf.clone(),
    }))
}

/// Describes the person's explanation of the columns in sentences, for the lead who applies the plan.
pub(super) fn sentences(explained: &ColumnMapping) -> Vec<String> {
    let amount = match explained.amount_means {
        Some(AmountMeans::NewAmount) => "the new amount of the order",
        Some(AmountMeans::Refunded) | None => "the refunded amount",
    };
    let named = [
        (&explained.order_column, "the order ID"),
        (&explained.amount_column, amount),
        (&explained.total_column, "the total of the order"),
        (&explained.date_column, "the date of the refund"),
    ];
    let mut sentences: Vec<String> =
        named.into_iter().filter_map(|(name, words)| Some(format!("“{}” is {words}", name.as_ref()?))).collect();
    if let (None, Some(_)) = (&explained.amount_column, explained.amount_means) {
        sentences.push(format!("amounts are {amount}"));
    }
    if let Some(name) = &explained.status_column {
        sentences.push(format!(
            "“{name}” says that an order was refunded if it is “{}”",
            explained.refunded_when.join("” or “")
        ));
    }
    sentences.extend(explained.ignore_columns.iter().map(|name| format!("“{name}” is not about the refund")));
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_repeated_column_is_named_by_its_number() {
        let header = header(&["id", "State", "State", "x"]);
        let names: Vec<String> = (0..4).map(|place| name_of(&header, place)).collect();
        assert_eq!(names, ["id", "State#1", "State#2", "x"]);
    }
}
