//! Use case: writes a reversal file. Every order of a reversal file passes the checks of a retraction. The ledger
//! records each line before recoup writes the file.
//!
//! Under the send lock, recoup checks the ledger again, records each line as *handed over*, and then writes the
//! reversal file. If recoup cannot write the reversal file, it releases the lines in the ledger. If recoup crashes
//! before it has written the reversal file, the ledger has lines without a file. A person releases ledger lines without
//! a file. Every line of a reversal file is also in the ledger.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use serde_json::json;

use super::orders::FileOrder;
use super::written::{Row, Written};
use super::{FILE, FileLine, file_line_of};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::model::{ActionId, OrderId, Target, counted};
use crate::out_file::{OutFile, Rules};
use crate::refunds::reversal_file::{self, Reversal};
use crate::retract::approval::{self, Demand, Granted, Subject};
use crate::retract::dispatch::take_lock;
use crate::retract::plan::{self, ActionPlan, Step, handed_over, sent_before};
use crate::retract::receipt::Mark;
use crate::retract::{Context, Options, affects_every_order, plan_fingerprint, readiness, show_and_confirm};
use crate::store::ledger::{Channel, Ledger, NewRetraction, Retraction, State};

#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// The options that a reversal file shares with a retraction. The disposition is the default reason code of the
    /// reversal file's lines.
    pub plan: Options,
    /// The default action tracker, for an order if neither its list row nor its action has one.
    pub action_tracker: Option<String>,
    pub own_reasons: Vec<String>,
    pub day: Date,
    pub out: PathBuf,
    /// Whether recoup may replace an existing reversal file.
    pub force: bool,
}

/// Checks every order and writes the reversal file. An error means that the ledger recorded no line as *handed over*.
pub async fn run(
    ctx: &Context<'_>,
    lock_wait: Duration,
    orders: &[FileOrder],
    options: &WriteOptions,
) -> Result<Written> {
    readiness::check(ctx)?;
    let existing = ctx.ledger()?;
    let path = place(existing, options)?;
    make_folder(&options.out)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Refuses a FIFO, because recoup cannot release a line after the FIFO's reader has consumed the line.
    let mut out = OutFile::reserve_by(&path, Rules { force: options.force, streams: false, ..Rules::default() })?;
    let mut rows = Vec::with_capacity(orders.len());
    let progress = ctx.report.progress("orders checked");
    for order in orders {
        if ctx.stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted; nothing was written"));
        }
        let mut row = Row::new(order, &options.plan.disposition);
        match check(ctx, existing, &mut row, options).await {
            Ok(()) => row.written = true,
            Err(error) if affects_every_order(&error) => return Err(error),
            Err(error) => row.refuse(error),
        }
        rows.push(row);
        progress.show(rows.len() as u64, Some(orders.len() as u64), "");
    }
    drop(progress);
    text_of(&mut rows, options);
    let mut answer =
        Written { path: None, name, dry_run: options.plan.dry_run, written: 0, not_written: 0, rows, ledger: None };
    answer.count();
    if options.plan.dry_run || answer.written == 0 {
        return Ok(answer);
    }
    let question = format!("Write {} of reversals into {}", counted(answer.written, "line"), path.display());
    show_and_confirm(ctx, answer.table(), options.plan.yes, &question).await?;
    let ledger = ctx.open_ledger()?;
    let granted = ask_second_person(ctx, ledger, &answer, options)?;
    let lock = take_lock(ledger.place(), lock_wait, ctx.clock, ctx.stop).await?;
    let handed = hand_over(ctx, ledger, &mut answer.rows, options, &path, granted.as_ref());
    let written = handed.and_then(|()| {
        crash::point("handed_over");
        let text = text_of(&mut answer.rows, options);
        if !answer.rows.iter().any(|row| row.written) {
            return Ok(());
        }
        // Last, because a machine may have slept in any step before. Another process may then have released a line, which must
        // not be in the file.
        lock.check_held()?;
        out.write_or_leave_nothing(text.as_bytes())
    });
    if let Err(error) = written {
        release_all(ctx, ledger, &answer.rows, &error);
        return Err(error.context("no file was written, and its lines are released"));
    }
    crash::point("file_written");
    drop(lock);
    answer.count();
    answer.path = (answer.written > 0).then(|| path.display().to_string());
    answer.ledger = Mark::of(ledger);
    Ok(answer)
}

