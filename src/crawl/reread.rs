//! The accounts that a refresh reads besides the changes: accounts that failed before, and accounts with an old
//! reading.
//!
//! With `--reread-after`, each run reads a share of the accounts again, oldest reading first. The share of accounts is
//! so large that no reading exceeds the limit. Therefore the accounts of a tenant that was read in one night are not
//! all due again in one night. The run counts the requests for accounts that are due by age separately.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::accounts::AccountReader;
use super::active_run::ActiveRun;
use crate::clock::signed;
use crate::error::Result;
use crate::store::index::Run;

/// Reads the queue of the run and the accounts that failed before, then the accounts that are due by age.
pub(super) async fn read_due_accounts(active: &Arc<ActiveRun>, run: &Run) -> Result<()> {
    let accounts = AccountReader::new(Arc::clone(active), true);
    let key = active.run;
    if run.is_refresh() {
        active.writer.call(move |index| index.queue_failed(key)).await?;
    }
    accounts.drain().await?;
    let Some(limit) = active.options.reread_after.filter(|_| run.is_refresh() && !active.halt.is_cancelled()) else {
        return Ok(());
    };
    let (now, known) = (active.clock.now(), active.row().await?.accounts_known);
    let too_old = now.checked_sub(signed(limit)).unwrap_or(now);
    let (base, started_at) = (run.base, run.started_at);
    let queued = active
        .writer
        .call(move |index| {
            let due = index.queue_older(key, too_old, u64::MAX)?;
            let since = index.run_before(key, base)?.map(|before| before.started_at);
            let share = share(known, since.unwrap_or(started_at), started_at, limit);
            // `queue_older` skips the accounts that this run has already read.
            Ok(due + index.queue_older(key, started_at, share.saturating_sub(due))?)
        })
        .await?;
    if queued == 0 {
        return Ok(());
    }
    tracing::info!(queued, "accounts are read again for their age");
    let before = active.advocate.stats().requests;
    let drained = accounts.drain().await;
    let requests = active.advocate.stats().requests - before;
    active.writer.call(move |index| index.add_reread_requests(key, requests)).await?;
    drained
}

/// Returns how many accounts are due for the time since the previous run, if all accounts are due once within the
/// limit.
fn share(known: u64, before: Timestamp, now: Timestamp, limit: Duration) -> u64 {
    let since = Duration::try_from(now.duration_since(before)).unwrap_or(Duration::ZERO);
    let part = since.as_secs_f64() / limit.as_secs_f64().max(1.0);
    ((known as f64 * part).ceil() as u64).min(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_reads_its_share_of_the_accounts() {
        let day = |n: i64| Timestamp::from_second(n * 86_400).expect("a time");
        let limit = Duration::from_hours(30 * 24);
        for (known, days, expected) in [(3000, 1, 100), (3000, 0, 0), (10, 1, 1), (3000, 60, 3000), (0, 1, 0)] {
            assert_eq!(share(known, day(100), day(100 + days), limit), expected, "{known} in {days} days");
        }
        assert_eq!(share(3000, day(101), day(100), limit), 0, "a clock that was set back");
    }
}
