//! Use case: finds out what the vendor did with each submitted reversal file. `check` reads the vendor's list of file
//! submissions and the rewards of every action that the reversal files name.
//!
//! The vendor's list of file submissions says whether the vendor processed a file and which of the file's lines had
//! errors. `ACTION_NOT_FOUND` is normal for an action of an Advocate program and proves nothing
//! (`docs/vendor/refund-guide.md` F2). A line of a reversal file is confirmed only by the states of its action's
//! rewards, with the same proof as any other retraction. An error in one reversal file never affects the lines of
//! another file. Checking reversal files sends nothing that changes data at the vendor.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLOCK_TOLERANCE, file_line_of, handed_over_at};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::retract::follow::follow;
use crate::retract::receipt::Receipt;
use crate::retract::{Context, FollowSettings, affects_every_order};
use crate::store::ledger::{Channel, Ledger, Retraction, State};
use crate::vendor::{FileError, FileSubmission};

/// Kind of the note that stores the vendor's file submission.
const FILE_SUBMISSION: &str = "file_submission";

/// The vendor's error reason that is normal for Advocate lines (`docs/vendor/contradictions.md` 15).
const INCONCLUSIVE: &str = "ACTION_NOT_FOUND";

#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// The vendor's ID of one file submission. Without the ID, recoup reads every file submission with the right file
    /// name.
    pub submission: Option<String>,
    /// The name that recoup gave the reversal file. recoup needs that name if the operator submitted the file under
    /// another name.
    pub file: Option<String>,
    pub follows: FollowSettings,
}

/// The vendor's file submission of one file.
struct FileStatus {
    file: FileSubmission,
    errors: Vec<FileError>,
    /// Why recoup's list of the file's errors is incomplete; `None` if the list is complete.
    silent: Option<String>,
}

/// Reads every line of a reversal file that is *handed over* and has no final result yet. Returns one receipt for each
/// line of a reversal file.
pub async fn run(ctx: &Context<'_>, options: &CheckOptions) -> Result<Vec<Receipt>> {
    let lines = match ctx.ledger()? {
        Some(ledger) => open_lines(ledger)?,
        None => Vec::new(),
    };
    if lines.is_empty() {
        return if options.submission.is_none() { Ok(Vec::new()) } else { Err(nothing_open("")) };
    }
    let coverage = ctx.coverage()?;
    let mut files: BTreeMap<String, Vec<Retraction>> = BTreeMap::new();
    for line in lines {
        files.entry(file_line_of(&line).map(|handed| handed.name).unwrap_or_default()).or_default().push(line);
    }
    let found = match &options.submission {
        Some(id) => {
            let one = ctx.brand.file_submission(id).await?.ok_or_else(|| {
                Error::new(Kind::Failed, format!("the vendor does not know file submission {id:?}"))
                    .hint("it keeps them for 90 days, and shows a file 10 to 15 minutes after it was processed")
            })?;
            let name = options.file.clone().or_else(|| one.file_name.clone()).unwrap_or_default();
            files.retain(|known, _| *known == name);
            if files.is_empty() {
                return Err(nothing_open(&name));
            }
            vec![FileSubmission { file_name: Some(name), ..one }]
        }
        None => listed(ctx, &files).await?,
    };
    let ledger = ctx.open_ledger()?;
    let mut receipts = Vec::new();
    for (name, lines) in files {
        let seen = of_file(ctx, &name, &lines, &found).await?;
        for line in lines {
            let mut receipt = Receipt::new(ctx.identity, &line.order_id, &coverage, false);
            let id = line.id;
            match look(ctx, options, ledger, line, seen.as_ref()).await {
                Ok(line) => receipt.add(&line, &[], false),
                Err(error) => {
                    receipt.add(&ledger.get(id)?, &[], false);
                    let stops = affects_every_order(&error);
                    receipt.end_early(error.clone().context(format!("retraction {id}")));
                    if stops {
                        receipts.push(receipt);
                        return Ok(receipts);
                    }
                }
            }
            receipt.mark(ledger);
            receipts.push(receipt);
        }
    }
    Ok(receipts)
}

fn nothing_open(name: &str) -> Error {
    let of = if name.is_empty() { String::new() } else { format!(" of a file named {name:?}") };
    Error::new(Kind::Failed, format!("no line{of} is handed over and not settled"))
        .hint("if it was handed in under another name, give the name that recoup wrote: --file NAME")
}

fn open_lines(ledger: &Ledger) -> Result<Vec<Retraction>> {
    Ok(ledger.open_ones()?.into_iter().filter(|line| line.channel == Channel::File).collect())
}

