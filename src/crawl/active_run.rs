//! The objects that every source of a crawl uses: the vendor's client, the writer, the reader, the run, and the signal
//! that halts the run.
//!
//! A failure that concerns the whole run (credentials, quota, a full disk) halts the run. `ActiveRun` stores the
//! failure that halted the run. A failure that concerns the whole run never marks an account as failed.

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

/// A run of a crawl with its client, writer and reader. Dropping an `ActiveRun` closes the writer's channel.
pub(super) struct ActiveRun {
    pub(super) advocate: Advocate,
    pub(super) mapping: Mapping,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    /// Reads the committed state of the index. Call [`Writer::flush`] before a read of the index that must see all
    /// earlier entries.
    pub(super) reader: Arc<IndexReader>,
    pub(super) run: RunKey,
    pub(super) options: Options,
    /// The folder of the index, for temporary files. The disk of the index folder has room for the rewards that the
    /// crawl is about to store. `None` uses the system's folder, because an index on a PostgreSQL server has no folder.
    pub(super) folder: Option<PathBuf>,
    pub(super) meter: Meter,
    /// The token that halts the run. A signal cancels the halt token, and so does the first failure that concerns the
    /// whole run.
    pub(super) halt: CancellationToken,
    pub(super) fatal: Mutex<Option<Error>>,
}

impl ActiveRun {
    /// Halts the run with an error. The run reports only its first error, because later errors follow from it.
    pub(super) fn halt_with(&self, error: Error) {
        lock(&self.fatal).get_or_insert(error);
        self.halt.cancel();
    }

    /// Removes and returns the error that halted the run.
    pub(super) fn take_fatal(&self) -> Option<Error> {
        lock(&self.fatal).take()
    }

    /// Returns the run's row in the index, after the writer has committed all entries.
    pub(super) async fn row(&self) -> Result<Run> {
        let run = self.run;
        self.writer.call(move |index| index.run(run)?.ok_or_else(super::missing_run)).await
    }

    /// Reads from the index on a blocking thread. The writer can write to the index meanwhile.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&IndexReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || work(&reader))
            .await
            .map_err(|error| Error::new(Kind::Failed, format!("reading the queue ended unexpectedly: {error}")))?
    }
}

/// The reason why a source did not read to its end.
pub(super) enum SourceError {
    /// A signal halted the run, or the error that [`ActiveRun::take_fatal`] returns.
    Halted,
    /// This source cannot read the tenant, but another source may.
    Unsupported(Error),
    /// An error of the source that concerns the whole run.
    Fatal(Error),
}

pub(super) type SourceResult<T> = std::result::Result<T, SourceError>;

impl From<Error> for SourceError {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Returns `true` if a failure concerns only one request. Any other failure of a request concerns the whole run.
pub(super) fn concerns_one_request(error: &Error) -> bool {
    matches!(error.kind, Kind::Network | Kind::Vendor)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
