//! What waits for a second person: who asks for what and why, as it is now, and yes or no.
//!
//! What is approved here and was asked for here is carried out at once, in the name of who asked; the ledger has both names.
//! Nobody sees a button for what they have asked for themselves, and the ledger would refuse it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};

use super::shown::{in_link, minute};
use super::{Failure, Page, Shell, rendered};
use crate::access::Right;
use crate::error::{Error, Kind};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Form};
use crate::store::ledger::{Approval, Stage};

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    shell: Shell,
    policy: String,
    open: Vec<Line>,
    past: Vec<Line>,
    csrf: String,
}

struct Line {
    id: i64,
    what: String,
    /// The order it is about, for a link, where it is one.
    order: Option<(String, String)>,
    why: String,
    asked: String,
    person: String,
    reason: String,
    ticket: String,
    stage: &'static str,
    answer: String,
    may_decide: bool,
    may_withdraw: bool,
}

/// Approvals that are shown of the past.
const PAST: usize = 50;

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Page {
    let (policy, all) = match app.desk.ledger()? {
        Some(ledger) => (ledger.policy()?, ledger.approvals(app.clock.now())?),
        None => Default::default(),
    };
    let names = app.desk.actor(&caller.who).names();
    let may = caller.who.may(Right::Approve);
    let line = |one: &Approval| Line::of(one, &names, may);
    let is_open = |one: &&Approval| matches!(one.stage, Stage::Asked | Stage::Approved);
    Ok(rendered(&ApprovalsPage {
        shell: Shell::of(&app, "Approvals", Some(&caller)),
        policy: policy.describe(),
        open: all.iter().filter(is_open).map(line).collect(),
        past: all.iter().filter(|one| !is_open(one)).take(PAST).map(line).collect(),
        csrf: caller.csrf.clone(),
    }))
}

pub(in crate::serve) async fn approve(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> Page {
    let id = known(&app, &id)?.id;
    let decided = decide(&app, id, &form, Stage::Approved).await?;
    let carried = app.carry_out(&decided).await?;
    let to = match (carried, decided.subject["order_id"].as_str()) {
        (true, Some(order)) => format!("/receipt?order={}", in_link(order)),
        _ => "/approvals".to_owned(),
    };
    Ok(Redirect::to(&to).into_response())
}

pub(in crate::serve) async fn decline(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> Page {
    let id = known(&app, &id)?.id;
    decide(&app, id, &form, Stage::Declined).await?;
    Ok(Redirect::to("/approvals").into_response())
}

pub(in crate::serve) async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, form: Form) -> Page {
    let names = app.desk.actor(&form.caller.who).names();
    let known = known(&app, &id)?;
    let id = known.id;
    if !known.is_of(&names) {
        return Err(Error::new(Kind::Refused, format!("approval {id} is not yours to take back")).into());
    }
    decide(&app, id, &form, Stage::Withdrawn).await?;
    Ok(Redirect::to("/approvals").into_response())
}

/// The approval of a number that came with a request.
fn known(app: &App, id: &str) -> Result<Approval, Failure> {
    let known = match app.desk.ledger()? {
        Some(ledger) => ledger.approvals(app.clock.now())?,
        None => Vec::new(),
    };
    known.into_iter().find(|one| one.id.to_string() == id).ok_or_else(|| {
        Failure::of(
            StatusCode::NOT_FOUND,
            "There is no such approval",
            "this ledger has no approval of that number".to_owned(),
            "look at /approvals: it lists every one; nothing was sent".to_owned(),
        )
    })
}

async fn decide(app: &Arc<App>, id: i64, form: &Form, next: Stage) -> crate::error::Result<Approval> {
    let (who, words, now) = (form.caller.who.clone(), form.fields.text("reason"), app.clock.now());
    app.on_its_own(async move |desk| desk.write_ledger(&who)?.decide(id, next, words.as_deref(), now)).await
}

impl Line {
    fn of(one: &Approval, names: &[String], may: bool) -> Self {
        let order = one.subject["order_id"].as_str().filter(|order| !order.is_empty());
        let is_own = one.is_of(names);
        let answer = match (&one.decided_by, &one.decided_at) {
            (Some(by), Some(at)) => {
                let words = one.words.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
                format!("by {by}, {}{words}", minute(at))
            }
            _ => String::new(),
        };
        Self {
            id: one.id,
            what: one.describe(),
            order: order.map(|order| (order.to_owned(), in_link(order))),
            why: one.why.clone(),
            asked: minute(&one.asked_at),
            person: one.person.clone(),
            reason: one.reason.clone().unwrap_or_default(),
            ticket: one.ticket.clone().unwrap_or_default(),
            stage: one.stage.as_str(),
            answer,
            may_decide: may && !is_own && one.stage == Stage::Asked,
            may_withdraw: is_own,
        }
    }
}
