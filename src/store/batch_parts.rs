//! Stores the parts of the page's batches as rows on a PostgreSQL server. If the stores are files, `serve` keeps the
//! parts as files.
//!
//! `batches.sql` describes every column.

use super::db::Conn;
use super::{Identity, Layout, Place};
use crate::error::Result;

pub(super) const LAYOUT: Layout = Layout {
    name: "batches",
    schema: include_str!("../../batches.sql"),
    version: 1,
    synchronous: "FULL",
    autocheckpoint_pages: 1000,
    application_id: 0x7265_6362, // "recb"
};

/// The stored parts of all batches. Each call of a method uses a transaction of its own.
#[derive(Debug, Clone)]
pub struct BatchParts {
    place: Place,
    identity: Identity,
}

impl BatchParts {
    /// Names the store of batches, without I/O.
    pub fn at(place: &Place, identity: &Identity) -> Self {
        Self { place: place.clone(), identity: identity.clone() }
    }

    fn open(&self) -> Result<Conn> {
        Conn::open(&self.place, &LAYOUT, &self.identity)
    }

    pub fn write(&self, id: &str, part: &str, bytes: &[u8]) -> Result<()> {
        let upsert = "INSERT INTO parts (id, part, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT (id, part) DO UPDATE SET bytes = excluded.bytes";
        self.open()?.write(|tx| tx.run(upsert, &[&id, &part, &bytes])).map(drop)
    }

    /// Returns a part of a batch; `None` if it does not exist.
    pub fn read(&self, id: &str, part: &str) -> Result<Option<Vec<u8>>> {
        let select = "SELECT bytes FROM parts WHERE id = ?1 AND part = ?2";
        self.open()?.read(|tx| tx.opt(select, &[&id, &part], |row| row.get(0)))
    }

    /// Removes a part of a batch. A missing part is no error.
    pub fn remove(&self, id: &str, part: &str) -> Result<()> {
        self.open()?.write(|tx| tx.run("DELETE FROM parts WHERE id = ?1 AND part = ?2", &[&id, &part])).map(drop)
    }

    /// Returns the IDs of the batches that have this part.
    pub fn ids(&self, part: &str) -> Result<Vec<String>> {
        self.open()?.read(|tx| tx.rows("SELECT id FROM parts WHERE part = ?1", &[&part], |row| row.get(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_written_until_it_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let parts = BatchParts::at(&folder.path().join("b.db").into(), &Identity::of_a_test());
        parts.write("a", "plan", b"one").expect("writes");
        parts.write("a", "plan", b"two\0").expect("replaces");
        parts.write("b", "json", b"{}").expect("writes");
        assert_eq!(parts.read("a", "plan").expect("reads").as_deref(), Some(&b"two\0"[..]));
        assert_eq!(parts.ids("json").expect("reads"), ["b"]);
        parts.remove("a", "plan").expect("removes");
        assert_eq!(parts.read("a", "plan").expect("reads"), None);
    }
}
