//! A cache of the vendor's program rules in the index.

use jiff::Timestamp;

use super::sums::PROGRAM_RULES;
use super::{Index, IndexReader, moment};
use crate::error::Result;
use crate::store::db::{DbError, ToValue, Tx};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRead {
    pub program_id: String,
    /// The rule, or the reason why recoup could not read it, as JSON. The `retract` module defines the format.
    pub answer: String,
    pub read_at: Timestamp,
}

impl Index {
    /// Stores the rules of a program, and replaces an earlier reading of them.
    pub fn put_program_rule(&mut self, program_id: &str, answer: &str, read_at: Timestamp) -> Result<()> {
        self.conn.write(|tx| PROGRAM_RULES.put(tx, &[&program_id, &answer, &read_at.as_millisecond()]))
    }

    /// Returns the rules of a program; `None` if recoup never read them.
    pub fn program_rule(&self, program_id: &str) -> Result<Option<RuleRead>> {
        Ok(self.conn.read(|tx| select(tx, OF_PROGRAM, &[&program_id]))?.pop())
    }
}

impl IndexReader {
    /// Returns the rules of a program; `None` if recoup never read them.
    pub fn program_rule(&self, program_id: &str) -> Result<Option<RuleRead>> {
        Ok(self.conn.read(|tx| select(tx, OF_PROGRAM, &[&program_id]))?.pop())
    }

    /// Returns all stored program rules, ordered by program ID.
    pub fn program_rules(&self) -> Result<Vec<RuleRead>> {
        self.conn.read(|tx| select(tx, "ORDER BY program_id", &[]))
    }
}

const OF_PROGRAM: &str = "WHERE program_id = ?1";

fn select(tx: &Tx<'_>, which: &str, args: &[&dyn ToValue]) -> Result<Vec<RuleRead>, DbError> {
    let select = format!("SELECT {} FROM program_rules {which}", PROGRAM_RULES.selected);
    tx.rows(&select, args, |row| {
        PROGRAM_RULES.verify(row, 0)?;
        Ok(RuleRead { program_id: row.get(1)?, answer: row.get(2)?, read_at: moment(row.get(3)?) })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use super::*;

    #[test]
    fn the_newest_reading_of_a_program_is_kept_and_a_damaged_one_is_no_answer() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let (mut index, reader) = open(&dir);
        let read = |id: &str, answer: &str, at: i64| RuleRead {
            program_id: id.into(),
            answer: answer.into(),
            read_at: moment(at),
        };
        for (id, answer, at) in [("b", "{}", 5), ("a", "1", 6), ("b", "a rule of its own", 4)] {
            index.put_program_rule(id, answer, moment(at)).expect("writes");
        }
        assert_eq!(index.program_rule("b").expect("reads"), Some(read("b", "a rule of its own", 4)));
        assert_eq!(reader.program_rule("a").expect("reads"), Some(read("a", "1", 6)));
        assert_eq!(reader.program_rule("c").expect("reads"), None);
        let all = [read("a", "1", 6), read("b", "a rule of its own", 4)];
        assert_eq!(reader.program_rules().expect("reads"), all);
        let path = reader.conn.place().path().expect("a file").to_owned();
        // The writer closes last, so that SQLite checkpoints the write-ahead log into the file.
        drop(reader);
        drop(index);
        let mut file = std::fs::read(&path).expect("reads");
        let at = file.windows(17).position(|bytes| bytes == b"a rule of its own").expect("in the file");
        file[at] = b'A';
        std::fs::write(&path, file).expect("damages");
        let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
        let refused = reader.program_rule("b").expect_err("it is damaged");
        assert!(refused.message.contains("does not match its checksum"), "{}", refused.message);
        assert_eq!(reader.program_rule("a").expect("reads"), Some(read("a", "1", 6)));
    }
}
