//! Deletes a person's data from the ledger and the index.
//!
//! recoup deletes a person from the ledger first, because the ledger's tombstone keeps the person out of later crawls.
//! A user can repeat every step of deleting a person. The ledger keeps the retractions of a deleted person, but not the
//! data that identifies the person. Deleting a person never prints or stores the account.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, counted};
use crate::report::{self, Report};
use crate::retract::REREAD_FOR;
use crate::retract::readiness::{LedgerFault, ledger_fault};
use crate::retract::verify::still_worth_reading;
use crate::store::index::{Erased, Index, IndexReader};
use crate::store::ledger::{Head, Ledger, Retraction, State};
use crate::store::notices::NoticeQueue;
use crate::store::{Identity, Place, ProcessLock};

pub struct Files<'a> {
    pub index: &'a Place,
    pub ledger: &'a Place,
    /// The tenant and the hosts to which the index and the ledger belong.
    pub identity: &'a Identity,
    /// The person who runs the command. The ledger records the person who runs the command.
    pub actor: &'a Actor,
}

#[derive(Debug, Serialize)]
pub struct Forgotten {
    pub ticket: String,
    /// The number of values that recoup deleted from the ledger: the account itself, and the reasons and vendor
    /// responses of its retractions.
    pub values: u64,
    /// The number of the deleted person's retractions. The ledger keeps the retractions of a deleted account, without
    /// the account.
    pub retractions: u64,
    /// The counts of rows deleted from the index; `null` if the index does not exist.
    pub index: Option<Erased>,
    /// The ledger's newest event, which records that the person was deleted.
    pub head: Head,
}

pub async fn run(
    files: &Files<'_>,
    account: &AccountId,
    ticket: &str,
    yes: bool,
    clock: &Clock,
    stop: &CancellationToken,
    report: &Report,
) -> Result<Forgotten> {
    if account.as_str().is_empty() {
        return Err(Error::new(Kind::Usage, "an account ID is missing")
            .hint("name the account exactly; `recoup lookup ORDER` shows the account of a reward"));
    }
    if !yes && !report.can_ask() {
        return Err(Error::new(Kind::Refused, "there is no terminal to ask on, so nothing was forgotten")
            .hint("add --yes to skip the question"));
    }
    let reader = IndexReader::open(files.index, Some(files.identity))?;
    let existing = Ledger::open_read_only(files.ledger, Some(files.identity))?;
    if ledger_fault(reader.as_ref(), existing.as_ref())? == Some(LedgerFault::Missing) {
        return Err(Error::new(
            Kind::Identity,
            format!("the index was used with a ledger, and there is none at {}", files.ledger),
        )
        .hint("restore it, or set RECOUP_LEDGER to its path: the account must be deleted from it too"));
    }
    let known = existing.as_ref().map_or_else(|| Ok(Vec::new()), |ledger| ledger.of_account(account))?;
    check_closed(&known, clock.now())?;
    drop((reader, existing));
    if !yes {
        ask(&known, stop).await?;
    }
    let busy = |who: &str| {
        Error::new(Kind::Busy, format!("{who} is running; nothing was forgotten"))
            .hint("run the same command again when it is done")
    };
    // The locks keep a crawl from reading the account meanwhile, and a process from starting a retraction of it.
    let crawl = ProcessLock::try_take(files.index, "crawl")?.ok_or_else(|| busy("a crawl"))?;
    let send = ProcessLock::try_take(files.ledger, "send")?.ok_or_else(|| busy("a retraction"))?;
    let ledger = Ledger::open(files.ledger, files.identity, files.actor)?;
    check_closed(&ledger.of_account(account)?, clock.now())?;
    send.check_held()?;
    let here = ledger.forget(account, &json!({ "ticket": ticket }), clock.now())?.unwrap_or_default();
    let index = if IndexReader::exists(files.index)? {
        let mut index = Index::open(files.index, files.identity)?;
        index.fence(&crawl);
        let buried = index.import_tombstones(&ledger.tombstones()?, clock.now())?;
        Some(erase(&mut index, std::slice::from_ref(account), buried.erased, report)?)
    } else {
        None
    };
    NoticeQueue::forget_orders(&NoticeQueue::beside(files.ledger), files.identity)?;
    ledger.rewrite()?;
    Ok(Forgotten {
        ticket: ticket.to_owned(),
        values: here.values,
        retractions: here.retractions,
        index,
        head: ledger.head()?,
    })
}

