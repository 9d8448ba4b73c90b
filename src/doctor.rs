//! Use case: checks everything that recoup needs, and says what to do about each failure.
//!
//! `recoup doctor` reads a few participants, a sample of their rewards, the rules of every program, and the whole index
//! and ledger. `recoup doctor` stores the program rules in the index, as a retraction does. `recoup doctor` changes
//! nothing at the vendor, and its output contains no participant's ID.

mod server;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{HostFlags, Settings};
use crate::error::{Error, Kind, Result};
use crate::extract::{self, KeySample};
use crate::model::program_rule::{ProgramRule, RuleState, RuledProgram};
use crate::model::{LinkKind, counted};
use crate::report::Report;
use crate::retract::readiness::{check_files, clock_error};
use crate::retract::{checklist, rule};
use crate::store::index::{Index, IndexReader};
use crate::store::ledger::Ledger;
use crate::store::server_facts::server_facts;
use crate::store::{Identity, StoreFile, check_folder};
use crate::vendor::{Advocate, Brand, HostClock, Programs, Rewards};

const SAMPLE_ACCOUNTS: usize = 25;

/// `recoup doctor` stops reading sample rewards after this number.
const SAMPLE_REWARDS: usize = 25;

/// Largest accepted difference between this machine's clock and the vendor's, in seconds.
const CLOCK_SKEW: i64 = 60;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Check {
    #[serde(rename = "check")]
    name: &'static str,
    ok: bool,
    message: String,
    remedy: Option<String>,
    #[serde(skip)]
    kind: Option<Kind>,
}

impl Check {
    fn fine(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, ok: true, message: message.into(), remedy: None, kind: None }
    }

    fn wrong(name: &'static str, error: &Error) -> Self {
        Self {
            name,
            ok: false,
            message: error.message.clone(),
            remedy: Some(error.remedy().to_owned()),
            kind: Some(error.kind),
        }
    }

    fn of<T>(name: &'static str, result: &Result<T>, message: impl FnOnce(&T) -> String) -> Self {
        match result {
            Ok(value) => Self::fine(name, message(value)),
            Err(error) => Self::wrong(name, error),
        }
    }
}