fn ask_second_person(
    ctx: &Context<'_>,
    ledger: &Ledger,
    answer: &Written,
    options: &WriteOptions,
) -> Result<Option<Granted>> {
    let going = || answer.rows.iter().filter(|row| row.written);
    let actions = || going().filter_map(Row::action);
    let demand = Demand {
        orders: answer.written as u64,
        overrides: actions().flat_map(|action| action.findings.overridden()).collect(),
        ..Demand::of_rewards(actions().flat_map(|action| &action.rewards))
    };
    let mut items: Vec<String> =
        going().filter_map(|row| Some(plan_fingerprint::name(row.plan.as_ref()?, &options.plan))).collect();
    items.sort();
    let subject = Subject {
        name: plan_fingerprint::short_hash(&format!("file {}", items.join(" "))),
        items: Vec::new(),
        json: json!({ "what": "file", "orders": demand.orders, "value": demand.value }),
        reason: options.plan.reason.as_deref(),
        ticket: options.plan.ticket.as_deref(),
    };
    approval::before_sending(ctx, ledger, &demand, &subject)
}

/// Returns the path of the new reversal file. In a folder, chooses the day's first file name that neither a file of the
/// folder nor an open line of the ledger uses, because the vendor's list identifies files by name.
fn place(ledger: Option<&Ledger>, options: &WriteOptions) -> Result<PathBuf> {
    let open: Vec<String> = match ledger {
        Some(ledger) => ledger.open_ones()?.iter().filter_map(file_line_of).map(|handed| handed.name).collect(),
        None => Vec::new(),
    };
    let is_taken = |path: &Path| {
        path.file_name().is_some_and(|name| open.iter().any(|other| other.as_str() == name.to_string_lossy()))
    };
    if is_folder(&options.out) {
        let first = reversal_file::file_name(options.day);
        let name = |n: u32| if n == 1 { first.clone() } else { first.replace(".csv", &format!("_{n}.csv")) };
        let free = |path: &PathBuf| !is_taken(path) && (options.force || path.symlink_metadata().is_err());
        return (1..1000).map(|n| options.out.join(name(n))).find(free).ok_or_else(|| {
            Error::new(Kind::Usage, "the folder has a thousand files of that day").hint("name another --out")
        });
    }
    if is_taken(&options.out) {
        return Err(Error::new(
            Kind::Refused,
            "a file of that name holds lines that are handed over and not settled; nothing was written",
        )
        .hint("name another file, or settle them with `recoup file check` or `recoup file release`"));
    }
    Ok(options.out.clone())
}

/// Returns `true` if the path is an existing folder, or if it is missing and ends in `/` or has no extension.
fn is_folder(path: &Path) -> bool {
    let is_written_so = || path.to_string_lossy().ends_with('/') || path.extension().is_none();
    path.is_dir() || (path.symlink_metadata().is_err() && is_written_so())
}

fn make_folder(out: &Path) -> Result<()> {
    if out.is_dir() || !is_folder(out) {
        return Ok(());
    }
    std::fs::create_dir_all(out).map_err(|error| {
        Error::new(Kind::Usage, format!("the folder {} cannot be made: {error}", out.display()))
            .hint("name a folder that can be written to with --out")
    })
}

