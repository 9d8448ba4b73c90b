//! The commands, one file each. A command turns flags and settings into a call of its use case, prints the result and
//! returns the exit code.
//!
//! Only the use case of a command decides about a retraction.

use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::access::{self, AccessControl};
use crate::cli::{Cli, Command};
use crate::clock::Clock;
use crate::config::{Environment, HostFlags, Settings, Span};
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::report::{self, Report};
use crate::store::index::{Index, IndexReader};
use crate::vendor::{Advocate, Brand, WaitReason, implausible_wait};
use crate::{demo, doctor, memory, signal};

mod adjust;
mod approval;
mod audit;
mod backup;
mod batch;
mod cancel_reward;
mod config;
mod crawl;
mod file;
mod forget;
mod generate;
mod init;
mod ledger;
mod lookup;
mod mcp;
mod mistake;
mod move_stores;
mod notify;
mod open;
mod quota;
mod reconcile;
mod refunds;
mod retract;
mod schedule;
mod scheduled;
mod serve;
mod status;
mod store;
mod user;
mod watch;
mod webhook;

/// How a command ended after it printed its result.
#[derive(Debug)]
pub enum Exit {
    Done,
    /// The printed result already describes the failure. The caller still reports the exit code and the last JSON
    /// object.
    Reported(Error),
}

/// Values that every command with settings uses.
struct CommandContext<'a> {
    settings: &'a Settings,
    clock: &'a Clock,
    /// The cancellation token that the first signal triggers.
    stop: &'a CancellationToken,
    report: &'a Report,
    /// The person who runs the command, as the ledger records it.
    actor: &'a Actor,
    /// The first client of the Advocate host, whose responses show the vendor's clock.
    first_advocate: OnceLock<Advocate>,
}

impl CommandContext<'_> {
    fn advocate(&self, flags: HostFlags) -> Result<Advocate> {
        let options = self.settings.advocate_options(flags)?;
        let advocate = Advocate::new(&options, self.settings.tenant()?, *self.clock, self.stop.clone())?;
        let _first = self.first_advocate.get_or_init(|| advocate.clone());
        Ok(advocate)
    }

    fn brand(&self, flags: HostFlags) -> Result<Brand> {
        let (options, version) = (self.settings.brand_options(flags)?, &self.settings.ir_version);
        Brand::new(&options, self.settings.account_sid()?, version, *self.clock, self.stop.clone())
    }

    /// Prints a list: one JSON object for each item with `--json`, otherwise a table, or a note if the list is empty.
    fn show_list<T: Serialize, const N: usize>(
        &self,
        list: &[T],
        none: &str,
        header: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<Exit> {
        for one in list {
            self.report.object(one)?;
        }
        if list.is_empty() {
            self.report.note(none);
        } else {
            self.report.lines(report::table(header, list.iter().map(row)));
        }
        Ok(Exit::Done)
    }

    /// Prints a result: one JSON object with `--json`, otherwise lines.
    fn show(&self, result: &impl Serialize, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.report.object(result)?;
        lines.into_iter().for_each(|line| self.report.line(line));
        Ok(())
    }
}

