//! One file per command: settings → use case → report → how it ended.
//!
//! The glue and nothing else: what a command means is in its use case. It must never decide about a retraction.

use std::sync::OnceLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::access::{self, Access};
use crate::cli::{Cli, Command};
use crate::clock::Clock;
use crate::config::{Environment, Settings, Span, Wishes};
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::report::{self, Report};
use crate::store::index::Index;
use crate::vendor::{Advocate, Brand, WaitReason, implausible_wait};
use crate::{demo, doctor, memory, signal};

mod adjust;
mod approval;
mod audit;
mod backup;
mod batch;
mod cancel_reward;
mod crawl;
mod file;
mod forget;
mod ledger;
mod lookup;
mod mistake;
mod paper;
mod quota;
mod reconcile;
mod refunds;
mod retract;
mod schedule;
mod scheduled;
mod serve;
mod status;
mod user;
mod watch;
mod webhook;

/// How a command ended, where it did not fail on the way.
#[derive(Debug)]
pub enum End {
    /// Exit code 0.
    Done,
    /// The answer was given and is itself the failure: only its exit code, and the last JSON object, are left to say.
    Said(Error),
}

/// What every command that has settings works with.
struct Context<'a> {
    settings: &'a Settings,
    clock: &'a Clock,
    /// The first signal.
    stop: &'a CancellationToken,
    report: &'a Report,
    /// Who runs this, for the ledger.
    actor: &'a Actor,
    /// The first client of the Advocate host: it hears what time it is there.
    asked: OnceLock<Advocate>,
}

impl Context<'_> {
    fn advocate(&self, wishes: Wishes) -> Result<Advocate> {
        let options = self.settings.advocate_options(wishes)?;
        let advocate = Advocate::new(&options, self.settings.tenant()?, *self.clock, self.stop.clone())?;
        let _first = self.asked.get_or_init(|| advocate.clone());
        Ok(advocate)
    }

    fn brand(&self, wishes: Wishes) -> Result<Brand> {
        let (options, version) = (self.settings.brand_options(wishes)?, &self.settings.ir_version);
        Brand::new(&options, self.settings.account_sid()?, version, *self.clock, self.stop.clone())
    }
}

/// Runs one command to its end; the exit code of the contract.
pub fn main(cli: Cli) -> u8 {
    // Before anything reads a secret.
    let private = memory::keep_private();
    report::set_colour(cli.global.color);
    // A service says what it does unless it is told not to: nobody watches it.
    let least = u8::from(matches!(cli.command, Command::Serve(_)) && !cli.global.quiet);
    report::start_log(cli.global.verbose.max(least), cli.global.json);
    if let Err(error) = private {
        tracing::warn!(%error, "the memory of this process could not be kept from core dumps and debuggers");
    }
    let report = Report::new(cli.global.json, cli.global.quiet);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(cli.command, Command::Simulate(_) | Command::Demo(_) | Command::Serve(_)) {
        // What a client does between two answers is microseconds: a second thread would cost more to wake than it takes over.
        runtime.worker_threads(1);
    }
    let ended = runtime.enable_all().build().map_or_else(
        |error| Err(Error::new(Kind::Failed, format!("failed to start: {error}"))),
        |runtime| {
            let ended = runtime.block_on(run(cli, &report));
            // A question that nobody answered must not keep the process from leaving.
            runtime.shutdown_background();
            ended
        },
    );
    let error = match ended {
        Ok(End::Done) => return report.exit_code(0),
        Ok(End::Said(error)) => {
            report.last_object(&error);
            error
        }
        Err(error) => {
            report.error(&error);
            error
        }
    };
    report.exit_code(error.kind.exit_code())
}

async fn run(cli: Cli, report: &Report) -> Result<End> {
    let stop = signal::stop_token();
    // These need no account, and must not fail on somebody's half-finished configuration.
    match cli.command {
        Command::Demo(args) => return demo::run(args.participants, args.seed, report, &stop).await.map(|()| End::Done),
        Command::Simulate(options) => return simulate(*options, report, stop).await,
        Command::Completions(args) => return Ok(paper::completions(&args, report)),
        Command::Man(args) => return paper::man(&args, report),
        _ => {}
    }
    let settings = Settings::load(&cli.global, &Environment::of_process()?)?;
    #[cfg(feature = "failpoints")]
    if let Some(name) = &settings.crash_at {
        crate::crash::arm(name.clone());
    }
    let clock = Clock::system();
    tracing::info!(index = %settings.database.display(), ledger = %settings.ledger.display(), "using");
    let actor = known(&settings, whoever_runs_this());
    let context =
        Context { settings: &settings, clock: &clock, stop: &stop, report, actor: &actor, asked: OnceLock::new() };
    let ended = Box::pin(command(&context, cli.command)).await;
    remember_clock(&context);
    ended
}

