//! Checks whether anything can be sent now, and if not, why.
//!
//! Every send runs this check before it plans. `status`, `doctor` and `/readyz` report the same result. Only a send asks the
//! vendor for the time again, so that an old answer does not block it.

use std::path::Path;

use super::ledger_check::{self, LedgerFault};
use super::{CLOCKS_APART, Context};
use crate::error::{Error, Kind, Result};
use crate::store::index::{ClockOffset, IndexReader};
use crate::store::ledger::Ledger;
use crate::store::{Identity, check_writable};

#[derive(Debug, Clone)]
pub struct Obstacle {
    /// The name of the obstacle. `missing`, `another`, `older`, `forked`, `copy` or `half` for the wrong ledger; `damaged`;
    /// `tampered`; `not_writable`; `clock`.
    pub name: &'static str,
    pub error: Error,
}

pub fn check(ctx: &Context<'_>) -> Result<()> {
    let ledger = ctx.ledger()?;
    let obstacle = ctx.read_index(|index| in_the_files(index, ledger, ctx.index_path, ctx.ledger_path))?;
    obstacle.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// Runs the check by file paths, for health checks.
pub fn check_files(index: &Path, ledger: &Path, identity: Option<&Identity>) -> Result<()> {
    let (reader, open) = (IndexReader::open(index, identity)?, Ledger::open_read_only(ledger, identity)?);
    in_the_files(reader.as_ref(), open.as_ref(), index, ledger)?.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// The obstacle in index or ledger, if there is one.
pub fn in_the_files(
    reader: Option<&IndexReader>,
    ledger: Option<&Ledger>,
    index_path: &Path,
    ledger_path: &Path,
) -> Result<Option<Obstacle>> {
    if let Some(fault) = ledger_check::fault(reader, ledger)? {
        return Ok(Some(Obstacle { name: LedgerFault::as_str(&fault), error: ledger_check::refusal(&fault) }));
    }
    if let Some(Err(error)) = ledger.map(Ledger::check_integrity) {
        let name = if error.kind == Kind::Tampered { "tampered" } else { "damaged" };
        return Ok(Some(Obstacle { name, error }));
    }
    let not_writable = check_writable(index_path, ledger_path).err();
    Ok(not_writable.map(|error| Obstacle { name: "not_writable", error }))
}

/// The obstacle that the vendor's newest `Date` header shows, if the clocks are too far apart.
pub fn by_the_clock(offset: &ClockOffset) -> Option<Obstacle> {
    let error = clock_trouble(offset.seconds)?;
    let message = format!("{} (as of {})", error.message, offset.at);
    Some(Obstacle { name: "clock", error: Error { message, ..error } })
}

/// Returns an error if the clocks are too far apart. `ahead`: how far this machine's clock is ahead of the vendor's, in
/// seconds; `None` if unknown.
pub fn clock_trouble(ahead: Option<i64>) -> Option<Error> {
    let Some(ahead) = ahead else {
        let message = "the vendor's answers carry no Date, so nothing can be concluded from the dates of its rewards";
        let hint = "a proxy in between may remove the header; let it through, then run the same command again";
        return Some(Error::new(Kind::Vendor, message).hint(hint));
    };
    if ahead.abs() <= CLOCKS_APART {
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
