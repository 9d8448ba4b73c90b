//! Whether anything can be sent now, and if not, why. Everything that sends asks here before it plans, and `status`, `doctor`
//! and `/readyz` say what it answers, so that health and sending cannot disagree.
//!
//! The vendor's clock is the one thing that a send asks anew: what an earlier answer said must not keep it from asking.

use std::path::Path;

use super::guard::{self, Trouble};
use super::{CLOCKS_APART, Context};
use crate::error::{Error, Kind, Result};
use crate::store::index::{ClockOffset, IndexReader};
use crate::store::ledger::Ledger;
use crate::store::{Identity, check_writable};

/// Why nothing can be sent.
#[derive(Debug, Clone)]
pub struct Obstacle {
    /// `missing`, `another`, `older`, `forked`, `copy` or `half` of a ledger that is not the right one, `damaged`,
    /// `not_writable`, or `clock`.
    pub name: &'static str,
    /// The same as an error.
    pub error: Error,
}

/// Refuses to plan what could not be sent.
pub fn check(ctx: &Context<'_>) -> Result<()> {
    let ledger = ctx.ledger()?;
    let obstacle = ctx.read_index(|index| in_the_files(index, ledger, ctx.index_path, ctx.ledger_path))?;
    obstacle.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// The same with nothing but paths, for a check of health.
pub fn check_files(index: &Path, ledger: &Path, identity: Option<&Identity>) -> Result<()> {
    let (reader, open) = (IndexReader::open(index, identity)?, Ledger::open_read_only(ledger, identity)?);
    in_the_files(reader.as_ref(), open.as_ref(), index, ledger)?.map_or(Ok(()), |obstacle| Err(obstacle.error))
}

/// What in the two files keeps everything from being sent.
pub fn in_the_files(
    reader: Option<&IndexReader>,
    ledger: Option<&Ledger>,
    index_path: &Path,
    ledger_path: &Path,
) -> Result<Option<Obstacle>> {
    if let Some(trouble) = guard::trouble(reader, ledger)? {
        return Ok(Some(Obstacle { name: Trouble::as_str(&trouble), error: guard::refusal(&trouble) }));
    }
    if let Some(Err(error)) = ledger.map(Ledger::check_sound) {
        return Ok(Some(Obstacle { name: "damaged", error }));
    }
    let not_writable = check_writable(index_path, ledger_path).err();
    Ok(not_writable.map(|error| Obstacle { name: "not_writable", error }))
}

/// What the vendor's newest answer said about the clocks, if that keeps everything from being sent.
pub fn by_the_clock(offset: &ClockOffset) -> Option<Obstacle> {
    let error = clock_trouble(offset.seconds)?;
    let message = format!("{} (as of {})", error.message, offset.at);
    Some(Obstacle { name: "clock", error: Error { message, ..error } })
}

/// Why nothing that depends on time is concluded or sent. `ahead`: how far this clock is ahead of the vendor's, in seconds.
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