/// Copies the ledger's tombstones to the index, and deletes the forgotten accounts that an older or new index still
/// has. `create` makes this function create a missing index.
pub fn apply_tombstones(files: &Files<'_>, create: bool, clock: &Clock, report: &Report) -> Result<()> {
    let Some(ledger) = Ledger::open_read_only(files.ledger, Some(files.identity))? else { return Ok(()) };
    let tombstones = ledger.tombstones()?;
    if tombstones.macs.is_empty() || (!create && !IndexReader::exists(files.index)?) {
        return Ok(());
    }
    let mut index = Index::open(files.index, files.identity)?;
    let buried = index.import_tombstones(&tombstones, clock.now())?;
    if !buried.accounts.is_empty() {
        report.note("this index had forgotten accounts; they are deleted now");
        erase(&mut index, &buried.accounts, buried.erased, report)?;
    }
    Ok(())
}

fn erase(index: &mut Index, accounts: &[AccountId], so_far: Erased, report: &Report) -> Result<Erased> {
    let progress = report.progress("rewards looked through");
    let erased = index.erase(accounts, so_far, |looked| progress.show(looked, None, ""))?;
    index.rewrite()?;
    Ok(Erased { repacked: true, ..erased })
}

/// Fails if a retraction of the person is open, because `verify` cannot follow it without the account. A retraction
/// that `verify` no longer reads is not open.
fn check_closed(known: &[Retraction], now: Timestamp) -> Result<()> {
    let open: Vec<String> = known
        .iter()
        .filter(|retraction| retraction.state.is_open() && still_worth_reading(retraction, REREAD_FOR, now))
        .map(|retraction| format!("{} ({})", retraction.id, State::as_str(retraction.state)))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        format!("this account has open retractions: {}; nothing was forgotten", open.join(", ")),
    )
    .hint("run `recoup verify` until they are closed, then run this again"))
}

async fn ask(known: &[Retraction], stop: &CancellationToken) -> Result<()> {
    let question = format!(
        "Forget this account? The ledger keeps {} without it; their reasons and the vendor's responses are deleted. This cannot be undone.",
        counted(known.len(), "retraction")
    );
    report::confirm(question, stop, "nothing was forgotten").await
}

impl Forgotten {
    /// Returns the result of deleting a person as text. The text about a deleted person does not contain the account.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "forgotten (ticket {}): {} of {} in the ledger",
            self.ticket,
            counted(self.values, "value"),
            counted(self.retractions, "retraction")
        )];
        match &self.index {
            None => lines.push("there is no index; a later one will not contain the account".to_owned()),
            Some(erased) => {
                lines.push(format!(
                    "{}, {}, {} in the index; its ID was removed from {} of others",
                    counted(erased.accounts, "account"),
                    counted(erased.rewards, "reward"),
                    counted(erased.links, "link"),
                    counted(erased.renamed, "reward")
                ));
            }
        }
        if self.values == 0 && self.index.as_ref().is_none_or(|erased| erased.accounts == 0 && erased.renamed == 0) {
            lines.push(
                "neither file has an account with exactly this ID: nothing was deleted, and it is only kept out from now on. \
                 If you expected data, `recoup lookup ORDER` shows the account ID of a reward"
                    .to_owned(),
            );
        }
        lines.push("no crawl, look-up or retraction brings it back; earlier backups still contain it".to_owned());
        lines.push(format!("head {} (event {})", self.head.hash, self.head.sequence));
        lines
    }
}
