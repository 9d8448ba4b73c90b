//! Whether this ledger is the one that knows what was sent. Everything that sends asks here first.
//!
//! A ledger that was restored, or that is another one than before, does not know what was sent since, and would let it be
//! sent again. The index remembers the ledger's name and head, and a backup's copy says that it is one. Whoever sends must
//! have asked; the way out is `accept`.

use crate::error::{Error, Kind, Result};
use crate::store::index::IndexReader;
use crate::store::ledger::{CopyOf, Ledger};

/// Why nothing may be sent from a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The index was used with a ledger, and there is none.
    Missing,
    /// It is not the one that the index was used with.
    Another,
    /// The index has seen events that it does not have.
    Older,
    /// The index has seen another event in the place of one of its own.
    Forked,
    /// It is a copy that `recoup backup` made.
    Copy(CopyOf),
    /// Its events do not end at the head that the file names.
    Half(String),
}

impl Trouble {
    /// The word for it.
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

    /// A sentence about it.
    pub fn describe(&self) -> String {
        match self {
            Self::Missing => "this is not where the ledger is that was used with this index".to_owned(),
            Self::Another => "this is another ledger than the one that was used with this index".to_owned(),
            Self::Older => "this is an older copy of the ledger that was used with this index".to_owned(),
            Self::Forked => "this ledger has gone another way than the one that was used with this index".to_owned(),
            Self::Copy(of) => format!("this ledger is a copy that was made at {}", of.at),
            Self::Half(gap) => format!("this ledger is not whole: {gap}"),
        }
    }
}

/// What is wrong with this ledger, as far as it and the index can tell.
pub fn trouble(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<Option<Trouble>> {
    if let Some(gap) = ledger.map(Ledger::gap).transpose()?.flatten() {
        return Ok(Some(Trouble::Half(gap)));
    }
    let parted = parted(reader, ledger)?;
    // The mark of a copy says since when; but a copy of another ledger, or of one that has gone another way, knows nothing of
    // what this index has seen.
    if !matches!(parted, Some(Trouble::Another | Trouble::Forked))
        && let Some(of) = ledger.map(Ledger::copy_of).transpose()?.flatten()
    {
        return Ok(Some(Trouble::Copy(of)));
    }
    Ok(parted)
}

/// Whether the ledger is not the one that the index remembers.
fn parted(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<Option<Trouble>> {
    let Some((wanted, head)) = reader.map(IndexReader::ledger).transpose()?.flatten() else { return Ok(None) };
    let Some(ledger) = ledger else { return Ok(Some(Trouble::Missing)) };
    if ledger.ledger_id()? != wanted {
        return Ok(Some(Trouble::Another));
    }
    Ok(match ledger.hash_at(head.sequence)? {
        None if head.sequence > 0 => Some(Trouble::Older),
        Some(hash) if !head.hash.is_empty() && hash != head.hash => Some(Trouble::Forked),
        _ => None,
    })
}

/// Refuses to go on with a ledger that does not know what was sent.
pub fn check_ledger(reader: Option<&IndexReader>, ledger: Option<&Ledger>) -> Result<()> {
    trouble(reader, ledger)?.map_or(Ok(()), |trouble| Err(refusal(&trouble)))
}

/// Why nothing is sent, and the way out.
pub fn refusal(trouble: &Trouble) -> Error {
    let hint = match trouble {
        Trouble::Half(_) => {
            "copy the file again together with its `-wal`, or bring the newest backup back; nothing can be accepted on top of \
             it, and nothing was sent"
        }
        _ => {
            "bring the newest ledger back, or name it with RECOUP_LEDGER; where it is lost, run `recoup ledger accept`; \
             nothing was sent"
        }
    };
    let message = format!("{}; what was sent since could be sent again", trouble.describe());
    Error::new(Kind::Identity, message).hint(hint)
}
