//! What every source works with: the client, the writer, the run, and how it is stopped.
//!
//! A failure that concerns the whole run (credentials, quota, a full disk) stops it and is kept here; no account is blamed
//! for it. Nothing here asks the vendor.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::progress::Meter;
use super::writer::Writer;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::store::index::{Run, RunKey};
use crate::vendor::advocate::Advocate;

/// One run under way.
pub(super) struct Job {
    pub(super) advocate: Advocate,
    pub(super) mapping: Mapping,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    pub(super) run: RunKey,
    pub(super) options: super::Options,
    pub(super) meter: Meter,
    /// Cancelled by a signal, or by the first failure that concerns the whole run.
    pub(super) halt: CancellationToken,
    /// That failure.
    fatal: Mutex<Option<Error>>,
}

impl Job {
    #[expect(clippy::too_many_arguments, reason = "a constructor for what would otherwise be public fields")]
    pub(super) fn new(
        advocate: Advocate,
        mapping: Mapping,
        clock: Clock,
        writer: Writer,
        run: RunKey,
        options: super::Options,
        meter: Meter,
        halt: CancellationToken,
    ) -> Self {
        Self { advocate, mapping, clock, writer, run, options, meter, halt, fatal: Mutex::new(None) }
    }

    /// The failure that stopped the run.
    pub(super) fn take_fatal(&self) -> Option<Error> {
        lock(&self.fatal).take()
    }

    /// Stops the run; the first reason counts.
    pub(super) fn stop_for(&self, error: Error) {
        lock(&self.fatal).get_or_insert(error);
        self.halt.cancel();
    }

    /// The run's row, after everything that was put before.
    pub(super) async fn run_row(&self) -> Result<Run> {
        let run = self.run;
        self.writer.call(move |index| index.run(run)?.ok_or_else(super::lost_run)).await
    }

    /// Requests that the run's row does not have yet.
    pub(super) fn uncounted(&self) -> u64 {
        self.meter.uncounted(self.advocate.stats().requests)
    }
}

/// How a source ended, where nothing concerns the run as a whole.
pub(super) enum Worked {
    /// It is through, or it was stopped.
    Done,
    /// This source cannot serve here, and why; another may.
    CannotServe(Error),
}

/// Whether a failure says something about one request only. Anything else concerns the whole run, and no account is marked.
pub(super) fn concerns_one_request(error: &Error) -> bool {
    matches!(error.kind, Kind::Network | Kind::Vendor)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
