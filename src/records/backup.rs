//! Copies the index and the ledger while other processes use them.
//!
//! recoup writes each backup to a temporary file, checks it, syncs it and then renames it. Therefore no incomplete file
//! has the name of a backup. A backup copies the index first. The index stores the ledger's head, so the copied ledger
//! must not be older than the copied index. recoup deletes older backups only after the new backup is complete. recoup
//! deletes only backups with a name that matches its own pattern.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::model::{counted, grouped};
use crate::out_file::{private_folder, sync_folder};
use crate::report::Report;
use crate::store::StoreFile;
use crate::store::backup_copy::{check_index, mark_ledger};
use crate::store::index::IndexReader;
use crate::store::ledger::Head;
use crate::store::{Identity, Place, ProcessLock};

/// The interval between two checks of a running backup for progress or a signal.
const LOOK: Duration = Duration::from_millis(100);
/// The number of checks before recoup shows the progress of a backup: two seconds.
const QUIET_LOOKS: u32 = 20;
/// The format of the timestamp in a backup's file name: 20261124T183025Z.
const MOMENT: &str = "%Y%m%dT%H%M%SZ";
const MOMENT_LENGTH: usize = 16;

/// The files to back up, and the target folder.
pub struct Options<'a> {
    pub index: &'a Place,
    pub ledger: &'a Place,
    /// The tenant and the hosts to which index and ledger belong, if the configuration has them.
    pub identity: Option<&'a Identity>,
    pub folder: &'a Path,
    /// The number of backups to keep; `None` keeps all.
    pub keep: Option<usize>,
}

#[derive(Debug, Serialize)]
pub struct Backup {
    /// The copy of the index; `null` if there is no index.
    pub index: Option<CopiedFile>,
    /// The copy of the ledger; `null` if there is no ledger.
    pub ledger: Option<CopiedLedger>,
    /// The paths of the older backups that recoup deleted.
    pub removed: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct CopiedFile {
    pub file: String,
    pub bytes: u64,
}

/// The copy of a ledger, with the result of its verification.
#[derive(Debug, Serialize)]
pub struct CopiedLedger {
    #[serde(flatten)]
    pub copied: CopiedFile,
    pub ledger_id: String,
    pub events: u64,
    /// The newest event of the copied ledger. `recoup audit verify --head` looks for the hash of the copied ledger's
    /// newest event.
    pub head: Head,
}

/// Copies the index and the ledger into the backup folder.
pub async fn run(options: &Options<'_>, clock: &Clock, stop: &CancellationToken, report: &Report) -> Result<Backup> {
    let (Some(index), Some(ledger)) = (options.index.path(), options.ledger.path()) else {
        return Err(crate::store::no_files(options.ledger));
    };
    private_folder(options.folder).map_err(|error| unusable(options.folder, &error))?;
    let lock = ProcessLock::try_take(options.folder.join(".recoup"), "backup")?;
    let _lock = lock.ok_or_else(|| {
        Error::new(Kind::Busy, format!("another backup to {} is running", options.folder.display()))
            .hint("run the same command again when it is done")
    })?;
    let names = Names::new(options.folder, index, ledger, clock.now());
    names.sweep(options.folder);
    let copy = Copy { folder: options.folder, stop, clock, report };
    let remembered = IndexReader::open(options.index, options.identity)?.map_or(Ok(None), |reader| reader.ledger())?;
    let mut backup = Backup { index: None, ledger: None, removed: Vec::new() };
    if let Some(source) = StoreFile::index(options.index, options.identity)? {
        let (copied, ()) = copy.of(source, &names.index, check_index).await?;
        backup.index = Some(copied);
    } else {
        report.note(format!("there is no index at {}", options.index));
    }
    if let Some(source) = StoreFile::ledger(options.ledger, options.identity)? {
        let at = clock.now();
        let (copied, audit) = copy
            .of(source, &names.ledger, move |path| {
                let audit = mark_ledger(path, at)?;
                match super::audit::problem(&audit) {
                    None => Ok(audit),
                    Some(problem) => Err(problem.context("the ledger was not backed up")),
                }
            })
            .await?;
        let (ledger_id, events, head) = (audit.ledger_id, audit.events, audit.head);
        backup.ledger = Some(CopiedLedger { copied, ledger_id, events, head });
    } else if remembered.is_some() {
        // Fails, because a nightly backup that succeeds without a ledger would hide the loss of the ledger.
        return Err(Error::new(
            Kind::Identity,
            format!("the index was used with a ledger, and there is none at {}", options.ledger),
        )
        .hint("restore it, or set RECOUP_LEDGER to its path; if it is lost, see `recoup ledger accept`"));
    } else {
        report.note(format!("there is no ledger at {}: nothing was ever retracted here", options.ledger));
    }
    if backup.index.is_none() && backup.ledger.is_none() {
        return Err(Error::new(Kind::Failed, "there is nothing to back up: neither an index nor a ledger")
            .hint("set them with --database, --profile or RECOUP_LEDGER"));
    }
    if let Some(keep) = options.keep {
        backup.removed = names.prune(options.folder, keep.max(1))?;
    }
    Ok(backup)
}

impl Backup {
    pub fn lines(&self) -> Vec<String> {
        let size = |copied: &CopiedFile| format!("{} ({} KB)", copied.file, grouped(copied.bytes.div_ceil(1024)));
        let mut lines = Vec::new();
        lines.extend(self.index.as_ref().map(|copied| format!("index  {}", size(copied))));
        if let Some(ledger) = &self.ledger {
            let Head { sequence, hash } = &ledger.head;
            lines.push(format!(
                "ledger {}: {}, the chain holds",
                size(&ledger.copied),
                counted(ledger.events, "event")
            ));
            lines.push(format!("head {hash} (event {sequence})"));
        }
        lines.extend(self.removed.iter().map(|name| format!("removed {name}")));
        lines
    }
}

struct Copy<'a> {
    folder: &'a Path,
    stop: &'a CancellationToken,
    clock: &'a Clock,
    report: &'a Report,
}

