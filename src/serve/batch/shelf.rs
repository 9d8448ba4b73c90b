//! Where batches lie: a folder beside the ledger, readable by its owner alone.
//!
//! A file appears whole or not at all. A number is made of digits and letters only, so that no request leads out of the folder.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::{Batch, Stage, is_old, is_older_than_a_day};
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::store::ProcessLock;

/// A part of a batch.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) enum Part {
    /// What it is.
    Card,
    /// The plan.
    Plan,
    /// The outcomes.
    Outcomes,
    /// The file that was uploaded, while a person has to explain its columns.
    Upload,
}

impl Part {
    fn ending(self) -> &'static str {
        match self {
            Self::Card => "json",
            Self::Plan => "plan",
            Self::Outcomes => "outcomes",
            Self::Upload => "upload",
        }
    }
}

/// Every batch, and what this process is at.
pub(in crate::serve) struct Shelf {
    folder: PathBuf,
    running: Mutex<HashMap<String, (Stage, Arc<Report>)>>,
}

impl Shelf {
    /// The shelf of a ledger: `NAME-batches` beside it. Made when the first batch comes.
    pub(in crate::serve) fn beside(ledger: &Path) -> Self {
        let stem = ledger.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{}-batches", stem.strip_suffix("-ledger").unwrap_or(&stem));
        Self { folder: ledger.with_file_name(name), running: Mutex::default() }
    }

    /// A number that nobody can guess.
    pub(super) fn new_id(&self, now: Timestamp) -> Result<String> {
        let made = fs::create_dir_all(&self.folder).and_then(|()| private(&self.folder));
        made.map_err(|error| failed(&self.folder, &error))?;
        Ok(format!("{}-{}", now.strftime("%Y%m%d"), crate::access::random_text()?))
    }

    /// Where the parts of a batch lie, without their ending.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    fn part(&self, id: &str, part: Part) -> Result<PathBuf> {
        let fine =
            !id.is_empty() && id.len() < 100 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fine { Ok(self.folder.join(format!("{id}.{}", part.ending()))) } else { Err(no_such()) }
    }

    /// Puts a part there, whole.
    pub(super) fn put(&self, id: &str, part: Part, bytes: &[u8]) -> Result<()> {
        let path = self.part(id, part)?;
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| failed(&path, &error))
    }

    /// Takes a part from there.
    pub(in crate::serve) fn get(&self, id: &str, part: Part) -> Result<Vec<u8>> {
        let path = self.part(id, part)?;
        fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => no_such(),
            _ => failed(&path, &error),
        })
    }

    /// Keeps what a batch is.
    pub(super) fn keep(&self, batch: &Batch) -> Result<()> {
        let card = serde_json::to_vec(batch)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))?;
        self.put(&batch.id, Part::Card, &card)
    }

    /// What a batch is.
    pub(super) fn batch(&self, id: &str) -> Result<Batch> {
        let card = self.get(id, Part::Card)?;
        serde_json::from_slice(&card)
            .map_err(|error| Error::new(Kind::Storage, format!("batch {id} is damaged: {error}")))
    }

    /// Every batch, the newest first.
    pub(in crate::serve) fn list(&self) -> Vec<Batch> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let ids =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
        let mut batches: Vec<Batch> = ids.filter_map(|id| self.batch(&id).ok()).collect();
        batches.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        batches
    }

    /// Removes old batches, since the ledger has what was sent, and uploads that nobody explained for a day.
    pub(super) fn sweep(&self, now: Timestamp) {
        for batch in self.list() {
            if is_old(&batch.created_at, now) {
                for part in [Part::Upload, Part::Outcomes, Part::Plan, Part::Card] {
                    self.remove(&batch.id, part);
                }
            } else if is_older_than_a_day(&batch.created_at, now) {
                self.end_explaining(&batch.id);
            }
        }
    }

    /// Removes the upload of a batch. If its columns were never explained, the batch says so.
    fn end_explaining(&self, id: &str) {
        let has_upload = self.part(id, Part::Upload).is_ok_and(|path| path.exists());
        // A request that explains it now has the lock.
        let Ok(Some(_lock)) =
            has_upload.then(|| ProcessLock::try_take(&self.path(id), "batch")).transpose().map(Option::flatten)
        else {
            return;
        };
        let Ok(mut batch) = self.batch(id) else { return };
        if batch.stage == Stage::Explaining {
            batch.stage = Stage::Failed;
            batch.message =
                Some("nobody explained its columns within a day, and the file was removed; upload it again".to_owned());
            if self.keep(&batch).is_err() {
                return;
            }
        }
        self.remove(id, Part::Upload);
    }

    /// Removes a part, if it is there.
    pub(super) fn remove(&self, id: &str, part: Part) {
        if let Ok(path) = self.part(id, part) {
            drop(fs::remove_file(path));
        }
    }

    pub(super) fn begun(&self, id: &str, stage: Stage, report: Arc<Report>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (stage, report));
    }

    pub(super) fn ended(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The work of this process at a batch, and what it says.
    pub(super) fn running(&self, id: &str) -> Option<(Stage, Arc<Report>)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn no_such() -> Error {
    Error::new(Kind::NotIndexed, "there is no such batch")
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Storage, format!("failed to use {}: {error}", path.display()))
        .hint("the folder beside the ledger must be writable")
}