/// Checks whether one order may enter the reversal file. An error of the order's check excludes the order from the
/// reversal file.
async fn check(ctx: &Context<'_>, ledger: Option<&Ledger>, row: &mut Row, options: &WriteOptions) -> Result<()> {
    let refused = |message: String| Error::new(Kind::Refused, message);
    let order = row.order.clone();
    if let Some(why) = &order.stopped {
        return Err(refused(why.clone()));
    }
    let order_id = &order.order_id;
    let matches = ctx.read_index(|index| index.map_or_else(|| Ok(Vec::new()), |index| index.find(order_id)))?;
    if let Some(why) = order.only_if_indexed.as_ref().filter(|_| matches.is_empty()) {
        return Err(refused(why.clone()));
    }
    let actions: std::collections::BTreeSet<&ActionId> = matches.iter().filter_map(|m| m.action_id.as_ref()).collect();
    if actions.len() > 1 {
        return Err(Error::new(
            Kind::Ambiguous,
            format!("this order has {} actions, and a line of a file names the order: which of them it reaches is not certain", actions.len()),
        )
        .hint("use `recoup retract` with --action-id ID or --all"));
    }
    let mut plan_options = options.plan.clone();
    plan_options.disposition.clone_from(&row.reason_code);
    plan_options.action_id.clone_from(&order.action_id);
    // A line of a reversal file reverses the whole order. Therefore the preflight checks that the refund is full.
    plan_options.refund.clone_from(&order.refund);
    let given = order.action_tracker.as_ref().or(options.action_tracker.as_ref());
    if actions.is_empty() && !matches.is_empty() {
        plan_options.action_tracker = given.cloned();
        row.action_tracker_id = given.cloned();
        if given.is_none() {
            return Err(no_tracker());
        }
    }
    let plan = plan::make(ctx, ledger, order_id, &plan_options, None).await?;
    let [action] = plan.actions.as_slice() else {
        return Err(refused("this order was sent more than once before".to_owned()));
    };
    row.action_id = action.target.action_id().cloned();
    row.findings = action.findings.list().to_vec();
    row.verdict = Some(action.findings.verdict());
    match &action.step {
        Step::Follow(found) => return Err(sent(found)),
        Step::AlreadyCancelled => {
            return Err(refused("every known reward of it is cancelled already".to_owned()));
        }
        Step::Stop => {
            let stop = action.findings.error();
            return Err(stop.unwrap_or_else(|| refused("a check says stop".to_owned())));
        }
        Step::Send => {}
    }
    if let Some(found) =
        ledger.map(|ledger| sent_by_any_channel(ledger, &action.target, order_id, action)).transpose()?.flatten()
    {
        return Err(sent(&found));
    }
    row.action_tracker_id = Some(tracker(&order, action, options)?);
    row.plan = Some(plan);
    Ok(())
}

fn no_tracker() -> Error {
    Error::new(Kind::Refused, "no action tracker (event type) ID: the file cannot name the order").hint(
        "add a column action_tracker_id, or --action-tracker ID, or [file] action_tracker (Settings → Event Types)",
    )
}

/// Returns the action tracker from the list, the action or the settings. Fails if the list, the action and the settings
/// name different action trackers, because the line would then identify another order.
fn tracker(order: &FileOrder, action: &ActionPlan, options: &WriteOptions) -> Result<String> {
    let of_action = action.facts.action_tracker_id.as_ref();
    if let (Some(given), Some(known)) = (&order.action_tracker, of_action)
        && given != known
    {
        return Err(Error::new(
            Kind::Refused,
            format!("the list says action tracker {given}, and the action is of {known}"),
        )
        .hint("put the list right: with another action tracker the line names another order"));
    }
    let found = order.action_tracker.as_ref().or(of_action).or(options.action_tracker.as_ref());
    let found = found.ok_or_else(no_tracker)?;
    if found.is_empty() || !found.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::new(Kind::Refused, format!("action tracker {found:?} is no whole number")));
    }
    Ok(found.clone())
}

/// Returns an earlier send for this order through any channel. A line of a reversal file affects every action of the
/// order, because the line contains the order ID.
fn sent_by_any_channel(
    ledger: &Ledger,
    target: &Target,
    order_id: &OrderId,
    action: &ActionPlan,
) -> Result<Option<Retraction>> {
    if let Some(found) = sent_before(ledger, target, order_id, &action.linked)? {
        return Ok(Some(found));
    }
    // A reversal that the vendor refused also blocks a file line. A person must resend the reversal with a reason,
    // through the same channel.
    let refused = |other: &Retraction| {
        other.channel == Channel::Reversal && matches!(other.state, State::Failed | State::NotReceived)
    };
    let sent =
        |other: &Retraction| other.channel.takes_all_back() && (other.state.may_have_been_sent() || refused(other));
    Ok(ledger.of_order(order_id)?.into_iter().rfind(sent))
}

fn sent(found: &Retraction) -> Error {
    if found.state == State::HandedOver {
        return handed_over(found);
    }
    let (id, state) = (found.id, found.state.as_str());
    let error = Error::new(Kind::Refused, format!("it was sent before (retraction {id}, {state})"));
    error.hint(match found.state {
        State::Confirmed | State::Partial => {
            format!("its rewards were taken back: leave it out of the file; `recoup status --retraction {id}` shows the proof")
        }
        State::Failed | State::NotReceived => {
            "`recoup retract ORDER --resend --reason TEXT` sends it again; two channels could reverse it twice".to_owned()
        }
        _ => "`recoup verify` carries it on; two channels would reverse it twice".to_owned(),
    })
}

