//! Carrying open retractions forward, by reading only.
//!
//! What is queued, unknown or unconfirmed is looked at again: once, or with `--watch` until none is open. An *unconfirmed*
//! one is re-read for 14 days. This module must never send anything.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::follow::follow;
use super::receipt::Receipt;
use super::{Follows, Reads};
use crate::error::{Error, Kind, Result};
use crate::model::Coverage;
use crate::store::index::IndexReader;
use crate::store::ledger::{Ledger, Retraction, State};

/// How long an unconfirmed retraction is re-read.
const UNCONFIRMED_FOR: Duration = Duration::from_hours(336);

/// Looks at the named retractions, or at all open ones; one receipt each.
pub async fn run(reads: &Reads<'_>, ids: &[i64], watch: bool, follows: &Follows) -> Result<Vec<Receipt>> {
    if Ledger::open_read_only(reads.ledger, Some(reads.identity))?.is_none() {
        return if ids.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Error::new(Kind::Failed, "there is no ledger yet: nothing was ever retracted here"))
        };
    }
    let coverage = match IndexReader::open(reads.index, Some(reads.identity))? {
        Some(reader) => reader.coverage()?,
        None => Coverage::default(),
    };
    let mut ledger = Ledger::open(reads.ledger, reads.identity, reads.actor)?;
    let chosen = if ids.is_empty() {
        ledger.open_ones()?
    } else {
        ids.iter().map(|id| ledger.get(*id)).collect::<Result<Vec<_>>>()?
    };
    let began = Instant::now();
    let mut receipts: BTreeMap<i64, Receipt> = BTreeMap::new();
    let mut pending = Vec::new();
    for retraction in chosen {
        if ids.is_empty() && !still_worth_reading(&retraction, reads.clock.now()) {
            reads.report.note(format!(
                "retraction {} has been unconfirmed for more than 14 days and is not read again unless it is named",
                retraction.id
            ));
            receipts.insert(retraction.id, receipt_of(reads, &coverage, &retraction));
        } else {
            pending.push(retraction);
        }
    }
    let mut pause = follows.first_poll;
    let progress = reads.report.progress("retractions that are open");
    // One look at each in turn, so that one without an end keeps nobody waiting.
    loop {
        let over = !watch || began.elapsed().saturating_add(pause) > follows.wait || reads.stop.is_cancelled();
        let look = Follows { wait: Duration::ZERO, concludes: watch && over && !reads.stop.is_cancelled(), ..*follows };
        let mut still_open = Vec::new();
        let mut stopped: Option<Error> = None;
        for retraction in pending {
            let mut newest = retraction.clone();
            let mut error = stopped.clone();
            if error.is_none() {
                match follow(reads, &look, &mut ledger, retraction).await {
                    Ok(followed) => newest = followed,
                    Err(met) => {
                        newest = ledger.get(newest.id).unwrap_or(newest);
                        // The credentials and the quota are the same for all of them.
                        stopped = matches!(met.kind.exit_code(), 3 | 8 | 130).then(|| met.clone());
                        error = Some(met);
                    }
                }
            }
            let mut receipt = receipt_of(reads, &coverage, &newest);
            if let Some(error) = error {
                receipt.end_early(error.context(format!("retraction {}", newest.id)));
            } else if newest.state.is_open() && reads.stop.is_cancelled() {
                receipt.end_early(Error::new(Kind::Interrupted, "interrupted; run `recoup verify` again"));
            }
            receipts.insert(newest.id, receipt);
            if newest.state.is_open() {
                still_open.push(newest);
            }
        }
        pending = still_open;
        if over || pending.is_empty() || stopped.is_some() {
            break;
        }
        progress.show(pending.len() as u64, None, &format!("next look in {pause:.0?}"));
        tokio::select! {
            () = reads.clock.sleep(pause) => {}
            () = reads.stop.cancelled() => {}
        }
        pause = follows.longer(pause);
    }
    for receipt in receipts.values_mut() {
        receipt.mark(&ledger);
    }
    Ok(receipts.into_values().collect())
}

fn receipt_of(reads: &Reads<'_>, coverage: &Coverage, retraction: &Retraction) -> Receipt {
    let mut receipt = Receipt::new(reads.identity, &retraction.order_id, coverage, false);
    receipt.add(retraction, &[]);
    receipt
}

/// Whether it is read again without being named: an unconfirmed one is for 14 days.
pub fn still_worth_reading(retraction: &Retraction, now: Timestamp) -> bool {
    if retraction.state != State::Unconfirmed {
        return true;
    }
    // Since it became so this time: a proof that was denied later starts the time anew.
    let run = retraction.events.iter().rev().take_while(|event| event.state == State::Unconfirmed);
    let since = run.last().and_then(|event| event.at.parse::<Timestamp>().ok()).map(|then| now.duration_since(then));
    since.is_none_or(|since| Duration::try_from(since).is_ok_and(|since| since <= UNCONFIRMED_FOR))
}
