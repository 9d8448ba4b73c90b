//! The batches of the page: files in a folder beside a ledger's file, rows on a server.

use std::path::PathBuf;

use ring::digest::{Context, SHA256};

use super::Digest;
use crate::error::{Error, Kind, Result};
use crate::store::create_private;
use crate::store::db::{Conn, Value, bytes_of};

/// The suffixes of the files, which are also the names of the parts.
const PARTS: [&str; 4] = ["json", "plan", "outcomes", "upload"];

/// The folder of the batches. It does not have to exist.
pub(super) struct BatchFiles(pub PathBuf);

impl BatchFiles {
    /// Returns the batch and the part of every file, in order. Locks and temporary files are no parts.
    pub fn names(&self) -> Result<Vec<(String, String)>> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(&error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.failed(&error))?.file_name();
            let Some((id, part)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
            if PARTS.contains(&part) && !id.is_empty() && !id.starts_with('.') {
                names.push((id.to_owned(), part.to_owned()));
            }
        }
        names.sort();
        Ok(names)
    }

    pub fn read(&self, id: &str, part: &str) -> Result<Vec<u8>> {
        std::fs::read(self.path(id, part)).map_err(|error| self.failed(&error))
    }

    /// Writes a part that only its owner can read.
    pub fn write(&self, id: &str, part: &str, bytes: &[u8]) -> Result<()> {
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if id.is_empty() || !is_name(id) || !PARTS.contains(&part) {
            return Err(Error::new(Kind::Storage, "a batch at the source has a name that recoup does not give")
                .hint("nothing was sent; remove it from the source's batches"));
        }
        let path = self.path(id, part);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.0)?;
            make_private(&self.0)?;
            create_private(&path)?;
            std::fs::write(&path, bytes)?;
            std::fs::File::open(&path)?.sync_all()
        };
        write().map_err(|error| self.failed(&error))
    }

    pub fn digest(&self) -> Result<Digest> {
        let (mut context, names) = (Context::new(&SHA256), self.names()?);
        for (id, part) in &names {
            context.update(&bytes_of(Value::Text(id)));
            context.update(&bytes_of(Value::Text(part)));
            context.update(&bytes_of(Value::Blob(&self.read(id, part)?)));
        }
        Ok(Digest::of(context, names.len() as u64))
    }

    fn path(&self, id: &str, part: &str) -> PathBuf {
        self.0.join(format!("{id}.{part}"))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::new(Kind::Storage, format!("the folder of the batches, {}, failed: {error}", self.0.display()))
            .hint("check who owns it and whether the disk is full, then run the same command again")
    }
}

#[cfg(unix)]
fn make_private(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_private(_folder: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

pub(super) fn names_of(rows: &Conn) -> Result<Vec<(String, String)>> {
    let names = "SELECT id, part FROM parts ORDER BY id, part";
    rows.read(|tx| tx.rows(names, &[], |row| Ok((row.get(0)?, row.get(1)?))))
}

pub(super) fn get(rows: &Conn, id: &str, part: &str) -> Result<Vec<u8>> {
    rows.read(|tx| tx.one("SELECT bytes FROM parts WHERE id = ?1 AND part = ?2", &[&id, &part], |row| row.get(0)))
}

pub(super) fn put(rows: &Conn, id: &str, part: &str, bytes: &[u8]) -> Result<()> {
    let upsert = "INSERT INTO parts (id, part, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (id, part) DO UPDATE SET bytes = excluded.bytes";
    rows.write(|tx| tx.run(upsert, &[&id, &part, &bytes])).map(drop)
}
