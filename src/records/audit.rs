//! Verifies the ledger's hash chain and exports its events. The audit never writes to the ledger.
//!
//! A hash chain alone does not show that someone truncated its end or rewrote all of it. Therefore the audit also looks
//! for a head that a person has saved from a receipt, and for the head that the index stores.

use std::path::PathBuf;

use serde::Serialize;

use super::table;
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::out_file::{OutFile, Rules};
use crate::report::{Report, json_line};
use crate::store::index::IndexReader;
use crate::store::ledger::{Audit, Fault, Head, Ledger, PersonalIds};
use crate::store::{Identity, Place, StoreFile};

const HASH_DIGITS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The ledger's export has one JSON object on each line.
    Ndjson,
    Csv,
}

#[derive(Debug, Clone)]
pub struct Export {
    pub format: Format,
    /// The file that the export writes; `None` writes to standard output.
    pub out: Option<PathBuf>,
    /// `true` allows the export to replace an existing file.
    pub force: bool,
    /// The account and user IDs that the export shows.
    pub ids: PersonalIds,
}

#[derive(Debug, Serialize)]
pub struct ExportSummary {
    pub events: u64,
    pub file: String,
    /// The ledger's newest event at the time of the export.
    pub head: Head,
}

/// Verifies the ledger's hash chain, runs SQLite's integrity check on the file, and looks for two heads: `head`, which
/// a person has saved from a receipt, and the head that the index stores.
pub fn verify(index: &Place, ledger: &Place, identity: Option<&Identity>, head: Option<&str>) -> Result<Audit> {
    if head.is_some_and(|head| head.len() != HASH_DIGITS || !head.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Error::new(Kind::Usage, format!("a head has {HASH_DIGITS} hexadecimal digits"))
            .hint("it is in the last lines of every receipt"));
    }
    let remembered = IndexReader::open(index, identity)?.map_or(Ok(None), |reader| reader.ledger())?;
    let file = StoreFile::ledger(ledger, identity);
    let ledger = open(ledger, identity, remembered.is_some())?;
    let mut audit = ledger.audit(head)?;
    if let Some(Err(error)) = file?.map(|file| file.check_integrity()) {
        audit.faults.push(Fault { sequence: None, retraction: None, what: error.message });
    }
    if let Some((id, head)) = remembered {
        audit.faults.extend(against(&ledger, &audit, &id, &head)?);
    }
    Ok(audit)
}

/// Opens an existing ledger. `remembered` is `true` if the index stores a head of this ledger. If the index stores a
/// head, the error for a missing ledger says that the ledger was lost.
pub(super) fn open(place: &Place, identity: Option<&Identity>, remembered: bool) -> Result<Ledger> {
    Ledger::open_read_only(place, identity)?.ok_or_else(|| {
        if remembered {
            Error::new(Kind::Identity, format!("the index was used with a ledger, and there is none at {place}"))
                .hint("restore it, or set RECOUP_LEDGER to its path; if it is lost, see `recoup ledger accept`")
        } else {
            Error::new(Kind::Failed, format!("there is no ledger at {place}: nothing was ever retracted here"))
                .hint("set another one with --database or RECOUP_LEDGER")
        }
    })
}

/// Checks that the ledger contains the head that the index stores.
fn against(ledger: &Ledger, audit: &Audit, id: &str, head: &Head) -> Result<Option<Fault>> {
    let fault = |what: String| Ok(Some(Fault { sequence: None, retraction: None, what }));
    if audit.ledger_id != id {
        return fault(format!("the index was used with another ledger, {id}"));
    }
    let event = head.sequence;
    match ledger.hash_at(event)? {
        None if event > 0 => fault(format!(
            "the index remembers event {event}, which this ledger lacks: its tail was cut, or it is an older copy"
        )),
        Some(hash) if !head.hash.is_empty() && hash != head.hash => {
            fault(format!("the index remembers another event {event}: the ledger was rewritten since, or has diverged"))
        }
        _ => Ok(None),
    }
}

pub fn lines(audit: &Audit) -> Vec<String> {
    let Head { sequence, hash } = &audit.head;
    let mut lines = vec![
        format!(
            "ledger {}: {}, {}, {}",
            audit.ledger_id,
            counted(audit.events, "event"),
            counted(audit.retractions, "retraction"),
            counted(audit.personal_kept, "personal value")
        ),
        format!("head {hash} (event {sequence})"),
    ];
    for fault in &audit.faults {
        let retraction = fault.retraction.map(|id| format!("retraction {id}"));
        let event = fault.sequence.map(|sequence| format!("event {sequence}"));
        let place: Vec<String> = event.into_iter().chain(retraction).collect();
        let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(", ")) };
        lines.push(format!("FAULT: {place}{}", fault.what));
    }
    if audit.faults.is_empty() {
        lines.push("the chain holds: no event was altered, removed, added or moved; the file is sound".to_owned());
    }
    lines.extend(audit.head_found.map(|found| head_line(found, audit)));
    lines.extend(audit.outside_chain.iter().map(|what| format!("not in the chain: {what}")));
    lines
}

/// Describes what a head saved from a receipt proves.
fn head_line(found: i64, audit: &Audit) -> String {
    let later = (audit.head.sequence - found).unsigned_abs();
    if !audit.faults.is_empty() {
        return format!("the given head is event {found}; it proves nothing while there is a fault");
    }
    let rest = match later {
        0 => "no event was added since".to_owned(),
        _ => format!("it says nothing about the {} after it, which only the chain holds", counted(later, "event")),
    };
    format!("the given head is event {found}: every event up to it is as it was then; {rest}")
}

/// Returns an error with the first fault of the ledger; `None` if the audit found no fault.
pub fn problem(audit: &Audit) -> Option<Error> {
    let first = audit.faults.first()?;
    let more = match audit.faults.len() {
        1 => String::new(),
        n => format!("; and {} more", n - 1),
    };
    Some(
        Error::new(Kind::Tampered, format!("the ledger is not what was written: {}{more}", first.what))
            .hint("keep this file as it is, and compare it with a backup (`recoup backup`) and with receipts"),
    )
}

/// Exports every event of the ledger in order. Returns `None` after an export of the ledger to standard output.
pub fn export(
    ledger: &Place,
    identity: Option<&Identity>,
    export: &Export,
    report: &Report,
) -> Result<Option<ExportSummary>> {
    let ledger = open(ledger, identity, false)?;
    let rules = Rules { force: export.force, unwritable: Kind::Storage, ..Rules::default() };
    let mut out = export.out.as_deref().map(|path| OutFile::reserve_by(path, rules)).transpose()?;
    let mut put = |text: String| {
        if let Some(out) = &mut out {
            return out.append(text.as_bytes()).and_then(|()| out.append(b"\n"));
        }
        report.data(text);
        Ok(())
    };
    if export.format == Format::Csv {
        put(table::header()?)?;
    }
    let mut head = Head { sequence: 0, hash: String::new() };
    let progress = export.out.as_ref().map(|_| report.progress("events exported"));
    let events = ledger.each_event(export.ids, |event| {
        put(match export.format {
            Format::Ndjson => json_line(&event)?,
            Format::Csv => table::line(&event)?,
        })?;
        head = Head { sequence: event.event, hash: event.hash };
        if let Some(progress) = &progress {
            progress.show(event.event.unsigned_abs(), None, "");
        }
        Ok(())
    })?;
    let Some(mut out) = out else { return Ok(None) };
    out.finish(false)?;
    Ok(Some(ExportSummary { events, file: out.path().display().to_string(), head }))
}
