//! The administrator's pages of users: the list, one user with their sessions and tokens, and the log of changes.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Redirect};
use clap::ValueEnum;
use secrecy::ExposeSecret;

use super::{Proof, confirmed, secret_page};
use crate::access::{OpenSession, Right, Role, Token, User, new_password};
use crate::error::{Error, Kind, Result};
use crate::serve::app::App;
use crate::serve::extractors::{Caller, Fields, Query};
use crate::serve::page::view::{count, in_link};
use crate::serve::page::{Layout, PageResult, rendered};

/// Longest time until a token expires, in days.
const DAYS_AT_MOST: u64 = 730;

const DEFAULT_DAYS: u64 = 90;

const LOG_LINES: usize = 100;

#[derive(Template)]
#[template(path = "admin_users.html")]
struct UsersPage {
    layout: Layout,
    users: Vec<UserLine>,
    roles: Vec<&'static str>,
    proof: Proof,
}

struct UserLine {
    link: String,
    user: User,
    sessions: usize,
    tokens: usize,
}

#[derive(Template)]
#[template(path = "admin_user.html")]
struct UserPage {
    layout: Layout,
    path: String,
    user: User,
    is_self: bool,
    roles: Vec<&'static str>,
    sessions: Vec<OpenSession>,
    tokens: Vec<TokenLine>,
    /// The rights that a token of this user may have.
    scopes: Vec<&'static str>,
    default_days: u64,
    days_at_most: u64,
    proof: Proof,
}

struct TokenLine {
    token: Token,
    scopes: String,
    is_active: bool,
}

#[derive(Template)]
#[template(path = "admin_log.html")]
struct LogPage {
    layout: Layout,
    /// The changes in the log, newest first, each with time and person.
    lines: Vec<(String, String, String)>,
    count: String,
    older: Option<String>,
}

pub(in crate::serve) async fn list(State(app): State<Arc<App>>, caller: Caller) -> PageResult {
    let now = app.clock.now();
    let users = app.access.with(|access| {
        let Some(access) = access else { return Ok(Vec::new()) };
        let (sessions, tokens) = (access.sessions(now)?, access.tokens(None)?);
        let line = |user: User| UserLine {
            link: in_link(&user.name),
            sessions: sessions.iter().filter(|session| session.user == user.name).count(),
            tokens: tokens.iter().filter(|token| token.user == user.name && is_active(token, now)).count(),
            user,
        };
        Ok(access.users()?.into_iter().map(line).collect())
    })?;
    let layout = Layout::of(&app, "Users", Some(&caller));
    Ok(rendered(&UsersPage { layout, users, roles: roles(), proof: Proof::of(&caller)? }))
}

pub(in crate::serve) async fn add(State(app): State<Arc<App>>, request: Request) -> PageResult {
    confirmed(&app, request, |app, caller, fields| async move {
        let name = fields.text("name").unwrap_or_default();
        let (role, os_user) = (role(&fields)?, fields.text("os_user"));
        let password = new_password()?;
        let (admin, login, given) = (caller.clone(), name.clone(), password.clone());
        let adding = app.hashed(move |app| {
            app.change(&admin, |access, by| access.add_user(&login, role, &given, os_user.as_deref(), by))
        });
        adding.await?;
        let what = format!("The password of {name}, who is {}", role.as_str());
        Ok(secret_page(&app, &caller, what, &password, link_to(&name)))
    })
    .await
}

pub(in crate::serve) async fn one(State(app): State<Arc<App>>, caller: Caller, Path(name): Path<String>) -> PageResult {
    let now = app.clock.now();
    let found = app.access.with(|access| {
        let access = access.ok_or_else(|| Error::new(Kind::NotIndexed, "there is no user yet"))?;
        let user = access.user(&name).map_err(|error| Error { kind: Kind::NotIndexed, ..error })?;
        let mut sessions = access.sessions(now)?;
        sessions.retain(|session| session.user == user.name);
        Ok((access.tokens(Some(&user.name))?, sessions, user))
    });
    let (tokens, sessions, user) = found?;
    let scopes = Right::value_variants().iter().filter(|right| user.role.may(**right)).map(|right| right.as_str());
    let line = |token: Token| TokenLine {
        scopes: token.scopes.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(" "),
        is_active: is_active(&token, now),
        token,
    };
    Ok(rendered(&UserPage {
        layout: Layout::of(&app, format!("User {}", user.name), Some(&caller)),
        path: link_to(&user.name),
        is_self: user.name == caller.who.name,
        roles: roles(),
        sessions,
        tokens: tokens.into_iter().rev().map(line).collect(),
        scopes: scopes.collect(),
        default_days: DEFAULT_DAYS,
        days_at_most: DAYS_AT_MOST,
        proof: Proof::of(&caller)?,
        user,
    }))
}