/// Runs every check and passes each result to the report as soon as it is known. Returns the failed check that decides
/// the exit code.
///
/// The parameter `asked` receives the Advocate client, because the client's responses show the vendor's clock.
pub async fn run(
    settings: &Settings,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
    asked: &OnceLock<Advocate>,
) -> Result<Option<Error>> {
    let mut problems = Vec::new();
    let mut say = |check: Check| -> Result<()> {
        report.object(&check)?;
        let mark = if check.ok { "ok  " } else { "FAIL" };
        report.line(format!("{mark} {}: {}", check.name, check.message));
        if let Some(remedy) = &check.remedy {
            report.line(format!("     {remedy}"));
        }
        if let Some(kind) = check.kind {
            problems.push(Error::new(kind, format!("{}: {}", check.name, check.message)));
        }
        Ok(())
    };

    let identity = settings.identity();
    say(Check::of("settings", &identity, |who| {
        format!("tenant {} (Account SID {}), {} and {}", who.tenant, who.account_sid, who.advocate_url, who.brand_url)
    }))?;
    for malformed in settings.malformed_credentials() {
        let mut check = Check::of("credentials as written", &malformed, Clone::clone);
        if check.ok {
            let remedy = "if the vendor refuses the credentials, write the value alone, on one line, without quotes";
            check.remedy = Some(remedy.to_owned());
        }
        say(check)?;
    }
    for path in settings.token_files() {
        if let Some(check) = token_file_check(path) {
            say(check)?;
        }
    }
    for check in server::checks(&server_facts(&settings.database, clock)) {
        say(check)?;
    }
    let owner = identity.as_ref().ok();
    let (index, ledger) = (StoreFile::index(&settings.database, owner), StoreFile::ledger(&settings.ledger, owner));
    say(Check::of("index", &index, |index| match index {
        Some(_) => format!("{} can be read", settings.database),
        None => format!("{} does not exist yet; the first `recoup crawl` creates it", settings.database),
    }))?;
    for (name, place) in [("folder of the index", &settings.database), ("folder of the ledger", &settings.ledger)] {
        // A PostgreSQL server has no folder to check. The check of the ledger writes to the server.
        if let Some(file) = place.path() {
            say(Check::of(name, &check_folder(file), |()| "can be written to".to_owned()))?;
        }
    }
    let are_readable = index.is_ok() && ledger.is_ok();
    let fit = are_readable.then(|| check_files(&settings.database, &settings.ledger, owner));
    say(Check::of("ledger", &ledger, |ledger| match (ledger, &fit) {
        (Some(_), _) => format!("{} can be read", settings.ledger),
        (None, Some(Err(_))) => format!("{} does not exist", settings.ledger),
        (None, _) => format!("{} does not exist yet; the first retraction creates it", settings.ledger),
    }))?;
    if let Some(fit) = fit {
        say(Check::of("ledger of this index", &fit, |()| {
            "it knows everything that was sent, and it can be written to".to_owned()
        }))?;
    }
    for (name, file) in [("form of the index", index), ("form of the ledger", ledger)] {
        // An earlier check has reported that the database file cannot be opened.
        let Ok(Some(file)) = file else { continue };
        let sound = inspect(file, name, clock, stop, report).await;
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted; nothing was changed"));
        }
        say(Check::of(name, &sound, |()| "sound".to_owned()))?;
    }

    if let Ok(Some(ledger)) = Ledger::open_read_only(&settings.ledger, owner) {
        let chain = ledger.audit(None).and_then(|audit| match audit.faults.first() {
            None => Ok(audit.events),
            Some(fault) => {
                Err(Error::new(Kind::Tampered, format!("the ledger is not what was written: {}", fault.what))
                    .hint("run `recoup audit verify`; nothing is sent from this ledger"))
            }
        });
        say(Check::of("chain of the ledger", &chain, |events| format!("{}, unchanged", counted(*events, "event"))))?;
    }

    let mut is_every_rule_found = false;
    if owner.is_some() {
        match settings
            .advocate_options(HostFlags::default())
            .and_then(|host| Advocate::new(&host, settings.tenant()?, *clock, stop.clone()))
        {
            Ok(advocate) => {
                for check in advocate_checks(&advocate, settings).await {
                    say(check)?;
                }
                let rules = rules(&advocate, settings, owner, clock).await;
                is_every_rule_found = rules.as_ref().is_ok_and(|(rules, _)| rule::is_found(rules));
                for check in rule_checks(rules) {
                    say(check)?;
                }
                say(clock_check(advocate.host_clock()))?;
                let _first = asked.get_or_init(|| advocate.clone());
            }
            Err(error) => say(Check::wrong("Advocate host", &error))?,
        }
        match settings
            .brand_options(HostFlags::default())
            .and_then(|host| Brand::new(&host, settings.account_sid()?, &settings.ir_version, *clock, stop.clone()))
        {
            Ok(brand) => say(Check::of("Brand host", &brand.programs().await, |programs| {
                let advocate = programs.iter().filter(|p| p.program_type.as_deref() == Some("Advocate")).count();
                format!("credentials accepted; {}, {advocate} of type Advocate", counted(programs.len(), "program"))
            }))?,
            Err(error) => say(Check::wrong("Brand host", &error))?,
        }
        say(Check::of(
            "write token",
            &settings.writer_options(None).and_then(|host| host.credentials.secret.read()),
            |_| {
                "the token is set; only the first retraction shows whether it may reverse actions, and a refusal changes nothing"
                    .to_owned()
            },
        ))?;
    }
    if !is_every_rule_found {
        report.note("if the rule of a program was not found or could not be read, check it in the vendor's platform:");
        for step in checklist::PROGRAM_RULE {
            report.note(format!("     {step}"));
        }
    }
    Ok(problems.into_iter().min_by_key(|problem| problem.kind.rank()))
}

