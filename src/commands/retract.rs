//! `recoup retract` and `recoup verify`: runs retractions and checks from flags and settings, and prints their
//! receipts.

use std::time::Duration;

use super::{CommandContext, Exit, parked};
use crate::cli::{RetractArgs, SendArgs, VerifyArgs};
use crate::config::{HostFlags, Settings};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::budget::Purpose;
use crate::model::{ActionId, OrderId, counted};
use crate::retract::receipt::Receipt;
use crate::retract::request::{RetractRequest, RunOptions};
use crate::retract::{self, Context, FollowSettings, Session, SubmissionPolling, WriterSettings};
use crate::store::ledger::Channel;

pub(super) async fn retract(context: &CommandContext<'_>, args: RetractArgs) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    check_flags(&args)?;
    let is_batch = args.batch.is_batch();
    let mut run = run_options(settings, &args.send);
    // `--plan` sends nothing, like `--dry-run`.
    run.dry_run |= args.batch.plan.is_some();
    if args.orders.len() > 1 {
        run.follows.submissions = SubmissionPolling::Sparingly { now: false };
    }
    // A batch does not use the order ID of this request, because each row of the file has its own.
    let template = args.request(OrderId::new("")).options(&run);
    template.check(report.can_ask())?;
    let requests = args.orders.iter().map(|order| Ok(args.request(lookup::order_id(order)?)));
    let requests = requests.collect::<Result<Vec<_>>>()?;
    // For orders on the command line, `--wait` limits the whole command. A batch waits for the quota without a limit.
    let within = args.send.wait.map(|span| span.0).filter(|_| !is_batch);
    let writer = writer(settings, within)?;
    super::forget::apply_tombstones(context, false)?;
    // Requests that only look at an order must not use the reserve of the quota. Requests for a batch's plan count as
    // part of its retractions.
    let purpose = if run.dry_run && !is_batch { Purpose::Looking } else { Purpose::Retraction };
    let flags = HostFlags { within, purpose, ..HostFlags::default() };
    with_clients(context, flags, async |ctx| {
        if is_batch {
            return super::batch::run(context, &args.batch, &template, ctx, &writer).await;
        }
        retract_orders(context, ctx, &writer, &requests, &run).await
    })
    .await
}

/// Checks combinations of flags that clap cannot check.
fn check_flags(args: &RetractArgs) -> Result<()> {
    let batch = &args.batch;
    if !batch.is_batch() && batch.partials {
        return Err(Error::new(Kind::Usage, "--partials is for refunds from a file")
            .hint("use `recoup adjust` for a single order"));
    }
    if batch.file.is_none() && !batch.columns.is_empty() {
        let why = if batch.apply.is_some() {
            "a plan is read as it was made"
        } else {
            "orders on the command line have no columns"
        };
        return Err(Error::new(Kind::Usage, format!("flags for the columns of a file need --file: {why}")));
    }
    if !batch.is_batch() && (batch.out.is_some() || batch.watch_missing) {
        return Err(Error::new(Kind::Usage, "--out and --watch-missing are for refunds from a file")
            .hint("name the file with --file"));
    }
    if args.action_id.is_some() && args.orders.len() > 1 {
        return Err(Error::new(Kind::Usage, "--action-id names one action, but several orders were given"));
    }
    Ok(())
}

impl RetractArgs {
    fn request(&self, order_id: OrderId) -> RetractRequest {
        let consent = &self.send.consent;
        RetractRequest {
            order_id,
            action_id: self.action_id.clone().map(ActionId::new),
            all: self.all,
            action_tracker: self.action_tracker.clone(),
            disposition: self.disposition.clone(),
            reason: consent.reason.clone(),
            ticket: consent.ticket.clone(),
            overrides: consent.overrides.clone(),
            resend: self.resend,
            plan: None,
        }
    }
}