pub(in crate::serve) async fn set_role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, fields| async move {
        let role = role(&fields)?;
        let user = app.change(&caller, |access, by| access.set_role(&name, role, by))?;
        app.withdraw_lost(&caller, &user)?;
        Ok(Redirect::to(&link_to(&name)).into_response())
    })
    .await
}

pub(in crate::serve) async fn set_password(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        let password = new_password()?;
        let (admin, login, given) = (caller.clone(), name.clone(), password.clone());
        let setting = app.hashed(move |app| app.change(&admin, |access, by| access.set_password(&login, &given, by)));
        setting.await?;
        Ok(secret_page(&app, &caller, format!("The new password of {name}"), &password, link_to(&name)))
    })
    .await
}

/// Disables a user, and withdraws their approval requests and approvals, as the command does.
pub(in crate::serve) async fn disable(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        let hint = Some("make another user admin first");
        let user = app.change(&caller, |access, by| access.disable(&name, hint, by))?;
        app.withdraw_lost(&caller, &user)?;
        Ok(Redirect::to(&link_to(&name)).into_response())
    })
    .await
}

pub(in crate::serve) async fn enable(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        app.change(&caller, |access, by| access.enable(&name, by))?;
        Ok(Redirect::to(&link_to(&name)).into_response())
    })
    .await
}

pub(in crate::serve) async fn end_sessions(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        app.change(&caller, |access, by| access.end_sessions_of(&name, by))?;
        Ok(Redirect::to(&link_to(&name)).into_response())
    })
    .await
}

pub(in crate::serve) async fn end_session(
    State(app): State<Arc<App>>,
    Path((name, session)): Path<(String, String)>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, _fields| async move {
        app.change(&caller, |access, by| access.end_session_of(&name, &session, by))?;
        Ok(Redirect::to(&link_to(&name)).into_response())
    })
    .await
}

pub(in crate::serve) async fn add_token(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, fields| async move {
        let scope = |word: &str| {
            Right::parse(word).ok_or_else(|| Error::new(Kind::Usage, format!("there is no scope {word:?}")))
        };
        let scopes = fields.all("scope").map(scope).collect::<Result<Vec<Right>>>()?;
        if scopes.is_empty() {
            return Err(Error::new(Kind::Usage, "a token needs a scope").hint("tick what the token may do").into());
        }
        let days =
            fields.text("days").and_then(|days| days.parse().ok()).filter(|days| (1..=DAYS_AT_MOST).contains(days));
        let days: u64 = days.ok_or_else(|| {
            Error::new(Kind::Usage, format!("a token expires after 1 to {DAYS_AT_MOST} days"))
                .hint("write a number of days")
        })?;
        let purpose = fields.text("purpose").unwrap_or_default();
        let expires = Duration::from_hours(days * 24);
        let adding = app.change(&caller, |access, by| access.add_token(&name, &purpose, &scopes, expires, by));
        let (id, secret) = adding?;
        Ok(secret_page(&app, &caller, format!("Token {id} of {name}"), secret.expose_secret(), link_to(&name)))
    })
    .await
}

pub(in crate::serve) async fn revoke_token(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    request: Request,
) -> PageResult {
    confirmed(&app, request, |app, caller, fields| async move {
        app.change(&caller, |access, by| access.revoke_token(id, by))?;
        let back = fields.text("user").map_or_else(|| "/admin".to_owned(), |name| link_to(&name));
        Ok(Redirect::to(&back).into_response())
    })
    .await
}

pub(in crate::serve) async fn log(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> PageResult {
    let page = query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1_usize).max(1);
    let all = app.access.with(|access| access.map_or_else(|| Ok(Vec::new()), |access| access.log_entries()))?;
    let shown = all.len().saturating_sub((page - 1).saturating_mul(LOG_LINES));
    Ok(rendered(&LogPage {
        layout: Layout::of(&app, "Log of changes", Some(&caller)),
        count: count(all.len() as u64),
        older: (shown > LOG_LINES).then(|| format!("/admin/log?page={}", page + 1)),
        lines: all.into_iter().take(shown).rev().take(LOG_LINES).collect(),
    }))
}

fn role(fields: &Fields) -> Result<Role> {
    let word = fields.text("role").unwrap_or_default();
    Role::parse(&word).ok_or_else(|| Error::new(Kind::Usage, format!("there is no role {word:?}")))
}

fn roles() -> Vec<&'static str> {
    Role::value_variants().iter().map(|role| role.as_str()).collect()
}

fn is_active(token: &Token, now: jiff::Timestamp) -> bool {
    let is_expired = token.expires_at.parse::<jiff::Timestamp>().is_ok_and(|at| at <= now);
    token.revoked_at.is_none() && !is_expired
}

/// Returns the path of a user's page.
fn link_to(name: &str) -> String {
    format!("/admin/users/{}", in_link(name))
}