/// Reads the vendor's file submissions since recoup wrote the first of the lines to check.
async fn listed(ctx: &Context<'_>, files: &BTreeMap<String, Vec<Retraction>>) -> Result<Vec<FileSubmission>> {
    let oldest = files.values().flatten().filter_map(handed_over_at).min().unwrap_or_else(|| ctx.clock.now());
    let since = oldest.checked_sub(CLOCK_TOLERANCE).unwrap_or(oldest);
    match ctx.brand.file_submissions(since).await {
        Ok(list) => {
            if !list.complete {
                ctx.report.warn("the vendor's list of files could not be read whole");
            }
            Ok(list.rows)
        }
        // recoup can check a reversal file without the vendor's list, because the states of the rewards alone prove
        // that a line took effect.
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Vendor | Kind::Network) => {
            ctx.report.warn(format!("the vendor's list of files could not be read: {error}"));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Returns the vendor's submission of one reversal file and its errors; `None` if the vendor lists no submission or
/// several for that file.
async fn of_file(
    ctx: &Context<'_>,
    name: &str,
    lines: &[Retraction],
    found: &[FileSubmission],
) -> Result<Option<FileStatus>> {
    let handed = lines.iter().filter_map(handed_over_at).min();
    let earliest = handed.and_then(|at| at.checked_sub(CLOCK_TOLERANCE).ok()).unwrap_or(Timestamp::MIN);
    let is_it = |file: &&FileSubmission| {
        file.file_name.as_deref() == Some(name) && file.submitted_at().is_none_or(|at| at >= earliest)
    };
    let mut candidates = found.iter().filter(is_it);
    let Some(file) = candidates.next() else {
        ctx.report.note(format!(
            "{name}: the vendor does not show it; a file appears 10 to 15 minutes after it was processed"
        ));
        return Ok(None);
    };
    if candidates.next().is_some() {
        ctx.report
            .warn(format!("{name}: the vendor has several files of this name; choose one with `recoup file check ID`"));
        return Ok(None);
    }
    let count = |number: Option<u64>, noun: &str| {
        number.map_or_else(|| format!("an unknown number of {noun}s"), |number| counted(number, noun))
    };
    ctx.report.note(format!(
        "{name}: file submission {}, {}, {}{}",
        file.batch_id,
        count(file.total_records, "record"),
        count(file.total_errors, "error"),
        if file.is_complete() { "" } else { ", not completed" }
    ));
    if !file.is_complete() {
        return Ok(None);
    }
    let (errors, silent) = match ctx.brand.file_errors(file).await {
        Ok(Some(list)) if list.complete => (list.rows, None),
        Ok(Some(list)) => (list.rows, Some("not all of its errors could be read".to_owned())),
        Ok(None) if file.total_errors == Some(0) => (Vec::new(), None),
        Ok(None) => (Vec::new(), Some("its errors are not to be found".to_owned())),
        Err(error) if matches!(error.kind, Kind::Scope | Kind::Vendor) => (Vec::new(), Some(error.message)),
        Err(error) => return Err(error),
    };
    if let Some(why) = &silent {
        ctx.report.warn(format!("{name}: {why}; the rewards alone have to tell"));
    }
    Ok(Some(FileStatus { file: file.clone(), errors, silent }))
}

/// Checks one line of a reversal file: records the vendor's file submission if it is new, then reads the rewards.
async fn look(
    ctx: &Context<'_>,
    options: &CheckOptions,
    ledger: &Ledger,
    mut line: Retraction,
    seen: Option<&FileStatus>,
) -> Result<Retraction> {
    if let Some(seen) = seen.filter(|_| line.detail("submission").is_none()) {
        let (message, details) = line_result(&line, seen);
        line = ledger.note(&line, FILE_SUBMISSION, &message, &details, ctx.clock.now())?;
    }
    let once = FollowSettings { wait: Duration::ZERO, concludes: false, ..options.follows };
    follow(ctx, &once, ledger, line).await
}

/// Returns the vendor's result for one line of a reversal file, in the form of a submission.
fn line_result(line: &Retraction, seen: &FileStatus) -> (String, Value) {
    let tracker = file_line_of(line).map(|handed| handed.action_tracker_id);
    let own: Vec<&FileError> = seen
        .errors
        .iter()
        .filter(|error| {
            error.order_id.as_ref() == Some(&line.order_id)
                && (error.action_tracker_id.is_none() || error.action_tracker_id == tracker)
        })
        .collect();
    let reasons: Vec<&str> =
        own.iter().filter_map(|error| error.reason.as_deref()).flat_map(str::split_whitespace).collect();
    let kind = own.iter().find_map(|error| error.status.clone());
    // A line error without a reason counts as an error, not as `ACTION_NOT_FOUND`.
    let inconclusive = own.is_empty() || (!reasons.is_empty() && reasons.iter().all(|reason| *reason == INCONCLUSIVE));
    let id = &seen.file.batch_id;
    let message = if !inconclusive {
        format!(
            "file submission {id} completed, with {} {} for this line",
            kind.as_deref().unwrap_or("an error"),
            reasons.join(" ")
        )
    } else if own.is_empty() {
        format!(
            "file submission {id} completed{}",
            if seen.silent.is_some() { "" } else { ", with no error for this line" }
        )
    } else {
        format!(
            "file submission {id} completed, with {INCONCLUSIVE} for this line, which is normal for Advocate and proves nothing"
        )
    };
    let details = json!({
        "file_submission": id,
        "submission": {
            "status": "Complete",
            "error_type": kind,
            "error_reasons": reasons,
            "inconclusive": inconclusive,
            "completion_date": seen.file.completion_date,
        },
    });
    (message, details)
}

/// Describes the vendor's record of a line's reversal file, or why recoup cannot tell whether the vendor has one.
/// Returns `None` if the vendor's list lacks the reversal file.
pub(super) async fn is_listed(ctx: &Context<'_>, line: &Retraction) -> Result<Option<String>> {
    let Some(handed) = file_line_of(line) else { return Ok(None) };
    let at = handed_over_at(line).unwrap_or_else(|| ctx.clock.now());
    let since = at.checked_sub(CLOCK_TOLERANCE).unwrap_or(at);
    let list = ctx.brand.file_submissions(since).await?;
    let same = list.rows.iter().find(|file| {
        file.file_name.as_deref() == Some(&handed.name) && file.submitted_at().is_none_or(|at| at >= since)
    });
    Ok(match same {
        Some(file) => Some(format!("the vendor has {} as file submission {}", handed.name, file.batch_id)),
        None if !list.complete => Some("the vendor's list of files could not be read whole".to_owned()),
        None => None,
    })
}

/// Returns `true` if a line of a reversal file is *handed over* and has no final result yet.
pub(super) fn is_open(line: &Retraction) -> bool {
    line.channel == Channel::File && matches!(line.state, State::HandedOver | State::Unconfirmed)
}