/// Returns a warning if every user of this machine can read the token file. A group may read the file, because the
/// group may be the service's own.
#[cfg(unix)]
fn token_file_check(path: &Path) -> Option<Check> {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_READ: u32 = 0o004;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let message = format!("every user of this machine can read {}", path.display());
    let remedy = format!("run `chmod 600 {}`", path.display());
    (mode & OTHERS_READ != 0).then(|| Check { remedy: Some(remedy), ..Check::fine("token file", message) })
}

#[cfg(not(unix))]
fn token_file_check(_path: &Path) -> Option<Check> {
    None
}

/// Checks the integrity of a whole database file, which takes as long as reading the file.
async fn inspect(
    file: StoreFile,
    name: &'static str,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<()> {
    let interrupt = file.interrupter();
    let mut working = tokio::task::spawn_blocking(move || file.check_integrity());
    let (mut seconds, mut progress, mut is_stopped) = (0, None, false);
    let found = loop {
        tokio::select! {
            found = &mut working => break found,
            () = clock.sleep(SECOND) => seconds += 1,
            () = stop.cancelled(), if !is_stopped => {
                interrupt();
                is_stopped = true;
            }
        }
        if seconds > 1 {
            progress.get_or_insert_with(|| report.progress(name)).show(seconds, None, "seconds so far");
        }
    };
    found.map_err(|error| Error::new(Kind::Failed, format!("the check failed: {error}")))?
}

async fn advocate_checks(advocate: &Advocate, settings: &Settings) -> Vec<Check> {
    let page = match advocate.users(None, settings.crawl.page_size, 0).await {
        Ok(page) => page,
        Err(error) => return vec![Check::wrong("Advocate host", &error)],
    };
    let total =
        page.total.map_or("an unknown number of participants".to_owned(), |total| counted(total, "participant"));
    let mut checks = vec![Check::fine("Advocate host", format!("credentials and tenant accepted; {total}"))];
    checks.push(match sample(advocate, settings, &page).await {
        Ok(check) => check,
        Err(error) => Check::wrong("mapping", &error),
    });
    checks
}

/// Reads the rules of every program and stores them in the index, so that the next retraction does not use older rules.
/// Returns the rules, and the error if the index could not be updated.
async fn rules(
    advocate: &Advocate,
    settings: &Settings,
    owner: Option<&Identity>,
    clock: &Clock,
) -> Result<(Vec<ProgramRule>, Option<Error>)> {
    let now = clock.now();
    let (programs, owner) = match advocate.program_rules(None).await? {
        Programs::Read(programs) => (programs, owner),
        Programs::NotReadable { why, .. } => (vec![RuledProgram::unread("", why)], None),
    };
    let stored = owner.map_or(Ok(()), |owner| {
        if IndexReader::exists(&settings.database)? {
            rule::store(&mut Index::open(&settings.database, owner)?, &programs, now)?;
        }
        Ok(())
    });
    let read_at = format!("{now:.0}");
    Ok((programs.iter().map(|program| program.judge(&[], &read_at)).collect(), stored.err()))
}

/// Returns one check for each program, and one more if the index could not be updated. A failed update of the index is
/// only a remark, because a user may have only read access to the index. A program that is not live needs no refund
/// rule.
fn rule_checks(rules: Result<(Vec<ProgramRule>, Option<Error>)>) -> Vec<Check> {
    const NAME: &str = "program rule";
    let (rules, not_stored) = match rules {
        Ok((rules, None)) if rules.is_empty() => return vec![Check::fine(NAME, "the vendor lists no program")],
        Ok(rules) => rules,
        Err(error) => return vec![Check::wrong(NAME, &error)],
    };
    let not_stored = not_stored.map(|error| Check {
        remedy: Some(
            "a retraction may use rules that were read up to an hour ago; let a user who may write the index run \
                      `recoup doctor`"
                .to_owned(),
        ),
        ..Check::fine(NAME, format!("the index was not updated with these rules: {error}"))
    });
    let check = |rule: &ProgramRule| match rule.state {
        RuleState::NoSuchRule if rule.status.as_deref() == Some("LIVE") => Check::wrong(
            NAME,
            &Error::new(Kind::Failed, rule.line())
                .hint("no reward of this program is taken back until the rule is set up"),
        ),
        RuleState::Found | RuleState::NoSuchRule => Check::fine(NAME, rule.line()),
        RuleState::FoundBut => Check {
            remedy: Some("check the rule under Engage → Program rules".to_owned()),
            ..Check::fine(NAME, rule.line())
        },
        RuleState::NotReadable => Check {
            remedy: Some("check under Engage → Program rules whether it exists".to_owned()),
            ..Check::fine(NAME, rule.line())
        },
    };
    rules.iter().map(check).chain(not_stored).collect()
}