/// Runs one command and returns its exit code.
pub fn main(cli: Cli) -> u8 {
    // Memory protection must begin before recoup reads any secret.
    let private = memory::keep_private();
    report::set_colour(cli.global.color);
    // A service logs its steps by default, because no person watches its terminal.
    let least = u8::from(matches!(cli.command, Command::Serve(_)) && !cli.global.quiet);
    let json = cli.global.json || !cli.global.fields.is_empty();
    report::start_log(cli.global.verbose.max(least), json);
    if !matches!(cli.command, Command::Serve(_)) {
        report::fit_tables_to_terminal();
    }
    if let Err(error) = private {
        tracing::warn!(%error, "the memory of this process could not be kept from core dumps and debuggers");
    }
    // `recoup mcp` prints no error object on stdout, because an MCP client parses stdout.
    let json = json && !matches!(cli.command, Command::Mcp(_));
    let report = Report::new(json, cli.global.quiet).with_fields(cli.global.fields.clone());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(cli.command, Command::Simulate(_) | Command::Demo(_) | Command::Serve(_)) {
        // A runtime with one worker thread is faster for most commands. A command works for only microseconds between
        // two responses, so waking a second thread costs more than it saves.
        runtime.worker_threads(1);
    }
    let ended = runtime.enable_all().build().map_or_else(
        |error| Err(Error::new(Kind::Failed, format!("failed to start: {error}"))),
        |runtime| {
            let ended = runtime.block_on(run(cli, &report));
            // A question to the user that has no answer blocks a thread, and a normal shutdown would wait for that
            // thread.
            runtime.shutdown_background();
            ended
        },
    );
    report.warn_of_unknown_fields();
    let error = match ended {
        Ok(Exit::Done) => return report.exit_code(0),
        Ok(Exit::Reported(error)) => {
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

async fn run(cli: Cli, report: &Report) -> Result<Exit> {
    let stop = signal::stop_token();
    // Commands without settings run first, so that an incomplete configuration does not make them fail.
    match cli.command {
        Command::Demo(args) => {
            return demo::run(args.participants, args.seed, report, &stop).await.map(|()| Exit::Done);
        }
        Command::Simulate(options) => return simulate(*options, report, stop).await,
        Command::Completions(args) => return Ok(generate::completions(&args, report)),
        Command::Man(args) => return generate::man(&args, report),
        Command::Init(args) => return Box::pin(init::run(&cli.global, args, report, &stop)).await,
        _ => {}
    }
    let settings = Settings::load(&cli.global, &Environment::of_process()?)?;
    #[cfg(feature = "failpoints")]
    if let Some(name) = &settings.crash_at {
        crate::crash::arm(name.clone());
    }
    let clock = Clock::system();
    tracing::info!(index = %settings.database, ledger = %settings.ledger, "using");
    let actor = with_user(&settings, os_user());
    let context = CommandContext {
        settings: &settings,
        clock: &clock,
        stop: &stop,
        report,
        actor: &actor,
        first_advocate: OnceLock::new(),
    };
    let ended = Box::pin(command(&context, cli.command)).await;
    remember_clock(&context);
    ended
}

async fn command(context: &CommandContext<'_>, command: Command) -> Result<Exit> {
    match command {
        Command::Demo(_) | Command::Simulate(_) | Command::Completions(_) | Command::Man(_) | Command::Init(_) => {
            Ok(Exit::Done)
        }
        Command::Config(command) => config::run(context, &command),
        Command::Store(command) => store::run(context, &command),
        Command::Open(args) => open::run(context, &args).await,
        Command::Doctor => {
            let CommandContext { settings, clock, stop, report, first_advocate, .. } = context;
            let worst = doctor::run(settings, clock, stop, report, first_advocate).await?;
            Ok(worst.map_or(Exit::Done, Exit::Reported))
        }
        Command::Crawl(args) => remember_refusal(context, "crawl", crawl::run(context, &args).await),
        Command::Lookup(args) => lookup::run(context, args).await,
        Command::Retract(args) => {
            remember_refusal(context, "retract", Box::pin(retract::retract(context, *args)).await)
        }
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
        Command::Notify(command) => notify::run(context, command).await,
        Command::User(command) => user::run(context, command).await,
        Command::Approval(command) => approval::run(context, &command),
        Command::Serve(args) => serve::run(context, args).await,
        Command::Mcp(args) => Box::pin(mcp::run(context, args)).await,
        Command::Audit(args) => audit::run(context, args),
        Command::Backup(args) => backup::run(context, &args).await,
        Command::Move(args) => move_stores::run(context, &args).await,
        Command::Ledger(args) => ledger::run(context, args).await,
        Command::Forget(args) => forget::run(context, args).await,
        Command::Mistake(args) => mistake::run(context, args),
    }
}

/// Adds the user of recoup that is linked to the operating-system user. If recoup cannot read the users, this function
/// adds no user, so recoup refuses a request that needs approval.
fn with_user(settings: &Settings, actor: Actor) -> Actor {
    let user = settings.identity().and_then(|identity| {
        let access = AccessControl::open_existing(&settings.access, &identity, access::Limits::default())?;
        Ok(access.map(|access| access.user_of_os(&actor.person)).transpose()?.flatten())
    });
    match user {
        Ok(Some(user)) => Actor { also: Some(user.name), known: true, ..actor },
        _ => actor,
    }
}

/// Returns the operating-system user and the name of the machine.
pub(crate) fn os_user() -> Actor {
    let unknown = || "unknown".to_owned();
    Actor::new(
        whoami::username().unwrap_or_else(|_cause| unknown()),
        whoami::hostname().unwrap_or_else(|_cause| unknown()),
    )
}

/// Records for `recoup status --check` whether the vendor accepts the credentials, because no person reads the errors
/// of a scheduled command. If this record cannot be written, the command still returns its own error.
fn remember_refusal(context: &CommandContext<'_>, command: &str, ended: Result<Exit>) -> Result<Exit> {
    let refused = match &ended {
        Err(error) if matches!(error.kind, Kind::Credentials | Kind::Scope | Kind::Tenant) => Some(error),
        Ok(_) => None,
        // An error other than success or refused credentials does not show whether the vendor accepts the credentials.
        Err(_) => return ended,
    };
    let CommandContext { settings, clock, .. } = context;
    if let Ok(identity) = settings.identity()
        && let Ok(true) = IndexReader::exists(&settings.database)
    {
        let message = refused.map(|error| error.message.as_str());
        drop(
            Index::open(&settings.database, &identity)
                .and_then(|mut index| index.remember_refusal(command, message, clock.now())),
        );
    }
    ended
}

/// Stores the difference between this machine's clock and the vendor's, or that the vendor's responses have no date.
/// Does nothing if the command has sent no request.
fn remember_clock(context: &CommandContext<'_>) {
    let settings = context.settings;
    if let Some(heard) = context.first_advocate.get().and_then(Advocate::host_clock)
        && let Ok(identity) = settings.identity()
        && let Ok(true) = IndexReader::exists(&settings.database)
    {
        // A failure to store the clock difference is ignored, because the next command stores it again.
        drop(
            Index::open(&settings.database, &identity)
                .and_then(|mut index| index.remember_clock(heard.ahead, heard.at)),
        );
    }
}

async fn simulate(options: impact_simulator::Options, report: &Report, stop: CancellationToken) -> Result<Exit> {
    let hints = format!(
        "RECOUP_TENANT={} RECOUP_ACCOUNT_SID={} RECOUP_AUTH_TOKEN={}",
        options.tenant, options.account_sid, options.token
    );
    let running = impact_simulator::start(options, stop).await.map_err(|error| {
        Error::new(Kind::Failed, format!("failed to serve: {error}"))
            .hint("choose another --port, or 0 for any free port")
    })?;
    report.data(format!("listening on {}", running.base_url()));
    report.note("point recoup at it from another terminal:");
    report
        .note(format!("  export RECOUP_ADVOCATE_URL={0}/api/v1 RECOUP_BRAND_URL={0}/Advertisers", running.base_url()));
    report.note(format!("  export {hints}"));
    report.note(format!("  export RECOUP_DATABASE=simulator-{}.db", running.addr.port()));
    for line in example_lines(&running.examples()) {
        report.note(line);
    }
    report.note(format!("more example orders: {}/_simulator/examples", running.base_url()));
    report.note("press Ctrl-C to stop");
    running.finished().await;
    Ok(Exit::Done)
}

/// Prints three example orders of the simulator and commands to try with them.
fn example_lines(examples: &impact_simulator::Examples) -> Vec<String> {
    let kinds = [
        ("its rewards can be taken back", &examples.plain, "retract --dry-run"),
        ("one of its rewards is spent, and stays", &examples.redeemed, "retract --dry-run"),
        ("it has two actions, so one must be chosen", &examples.two_actions, "lookup"),
    ];
    let mut lines = vec!["then build the index with `recoup crawl`, and try these orders:".to_owned()];
    for (what, found, command) in kinds {
        if let Some(order) = found.first() {
            lines.push(format!("  recoup {command} '{}'   # {what}", order.order_id));
        }
    }
    lines
}

/// Warns if this process could not share the quota with other processes and so counted only its own requests. Also
/// warns if the wait for the vendor's limit is implausibly long.
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

/// Returns the maximum wait for the vendor's quota: zero with `--park`, otherwise the setting.
fn parked(park: bool) -> Option<Span> {
    park.then_some(Span(Duration::ZERO))
}