/// Retracts each order. After a signal, or an error about credentials or quota, recoup also skips the remaining orders.
async fn retract_orders(
    context: &CommandContext<'_>,
    ctx: &Context<'_>,
    writer: &WriterSettings,
    requests: &[RetractRequest],
    run: &RunOptions,
) -> Result<Exit> {
    let CommandContext { stop, report, .. } = context;
    let stops = retract::affects_every_order;
    let mut problems = Vec::new();
    let mut stopped = false;
    for request in requests {
        let order = request.order_id.as_str();
        if stopped || stop.is_cancelled() {
            let kind = if stop.is_cancelled() { Kind::Interrupted } else { Kind::Failed };
            let skipped = Error::new(kind, "not tried, because an earlier order stopped the command; nothing was sent");
            report.item_error(order, &skipped)?;
            problems.push(skipped);
            continue;
        }
        match retract::run(ctx, writer, request, run).await {
            Ok(receipt) => {
                context.show(&receipt, receipt.lines())?;
                let problem = receipt.problem();
                stopped = problem.as_ref().is_some_and(stops);
                problems.extend(problem);
            }
            // A single order's error ends the command. With several orders, the command reports each error, and ends
            // with a summary.
            Err(error) if requests.len() == 1 => return Err(error),
            Err(error) => {
                report.item_error(order, &error)?;
                stopped = stops(&error);
                problems.push(error);
            }
        }
    }
    let failed = problems.len();
    if requests.len() > 1 {
        for problem in problems.iter_mut().filter(|problem| problem.kind.exit_code() == 1) {
            problem.kind = Kind::SomeFailed;
        }
    }
    match problems.into_iter().min_by_key(|problem| problem.kind.rank()) {
        None => Ok(Exit::Done),
        Some(problem) if requests.len() == 1 => Err(problem),
        Some(worst) => Err(Error {
            message: format!("{failed} of {} not done: {}", counted(requests.len(), "order"), worst.message),
            ..worst
        }),
    }
}

pub(super) async fn verify(context: &CommandContext<'_>, args: &VerifyArgs) -> Result<Exit> {
    super::forget::apply_tombstones(context, false)?;
    let within = args.wait.map(|span| span.0);
    let flags = HostFlags { purpose: Purpose::Retraction, max_wait: parked(args.park), within, ..HostFlags::default() };
    // Without `--wait`, the command runs until no retraction is open.
    let follows = follows(context.settings, Some(within.unwrap_or(Duration::MAX)));
    let watch = args.watch || args.wait.is_some();
    let receipts =
        with_clients(context, flags, async |ctx| retract::verify::run(ctx, &args.ids, watch, &follows).await).await?;
    if receipts.is_empty() {
        context.report.note("no retraction is open");
    }
    show_receipts(context, &receipts)
}

/// Prints receipts and returns the exit code of the most severe one.
pub(super) fn show_receipts(context: &CommandContext<'_>, receipts: &[Receipt]) -> Result<Exit> {
    for receipt in receipts {
        context.show(receipt, receipt.lines())?;
    }
    let worst = receipts.iter().filter_map(Receipt::problem).min_by_key(|problem| problem.kind.rank());
    worst.map_or(Ok(Exit::Done), Err)
}

pub(super) fn run_options(settings: &Settings, args: &SendArgs) -> RunOptions {
    RunOptions {
        dry_run: args.dry_run,
        yes: args.consent.yes,
        max_index_age: args.max_index_age.map_or(settings.retract.max_index_age, |span| span.0),
        follows: follows(settings, args.wait.map(|span| span.0)),
    }
}

/// Returns the retraction options for `adjust` and `file write`, which use other channels than `retract`.
pub(super) fn options(settings: &Settings, channel: Channel, code: String, args: SendArgs) -> retract::Options {
    let RunOptions { dry_run, yes, max_index_age, follows } = run_options(settings, &args);
    retract::Options {
        reason: args.consent.reason,
        ticket: args.consent.ticket,
        overrides: args.consent.overrides,
        dry_run,
        yes,
        ..retract::Options::new(channel, code, max_index_age, follows)
    }
}

/// Returns the settings of the clients that write to the vendor. `within` limits the time of the whole command.
pub(super) fn writer(settings: &Settings, within: Option<Duration>) -> Result<WriterSettings> {
    Ok(WriterSettings {
        host: settings.writer_options(within)?,
        ir_version: settings.ir_version.clone(),
        lock_wait: settings.retract.lock_wait,
    })
}

