//! An output file that the user names. recoup replaces a regular file as a whole, and writes to any other file as a
//! stream.
//!
//! The caller checks the output path before its work begins. recoup writes a regular file under a temporary name beside
//! it, syncs and renames it, so that no reader sees a partial file and a crash leaves the old file. recoup keeps a
//! symbolic link to a regular file, and replaces its target. recoup opens a FIFO, a terminal or another character
//! device once and writes a stream, because a rename would turn it into a regular file.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};

/// Which files recoup accepts as output, and the permissions of a new file.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `true` if recoup may replace an existing regular file.
    pub force: bool,
    /// `true` if recoup accepts a FIFO or a character device.
    pub streams: bool,
    /// The permissions of a new output file, before the umask.
    pub mode: u32,
    /// The kind of the error if the folder of the output file is not writable.
    pub unwritable: Kind,
}

impl Default for Rules {
    /// Rules for output tables that contain people's data: only the owner can read the file, and recoup replaces no
    /// file.
    fn default() -> Self {
        Self { force: false, streams: true, mode: 0o600, unwritable: Kind::Usage }
    }
}

/// A checked output path. If the path is a regular file, recoup has created its temporary file.
#[derive(Debug)]
pub struct OutFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Regular(Regular),
    Stream(BufWriter<File>),
}

/// A regular file that a rename creates or replaces.
#[derive(Debug)]
struct Regular {
    /// The path to replace: the link's target if `path` is a link.
    target: PathBuf,
    folder: PathBuf,
    rules: Rules,
    /// The temporary file with the content so far; `None` after the rename.
    temporary: Option<BufWriter<NamedTempFile>>,
}

impl OutFile {
    /// Prepares a private output file. `force` permits recoup to replace an existing regular file.
    pub fn reserve(path: &Path, force: bool) -> Result<Self> {
        Self::reserve_by(path, Rules { force, ..Rules::default() })
    }

    /// Checks that the rules permit writing `path`, and creates the temporary file beside it. Dropping the [`OutFile`]
    /// removes a temporary file that was not renamed.
    pub fn reserve_by(path: &Path, rules: Rules) -> Result<Self> {
        let is_link = match fs::symlink_metadata(path) {
            Ok(found) => found.is_symlink(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Self::regular(path, path.to_owned(), rules);
            }
            Err(error) => return Err(refused(path, &format!("cannot be written: {error}"))),
        };
        let found = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => refused(path, "is a symbolic link to a file that does not exist")
                .hint("create the file that the link names, or name another file"),
            _ => refused(path, &format!("cannot be written: {error}")),
        })?;
        if found.is_file() {
            if !rules.force {
                return Err(refused(path, "exists already").hint("name another file, or replace it with --force"));
            }
            if is_database(path) {
                return Err(
                    refused(path, "is a database and is never replaced, even with --force").hint("name another file")
                );
            }
            let target = if is_link { fs::canonicalize(path) } else { Ok(path.to_owned()) };
            let target = target.map_err(|error| refused(path, &format!("cannot be written: {error}")))?;
            return Self::regular(path, target, rules);
        }
        let what = file_type_name(&found);
        if !rules.streams || !matches!(what, FIFO | CHARACTER_DEVICE) {
            return Err(refused(path, &format!("is {what}, and only a regular file can be written here"))
                .hint("name a file that does not exist yet"));
        }
        let file = if what == FIFO { open_fifo(path) } else { fs::OpenOptions::new().write(true).open(path) };
        let file = file.map_err(|error| match error.raw_os_error() {
            Some(ENXIO) => refused(path, "is a FIFO that no process reads").hint("start its reader first"),
            _ => refused(path, &format!("cannot be opened for writing: {error}")),
        })?;
        Ok(Self { path: path.to_owned(), target: Target::Stream(BufWriter::new(file)) })
    }

    fn regular(path: &Path, target: PathBuf, rules: Rules) -> Result<Self> {
        if path.file_name().is_none() {
            return Err(refused(path, "is no name of a file"));
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut regular = Regular { folder: folder.to_owned(), target, rules, temporary: None };
        // Creates the temporary file before an hour's work and not after it, so that a read-only folder or a full disk
        // fails early.
        regular.temporary()?;
        Ok(Self { path: path.to_owned(), target: Target::Regular(regular) })
    }

    /// Returns the output path as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if the output path is the input file, because this run and the next run need the rows of the input.
    pub fn ensure_differs_from(&self, input: &Path) -> Result<()> {
        let Target::Regular(regular) = &self.target else { return Ok(()) };
        let same = match (fs::canonicalize(&regular.target), fs::canonicalize(input)) {
            (Ok(out), Ok(input)) => out == input,
            _ => false,
        };
        if same {
            return Err(refused(&self.path, "is the input and cannot be the output too")
                .hint("name another file for the outcomes"));
        }
        Ok(())
    }

    /// Writes the whole content. If the rename fails, the content stays in the temporary file, and the error contains
    /// its path.
    ///
    /// A second call of `write` may replace a regular file that the first call wrote.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes)?;
        self.finish(true)
    }

    /// Writes the whole content. If the write fails, removes the temporary file too, because the content must not exist
    /// under another name.
    pub fn write_or_leave_nothing(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes)?;
        self.finish(false)
    }

    /// Appends to the content. A regular output file does not change before [`OutFile::finish`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.target {
            Target::Stream(stream) => stream.write_all(bytes),
            Target::Regular(regular) => regular.temporary()?.write_all(bytes),
        };
        written.map_err(|error| self.failed(&error))
    }

    /// Syncs the content and renames the temporary file. If the rename fails and `keep` is `true`, the content stays in
    /// the temporary file.
    pub fn finish(&mut self, keep: bool) -> Result<()> {
        let finished = match &mut self.target {
            // A FIFO or a terminal cannot be synced.
            Target::Stream(stream) => stream.flush().map_err(Unfinished::from),
            Target::Regular(regular) => regular.finish(keep),
        };
        finished.map_err(|Unfinished { error, kept }| {
            let mut failed = self.failed(&error);
            if let Some(kept) = kept {
                failed.message = format!("{}; the content is in {}", failed.message, kept.display());
            }
            failed
        })
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::new(Kind::Failed, format!("failed to write {}: {error}", self.path.display()))
            .hint("choose a writable place with enough space")
    }
}

