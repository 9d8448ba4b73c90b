//! The shared context of the retraction use cases: identity, clients, clock, signal, output, and the files that one command
//! opens.
//!
//! A command opens each of its files once, but a send opens the index again. No lock of the retraction context is held
//! across an `await`. Therefore the future of a use case is [`Send`].

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::rule::KnownPrograms;
use super::{SubmissionLists, readiness};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::extract::Mapping;
use crate::model::{Actor, Coverage};
use crate::report::Report;
use crate::store::index::{Index, IndexReader};
use crate::store::ledger::Ledger;
use crate::store::{Identity, Place};
use crate::vendor::{Advocate, Brand, Program};

pub struct Context<'a> {
    pub index_place: &'a Place,
    pub ledger_place: &'a Place,
    /// The tenant and the hosts of index and ledger.
    pub identity: &'a Identity,
    /// The person and the machine, which each ledger event records.
    pub actor: &'a Actor,
    pub advocate: &'a Advocate,
    pub brand: &'a Brand,
    pub mapping: &'a Mapping,
    pub clock: &'a Clock,
    pub stop: &'a CancellationToken,
    pub report: &'a Report,
    pub session: Session,
}

/// The files that a command has opened, and vendor data that several orders share.
#[derive(Default)]
pub struct Session {
    index_reader: Mutex<Option<IndexReader>>,
    index_writer: Mutex<Option<Index>>,
    ledger_reader: OnceLock<Ledger>,
    ledger_writer: OnceLock<Ledger>,
    programs: OnceCell<Vec<Program>>,
    pub(super) rules: KnownPrograms,
    pub(super) lists: SubmissionLists,
}