pub(super) fn follows(settings: &Settings, wait: Option<Duration>) -> FollowSettings {
    FollowSettings {
        wait: wait.unwrap_or(settings.retract.wait),
        first_poll: settings.retract.first_poll,
        max_poll: settings.retract.max_poll,
        settle: settings.retract.settle,
        resolver: settings.retract.resolver,
        reread_for: settings.retract.reread_for,
        ..FollowSettings::default()
    }
}

/// Runs a use case with clients for both hosts. After the use case, warns if this process could not share the quota
/// with other processes.
pub(super) async fn with_clients<T>(
    context: &CommandContext<'_>,
    flags: HostFlags,
    work: impl AsyncFnOnce(&Context<'_>) -> Result<T>,
) -> Result<T> {
    let CommandContext { settings, clock, stop, report, actor, .. } = context;
    let identity = settings.identity()?;
    let (advocate, brand) = (context.advocate(flags)?, context.brand(flags)?);
    let ended = work(&Context {
        index_place: &settings.database,
        ledger_place: &settings.ledger,
        identity: &identity,
        actor,
        advocate: &advocate,
        brand: &brand,
        mapping: &settings.mapping,
        clock,
        stop,
        report,
        session: Session::default(),
    })
    .await;
    super::warn_of_quota(&advocate, &brand, report);
    ended
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::retract::checks::Override;
    use crate::serve::request_of_form;
    use crate::store::ledger::{Approval, Stage};

    fn from_flags(flags: &[&str]) -> RetractRequest {
        let words = ["recoup", "retract", "1001"].into_iter().chain(flags.iter().copied());
        match Cli::try_parse_from(words).expect("valid flags").command {
            Command::Retract(args) => args.request(OrderId::new(&args.orders[0])),
            other => panic!("{other:?}"),
        }
    }

    fn approval_of(request: &RetractRequest) -> Approval {
        Approval {
            id: 1,
            name: "plan".to_owned(),
            stage: Stage::Approved,
            asked_at: String::new(),
            person: "ann".to_owned(),
            host: String::new(),
            names: Vec::new(),
            why: String::new(),
            subject: request.subject(),
            reason: request.reason.clone(),
            ticket: request.ticket.clone(),
            decided_at: None,
            decided_by: None,
            decider_names: Vec::new(),
            words: None,
        }
    }

    #[test]
    fn flags_form_body_and_approval_give_the_same_request() {
        let plain = RetractRequest { reason: Some("r".to_owned()), ..RetractRequest::new(OrderId::new("1001")) };
        let table: [(&[&str], &str, &str, RetractRequest); 4] = [
            (&["--reason", "r"], "reason=r", r#""reason":"r""#, plain.clone()),
            (
                &["--reason", "r", "--action-id", "1.2.3", "--disposition", "CODE", "--ticket", "T"],
                "reason=r&action=1.2.3&disposition=CODE&ticket=T",
                r#""reason":"r","action_id":"1.2.3","disposition":"CODE","ticket":"T""#,
                RetractRequest {
                    action_id: Some(ActionId::new("1.2.3")),
                    disposition: "CODE".to_owned(),
                    ticket: Some("T".to_owned()),
                    ..plain.clone()
                },
            ),
            (
                &["--reason", "r", "--all", "--resend"],
                "reason=r&all=1&resend=1",
                r#""reason":"r","all":true,"resend":true"#,
                RetractRequest { all: true, resend: true, ..plain.clone() },
            ),
            (
                &["--reason", "r", "--override", "stale", "--override", "no-rule"],
                "reason=r&override=stale&override=no-rule",
                r#""reason":"r","overrides":["stale","no-rule"]"#,
                RetractRequest { overrides: vec![Override::Stale, Override::NoRule], ..plain },
            ),
        ];
        for (flags, form, body, expected) in table {
            assert_eq!(from_flags(flags), expected, "{flags:?}");
            assert_eq!(request_of_form(&format!("order=1001&{form}")).expect("a form"), expected, "{form}");
            let body = format!(r#"{{"order_id":"1001",{body}}}"#);
            assert_eq!(RetractRequest::from_json(body.as_bytes()).expect("a body"), expected, "{body}");
            // The approval request also contains the plan that the approver sees.
            let approved = RetractRequest::approved(&approval_of(&expected)).expect("a retraction");
            assert_eq!(approved, RetractRequest { plan: Some("plan".to_owned()), ..expected });
        }
    }
}
