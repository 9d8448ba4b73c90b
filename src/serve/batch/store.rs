//! The store of batches: a folder beside the ledger that only its owner can read, or rows on the ledger's PostgreSQL
//! server.
//!
//! The service writes each file of a batch atomically. A batch ID contains only letters, digits, `-` and `_`, so a
//! request cannot name a path outside the folder.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::summary::CountCache;
use super::{Batch, Stage};
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::store::batch_parts::BatchParts;
use crate::store::{Identity, Place, ProcessLock, batches_beside};

/// How long a batch is stored. The ledger stores the sent requests permanently.
const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long the service stores an upload whose columns no person explains.
const KEEP_UPLOAD: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone, Copy)]
pub(in crate::serve) enum Part {
    Metadata,
    Plan,
    Outcomes,
    /// The uploaded file, which the service stores only while its columns need an explanation.
    Upload,
}

impl Part {
    fn extension(self) -> &'static str {
        match self {
            Self::Metadata => "json",
            Self::Plan => "plan",
            Self::Outcomes => "outcomes",
            Self::Upload => "upload",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Metadata => "description",
            Self::Plan => "plan yet",
            Self::Outcomes => "outcomes yet",
            Self::Upload => "file that waits for an explanation",
        }
    }

    fn path(self, folder: &Path, id: &str) -> PathBuf {
        folder.join(format!("{id}.{}", self.extension()))
    }
}

/// The place of the stored parts: a folder, or a PostgreSQL server.
enum Shelf {
    Folder(PathBuf),
    Rows(BatchParts),
}

pub(in crate::serve) struct BatchStore {
    shelf: Shelf,
    ledger: Place,
    /// Stage and progress of the batches for which this process runs a job.
    running: Mutex<HashMap<String, (Stage, Arc<Report>)>>,
    pub(super) counted: CountCache,
    /// By user: the user's batches whose last run has ended and whose page the user has not opened since. A restart
    /// clears this map, because the user still finds every batch in the list.
    ended: Mutex<HashMap<String, Vec<String>>>,
}

impl BatchStore {
    /// Returns the store in the folder `NAME-batches` beside the ledger, or on the ledger's PostgreSQL server. The
    /// first batch creates the store.
    pub(in crate::serve) fn beside(ledger: &Place, identity: &Identity) -> Self {
        let shelf = match ledger {
            Place::File(path) => Shelf::Folder(batches_beside(path)),
            Place::Server(_) => Shelf::Rows(BatchParts::at(ledger, identity)),
        };
        Self {
            shelf,
            ledger: ledger.clone(),
            running: Mutex::default(),
            counted: CountCache::default(),
            ended: Mutex::default(),
        }
    }

    /// Returns a new batch ID with so many random bits that a client cannot guess it.
    pub(super) fn new_id(&self, now: Timestamp) -> Result<String> {
        if let Shelf::Folder(folder) = &self.shelf {
            let made = fs::create_dir_all(folder).and_then(|()| make_private(folder));
            made.map_err(|error| failed(folder, &error))?;
        }
        Ok(format!("{}-{}", now.strftime("%Y%m%d"), crate::access::random_text()?))
    }

    /// Takes the lock of a batch. Returns `None` if another request or process has the lock of the batch.
    pub(super) fn try_lock(&self, id: &str) -> Result<Option<ProcessLock>> {
        match &self.shelf {
            Shelf::Folder(folder) => ProcessLock::try_take(folder.join(id), "batch"),
            Shelf::Rows(_) => ProcessLock::try_take(&self.ledger, &format!("batch-{id}")),
        }
    }

    /// Returns `true` if no process works on the batch.
    pub(super) fn is_unlocked(&self, id: &str) -> Result<bool> {
        match &self.shelf {
            Shelf::Folder(_) => Ok(self.try_lock(id)?.is_some()),
            Shelf::Rows(_) => ProcessLock::is_free(&self.ledger, &format!("batch-{id}")),
        }
    }

    pub(super) fn write(&self, id: &str, part: Part, bytes: &[u8]) -> Result<()> {
        check_id(id)?;
        let folder = match &self.shelf {
            Shelf::Folder(folder) => folder,
            Shelf::Rows(rows) => return rows.write(id, part.extension(), bytes),
        };
        let path = part.path(folder, id);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(|error| failed(&path, &error))
    }

