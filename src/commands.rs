//! One function per command: settings → use case → report → how it ended.
//!
//! The glue and nothing else: what a command means is in its use case. It must never decide about a retraction.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::{Advocate, Brand};
use crate::cli::{Cli, Command, CrawlArgs, LookupArgs, RetractArgs, StatusArgs, VerifyArgs};
use crate::clock::Clock;
use crate::config::{Environment, Settings, Span, Wishes};
use crate::error::{Error, Kind, Result};
use crate::model::budget::Purpose;
use crate::model::{ActionId, OrderId};
use crate::report::{self, Report};
use crate::retract::{self, Follows, Reads, WriterSettings};
use crate::store::Identity;
use crate::store::index::{Index, IndexReader};
use crate::{cli, crawl, demo, doctor, lookup, signal, simulator, status};

/// How old an index may be where nobody says otherwise: a night's crawl, and two hours of being late.
const MAX_AGE: Duration = Duration::from_hours(26);

/// How long a retraction may be open.
const OVERDUE: Duration = Duration::from_hours(24);

/// Requests at most for an order that is looked for at the source.
const LIVE_REQUESTS: u64 = 100;

/// How a command ended, where it did not fail on the way.
#[derive(Debug)]
pub enum End {
    /// Exit code 0.
    Done,
    /// The answer was given and is itself the failure: only its exit code, and the last JSON object, are left to say.
    Said(Error),
}

/// Runs one command to its end; the exit code of the contract.
pub fn main(cli: Cli) -> u8 {
    report::colour(cli.global.color);
    report::start_log(cli.global.verbose);
    let report = Report::new(cli.global.json, cli.global.quiet);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if !matches!(cli.command, Command::Simulate(_) | Command::Demo(_)) {
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
        Ok(End::Done) => return 0,
        Ok(End::Said(error)) => {
            report.last_object(&error);
            error
        }
        Err(error) => {
            report.error(&error);
            error
        }
    };
    error.kind.exit_code()
}

async fn run(cli: Cli, report: &Report) -> Result<End> {
    let stop = signal::stop_token();
    // These two need no account, and must not fail on somebody's half-finished configuration.
    match cli.command {
        Command::Demo(args) => return demo::run(args.participants, args.seed, report, &stop).await,
        Command::Simulate(options) => return simulate(*options, report, stop).await,
        _ => {}
    }
    let settings = Settings::load(&cli.global, &Environment::of_process())?;
    #[cfg(feature = "failpoints")]
    if let Some(name) = &settings.crash_at {
        crate::crash::arm(name.clone());
    }
    let clock = Clock::system();
    tracing::info!(index = %settings.database.display(), ledger = %settings.ledger.display(), "using");
    match cli.command {
        Command::Demo(_) | Command::Simulate(_) => Ok(End::Done),
        Command::Doctor => doctor::run(&settings, &clock, &stop, report).await,
        Command::Crawl(args) => {
            let ended = run_crawl(&settings, &args, &clock, &stop, report).await;
            remember_refusal(&settings, "crawl", &ended, &clock);
            ended
        }
        Command::Lookup(args) => run_lookup(&settings, args, &clock, &stop, report).await,
        Command::Retract(args) => {
            let ended = run_retract(&settings, args, &clock, &stop, report).await;
            remember_refusal(&settings, "retract", &ended, &clock);
            ended
        }
        Command::Verify(args) => {
            let ended = run_verify(&settings, &args, &clock, &stop, report).await;
            remember_refusal(&settings, "verify", &ended, &clock);
            ended
        }
        Command::Status(args) => run_status(&settings, &args, &clock, report),
    }
}

/// Leaves word for `recoup status --check` that the vendor has refused the credentials of a command, or accepts them again.
/// Nobody watches a timer at night. Where even that cannot be written, the command's own end is what there is to say.
fn remember_refusal(settings: &Settings, command: &str, ended: &Result<End>, clock: &Clock) {
    let refused = match ended {
        Err(error) if matches!(error.kind, Kind::Credentials | Kind::Scope | Kind::Tenant) => Some(error),
        Ok(_) => None,
        // It says nothing about the credentials.
        Err(_) => return,
    };
    let Ok(identity) = settings.identity() else { return };
    if settings.database.exists() {
        let message = refused.map(|error| error.message.as_str());
        drop(
            Index::open(&settings.database, &identity)
                .and_then(|mut index| index.remember_refusal(command, message, clock.now())),
        );
    }
}

