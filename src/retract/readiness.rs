//! Checks whether recoup can send requests now, and returns the obstacle if it cannot.
//!
//! recoup checks before every plan whether it can send. `status`, `doctor` and `/readyz` report whether recoup can
//! send. Only a send reads the vendor's time again, because an old clock reading must not block the send.
//!
//! The ledger must have every earlier send. A restored ledger lacks the sends since its backup, and another ledger
//! lacks all sends. A restored or wrong ledger would allow a second send. The index therefore stores the ledger's ID
//! and head, and `recoup backup` marks each copy. `recoup ledger accept` makes sends possible again after a
//! [`LedgerFault`].

use super::{Context, MAX_CLOCK_DIFFERENCE};
use crate::error::{Error, Kind, Result};
use crate::store::index::{ClockOffset, IndexReader};
use crate::store::ledger::{CopyOf, Ledger};
use crate::store::{Identity, Place, check_writable};

#[derive(Debug, Clone)]
pub struct Obstacle {
    /// The name of the obstacle to a send. `missing`, `another`, `older`, `forked`, `copy` or `half` name a wrong
    /// ledger. Obstacles other than a wrong ledger are `damaged`, `tampered`, `not_writable` and `clock`.
    pub name: &'static str,
    pub error: Error,
}

pub fn check(ctx: &Context<'_>) -> Result<()> {
    let ledger = ctx.ledger()?;
    let obstacle = ctx.read_index(|index| file_obstacle(index, ledger, ctx.index_place, ctx.ledger_place))?;
    obstacle.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// Checks whether the index and the ledger at two paths allow a send, for health checks.
pub fn check_files(index: &Place, ledger: &Place, identity: Option<&Identity>) -> Result<()> {
    let (reader, open) = (IndexReader::open(index, identity)?, Ledger::open_read_only(ledger, identity)?);
    file_obstacle(reader.as_ref(), open.as_ref(), index, ledger)?.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// Returns why the index or the ledger prevents a send; `None` if neither does.
pub fn file_obstacle(
    reader: Option<&IndexReader>,
    ledger: Option<&Ledger>,
    index_place: &Place,
    ledger_place: &Place,
) -> Result<Option<Obstacle>> {
    if let Some(fault) = ledger_fault(reader, ledger)? {
        return Ok(Some(Obstacle { name: fault.as_str(), error: fault.refusal() }));
    }
    if let Some(Err(error)) = ledger.map(Ledger::check_integrity) {
        let name = if error.kind == Kind::Tampered { "tampered" } else { "damaged" };
        return Ok(Some(Obstacle { name, error }));
    }
    let not_writable = check_writable(index_place, ledger_place).err();
    Ok(not_writable.map(|error| Obstacle { name: "not_writable", error }))
}

/// Returns an obstacle if the vendor's newest `Date` header shows that the clocks are too far apart.
pub fn clock_obstacle(offset: &ClockOffset) -> Option<Obstacle> {
    let error = clock_error(offset.seconds)?;
    let message = format!("{} (as of {})", error.message, offset.at);
    Some(Obstacle { name: "clock", error: Error { message, ..error } })
}

/// Returns an error if the clocks are too far apart. `ahead` is how far this machine's clock is ahead of the vendor's,
/// in seconds; `None` if unknown.
pub fn clock_error(ahead: Option<i64>) -> Option<Error> {
    let Some(ahead) = ahead else {
        let message = "the vendor's answers carry no Date, so nothing can be concluded from the dates of its rewards";
        let hint = "a proxy in between may remove the header; let it through, then run the same command again";
        return Some(Error::new(Kind::Vendor, message).hint(hint));
    };
    if ahead.abs() <= MAX_CLOCK_DIFFERENCE {
        return None;
    }
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let message =
        format!("this machine's clock is {} s {way} the vendor's, so nothing can be concluded from dates", ahead.abs());
    Some(
        Error::new(Kind::Failed, message)
            .hint("set this machine's clock, then run the same command again; `recoup doctor` shows both"),
    )
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerFault {
    /// The index was used with a ledger, but the ledger file is missing.
    Missing,
    /// The index was used with another ledger.
    Another,
    /// The ledger lacks events that the index has seen.
    Older,
    /// The ledger has diverged: the index has seen another event at the same position.
    Forked,
    /// The ledger is a copy that `recoup backup` made.
    Copy(CopyOf),
    /// The events of the ledger do not end at the head that the ledger file stores. The variant's text describes how
    /// the ledger's events differ from its head.
    Half(String),
}

impl LedgerFault {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Another => "another",
            Self::Older => "older",
            Self::Forked => "forked",
            Self::Copy(_) => "copy",
            Self::Half(_) => "half",
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Missing => "there is no ledger at this path, and this index was used with one".to_owned(),
            Self::Another => "this is not the ledger that was used with this index".to_owned(),
            Self::Older => "this is an older copy of the ledger that was used with this index".to_owned(),
            Self::Forked => "this ledger has diverged from the one that was used with this index".to_owned(),
            Self::Copy(of) => format!("this ledger is a copy that was made at {}", of.at),
            Self::Half(gap) => format!("this ledger is incomplete: {gap}"),
        }
    }

    /// Returns the error that a send reports for this fault.
    pub fn refusal(&self) -> Error {
        let hint = match self {
            Self::Half(_) => {
                "copy the file again together with its `-wal`, or bring the newest backup back; nothing can be accepted on top of \
                 it, and nothing was sent"
            }
            _ => {
                "bring the newest ledger back, or name it with RECOUP_LEDGER; if it is lost, run `recoup ledger accept`; \
                 nothing was sent"
            }
        };
        let message = format!("{}; what was sent since could be sent a second time", self.describe());
        Error::new(Kind::Identity, message).hint(hint)
    }
}

/// Returns the fault of this ledger; `None` if neither the ledger nor the index shows a fault.
pub fn ledger_fault(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<Option<LedgerFault>> {
    if let Some(gap) = ledger.map(Ledger::gap).transpose()?.flatten() {
        return Ok(Some(LedgerFault::Half(gap)));
    }
    let diverged = diverged(reader, ledger)?;
    // The mark of a backup copy records when recoup made the copy. Therefore the mark of a copy describes the fault
    // best. The mark does not describe the fault of a copy of another ledger or of a diverged ledger, because that copy
    // lacks events that this index has seen.
    if !matches!(diverged, Some(LedgerFault::Another | LedgerFault::Forked))
        && let Some(of) = ledger.map(Ledger::copy_of).transpose()?.flatten()
    {
        return Ok(Some(LedgerFault::Copy(of)));
    }
    Ok(diverged)
}

/// Compares the ledger with the ledger ID and head that the index stores.
fn diverged(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<Option<LedgerFault>> {
    let Some((wanted, head)) = reader.map(IndexReader::ledger).transpose()?.flatten() else { return Ok(None) };
    let Some(ledger) = ledger else { return Ok(Some(LedgerFault::Missing)) };
    if ledger.ledger_id()? != wanted {
        return Ok(Some(LedgerFault::Another));
    }
    Ok(match ledger.hash_at(head.sequence)? {
        None if head.sequence > 0 => Some(LedgerFault::Older),
        Some(hash) if !head.hash.is_empty() && hash != head.hash => Some(LedgerFault::Forked),
        _ => None,
    })
}