    pub(in crate::serve) fn read(&self, id: &str, part: Part) -> Result<Vec<u8>> {
        check_id(id)?;
        let missing = || match part {
            Part::Metadata => no_such_batch(),
            _ => Error::new(Kind::NotIndexed, format!("batch {id} has no {}", part.describe())).hint("reload its page"),
        };
        let folder = match &self.shelf {
            Shelf::Folder(folder) => folder,
            Shelf::Rows(rows) => return rows.read(id, part.extension())?.ok_or_else(missing),
        };
        let path = part.path(folder, id);
        fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => failed(&path, &error),
        })
    }

    pub(super) fn save(&self, batch: &Batch) -> Result<()> {
        let metadata = serde_json::to_vec(batch)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))?;
        self.write(&batch.id, Part::Metadata, &metadata)
    }

    pub(super) fn batch(&self, id: &str) -> Result<Batch> {
        let metadata = self.read(id, Part::Metadata)?;
        serde_json::from_slice(&metadata)
            .map_err(|error| Error::new(Kind::Storage, format!("batch {id} is damaged: {error}")))
    }

    /// Returns all batches, newest first. A batch that cannot be read is in the list too, as [`Stage::Unreadable`].
    pub(in crate::serve) fn list(&self) -> Result<Vec<Batch>> {
        let ids: Vec<String> = match &self.shelf {
            Shelf::Folder(folder) => ids_in(folder).map_err(|error| failed(folder, &error))?,
            Shelf::Rows(rows) => rows.ids(Part::Metadata.extension())?,
        };
        let mut batches: Vec<Batch> = Vec::new();
        for id in ids {
            match self.batch(&id) {
                Ok(batch) => batches.push(batch),
                // The batch was removed since the folder was read.
                Err(error) if error.kind == Kind::NotIndexed => {}
                Err(error) => batches.push(unknown_batch(id).unreadable(&error)),
            }
        }
        batches.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
        Ok(batches)
    }

    /// Removes batches that are older than [`KEEP`], and uploads that were not explained within [`KEEP_UPLOAD`].
    pub(super) fn remove_old(&self, now: Timestamp) {
        let batches = self.list().unwrap_or_else(|error| {
            tracing::warn!(kind = error.kind.name(), "old batches are not removed: {}", error.message);
            Vec::new()
        });
        for batch in batches {
            let Ok(created_at) = batch.created_at.parse::<Timestamp>() else { continue };
            let age = now.duration_since(created_at);
            if age > KEEP {
                for part in [Part::Upload, Part::Outcomes, Part::Plan, Part::Metadata] {
                    self.remove(&batch.id, part);
                }
                self.counted.remove(&batch.id);
                self.ended.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|ids| {
                    ids.retain(|id| *id != batch.id);
                });
            } else if age > KEEP_UPLOAD {
                self.remove_upload(&batch.id);
            }
        }
    }

    /// Removes the upload of a batch. If no person has explained the columns of the upload, sets the stage of the batch
    /// to failed.
    fn remove_upload(&self, id: &str) {
        let has_upload = match &self.shelf {
            Shelf::Folder(folder) => check_id(id).is_ok() && Part::Upload.path(folder, id).exists(),
            Shelf::Rows(_) => self.read(id, Part::Upload).is_ok(),
        };
        // Another request that is explaining the upload at this moment holds the lock.
        let Ok(Some(_lock)) = has_upload.then(|| self.try_lock(id)).transpose().map(Option::flatten) else {
            return;
        };
        let Ok(mut batch) = self.batch(id) else { return };
        if batch.stage == Stage::Explaining {
            batch.stage = Stage::Failed;
            batch.message = Some(
                "its columns were not explained within a day, so the file was removed; upload it again".to_owned(),
            );
            if self.save(&batch).is_err() {
                return;
            }
        }
        self.remove(id, Part::Upload);
    }

    /// Removes one file of a batch. Does nothing if the file is missing.
    pub(super) fn remove(&self, id: &str, part: Part) {
        if check_id(id).is_ok() {
            match &self.shelf {
                Shelf::Folder(folder) => drop(fs::remove_file(part.path(folder, id))),
                Shelf::Rows(rows) => drop(rows.remove(id, part.extension())),
            }
        }
    }

    /// Remembers that a run has ended, for these users.
    pub(super) fn add_ended(&self, users: &[&str], id: &str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for user in users {
            let of_user = ended.entry((*user).to_owned()).or_default();
            if !of_user.iter().any(|known| known == id) {
                of_user.push(id.to_owned());
            }
        }
    }

    /// Returns the batches of a user that have ended and were not seen since.
    pub(in crate::serve) fn ended_unseen(&self, user: &str) -> Vec<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned().unwrap_or_default()
    }

    /// Records that a user has opened the page of a batch.
    pub(in crate::serve) fn seen(&self, user: &str, id: &str) {
        if let Some(of_user) = self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_mut(user) {
            of_user.retain(|known| known != id);
        }
    }

    pub(super) fn set_running(&self, id: &str, stage: Stage, report: Arc<Report>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (stage, report));
    }

    pub(super) fn clear_running(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn running(&self, id: &str) -> Option<(Stage, Arc<Report>)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// Returns the IDs of the batches in a folder; none if the folder does not exist.
fn ids_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        // A file that a person put into the folder is no batch.
        let id = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|id| check_id(id).is_ok());
        ids.extend(id.map(str::to_owned));
    }
    Ok(ids)
}