/// Why the rename failed, and the temporary file that still has the content.
struct Unfinished {
    error: io::Error,
    kept: Option<PathBuf>,
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self { error, kept: None }
    }
}

impl Regular {
    /// Returns the temporary file beside the output file. Creates the temporary file if there is none.
    fn temporary(&mut self) -> Result<&mut BufWriter<NamedTempFile>> {
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => self.new_draft()?,
        };
        Ok(self.temporary.insert(temporary))
    }

    fn new_draft(&self) -> Result<BufWriter<NamedTempFile>> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".recoup-").suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(self.rules.mode));
        builder.tempfile_in(&self.folder).map(BufWriter::new).map_err(|error| {
            Error::new(
                self.rules.unwritable,
                format!("failed to create a file in the folder {}: {error}", self.folder.display()),
            )
            .hint("name a file in a writable folder")
        })
    }

    fn finish(&mut self, keep: bool) -> Result<(), Unfinished> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let file = temporary.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        let renamed = if !self.rules.force {
            file.persist_noclobber(&self.target)
        } else if fs::symlink_metadata(&self.target).is_ok_and(|found| !found.is_file()) {
            let error = io::Error::new(ErrorKind::AlreadyExists, "another process created a file there");
            Err(tempfile::PersistError { error, file })
        } else {
            file.persist(&self.target)
        };
        if let Err(tempfile::PersistError { error, file }) = renamed {
            let kept = if keep { file.keep().ok().map(|(_, kept)| kept) } else { None };
            return Err(Unfinished { error, kept });
        }
        self.rules.force = true;
        sync_folder(&self.folder);
        Ok(())
    }
}

/// Creates a folder and its parents. Only the owner has access to new folders, whatever the umask is. An existing
/// folder stays unchanged.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700).create(folder)?;
        // The umask may have removed the owner's own permissions on the new folder.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }
    #[cfg(not(unix))]
    builder.create(folder)
}

