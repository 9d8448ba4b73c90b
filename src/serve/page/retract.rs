//! Retracting one order, in two deliberate steps: why, then exactly what, then yes.
//!
//! The yes names the plan that was shown; where things have changed since, nothing is sent and the new plan is shown. Sending
//! the same form twice sends nothing twice: the ledger knows. This module must never send on a yes to something else.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::preflight::{link_of, wish_of};
use super::shown::{Verdicts, in_link};
use super::{Failure, Page, Shell, rendered};
use crate::access::Right;
use crate::error::{Error, Kind, Result};
use crate::serve::app::App;
use crate::serve::asked::{Caller, Fields, Form, Query};
use crate::serve::desk::Wish;

#[derive(Template)]
#[template(path = "retract_begin.html")]
struct BeginPage {
    shell: Shell,
    wish: Wish,
    verdicts: Verdicts,
    csrf: String,
    /// The stops that this person may override.
    overridable: Vec<&'static str>,
    /// There are stops that only a lead may override.
    needs_lead: bool,
}

#[derive(Template)]
#[template(path = "retract_review.html")]
struct ReviewPage {
    shell: Shell,
    wish: Wish,
    verdicts: Verdicts,
    link: String,
    csrf: String,
    account_sid: String,
    changed: bool,
}

/// Why: the verdict, and a form for reason and ticket.
pub(in crate::serve) async fn begin(State(app): State<Arc<App>>, caller: Caller, Query(asked): Query) -> Page {
    let wish = wish_of(&asked)?;
    let verdicts = looked_at(&app, &caller, wish.clone()).await?;
    let may_override = caller.who.may(Right::Override);
    let overridable = if may_override { verdicts.overridable.clone() } else { Vec::new() };
    Ok(rendered(&BeginPage {
        shell: Shell::of(&app, format!("Retract order {}", wish.order_id), Some(&caller)),
        needs_lead: !may_override && !verdicts.overridable.is_empty(),
        overridable,
        verdicts,
        wish,
        csrf: caller.csrf,
    }))
}

/// Exactly what: the plan as it is now, and the last step.
pub(in crate::serve) async fn review(State(app): State<Arc<App>>, form: Form) -> Page {
    let wish = full_wish(&form)?;
    reviewed(&app, &form.caller, wish, false).await
}

async fn reviewed(app: &Arc<App>, caller: &Caller, mut wish: Wish, changed: bool) -> Page {
    wish.seen = None;
    let verdicts = looked_at(app, caller, wish.clone()).await?;
    wish.seen = Some(verdicts.plan.clone());
    Ok(rendered(&ReviewPage {
        shell: Shell::of(app, format!("Retract order {}?", wish.order_id), Some(caller)),
        link: link_of(&wish),
        verdicts,
        csrf: caller.csrf.clone(),
        account_sid: app.desk.options.identity.account_sid.clone(),
        wish,
        changed,
    }))
}

/// Yes.
pub(in crate::serve) async fn send(State(app): State<Arc<App>>, form: Form) -> Page {
    let wish = full_wish(&form)?;
    if wish.seen.is_none() || !form.fields.has("yes") {
        let unseen = Error::new(Kind::Usage, "the last step was left out; nothing was sent");
        return Err(unseen.hint("tick that you have read what will happen, then send it").into());
    }
    let (wanted, who) = (wish.clone(), form.caller.who.clone());
    let ended = app.on_its_own(async move |desk| desk.retract(&who, &wanted).await).await;
    let receipt = match ended {
        Ok(receipt) => receipt,
        Err(error) if error.kind == Kind::Refused && error.message.contains("changed since this was shown") => {
            return reviewed(&app, &form.caller, wish, true).await;
        }
        Err(error) if error.kind == Kind::NeedsApproval => return Ok(Redirect::to("/approvals").into_response()),
        Err(error) => return Err(error.into()),
    };
    let sent: Vec<i64> = receipt.retractions.iter().filter_map(|entry| entry.id).collect();
    if sent.is_empty()
        && let Some(error) = receipt.problem()
    {
        return Err(Failure::from(error));
    }
    app.follow_on(&form.caller.who, sent);
    Ok(Redirect::to(&format!("/receipt?order={}", in_link(wish.order_id.as_str()))).into_response())
}

async fn looked_at(app: &Arc<App>, caller: &Caller, wish: Wish) -> Result<Verdicts> {
    let who = caller.who.clone();
    let receipt = app.on_its_own(async move |desk| desk.preflight(&who, &wish).await).await?;
    Ok(Verdicts::of(&receipt))
}

/// Everything that the form says. An override is a lead's.
fn full_wish(form: &Form) -> Result<Wish, Failure> {
    let wish = wish_with(&form.fields)?;
    if !wish.overrides.is_empty() && !form.caller.who.may(Right::Override) {
        return Err(Failure::may_not(&form.caller));
    }
    Ok(wish)
}

fn wish_with(fields: &Fields) -> Result<Wish> {
    let mut wish = wish_of(fields)?;
    if let Some(code) = fields.text("disposition") {
        wish.disposition = code;
    }
    wish.reason = fields.text("reason");
    wish.ticket = fields.text("ticket");
    wish.resend = fields.has("resend");
    wish.seen = fields.text("seen");
    for name in fields.all("override") {
        let known = crate::retract::overrides::Override::named(name);
        wish.overrides.push(known.ok_or_else(|| Error::new(Kind::Usage, "there is no override of that name"))?);
    }
    if wish.reason.is_none() {
        return Err(Error::new(Kind::Usage, "a retraction needs a reason")
            .hint("say why in your words; it stays in the ledger, for whoever asks later"));
    }
    Ok(wish)
}