async fn simulate(options: simulator::Options, report: &Report, stop: CancellationToken) -> Result<End> {
    let hints = format!(
        "RECOUP_TENANT={} RECOUP_ACCOUNT_SID={} RECOUP_AUTH_TOKEN={}",
        options.tenant, options.account_sid, options.token
    );
    let running = simulator::start(options, stop).await.map_err(|error| {
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

fn advocate(settings: &Settings, wishes: Wishes, clock: &Clock, stop: &CancellationToken) -> Result<Advocate> {
    Advocate::new(&settings.advocate_options(wishes)?, settings.tenant()?, *clock, stop.clone())
}

fn brand(settings: &Settings, wishes: Wishes, clock: &Clock, stop: &CancellationToken) -> Result<Brand> {
    Brand::new(&settings.brand_options(wishes)?, settings.account_sid()?, &settings.ir_version, *clock, stop.clone())
}

async fn run_crawl(
    settings: &Settings,
    args: &CrawlArgs,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<End> {
    let identity = settings.identity()?;
    let outcome = if args.from_raw {
        crawl::from_raw::run(&settings.database, &identity, &settings.mapping, args.wait_for_lock, clock, stop, report)
            .await?
    } else {
        let wishes = Wishes {
            concurrency: args.concurrency,
            rate: args.rate,
            max_wait: parked(args.park).or(args.max_wait),
            max_requests: args.max_requests,
            until: args.until.map(|until| until.after(clock.now())),
            ..Wishes::default()
        };
        let host = settings.advocate_options(wishes)?;
        let options = crawl::Options {
            page_size: args.page_size.unwrap_or(settings.crawl.page_size),
            overlap: settings.crawl.overlap,
            max_sweeps: settings.crawl.max_sweeps,
            concurrency: host.concurrency,
            batch: settings.crawl.batch as usize,
            wait_for_lock: args.wait_for_lock,
            full: args.full,
            source: source_of(args.source),
            rate: host.terms.rate,
            graphql_page_size: settings.crawl.graphql_page_size,
            export_wait: settings.crawl.export_wait,
            reread_after: args.reread_after.map(|span| span.0).or(settings.crawl.reread_after),
            ..crawl::Options::default()
        };
        let advocate = Advocate::new(&host, &identity.tenant, *clock, stop.clone())?;
        if args.plan {
            let plan = crawl::auto::plan(&settings.database, &identity, &advocate, &settings.mapping, &options).await?;
            report.object(&plan)?;
            for line in plan.lines() {
                report.line(line);
            }
            return Ok(End::Done);
        }
        crawl::run(&settings.database, &identity, &advocate, &settings.mapping, &options, clock, stop.clone(), report)
            .await?
    };
    report.object(&outcome)?;
    report.line(outcome.describe());
    if outcome.complete {
        return Ok(End::Done);
    }
    let incomplete = Error::new(Kind::SomeFailed, format!("the index is not complete: {}", outcome.gaps.join("; ")));
    Err(incomplete.hint(outcome.hint()))
}

fn source_of(source: cli::Source) -> Option<crawl::Source> {
    match source {
        cli::Source::Auto => None,
        cli::Source::Participants => Some(crawl::Source::Participants),
        cli::Source::Graphql => Some(crawl::Source::GraphQl),
        cli::Source::Export => Some(crawl::Source::Export),
    }
}

fn order_ids(given: Vec<String>) -> Result<Vec<OrderId>> {
    let mut orders = Vec::new();
    for text in given {
        if text == "-" {
            for (n, line) in std::io::stdin().lock().lines().enumerate() {
                let at = |error: Error| error.context(format!("line {} of standard input", n + 1));
                let line = line.map_err(|error| {
                    at(Error::new(Kind::Usage, error.to_string()).hint("order IDs are UTF-8 text, one per line"))
                })?;
                let line = line.strip_suffix('\r').unwrap_or(&line);
                // Spreadsheets begin a UTF-8 file with a byte order mark, which is no part of the first order ID.
                let line = if n == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
                if !line.is_empty() {
                    orders.push(lookup::order_id(line).map_err(at)?);
                }
            }
        } else {
            orders.push(lookup::order_id(&text)?);
        }
    }
    Ok(orders)
}

async fn run_lookup(
    settings: &Settings,
    args: LookupArgs,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<End> {
    if args.orders.iter().any(|order| order == "-") && std::io::stdin().is_terminal() {
        report.note("reading order IDs from standard input, one per line; Ctrl-D ends the list");
    }
    let orders = order_ids(args.orders)?;
    if let Some(person) = &args.participant {
        let identity = settings.identity()?;
        let wishes = Wishes { max_wait: parked(args.park), ..Wishes::default() };
        let advocate = advocate(settings, wishes, clock, stop)?;
        let mut index = Index::open(&settings.database, &identity)?;
        let looked = lookup::participant(&advocate, &mut index, &settings.mapping, clock, person).await?;
        report.note(looked.describe());
    }
    let mut searched = BTreeMap::new();
    if args.live {
        let budget = args.live_requests.unwrap_or(LIVE_REQUESTS);
        searched = search_missing(settings, &orders, budget, args.park, clock, stop, report).await?;
    }
    let reader = IndexReader::open(&settings.database, settings.identity_if_set()?.as_ref())?;
    let mut answers = lookup::run(reader.as_ref(), &orders, clock.now())?;
    for answer in &mut answers {
        answer.searched = searched.remove(&answer.order_id);
    }
    let mut missing = 0;
    for answer in &answers {
        report.object(answer)?;
        report.line(answer.describe());
        missing += usize::from(!answer.is_found());
    }
    if missing == 0 {
        return Ok(End::Done);
    }
    Ok(End::Said(Error::new(Kind::NotIndexed, format!("{missing} of {} order(s) not in the index", answers.len()))))
}

/// Asks the vendor for each order that the index does not have.
async fn search_missing(
    settings: &Settings,
    orders: &[OrderId],
    budget: u64,
    park: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<BTreeMap<OrderId, lookup::Searched>> {
    let identity = settings.identity()?;
    let wishes = Wishes { max_wait: parked(park), ..Wishes::default() };
    let advocate = advocate(settings, wishes, clock, stop)?;
    let mut index = Index::open(&settings.database, &identity)?;
    let progress = report.progress("orders looked for at the source");
    let mut searched = BTreeMap::new();
    for (done, order) in orders.iter().enumerate() {
        progress.show(done as u64, Some(orders.len() as u64), "");
        if !searched.contains_key(order) && !index.has_order(order)? {
            let found = lookup::search(&advocate, &mut index, &settings.mapping, clock, order, budget).await?;
            searched.insert(order.clone(), found);
        }
    }
    Ok(searched)
}

async fn run_retract(
    settings: &Settings,
    args: RetractArgs,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<End> {
    let identity = settings.identity()?;
    let follows = follows(settings, args.wait.map(|span| span.0));
    let options = retract::Options {
        action_id: args.action_id.map(ActionId::new),
        all: args.all,
        action_tracker: args.action_tracker,
        disposition: args.disposition,
        reason: args.reason,
        ticket: args.ticket,
        dry_run: args.dry_run,
        yes: args.yes,
        resend: args.resend,
        max_index_age: args.max_index_age.map_or(settings.retract.max_index_age, |span| span.0),
        follows,
        person: whoami::username().unwrap_or_else(|_| "unknown".to_owned()),
        host: whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()),
    };
    options.check(report.can_ask())?;
    let orders = args.orders.iter().map(|order| lookup::order_id(order)).collect::<Result<Vec<_>>>()?;
    if options.action_id.is_some() && orders.len() > 1 {
        return Err(Error::new(Kind::Usage, "--action-id names one action, and several orders were given"));
    }
    let writer = WriterSettings {
        host: settings.writer_options()?,
        ir_version: settings.ir_version.clone(),
        lock_wait: settings.retract.lock_wait,
    };
    let wishes = Wishes { purpose: Purpose::Retraction, ..Wishes::default() };
    let advocate = advocate(settings, wishes, clock, stop)?;
    let brand = brand(settings, wishes, clock, stop)?;
    let reads = reads(settings, &identity, &advocate, &brand, clock, stop, report);
    let mut problems = Vec::new();
    let mut stopped = false;
    for order_id in &orders {
        if stopped || stop.is_cancelled() {
            let kind = if stop.is_cancelled() { Kind::Interrupted } else { Kind::Failed };
            let left = Error::new(kind, "not tried, because of what ended the one before; nothing was sent");
            report.item_error(order_id.as_str(), &left)?;
            problems.push(left);
            continue;
        }
        match retract::run(&reads, &writer, order_id, &options).await {
            Ok(receipt) => {
                report.object(&receipt)?;
                for line in receipt.lines() {
                    report.line(line);
                }
                let problem = receipt.problem();
                // Credentials, quota and signals concern every further order as well.
                stopped = problem.as_ref().is_some_and(|problem| matches!(problem.kind.exit_code(), 3 | 8 | 130));
                problems.extend(problem);
            }
            // With one order the error is the answer; with several each has its own, and the last word sums up.
            Err(error) if orders.len() == 1 => return Err(error),
            Err(error) => {
                report.item_error(order_id.as_str(), &error)?;
                stopped = matches!(error.kind.exit_code(), 3 | 8 | 130);
                problems.push(error);
            }
        }
    }
    warn_of_quota(&advocate, &brand, report);
    let failed = problems.len();
    if orders.len() > 1 {
        // Of several orders, one that failed is an item that failed.
        for problem in problems.iter_mut().filter(|problem| problem.kind.exit_code() == 1) {
            problem.kind = Kind::SomeFailed;
        }
    }
    match problems.into_iter().min_by_key(|problem| problem.kind.rank()) {
        None => Ok(End::Done),
        Some(problem) if orders.len() == 1 => Err(problem),
        Some(worst) => Err(Error {
            message: format!("{failed} of {} orders are not done: {}", orders.len(), worst.message),
            ..worst
        }),
    }
}

async fn run_verify(
    settings: &Settings,
    args: &VerifyArgs,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<End> {
    let identity = settings.identity()?;
    let wishes = Wishes { purpose: Purpose::Retraction, max_wait: parked(args.park), ..Wishes::default() };
    let advocate = advocate(settings, wishes, clock, stop)?;
    let brand = brand(settings, wishes, clock, stop)?;
    let reads = reads(settings, &identity, &advocate, &brand, clock, stop, report);
    let follows = follows(settings, args.wait.map(|span| span.0));
    let receipts = retract::verify::run(&reads, &args.ids, args.watch, &follows).await?;
    for receipt in &receipts {
        report.object(receipt)?;
        for line in receipt.lines() {
            report.line(line);
        }
    }
    warn_of_quota(&advocate, &brand, report);
    if receipts.is_empty() {
        report.note("no retraction is open");
    }
    match receipts.iter().filter_map(retract::receipt::Receipt::problem).min_by_key(|problem| problem.kind.rank()) {
        None => Ok(End::Done),
        Some(problem) => Err(problem),
    }
}

fn run_status(settings: &Settings, args: &StatusArgs, clock: &Clock, report: &Report) -> Result<End> {
    let identity = settings.identity_if_set()?;
    let mut status =
        status::gather(&settings.database, &settings.ledger, identity.as_ref(), args.failed_accounts, clock)?;
    if let Some(id) = args.retraction {
        let entry = status::one_retraction(&settings.ledger, identity.as_ref(), id)?;
        report.object(&entry)?;
        for line in entry.full_lines() {
            report.line(line);
        }
        return Ok(End::Done);
    }
    let overdue = args.overdue.map_or(OVERDUE, |span| span.0);
    if args.check {
        let max_age = args.max_age.map_or(MAX_AGE, |span| span.0);
        status.problems = Some(status.check(status::Limits { max_age, overdue }, clock.now()));
    }
    if let Some(path) = &args.metrics_file {
        status.write_metrics(path, overdue, clock.now())?;
    }
    report.object(&status)?;
    for line in status.lines() {
        report.line(line);
    }
    match status.problems.as_deref() {
        None | Some([]) => Ok(End::Done),
        Some([only]) => Ok(End::Said(Error::new(Kind::Failed, only.message.clone()))),
        Some([first, others @ ..]) => {
            Ok(End::Said(Error::new(Kind::Failed, format!("{}; and {} more", first.message, others.len()))))
        }
    }
}

/// Says where the quota could not be shared: the pace was kept by this process alone.
fn warn_of_quota(advocate: &Advocate, brand: &Brand, report: &Report) {
    if let Some(why) = advocate.quota_trouble().or_else(|| brand.quota_trouble()) {
        report.warn(format!("the quota was not shared with other processes: {why}"));
    }
}

/// `--park`: no wait for the vendor's limit at all.
fn parked(park: bool) -> Option<Span> {
    park.then_some(Span(Duration::ZERO))
}

fn follows(settings: &Settings, wait: Option<Duration>) -> Follows {
    Follows {
        wait: wait.unwrap_or(settings.retract.wait),
        first_poll: settings.retract.first_poll,
        max_poll: settings.retract.max_poll,
        settle: settings.retract.settle,
        concludes: true,
    }
}

fn reads<'a>(
    settings: &'a Settings,
    identity: &'a Identity,
    advocate: &'a Advocate,
    brand: &'a Brand,
    clock: &'a Clock,
    stop: &'a CancellationToken,
    report: &'a Report,
) -> Reads<'a> {
    Reads {
        index: &settings.database,
        ledger: &settings.ledger,
        identity,
        advocate,
        brand,
        mapping: &settings.mapping,
        clock,
        stop,
        report,
    }
}
