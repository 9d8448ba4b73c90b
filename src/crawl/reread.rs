//! What a refresh reads besides what changed: accounts that failed before, and accounts whose last reading is old.
//!
//! The rolling re-read spreads over the runs: each takes the share that keeps every account younger than the limit, the
//! oldest reading first, so that a tenant that was read in one night is not due again in one night. Its requests are counted
//! apart. Where no limit is set, nothing is read for its age.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::accounts::Accounts;
use crate::clock::signed;
use crate::error::Result;
use crate::store::index::Run;

/// Reads what is in the run's queue and what failed before, then what is due by age.
pub(super) async fn what_is_due(accounts: &Arc<Accounts>, run: &Run) -> Result<()> {
    let job = &accounts.job;
    let key = job.run;
    if run.is_refresh() {
        job.writer.call(move |index| index.queue_failed(key)).await?;
    }
    accounts.drain().await?;
    let Some(limit) = job.options.reread_after.filter(|_| run.is_refresh() && !job.halt.is_cancelled()) else {
        return Ok(());
    };
    let (now, known) = (job.clock.now(), job.run_row().await?.accounts_known);
    let too_old = now.checked_sub(signed(limit)).unwrap_or(now);
    let (base, started_at) = (run.base, run.started_at);
    let queued = job
        .writer
        .call(move |index| {
            let due = index.queue_older(key, too_old, u64::MAX)?;
            let since = index.run_before(key, base)?.map(|before| before.started_at);
            let share = share(known, since.unwrap_or(started_at), started_at, limit);
            // What was read since the run began is as fresh as can be.
            Ok(due + index.queue_older(key, started_at, share.saturating_sub(due))?)
        })
        .await?;
    if queued == 0 {
        return Ok(());
    }
    tracing::info!(queued, "accounts are read again for their age");
    let before = job.advocate.stats().requests;
    let drained = accounts.drain().await;
    let requests = job.advocate.stats().requests - before;
    job.writer.call(move |index| index.add_reread_requests(key, requests)).await?;
    drained
}

/// How many of the accounts belong to the time since the run before, where all of them belong to the limit.
fn share(known: u64, before: Timestamp, now: Timestamp, limit: Duration) -> u64 {
    let since = Duration::try_from(now.duration_since(before)).unwrap_or(Duration::ZERO);
    let part = since.as_secs_f64() / limit.as_secs_f64().max(1.0);
    ((known as f64 * part).ceil() as u64).min(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_takes_its_share_of_the_accounts() {
        let day = |n: i64| Timestamp::from_second(n * 86_400).expect("a moment");
        let limit = Duration::from_hours(30 * 24);
        for (known, days, expected) in [(3000, 1, 100), (3000, 0, 0), (10, 1, 1), (3000, 60, 3000), (0, 1, 0)] {
            assert_eq!(share(known, day(100), day(100 + days), limit), expected, "{known} in {days} days");
        }
        assert_eq!(share(3000, day(101), day(100), limit), 0, "a clock that went back");
    }
}