impl Copy<'_> {
    /// Copies, checks and renames one file of the backup. Returns the result of the check of the copy.
    async fn of<T: Send + 'static>(
        &self,
        source: StoreFile,
        name: &Name,
        check: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<(CopiedFile, T)> {
        let file = tempfile::Builder::new()
            .prefix(&name.partial())
            .suffix(".partial")
            .tempfile_in(self.folder)
            .map_err(|error| unusable(self.folder, &error))?;
        let path = file.path().to_owned();
        let (total, interrupt) = (source.size()?, source.interrupter());
        let mut working = tokio::task::spawn_blocking(move || {
            source.copy_to(file.path())?;
            let found = check(file.path())?;
            Ok((file, found))
        });
        let mut looks = 0_u32;
        let mut progress = None;
        let (file, found): (NamedTempFile, T) = loop {
            tokio::select! {
                worked = &mut working => break worked.map_err(|error| Error::new(Kind::Failed, format!("the copy failed: {error}")))??,
                () = self.clock.sleep(LOOK) => {}
                () = self.stop.cancelled(), if looks < u32::MAX => {
                    interrupt();
                    // Interrupts the copy only once, because the copy then ends by itself.
                    looks = u32::MAX;
                }
            }
            looks = looks.saturating_add(1);
            if looks > QUIET_LOOKS {
                let done = std::fs::metadata(&path).map_or(0, |file| file.len());
                progress.get_or_insert_with(|| self.report.progress("kilobytes copied")).show(
                    done.min(total) / 1024,
                    Some(total / 1024),
                    if done >= total { "checking the copy" } else { "" },
                );
            }
        };
        if self.stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted; no incomplete file was left"));
        }
        let place = name.path(self.folder);
        file.as_file().sync_all().map_err(|error| unusable(self.folder, &error))?;
        let kept = file.persist_noclobber(&place).map_err(|error| unusable(self.folder, &error.error))?;
        sync_folder(self.folder);
        let bytes = kept.metadata().map_or(0, |file| file.len());
        Ok((CopiedFile { file: place.display().to_string(), bytes }, found))
    }
}

