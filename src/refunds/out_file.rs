//! A file that is written whole or not at all.
//!
//! Where it goes is settled before any work is done; what goes there is written beside it, synced, and renamed, so that nobody
//! reads half of it and a crash leaves the old one. It is private to its owner: it says who was rewarded for what. It never
//! replaces a file that it did not make, unless told to.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};

/// A place for a file, checked and not yet written.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    folder: PathBuf,
    may_replace: bool,
}

impl OutFile {
    /// Checks that a file can be written at `path`: nothing is there, or `force`, and its folder takes files.
    pub fn reserve(path: &Path, force: bool) -> Result<Self> {
        let wrong = |says: &str| Error::new(Kind::Usage, format!("{} {says}", path.display()));
        // Not exists(): a link that leads nowhere is there, too.
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(wrong("is a folder")),
            Ok(_) if !force => {
                return Err(wrong("exists already").hint("name another file, or replace it with --force"));
            }
            _ => {}
        }
        if path.file_name().is_none() {
            return Err(wrong("is no name of a file"));
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let reserved = Self { path: path.to_owned(), folder, may_replace: force };
        // An hour's work must not end at a folder that takes no files.
        reserved.temporary()?;
        Ok(reserved)
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses the file that is being read: its rows are needed until the end, and for the next run.
    pub fn is_not(&self, input: &Path) -> Result<()> {
        let same = match (fs::canonicalize(&self.path), fs::canonicalize(input)) {
            (Ok(out), Ok(input)) => out == input,
            _ => false,
        };
        if same {
            return Err(Error::new(Kind::Usage, format!("{} is read and cannot be written, too", self.path.display()))
                .hint("name another file for the outcomes"));
        }
        Ok(())
    }

    /// Writes it, whole. May be called again: what it wrote itself it may replace.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.place(bytes, true)
    }

    /// Writes it, whole, or leaves nothing behind: for what must not be lying about where it could not get its name.
    pub fn write_or_leave_nothing(&mut self, bytes: &[u8]) -> Result<()> {
        self.place(bytes, false)
    }

    fn place(&mut self, bytes: &[u8], keep: bool) -> Result<()> {
        let failed = |error: &std::io::Error| {
            Error::new(Kind::Failed, format!("{} cannot be written: {error}", self.path.display()))
        };
        let mut file = self.temporary()?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
        let renamed = if self.may_replace { file.persist(&self.path) } else { file.persist_noclobber(&self.path) };
        if let Err(error) = renamed {
            // Somebody made such a file in the meantime. What came of every order must not be lost over that.
            let why = failed(&error.error);
            if !keep {
                return Err(why);
            }
            return Err(match error.file.keep() {
                Ok((_, kept)) => why.hint(format!("what belongs there is in {}", kept.display())),
                Err(_) => why,
            });
        }
        self.may_replace = true;
        // The rename is in the folder, and lasts when the folder does. Not every system lets a folder be synced.
        if let Ok(folder) = File::open(&self.folder) {
            drop(folder.sync_all());
        }
        Ok(())
    }

    /// A file beside it, readable and writable by its owner only.
    fn temporary(&self) -> Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".recoup-").suffix(".tmp");
        // The default of the library, said here because it is a promise.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
        builder.tempfile_in(&self.folder).map_err(|error| {
            Error::new(Kind::Usage, format!("the folder {} takes no file: {error}", self.folder.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_whole_private_and_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        let mut out = OutFile::reserve(&path, false).expect("free");
        assert!(names(folder.path()).is_empty(), "nothing is left of the check");
        out.write(b"first").expect("written");
        out.write(b"second").expect("written again");
        assert_eq!(
            (fs::read(&path).expect("there"), names(folder.path())),
            (b"second".to_vec(), vec!["out.csv".to_owned()])
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn an_existing_file_is_replaced_only_by_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        fs::write(&path, "old").expect("written");
        let error = OutFile::reserve(&path, false).expect_err("exists");
        assert!(error.kind == Kind::Usage && error.hint.is_some_and(|hint| hint.contains("--force")));
        let mut out = OutFile::reserve(&path, true).expect("by force");
        out.is_not(&folder.path().join("in.csv")).expect("another file");
        out.is_not(&path).expect_err("the same file");
        out.write(b"new").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn a_file_that_came_in_between_stays_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        let mut out = OutFile::reserve(&path, false).expect("free");
        fs::write(&path, "theirs").expect("written");
        let error = out.write(b"ours").expect_err("exists");
        assert_eq!(fs::read(&path).expect("there"), b"theirs");
        let kept = names(folder.path()).into_iter().find(|name| name != "out.csv").expect("a kept file");
        assert_eq!(fs::read(folder.path().join(&kept)).expect("there"), b"ours");
        assert!(error.hint.is_some_and(|hint| hint.contains(&kept)));
        fs::remove_file(folder.path().join(&kept)).expect("removed");
        out.write_or_leave_nothing(b"ours").expect_err("exists");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn a_place_that_takes_no_file_is_refused_before_any_work() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in
            [folder.path().to_owned(), folder.path().join("missing/out.csv"), PathBuf::from("/"), PathBuf::new()]
        {
            assert_eq!(OutFile::reserve(&path, true).map(drop).expect_err("refused").kind, Kind::Usage, "{path:?}");
        }
    }
}