/// Reports which fields of a sample of live rewards contain the order ID and the ActionId.
async fn sample(advocate: &Advocate, settings: &Settings, page: &crate::vendor::UsersPage) -> Result<Check> {
    let mut accounts: Vec<_> = page.users.iter().map(|user| &user.account_id).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let mut census = KeySample::default();
    let (mut rewards, mut linked, mut ambiguous) = (0, 0, 0);
    let mut paths = std::collections::BTreeSet::new();
    for account in accounts.into_iter().take(SAMPLE_ACCOUNTS) {
        if rewards >= SAMPLE_REWARDS {
            break;
        }
        let Rewards::Listed(list) = advocate.rewards(account, None).await? else { continue };
        for raw in list {
            let Ok(extracted) = extract::read(raw.get(), account, &settings.mapping) else { continue };
            rewards += 1;
            match extracted.kind {
                LinkKind::Both => linked += 1,
                LinkKind::Ambiguous => ambiguous += 1,
                _ => census.observe(raw.get()),
            }
            paths.extend(extracted.order_path);
            paths.extend(extracted.action_path);
        }
    }
    if rewards == 0 {
        return Ok(Check::fine("mapping", format!("the first {SAMPLE_ACCOUNTS} accounts have no rewards")));
    }
    let found: Vec<&str> = paths.iter().map(String::as_str).collect();
    if linked == 0 {
        return Ok(Check::wrong(
            "mapping",
            &Error::new(
                Kind::NoLinks,
                format!(
                    "none of {} has both an order ID and an ActionId ({ambiguous} ambiguous)",
                    counted(rewards, "reward")
                ),
            )
            .hint(format!(
                "set [mapping] order_id and action_id in recoup.toml to JSONPaths; keys seen: {}",
                census.describe()
            )),
        ));
    }
    let unclear = if ambiguous > 0 { format!(", {ambiguous} ambiguous") } else { String::new() };
    Ok(Check::fine(
        "mapping",
        format!(
            "{linked} of {} with an order ID and an ActionId{unclear}, at {}",
            counted(rewards, "reward"),
            found.join(" and ")
        ),
    ))
}

fn clock_check(heard: Option<HostClock>) -> Check {
    let Some(heard) = heard else { return Check::fine("clock", "no response of the vendor could be compared with it") };
    // `recoup retract` prints the same text if the difference between the clocks stops retractions.
    if let Some(trouble) = clock_error(heard.ahead) {
        return Check::wrong("clock", &trouble);
    }
    let skew = heard.ahead.unwrap_or_default();
    if skew.abs() <= CLOCK_SKEW {
        return Check::fine("clock", format!("within {} s of the vendor's", skew.abs().max(1)));
    }
    let way = if skew > 0 { "ahead of" } else { "behind" };
    let error = Error::new(Kind::Failed, format!("this machine's clock is {} s {way} the vendor's", skew.abs()));
    Check::wrong("clock", &error.hint("set this machine's clock: it decides pauses and ages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_this_user_may_only_read_is_a_warning() {
        let error = Error::new(Kind::Storage, "attempt to write a readonly database");
        let checks = rule_checks(Ok((Vec::new(), Some(error))));
        assert_eq!(checks.len(), 1);
        assert!(checks[0].ok && checks[0].remedy.is_some(), "{}", checks[0].message);
        assert!(checks[0].message.contains("readonly"), "{}", checks[0].message);
    }
}
