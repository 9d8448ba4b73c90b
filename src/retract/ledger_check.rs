//! Checks that this ledger knows every earlier send. Every send runs this check first.
//!
//! A restored ledger lacks the sends since its backup, and another ledger lacks them all. Either would allow a second send.
//! The index remembers the ledger's ID and head, and a backup marks its copy. `recoup ledger accept` resolves a fault.

use crate::error::{Error, Kind, Result};
use crate::store::index::IndexReader;
use crate::store::ledger::{CopyOf, Ledger};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerFault {
    /// The index was used with a ledger, but there is none.
    Missing,
    /// The index was used with another ledger.
    Another,
    /// The ledger lacks events that the index has seen.
    Older,
    /// The ledger has diverged: the index has seen another event at the same position.
    Forked,
    /// `recoup backup` made this copy.
    Copy(CopyOf),
    /// The events do not end at the head that the file names. Holds the details as a sentence.
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
}

/// The fault of this ledger, if it or the index shows one.
pub fn fault(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<Option<LedgerFault>> {
    if let Some(gap) = ledger.map(Ledger::gap).transpose()?.flatten() {
        return Ok(Some(LedgerFault::Half(gap)));
    }
    let diverged = diverged(reader, ledger)?;
    // A copy knows when it was made, so its mark describes the fault best. A copy of another or a diverged ledger is an
    // exception: it lacks events that this index has seen.
    if !matches!(diverged, Some(LedgerFault::Another | LedgerFault::Forked))
        && let Some(of) = ledger.map(Ledger::copy_of).transpose()?.flatten()
    {
        return Ok(Some(LedgerFault::Copy(of)));
    }
    Ok(diverged)
}

/// Compares the ledger with the one that the index remembers.
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

/// Returns an error if this ledger may lack an earlier send.
pub fn check_ledger(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<()> {
    fault(reader, ledger)?.map_or(Ok(()), |fault| Err(refusal(&fault)))
}

pub fn refusal(fault: &LedgerFault) -> Error {
    let hint = match fault {
        LedgerFault::Half(_) => {
            "copy the file again together with its `-wal`, or bring the newest backup back; nothing can be accepted on top of \
             it, and nothing was sent"
        }
        _ => {
            "bring the newest ledger back, or name it with RECOUP_LEDGER; where it is lost, run `recoup ledger accept`; \
             nothing was sent"
        }
    };
    let message = format!("{}; what was sent since could be sent a second time", fault.describe());
    Error::new(Kind::Identity, message).hint(hint)
}
