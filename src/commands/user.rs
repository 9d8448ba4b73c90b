//! `recoup user`: manages the users of the page and the API, and their tokens.
//!
//! `recoup user` prints a generated password or a new token once, on stdout, and reads a password only from stdin. No
//! flag and no log contains a password or a token.

use std::io::BufRead;

use secrecy::ExposeSecret;
use serde_json::json;

use super::{CommandContext, Exit};
use crate::access::{AccessControl, By, Limits, User, new_password};
use crate::cli::{TokenCommand, UserAddArgs, UserCommand};
use crate::error::{Error, Kind, Result};
use crate::report::{self, table};
use crate::store::index::IndexReader;
use crate::store::ledger::Ledger;

pub(super) async fn run(context: &CommandContext<'_>, command: UserCommand) -> Result<Exit> {
    let CommandContext { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    // Only `recoup user add` creates the users' database.
    let mut access = match (&command, AccessControl::open_existing(&settings.access, &identity, Limits::default())?) {
        (_, Some(access)) => access,
        (UserCommand::Add(_), None) => {
            confirm_new_file(context).await?;
            AccessControl::open(&settings.access, &identity, Limits::default())?
        }
        (_, None) => {
            return Err(Error::new(Kind::Failed, "there is no user yet")
                .hint("`recoup user add NAME --role admin` adds the first"));
        }
    };
    let by = By { actor, at: clock.now() };
    match command {
        UserCommand::Add(args) => add(context, &mut access, &args),
        UserCommand::List => {
            let header = ["user", "role", "operating system's user", "added", "remark"];
            context.show_list(&access.users()?, "there is no user", header, |user| {
                [
                    user.name.clone(),
                    user.role.as_str().to_owned(),
                    user.os_user.clone().unwrap_or_default(),
                    user.created_at.clone(),
                    user.disabled_at.as_ref().map(|at| format!("disabled {at}")).unwrap_or_default(),
                ]
            })
        }
        UserCommand::Role { name, role } => {
            let user = access.set_role(&name, role, &by)?;
            withdraw(context, &user)?;
            show_user(context, &user)
        }
        UserCommand::Disable { name, yes } => {
            let hint = "make another user admin first, or disable this one with --yes";
            let user = access.disable(&name, (!yes).then_some(hint), &by)?;
            withdraw(context, &user)?;
            show_user(context, &user)
        }
        UserCommand::Enable { name } => {
            let user = access.enable(&name, &by)?;
            show_user(context, &user)
        }
        UserCommand::Rotate { name, password_stdin } => {
            let (password, is_generated) = password(password_stdin)?;
            let user = access.set_password(&name, &password, &by)?;
            with_password(context, &user, is_generated.then_some(password.as_str()))
        }
        UserCommand::Token(command) => token(context, &mut access, command),
        UserCommand::Log => {
            let logged = access.log_entries()?;
            for (at, person, what) in &logged {
                report.object(&json!({ "at": at, "person": person, "what": what }))?;
            }
            report.lines(table(["at", "by", "what"], logged.into_iter().map(|(at, by, what)| [at, by, what])));
            Ok(Exit::Done)
        }
    }
}

fn add(context: &CommandContext<'_>, access: &mut AccessControl, args: &UserAddArgs) -> Result<Exit> {
    let CommandContext { clock, actor, .. } = context;
    let (password, is_generated) = password(args.password_stdin)?;
    let by = By { actor, at: clock.now() };
    let user = access.add_user(&args.name, args.role, &password, args.os_user.as_deref(), &by)?;
    with_password(context, &user, is_generated.then_some(password.as_str()))?;
    context.report.note(format!("written to {}", context.settings.access));
    Ok(Exit::Done)
}

/// Asks before the command creates a new users' database beside an index that is in use. The database of the existing
/// users may be at another path.
async fn confirm_new_file(context: &CommandContext<'_>) -> Result<()> {
    let CommandContext { settings, report, stop, .. } = context;
    if !IndexReader::exists(&settings.database)? || !report.can_ask() {
        return Ok(());
    }
    let question = format!(
        "There is no file of users at {} yet, for the index {}. Make a new one?",
        settings.access, settings.database
    );
    report::confirm(question, stop, "no user was added").await
}

/// Reads a password from stdin or generates a password. Also returns whether the password was generated.
fn password(from_stdin: bool) -> Result<(String, bool)> {
    if !from_stdin {
        return Ok((new_password()?, true));
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| {
        Error::new(Kind::Usage, format!("the password could not be read: {error}"))
            .hint("write it as UTF-8 text on the first line of standard input")
    })?;
    Ok((line.trim_end_matches(['\r', '\n']).to_owned(), false))
}

fn with_password(context: &CommandContext<'_>, user: &User, password: Option<&str>) -> Result<Exit> {
    let report = context.report;
    let mut object = json!(user);
    object["file"] = json!(context.settings.access.to_string());
    if let Some(password) = password {
        object["password"] = password.into();
    }
    report.object(&object)?;
    match password {
        Some(password) => {
            report.line(format!("{} is {}; password: {password}", user.name, user.role.as_str()));
            report.note("it is shown only this once");
        }
        None => report.line(format!("{} is {}", user.name, user.role.as_str())),
    }
    Ok(Exit::Done)
}

fn show_user(context: &CommandContext<'_>, user: &User) -> Result<Exit> {
    context.report.object(user)?;
    let disabled = if user.disabled_at.is_some() { ", disabled" } else { "" };
    context.report.line(format!("{} is {}{disabled}", user.name, user.role.as_str()));
    Ok(Exit::Done)
}

/// Withdraws the approval requests and the approvals that a user may no longer make.
fn withdraw(context: &CommandContext<'_>, user: &User) -> Result<()> {
    let CommandContext { settings, clock, report, actor, .. } = context;
    let identity = settings.identity()?;
    if Ledger::open_read_only(&settings.ledger, Some(&identity))?.is_none() {
        return Ok(());
    }
    let ledger = Ledger::open(&settings.ledger, &identity, actor)?;
    for id in ledger.withdraw_all_of(&user.names(), &user.lost(), clock.now())? {
        report.note(format!("approval {id} was withdrawn"));
    }
    Ok(())
}

fn token(context: &CommandContext<'_>, access: &mut AccessControl, command: TokenCommand) -> Result<Exit> {
    let CommandContext { clock, report, actor, .. } = context;
    let by = By { actor, at: clock.now() };
    match command {
        TokenCommand::Add { user, name, scopes, expires } => {
            let (id, secret) = access.add_token(&user, &name, &scopes, expires.0, &by)?;
            let words: Vec<&str> = scopes.iter().map(|right| right.as_str()).collect();
            let secret = secret.expose_secret();
            report.object(&json!({ "id": id, "user": user, "name": name, "scopes": scopes, "token": secret }))?;
            report.line(format!("token {id} of {user} for {}: {secret}", words.join(", ")));
            report.note("it is shown only this once");
        }
        TokenCommand::List { user } => {
            let tokens = access.tokens(user.as_deref())?;
            let header = ["token", "user", "for", "scopes", "expires", "last used", "remark"];
            return context.show_list(&tokens, "there is no token", header, |token| {
                let words: Vec<&str> = token.scopes.iter().map(|right| right.as_str()).collect();
                let ended = token.revoked_at.as_ref().map(|at| format!("revoked {at}")).unwrap_or_default();
                [
                    token.id.to_string(),
                    token.user.clone(),
                    token.name.clone(),
                    words.join(" "),
                    token.expires_at.clone(),
                    token.used_at.clone().unwrap_or_default(),
                    ended,
                ]
            });
        }
        TokenCommand::Revoke { id } => {
            access.revoke_token(id, &by)?;
            report.object(&json!({ "id": id, "revoked": true }))?;
            report.line(format!("token {id} is revoked"));
        }
    }
    Ok(Exit::Done)
}
