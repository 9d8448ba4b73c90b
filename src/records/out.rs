//! A file that is there whole, or not at all.
//!
//! Written beside its place, brought to the disk, then put there in one step. A file of that name that is there already must
//! never be lost by accident, and nothing half-written may be left.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};

/// A file on its way to its place. Dropped before [`Out::finish`], it is gone.
pub(super) struct Out {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
    replace: bool,
}

impl Out {
    /// Begins a file, readable by its owner alone; `replace` allows that one of this name is there.
    pub(super) fn begin(path: &Path, replace: bool) -> Result<Self> {
        // A link that leads nowhere is there too.
        match path.symlink_metadata() {
            Ok(_) if !replace => return Err(exists(path)),
            Ok(found) if found.is_dir() => {
                return Err(Error::new(Kind::Usage, format!("{} is a folder", path.display())).hint("name a file"));
            }
            _ => {}
        }
        let file = tempfile::Builder::new()
            .prefix(".recoup-")
            .suffix(".partial")
            .tempfile_in(folder_of(path))
            .map_err(|error| failed(path, &error))?;
        Ok(Self { file: BufWriter::new(file), path: path.to_owned(), replace })
    }

    /// One more line, or several.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| failed(&self.path, &error))
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<()> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| failed(&path, error.error()))?;
        file.as_file().sync_all().map_err(|error| failed(&path, &error))?;
        if self.replace {
            file.persist(&path).map_err(|error| failed(&path, &error.error))?;
        } else {
            file.persist_noclobber(&path).map_err(|error| match error.error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(&path),
                _ => failed(&path, &error.error),
            })?;
        }
        sync_folder(folder_of(&path));
        Ok(())
    }
}

/// Brings a new name to the disk. Where a file system cannot do that, the name is as durable as it makes them.
pub(super) fn sync_folder(folder: &Path) {
    drop(File::open(folder).and_then(|folder| folder.sync_all()));
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn exists(path: &Path) -> Error {
    Error::new(Kind::Usage, format!("{} is there already, and was left as it is", path.display()))
        .hint("name another file, or replace it with --force")
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Storage, format!("failed to write {}: {error}; nothing was left there", path.display()))
        .hint("name a place that can be written to and has room")
}