/// Builds the text of the reversal file. Marks a row as refused if the file format cannot represent it.
fn text_of(rows: &mut [Row], options: &WriteOptions) -> String {
    let places: Vec<usize> = (0..rows.len()).filter(|n| rows[*n].written).collect();
    let reversals: Vec<Reversal> = places
        .iter()
        .map(|n| Reversal {
            action_tracker_id: rows[*n].action_tracker_id.clone(),
            order_id: rows[*n].order_id.clone(),
            reason: rows[*n].reason_code.clone(),
        })
        .collect();
    let made = reversal_file::build(&reversals, &options.own_reasons);
    for not in made.skipped {
        let hint = match not.why {
            reversal_file::SkipReason::UnknownReason => {
                "name it with --reason-code, or add your own to [file] reason_codes"
            }
            _ => "use `recoup retract`",
        };
        rows[places[not.index]].refuse(Error::new(Kind::Refused, not.message).hint(hint));
    }
    made.text.unwrap_or_default()
}

/// Records every line of the reversal file as *handed over*, under the send lock. Omits an order that another process
/// has sent in the meantime.
fn hand_over(
    ctx: &Context<'_>,
    ledger: &Ledger,
    rows: &mut [Row],
    options: &WriteOptions,
    path: &Path,
    granted: Option<&Granted>,
) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let notes: Vec<_> = granted.map(Granted::note).into_iter().collect();
    for row in rows.iter_mut().filter(|row| row.written) {
        let (Some(action), Some(tracker)) = (row.action(), row.action_tracker_id.clone()) else { continue };
        if let Some(found) = sent_by_any_channel(ledger, &action.target, &row.order_id, action)? {
            row.refuse(sent(&found));
            continue;
        }
        let handed = FileLine {
            name: name.clone(),
            path: path.display().to_string(),
            action_tracker_id: tracker,
            reason_code: row.reason_code.clone(),
        };
        let Some(new) = intent(row, options, &handed) else { continue };
        let message = format!("written into {name}; not done until the vendor has it");
        match ledger.hand_over(&new, &notes, &message, &json!({ FILE: handed }), ctx.clock.now()) {
            Ok(recorded) => row.retraction = Some(recorded.id),
            Err(error) if error.kind == Kind::Busy => row.refuse(error),
            Err(error) => return Err(error),
        }
    }
    ledger.put_into_main_file()?;
    let (id, head) = (ledger.ledger_id()?, ledger.head()?);
    ctx.reopen_index(|index| index.remember_ledger(&id, &head))
}

fn intent(row: &Row, options: &WriteOptions, handed: &FileLine) -> Option<NewRetraction> {
    let (plan, action) = (row.plan.as_ref()?, row.action()?);
    Some(NewRetraction {
        disposition: row.reason_code.clone(),
        reason: row.order.reason.clone().or_else(|| options.plan.reason.clone()),
        ticket: row.order.ticket.clone().or_else(|| options.plan.ticket.clone()),
        batch: Some(handed.name.clone()),
        ..plan::ledger_entry(plan, action, &options.plan, Some((FILE, json!(handed))))
    })
}

/// Releases all lines, because the file could not be written. A person may have released a line meanwhile.
fn release_all(ctx: &Context<'_>, ledger: &Ledger, rows: &[Row], why: &Error) {
    let is_handed_over = |id| ledger.get(id).map(|row| (row.state == State::HandedOver).then_some(row));
    for id in rows.iter().filter_map(|row| row.retraction) {
        let message = format!("the file could not be written, so it was not handed over: {}", why.message);
        let released = is_handed_over(id).and_then(|row| {
            let Some(row) = row else { return Ok(()) };
            let released = ledger.append(&row, State::Released, &message, &json!({}), ctx.clock.now());
            released.map(drop).or_else(|error| if matches!(is_handed_over(id), Ok(None)) { Ok(()) } else { Err(error) })
        });
        if let Err(error) = released {
            ctx.report.warn(format!("retraction {id} could not be released: {error}; use `recoup file release {id}`"));
        }
    }
}