/// Syncs a folder, so that a rename in it survives a power cut. Ignores a failure, because some file systems cannot
/// sync a folder.
pub fn sync_folder(folder: &Path) {
    drop(File::open(folder).and_then(|folder| folder.sync_all()));
}

/// Returns `true` if a file is an SQLite database. A mistyped output path must not replace the ledger, the only record
/// of sent retractions.
fn is_database(path: &Path) -> bool {
    let mut start = [0; SQLITE_HEADER.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && &start == SQLITE_HEADER
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(Kind::Usage, format!("{} {why}", path.display())).hint("check the path, or name another file")
}

/// The first bytes of every SQLite database.
const SQLITE_HEADER: &[u8; 16] = b"SQLite format 3\0";

const FIFO: &str = "a FIFO";
const CHARACTER_DEVICE: &str = "a character device";

/// The error code ENXIO means that no process reads the FIFO.
const ENXIO: i32 = 6;

/// Returns the kind of a file that is not a regular file, for errors.
fn file_type_name(found: &Metadata) -> &'static str {
    if found.is_dir() {
        return "a folder";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = found.file_type();
        if kind.is_fifo() {
            return FIFO;
        }
        if kind.is_char_device() {
            return CHARACTER_DEVICE;
        }
        if kind.is_block_device() {
            return "a disk";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    "no regular file"
}

/// Opens a FIFO, and waits a few seconds for a reader. Opening a FIFO in blocking mode could wait forever, and no
/// signal would interrupt the wait.
#[cfg(unix)]
fn open_fifo(path: &Path) -> io::Result<File> {
    const LOOKS: u32 = 500;
    let pause = std::time::Duration::from_millis(10);
    let mut looks = 0;
    loop {
        match tokio::net::unix::pipe::OpenOptions::new().open_sender(path) {
            Err(error) if error.raw_os_error() == Some(ENXIO) && looks < LOOKS => {
                looks += 1;
                std::thread::park_timeout(pause);
            }
            opened => return opened?.into_blocking_fd().map(File::from),
        }
    }
}

#[cfg(not(unix))]
fn open_fifo(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).open(path)
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
        assert_eq!(names(folder.path()).len(), 1, "the temporary file is held");
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
        out.ensure_differs_from(&folder.path().join("in.csv")).expect("another file");
        out.ensure_differs_from(&path).expect_err("the same file");
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
        assert!(error.message.contains(&kept));
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

    #[test]
    fn nothing_is_left_if_nothing_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(OutFile::reserve(&folder.path().join("out.csv"), false).expect("free"));
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_before_any_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = OutFile::reserve(&folder.path().join("x".repeat(300)), true).expect_err("too long");
        assert_eq!(error.kind, Kind::Usage, "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = tempfile::tempdir().expect("another folder");
        let (link, file) = (folder.path().join("out.csv"), target.path().join("real.csv"));
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        for force in [false, true] {
            let error = OutFile::reserve(&link, force).expect_err("a dangling link");
            assert!(error.message.contains("symbolic link"), "{error}");
        }
        assert!(names(target.path()).is_empty(), "a dangling link creates no file");
        fs::write(&file, "old").expect("written");
        assert!(OutFile::reserve(&link, false).expect_err("exists").message.contains("exists already"));
        let mut out = OutFile::reserve(&link, true).expect("by force");
        out.ensure_differs_from(&file).expect_err("the input through a link");
        out.write(b"new").expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&file).expect("there"), b"new");
        assert_eq!((names(folder.path()).len(), names(target.path()).len()), (1, 1));
    }

    #[cfg(unix)]
    #[test]
    fn what_became_of_the_path_meanwhile_is_not_replaced_by_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.csv");
        fs::write(&path, "old").expect("written");
        let mut out = OutFile::reserve(&path, true).expect("by force");
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("elsewhere.csv", &path).expect("a link");
        out.write_or_leave_nothing(b"new").expect_err("a link came in between");
        assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_and_a_folder_are_refused_also_by_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        for path in [&path, folder.path()] {
            assert_eq!(OutFile::reserve(path, true).expect_err("refused").kind, Kind::Usage, "{path:?}");
        }
        assert_eq!(names(folder.path()), ["socket"]);
    }
}
