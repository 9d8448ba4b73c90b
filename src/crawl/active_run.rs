//! What every source works with: the vendor's client, the writer, the reader, the run, and the way to halt it.
//!
//! A failure that concerns the whole run (credentials, quota, a full disk) halts it and is kept here. No account is marked
//! as failed for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Options;
use super::progress::Meter;
use super::writer::Writer;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::extract::Mapping;
use crate::store::index::{IndexReader, Run, RunKey};
use crate::vendor::advocate::Advocate;

/// A run and everything that it needs. Dropping it closes the writer's channel.
pub(super) struct ActiveRun {
    pub(super) advocate: Advocate,
    pub(super) mapping: Mapping,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    /// Sees what is committed; [`Writer::flush`] commits what was put before.
    pub(super) reader: Arc<Mutex<IndexReader>>,
    pub(super) run: RunKey,
    pub(super) options: Options,
    /// The folder of the index, for temporary files: it has room for what the crawl is about to store.
    pub(super) folder: PathBuf,
    pub(super) meter: Meter,
    /// Cancelled by a signal, or by the first failure that concerns the whole run.
    pub(super) halt: CancellationToken,
    pub(super) fatal: Mutex<Option<Error>>,
}

impl ActiveRun {
    /// Halts the run. The first error is the one that is reported: later ones follow from it.
    pub(super) fn halt_with(&self, error: Error) {
        lock(&self.fatal).get_or_insert(error);
        self.halt.cancel();
    }

    /// The error that halted the run.
    pub(super) fn take_fatal(&self) -> Option<Error> {
        lock(&self.fatal).take()
    }

    /// The run's row, after everything that was put before is committed.
    pub(super) async fn row(&self) -> Result<Run> {
        let run = self.run;
        self.writer.call(move |index| index.run(run)?.ok_or_else(super::missing_run)).await
    }

    /// Reads from the index on a blocking thread, while the writer writes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&IndexReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || work(&lock(&reader)))
            .await
            .map_err(|error| Error::new(Kind::Failed, format!("reading the queue ended unexpectedly: {error}")))?
    }
}

/// Why a source did not read to its end.
pub(super) enum SourceError {
    /// The run was halted: by a signal, or by the error that [`ActiveRun::take_fatal`] returns.
    Halted,
    /// This source cannot read this tenant. Another source may.
    Unsupported(Error),
    /// The run as a whole failed.
    Fatal(Error),
}

pub(super) type SourceResult<T> = std::result::Result<T, SourceError>;

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Whether a failure says something about one request only. Any other failure concerns the whole run.
pub(super) fn concerns_one_request(error: &Error) -> bool {
    matches!(error.kind, Kind::Network | Kind::Vendor)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