impl Context<'_> {
    /// Reads the index of this command. `work` gets `None` if the index does not exist.
    pub fn read_index<T>(&self, work: impl FnOnce(Option<&IndexReader>) -> Result<T>) -> Result<T> {
        let mut reader = lock(&self.session.index_reader);
        if reader.is_none() {
            *reader = IndexReader::open(self.index_place, Some(self.identity))?;
        }
        work(reader.as_ref())
    }

    /// Returns how much of the tenant the index has read; empty without an index.
    pub(super) fn coverage(&self) -> Result<Coverage> {
        self.read_index(|index| index.map_or_else(|| Ok(Coverage::default()), IndexReader::coverage))
    }

    /// Writes to the index, and creates it if it is missing. After an error, the next call opens the index again.
    pub fn write_index<T>(&self, work: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        let mut kept = lock(&self.session.index_writer);
        let mut index = match kept.take() {
            Some(index) => index,
            None => Index::open(self.index_place, self.identity)?,
        };
        let written = work(&mut index)?;
        *kept = Some(index);
        Ok(written)
    }

    /// Opens the index again and calls [`Context::write_index`]. A send uses this function, because another version of
    /// recoup may have written to the index since the command began, or another file may have replaced it.
    pub fn reopen_index<T>(&self, work: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        *lock(&self.session.index_writer) = None;
        self.write_index(work)
    }

    /// Writes vendor data into the index, if the index exists. The index is a cache. Therefore a failed write only logs
    /// a warning.
    pub fn cache_in_index(&self, work: impl FnOnce(&mut Index) -> Result<()>) {
        let exists = IndexReader::exists(self.index_place);
        if let Err(error) = exists.and_then(|exists| if exists { self.write_index(work) } else { Ok(()) }) {
            self.report.warn(format!("the index was not updated with what was read: {error}"));
        }
    }

    /// Returns the ledger for reading; `None` before the first retraction.
    pub fn ledger(&self) -> Result<Option<&Ledger>> {
        let Session { ledger_reader, ledger_writer, .. } = &self.session;
        if let Some(ledger) = ledger_writer.get().or_else(|| ledger_reader.get()) {
            return Ok(Some(ledger));
        }
        let opened = Ledger::open_read_only(self.ledger_place, Some(self.identity))?;
        Ok(opened.map(|ledger| ledger_reader.get_or_init(|| ledger)))
    }

    /// Returns the ledger for writing, and creates it if it is missing. A dry run must not call this function.
    pub fn open_ledger(&self) -> Result<&Ledger> {
        let known = &self.session.ledger_writer;
        if let Some(ledger) = known.get() {
            return Ok(ledger);
        }
        let ledger = Ledger::open(self.ledger_place, self.identity, self.actor)?;
        Ok(known.get_or_init(|| ledger))
    }

    /// Returns the programs of the vendor account. Only the first call requests the account's programs from the Brand
    /// API.
    pub(super) async fn programs(&self) -> Result<&[Program]> {
        let programs = self.session.programs.get_or_try_init(|| self.brand.programs()).await;
        programs.map(Vec::as_slice)
    }

    /// Returns how far this machine's clock is ahead of the vendor's, in seconds; `None` if the vendor's newest answer
    /// has no date.
    pub fn clock_ahead(&self) -> Option<i64> {
        self.advocate.host_clock().or_else(|| self.brand.host_clock())?.ahead
    }

    /// Returns the time by the vendor's clock, which determines expiry and deadlines.
    ///
    /// Returns an error if the vendor's answers have no date, or if the two clocks differ too much. Without the
    /// vendor's time, recoup cannot compare dates of the ledger with dates of the vendor.
    pub fn vendor_now(&self) -> Result<Timestamp> {
        let ahead = self.clock_ahead();
        if let Some(error) = readiness::clock_error(ahead) {
            return Err(error);
        }
        let ahead = SignedDuration::from_secs(ahead.unwrap_or_default());
        Ok(self.clock.now().saturating_sub(ahead).unwrap_or(Timestamp::MIN))
    }

    /// Returns the vendor's time, or this machine's time and the reason why recoup cannot use the vendor's time.
    pub(super) fn vendor_now_or_own(&self) -> (Timestamp, Option<Error>) {
        match self.vendor_now() {
            Ok(now) => (now, None),
            Err(error) => (self.clock.now(), Some(error)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OrderId, RewardId};
    use crate::retract::batch::Batch;
    use crate::retract::request::{RetractRequest, RunOptions};
    use crate::retract::{accept_restored, adjust, cancel, file, verify};

    fn assert_send<T: Send>(_: T) {}

    /// Makes the build fail if a use case is not [`Send`], because services await the use cases on tokio's threads. The
    /// program never calls this function.
    #[expect(dead_code, reason = "the compiler checks it")]
    #[expect(clippy::too_many_arguments, reason = "one value for each use case")]
    fn every_use_case_is_send(
        ctx: &'static Context<'static>,
        writer: &'static crate::retract::WriterSettings,
        order_id: &'static OrderId,
        retraction: (&'static RetractRequest, &'static RunOptions),
        options: &'static crate::retract::Options,
        adjustment: &'static adjust::AdjustOptions,
        canceller: (&'static cancel::CancellerSettings, &'static RewardId, &'static cancel::CancelOptions),
        file: (
            &'static file::write::WriteOptions,
            &'static file::check::CheckOptions,
            &'static file::release::ReleaseOptions,
        ),
        restored: &'static accept_restored::AcceptOptions,
        refunds: &'static crate::refunds::Refunds,
        mut batch: Batch<'static>,
    ) {
        assert_send(crate::retract::run(ctx, writer, retraction.0, retraction.1));
        assert_send(verify::run(ctx, &[], true, &options.follows));
        assert_send(adjust::run(ctx, writer, order_id, adjustment));
        assert_send(cancel::run(ctx, canceller.0, canceller.1, canceller.2));
        assert_send(file::write::run(ctx, writer.lock_wait, &[], file.0));
        assert_send(file::check::run(ctx, file.1));
        assert_send(file::release::run(ctx, file.2));
        assert_send(accept_restored::run(ctx, restored));
        assert_send(Batch::plan(ctx, refunds, options, Timestamp::MIN));
        assert_send(async move {
            batch.plan_partials(writer).await;
            batch.carry_out(writer).await
        });
    }
}
