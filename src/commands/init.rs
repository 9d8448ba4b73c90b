//! `recoup init`: writes a commented `recoup.toml` and a private token file, then runs `recoup doctor`.
//!
//! If there is a terminal, `recoup init` asks for each value that the flags leave out. `recoup init` never overwrites a
//! file.

use std::io::BufRead;
use std::path::Path;
use std::sync::OnceLock;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Exit;
use crate::cli::InitArgs;
use crate::clock::Clock;
use crate::config::{Environment, GlobalFlags, Settings};
use crate::doctor;
use crate::error::{Error, Kind, Result};
use crate::out_file::{OutFile, Rules, private_folder};
use crate::report::{self, Report};
use crate::vendor::FormatProblems;

const UNCHANGED: &str = "nothing was written";

pub(super) async fn run(
    global: &GlobalFlags,
    args: InitArgs,
    report: &Report,
    stop: &CancellationToken,
) -> Result<Exit> {
    let env = Environment::of_process()?;
    let file = Settings::file(global, &env).ok_or_else(|| {
        Error::new(Kind::Config, "there is no home directory for recoup.toml").hint("name a file with --config")
    })?;
    let file = std::path::absolute(&file).unwrap_or(file);
    if file.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Usage, format!("{} exists already and is never overwritten", file.display()))
            .hint("edit it (`recoup config show` prints what it sets), or name another file with --config"));
    }
    let asker = Asker { report, stop };
    let tenant = asker.answer(args.tenant, "Tenant alias", "--tenant").await?;
    FormatProblems::of(&tenant).refuse("the tenant")?;
    let account_sid = asker.answer(args.account_sid, "Account SID", "--account-sid").await?;
    FormatProblems::of(&account_sid).refuse("the Account SID")?;
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let token_file = args.token_file.unwrap_or_else(|| folder.join("token"));
    let token_file = std::path::absolute(&token_file).unwrap_or(token_file);
    let token = asker.token(&token_file, args.token_stdin).await?;

    private_folder(&folder).map_err(|error| {
        Error::new(Kind::Storage, format!("failed to create {}: {error}", folder.display()))
            .hint("name a file in a writable folder with --config")
    })?;
    if let Some(token) = &token {
        write_new(&token_file, token.expose_secret())?;
    }
    write_new(&file, &settings_text(&tenant, &account_sid, &token_file)?)?;

    let command = |name: &str| match &global.config {
        Some(path) => format!("recoup --config {} {name}", path.display()),
        None => format!("recoup {name}"),
    };
    report.object(&json!({
        "config": file, "token_file": token_file, "token_written": token.is_some(), "next": command("crawl"),
    }))?;
    report.line(format!("wrote {}", file.display()));
    if token.is_some() {
        report.line(format!("wrote {}, which only you can read", token_file.display()));
    }
    let global = GlobalFlags { config: Some(file), ..global.clone() };
    let settings = Settings::load(&global, &env)?;
    let worst = doctor::run(&settings, &Clock::system(), stop, report, &OnceLock::new()).await?;
    match worst {
        None => {
            report.note(format!("next: `{}` builds the index", command("crawl")));
            Ok(Exit::Done)
        }
        Some(error) => {
            let hint = format!("the files stay: mend what is marked FAIL, then run `{}`", command("doctor"));
            report.note(&hint);
            Ok(Exit::Reported(error.hint(hint)))
        }
    }
}

/// Asks the user for each value that the flags leave out.
struct Asker<'a> {
    report: &'a Report,
    stop: &'a CancellationToken,
}