async fn command(context: &Context<'_>, command: Command) -> Result<End> {
    match command {
        Command::Demo(_) | Command::Simulate(_) | Command::Completions(_) | Command::Man(_) => Ok(End::Done),
        Command::Doctor => {
            let Context { settings, clock, stop, report, asked, .. } = context;
            let worst = doctor::run(settings, clock, stop, report, asked).await?;
            Ok(worst.map_or(End::Done, End::Said))
        }
        Command::Crawl(args) => remember_refusal(context, "crawl", crawl::run(context, &args).await),
        Command::Lookup(args) => lookup::run(context, args).await,
        Command::Retract(args) => remember_refusal(context, "retract", retract::retract(context, *args).await),
        Command::Adjust(args) => remember_refusal(context, "adjust", adjust::run(context, *args).await),
        Command::File(args) => remember_refusal(context, "file", file::run(context, args).await),
        Command::Verify(args) => remember_refusal(context, "verify", retract::verify(context, &args).await),
        Command::Watch(command) => watch::run(context, &command),
        Command::CancelReward(args) => {
            remember_refusal(context, "cancel-reward", cancel_reward::run(context, args).await)
        }
        Command::Reconcile(args) => reconcile::run(context, &args),
        Command::Refunds(command) => refunds::run(context, command),
        Command::Status(args) => status::run(context, &args),
        Command::Quota(command) => quota::run(context, command).await,
        Command::Schedule(command) => schedule::run(context, command).await,
        Command::Webhook(command) => webhook::run(context, command).await,
        Command::User(command) => user::run(context, command),
        Command::Approval(command) => approval::run(context, &command),
        Command::Serve(args) => serve::run(context, args).await,
        Command::Audit(args) => audit::run(context, args),
        Command::Backup(args) => backup::run(context, &args).await,
        Command::Ledger(args) => ledger::run(context, args).await,
        Command::Forget(args) => forget::run(context, args).await,
        Command::Mistake(args) => mistake::run(context, args),
    }
}

/// Who runs this, with the user of recoup that is the same person. Where that cannot be read they are nobody's user, and what
/// needs a second person is refused.
fn known(settings: &Settings, actor: Actor) -> Actor {
    let user = settings.identity().and_then(|identity| {
        let access = Access::open_existing(&settings.access, &identity, access::Limits::default())?;
        Ok(access.map(|access| access.user_of_os(&actor.person)).transpose()?.flatten())
    });
    match user {
        Ok(Some(user)) => Actor { also: Some(user.name), known: true, ..actor },
        _ => actor,
    }
}

/// Who runs this process, as the operating system knows them.
pub(crate) fn whoever_runs_this() -> Actor {
    let unknown = || "unknown".to_owned();
    Actor::new(
        whoami::username().unwrap_or_else(|_cause| unknown()),
        whoami::hostname().unwrap_or_else(|_cause| unknown()),
    )
}

/// Leaves word for `recoup status --check` that the vendor has refused the credentials of a command, or accepts them again.
/// Nobody watches a timer at night. Where even that cannot be written, the command's own end is what there is to say.
fn remember_refusal(context: &Context<'_>, command: &str, ended: Result<End>) -> Result<End> {
    let refused = match &ended {
        Err(error) if matches!(error.kind, Kind::Credentials | Kind::Scope | Kind::Tenant) => Some(error),
        Ok(_) => None,
        // It says nothing about the credentials.
        Err(_) => return ended,
    };
    let Context { settings, clock, .. } = context;
    if let Ok(identity) = settings.identity()
        && settings.database.exists()
    {
        let message = refused.map(|error| error.message.as_str());
        drop(
            Index::open(&settings.database, &identity)
                .and_then(|mut index| index.remember_refusal(command, message, clock.now())),
        );
    }
    ended
}

/// Leaves word how far this clock is from the vendor's, or that the vendor's answers carry no date, if the command has asked it.
fn remember_clock(context: &Context<'_>) {
    let settings = context.settings;
    if let Some(heard) = context.asked.get().and_then(Advocate::host_clock)
        && let Ok(identity) = settings.identity()
        && settings.database.exists()
    {
        // The next command says it again.
        drop(
            Index::open(&settings.database, &identity)
                .and_then(|mut index| index.remember_clock(heard.ahead, heard.at)),
        );
    }
}

async fn simulate(options: impact_simulator::Options, report: &Report, stop: CancellationToken) -> Result<End> {
    let hints = format!(
        "RECOUP_TENANT={} RECOUP_ACCOUNT_SID={} RECOUP_AUTH_TOKEN={}",
        options.tenant, options.account_sid, options.token
    );
    let running = impact_simulator::start(options, stop).await.map_err(|error| {
        Error::new(Kind::Failed, format!("failed to serve: {error}"))
            .hint("choose another --port, or 0 for any that is free")
    })?;
    report.data(format!("listening on {}", running.base_url()));
    report.note("point recoup at it from another terminal:");
    report
        .note(format!("  export RECOUP_ADVOCATE_URL={0}/api/v1 RECOUP_BRAND_URL={0}/Advertisers", running.base_url()));
    report.note(format!("  export {hints}"));
    report.note(format!("  export RECOUP_DATABASE=simulator-{}.db", running.addr.port()));
    report.note("Ctrl-C ends it");
    running.finished().await;
    Ok(End::Done)
}

/// Says where the quota could not be shared: the pace was kept by this process alone.
fn warn_of_quota(advocate: &Advocate, brand: &Brand, report: &Report) {
    if let Some(why) = advocate.quota_trouble().or_else(|| brand.quota_trouble()) {
        report.warn(format!("the quota was not shared with other processes: {why}"));
    }
    for (host, reason) in [("Advocate", advocate.stats().wait_reason), ("Brand", brand.stats().wait_reason)] {
        if reason == Some(WaitReason::Implausible) {
            report.warn(implausible_wait(host));
        }
    }
}

/// `--park`: no wait for the vendor's limit at all.
fn parked(park: bool) -> Option<Span> {
    park.then_some(Span(Duration::ZERO))
}