/// Returns a batch of which only the ID is known, and the day of its upload, which the ID contains.
fn unknown_batch(id: String) -> Batch {
    let day = id.get(..8).and_then(|day| jiff::civil::Date::strptime("%Y%m%d", day).ok());
    Batch::blank(id, day.map_or_else(String::new, |day| format!("{day}T00:00:00Z")))
}

/// Refuses a text that is not a batch ID, because the ID becomes a part of a path.
fn check_id(id: &str) -> Result<()> {
    let is_id =
        !id.is_empty() && id.len() < 100 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_id { Ok(()) } else { Err(no_such_batch()) }
}

fn no_such_batch() -> Error {
    Error::new(Kind::NotIndexed, "there is no such batch").hint("upload the file again: an old batch is deleted")
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Storage, format!("failed to use {}: {error}", path.display()))
        .hint("the folder beside the ledger must be writable")
}

#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage_and_upload(store: &BatchStore, id: &str) -> (Option<Stage>, bool) {
        (store.batch(id).ok().map(|batch| batch.stage), store.read(id, Part::Upload).is_ok())
    }

    #[test]
    fn an_unexplained_upload_is_removed_after_a_day_and_its_batch_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BatchStore::beside(&folder.path().join("recoup-ledger.db").into(), &Identity::of_a_test());
        let uploaded: Timestamp = "2026-11-01T12:00:00Z".parse().expect("a time");
        let id = store.new_id(uploaded).expect("an ID");
        let batch: Batch = serde_json::from_value(serde_json::json!({
            "id": id, "person": "ann", "created_at": uploaded.to_string(), "stage": "explaining", "message": null, "rows": 0,
            "orders": 0, "value": {}, "counts": {}, "sent": 0, "disposition": null, "reason": "refunds", "ticket": null,
        }))
        .expect("a batch");
        store.write(&id, Part::Upload, b"order_id").expect("stored");
        store.save(&batch).expect("stored");
        let after = |hours: i64| uploaded + jiff::SignedDuration::from_hours(hours);
        store.remove_old(after(23));
        assert_eq!(stage_and_upload(&store, &id), (Some(Stage::Explaining), true));
        let lock = store.try_lock(&id).expect("a lock").expect("free");
        store.remove_old(after(25));
        assert_eq!(stage_and_upload(&store, &id), (Some(Stage::Explaining), true), "a request is explaining it");
        drop(lock);
        store.remove_old(after(25));
        assert_eq!(stage_and_upload(&store, &id), (Some(Stage::Failed), false));
        store.remove_old(after(91 * 24));
        assert_eq!(stage_and_upload(&store, &id), (None, false));
    }

    #[test]
    fn no_id_leads_out_of_the_folder() {
        let ledger = Place::from(Path::new("/data/recoup-ledger.db"));
        let store = BatchStore::beside(&ledger, &Identity::of_a_test());
        assert!(matches!(&store.shelf, Shelf::Folder(folder) if folder == Path::new("/data/recoup-batches")));
        for id in ["", "..", "../x", "a/b", "a\\b", "a.b", "a\0b", "%2e%2e", "ä"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        assert!(check_id("20261127-aZ_9").is_ok());
    }
}