/// The name of a backup: the name of the copied file, a timestamp, `.db`.
struct Name {
    stem: String,
    moment: String,
}

impl Name {
    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{}.db", self.stem, self.moment))
    }

    fn partial(&self) -> String {
        format!(".{}-backup-", self.stem)
    }

    /// Returns `true` if a file name is the name of a backup of this file.
    fn fits(&self, name: &str) -> bool {
        let moment = name.strip_prefix(&self.stem).and_then(|rest| rest.strip_prefix('-'));
        moment.and_then(|rest| rest.strip_suffix(".db")).is_some_and(is_moment)
    }
}

fn is_moment(text: &str) -> bool {
    text.len() == MOMENT_LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

struct Names {
    index: Name,
    ledger: Name,
}

impl Names {
    /// Returns the names of a new backup, with the current second or the first later second for which no backup exists.
    fn new(folder: &Path, index: &Path, ledger: &Path, now: Timestamp) -> Self {
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (index, ledger) = (stem(index), stem(ledger));
        // If an index and a ledger have the same name in two folders, their backups would overwrite each other.
        let ledger = if index == ledger { format!("{ledger}-ledger") } else { ledger };
        let mut at = now;
        loop {
            let moment = at.strftime(MOMENT).to_string();
            let name = |stem: &str| Name { stem: stem.to_owned(), moment: moment.clone() };
            let names = Self { index: name(&index), ledger: name(&ledger) };
            if !names.index.path(folder).exists() && !names.ledger.path(folder).exists() {
                return names;
            }
            at = at.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
        }
    }

    /// Deletes the incomplete files of a killed backup. The lock of the backup folder guarantees that no other backup
    /// is being written.
    fn sweep(&self, folder: &Path) {
        for name in names_in(folder).unwrap_or_default() {
            let is_left = [&self.index, &self.ledger].iter().any(|own| name.starts_with(&own.partial()));
            if is_left && (name.ends_with(".partial") || name.contains(".partial-")) {
                drop(std::fs::remove_file(folder.join(name)));
            }
        }
    }

    /// Deletes the oldest backups of the index and the ledger. Keeps the newest `keep` backups of each file.
    fn prune(&self, folder: &Path, keep: usize) -> Result<Vec<String>> {
        let names = names_in(folder).map_err(|error| unusable(folder, &error))?;
        let mut removed = Vec::new();
        for own in [&self.index, &self.ledger] {
            let mut backups: Vec<&String> = names.iter().filter(|name| own.fits(name)).collect();
            backups.sort();
            backups.truncate(backups.len().saturating_sub(keep));
            for name in backups {
                let path = folder.join(name);
                std::fs::remove_file(&path).map_err(|error| {
                    Error::new(
                        Kind::Storage,
                        format!(
                            "the backup is complete, but the older {} could not be deleted: {error}",
                            path.display()
                        ),
                    )
                    .hint("delete it, or check its owner")
                })?;
                removed.push(path.display().to_string());
            }
        }
        Ok(removed)
    }
}

fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn unusable(folder: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Storage, format!("no backup can be written to {}: {error}", folder.display()))
        .hint("choose a writable folder with enough space; no incomplete file was left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_its_own_are_let_go() {
        let name = Name { stem: "recoup".to_owned(), moment: String::new() };
        for (text, fits) in [
            ("recoup-20261124T183025Z.db", true),
            ("recoup-ledger-20261124T183025Z.db", false),
            ("recoup-20261124T183025Z.db-wal", false),
            ("recoup-20261124.db", false),
            ("recoup-2026112xT183025Z.db", false),
            ("other-20261124T183025Z.db", false),
            ("recoup.db", false),
            ("xrecoup-20261124T183025Z.db", false),
        ] {
            assert_eq!(name.fits(text), fits, "{text}");
        }
    }
}