impl Asker<'_> {
    async fn answer(&self, flag: Option<String>, what: &str, name: &str) -> Result<String> {
        let answer = match flag {
            Some(text) => text,
            None if self.report.can_ask() => report::ask(format!("{what}:"), self.stop, UNCHANGED).await?,
            None => {
                return Err(Error::new(Kind::Usage, format!("{name} is missing, and there is no terminal to ask on"))
                    .hint("`recoup init --help` has an example without a terminal"));
            }
        };
        let answer = answer.trim().to_owned();
        if answer.is_empty() {
            return Err(Error::new(Kind::Usage, format!("{} is empty; {UNCHANGED}", what.to_lowercase()))
                .hint("run `recoup init` again"));
        }
        Ok(answer)
    }

    /// Returns the Auth Token to write into the token file; `None` if the token file already exists.
    async fn token(&self, file: &Path, from_stdin: bool) -> Result<Option<SecretString>> {
        let exists = file.symlink_metadata().is_ok();
        if exists && !from_stdin {
            return Ok(None);
        }
        if exists {
            return Err(Error::new(Kind::Usage, format!("{} exists already and is never overwritten", file.display()))
                .hint("leave out --token-stdin to use it, or name another file with --token-file"));
        }
        let token = if from_stdin {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map_err(|error| {
                Error::new(Kind::Usage, format!("the token could not be read: {error}"))
                    .hint("write it as UTF-8 text on the first line of standard input")
            })?;
            SecretString::from(line)
        } else if self.report.can_ask() {
            report::ask_hidden("Auth Token (not shown):".to_owned(), self.stop, UNCHANGED).await?
        } else {
            return Err(Error::new(Kind::Usage, format!("there is no token: {} does not exist", file.display()))
                .hint("name the file with the token with --token-file, or give the token with --token-stdin"));
        };
        let token = token.expose_secret().trim();
        if token.is_empty() {
            return Err(Error::new(Kind::Usage, format!("the token is empty; {UNCHANGED}"))
                .hint("it is the Auth Token of the Account SID in impact.com, under Settings > API"));
        }
        FormatProblems::of(token).refuse("the token")?;
        Ok(Some(SecretString::from(format!("{token}\n"))))
    }
}

/// Writes a file that only its owner can read. Fails if the file already exists.
fn write_new(path: &Path, text: &str) -> Result<()> {
    OutFile::reserve_by(path, Rules { streams: false, ..Rules::default() })?.write_or_leave_nothing(text.as_bytes())
}

/// Returns the text of `recoup.toml`, in which the most frequently changed settings are comments.
fn settings_text(tenant: &str, account_sid: &str, token_file: &Path) -> Result<String> {
    // JSON escapes each text, because TOML strings have the same escape sequences.
    let (tenant, account_sid) = (report::json_line(&tenant)?, report::json_line(&account_sid)?);
    let token_file = report::json_line(&token_file.display().to_string())?;
    Ok(format!(
        "\
# Settings of recoup, written by `recoup init`. docs/settings.md describes every key, and `recoup config show` prints the
# effective settings. Environment variables override this file.

# Settings > Advocate Settings > General > Tenant Details
tenant = {tenant}
# Settings > API
account_sid = {account_sid}
# The file with the Auth Token. This file never holds a secret itself.
auth_token_file = {token_file}
# A token of its own for what reverses or changes actions. Without it, recoup uses the Auth Token.
# write_token_file = \"write-token\"
# The tenant's API key for the Advocate host. Without it, recoup uses the Auth Token.
# advocate_token_file = \"advocate-token\"

# The index. The ledger, the only record of what was sent, is beside it: keep both on a disk that is backed up.
# database = \"/var/lib/recoup/recoup.db\"

[mapping]
# Where a reward has the order ID and the ActionId, if `recoup doctor` does not find them.
# order_id = \"$.userEvent.fields.order_id\"
# action_id = \"$.actionId\"

[retract]
# An order that was last read longer ago is refused.
# max_index_age = \"7d\"
# What one batch may take back at most: orders, and value in each unit of the rewards.
# max_count = 100
# max_value = 1000000

[serve]
# The address of the page. An address that other machines reach needs TLS, or a proxy with TLS in front.
# listen = \"127.0.0.1:8080\"
# tls_cert = \"cert.pem\"
# tls_key = \"key.pem\"

[schedule]
# What `recoup serve` does by itself: an interval, a cron expression, or \"off\".
# refresh = \"1h\"
# backup_folder = \"/var/backups/recoup\"
# backup_keep = 14
"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commented_setting_can_be_used_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = settings_text("ac\"me", "IR1", Path::new("/a b/token")).expect("text");
        let is_setting = |line: &&str| line.starts_with("# ") && line.contains(" = ");
        assert_eq!(text.lines().filter(is_setting).count(), 14, "{text}");
        let lines: Vec<&str> = text.lines().map(|line| if is_setting(&line) { &line[2..] } else { line }).collect();
        let used = lines.join("\n");
        let file = folder.path().join("recoup.toml");
        for text in [text, used] {
            std::fs::write(&file, &text).expect("written");
            let global = GlobalFlags { config: Some(file.clone()), ..GlobalFlags::default() };
            let settings = Settings::load(&global, &Environment::default());
            // Without a home directory, only the commented-out settings contain a database path.
            match settings {
                Ok(settings) => assert_eq!(settings.tenant().expect("it is set"), "ac\"me"),
                Err(error) => assert!(error.message.contains("no home directory"), "{error}: {text}"),
            }
        }
    }
}