#[cfg(unix)]
fn private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn private(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage_and_upload(shelf: &Shelf, id: &str) -> (Option<Stage>, bool) {
        (shelf.batch(id).ok().map(|batch| batch.stage), shelf.get(id, Part::Upload).is_ok())
    }

    #[test]
    fn an_upload_that_nobody_explains_is_removed_after_a_day_and_its_batch_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::beside(&folder.path().join("recoup-ledger.db"));
        let uploaded: Timestamp = "2026-11-01T12:00:00Z".parse().expect("a time");
        let id = shelf.new_id(uploaded).expect("a number");
        let batch: Batch = serde_json::from_value(serde_json::json!({
            "id": id, "person": "ann", "created_at": uploaded.to_string(), "stage": "explaining", "message": null, "rows": 0,
            "orders": 0, "value": {}, "counts": {}, "sent": 0, "disposition": null, "reason": "refunds", "ticket": null,
        }))
        .expect("a batch");
        shelf.put(&id, Part::Upload, b"order_id").expect("kept");
        shelf.keep(&batch).expect("kept");
        let after = |hours: i64| uploaded + jiff::SignedDuration::from_hours(hours);
        shelf.sweep(after(23));
        assert_eq!(stage_and_upload(&shelf, &id), (Some(Stage::Explaining), true));
        let lock = ProcessLock::try_take(&shelf.path(&id), "batch").expect("a lock").expect("free");
        shelf.sweep(after(25));
        assert_eq!(
            stage_and_upload(&shelf, &id),
            (Some(Stage::Explaining), true),
            "somebody explains it at this moment"
        );
        drop(lock);
        shelf.sweep(after(25));
        assert_eq!(stage_and_upload(&shelf, &id), (Some(Stage::Failed), false));
        shelf.sweep(after(91 * 24));
        assert_eq!(stage_and_upload(&shelf, &id), (None, false));
    }

    #[test]
    fn no_number_leads_out_of_the_folder() {
        let shelf = Shelf::beside(Path::new("/data/recoup-ledger.db"));
        assert_eq!(shelf.folder, Path::new("/data/recoup-batches"));
        for id in ["", "..", "../x", "a/b", "a\\b", "a.b", "a\0b", "%2e%2e", "ä"] {
            assert!(shelf.part(id, Part::Plan).is_err(), "{id:?}");
        }
        assert!(shelf.part("20261127-aZ_9", Part::Plan).is_ok());
    }
}
