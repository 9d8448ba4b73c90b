//! What the vendor's program rules said when they were last read.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::sums::{adds_up, must_add_up};
use super::{Index, IndexReader, moment};
use crate::error::Result;

/// What a program said of its rules, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRead {
    /// The program.
    pub program_id: String,
    /// JSON of whoever wrote it down.
    pub answer: String,
    /// When it was read.
    pub read_at: Timestamp,
}

impl Index {
    /// Keeps what a program says of its rules, in place of what was read before.
    pub fn put_program_rule(&mut self, program_id: &str, answer: &str, read_at: Timestamp) -> Result<()> {
        self.write(|tx, _| {
            let insert = "INSERT INTO program_rules (program_id, answer, read_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (program_id) DO UPDATE SET answer = excluded.answer, read_at = excluded.read_at";
            tx.execute(insert, params![program_id, answer, read_at.as_millisecond()]).map(drop)
        })
    }

    /// As [`IndexReader::program_rule`].
    pub fn program_rule(&self, program_id: &str) -> Result<Option<RuleRead>> {
        Ok(self.read(|conn| select(conn, Some(program_id)))?.pop())
    }
}

impl IndexReader {
    /// What this program said of its rules when it was last read; `None` if it never was.
    pub fn program_rule(&self, program_id: &str) -> Result<Option<RuleRead>> {
        Ok(self.read(|conn| select(conn, Some(program_id)))?.pop())
    }

    /// The same of every program that was read, in the order of their IDs.
    pub fn program_rules(&self) -> Result<Vec<RuleRead>> {
        self.read(|conn| select(conn, None))
    }
}

fn select(conn: &Connection, program_id: Option<&str>) -> rusqlite::Result<Vec<RuleRead>> {
    let select = format!(
        "SELECT program_id, answer, read_at, {} FROM program_rules WHERE ?1 IS NULL OR program_id = ?1 ORDER BY program_id",
        adds_up("program_rules", "program_rules")
    );
    conn.prepare_cached(&select)?.query_map([program_id], rule_from)?.collect()
}

fn rule_from(row: &Row<'_>) -> rusqlite::Result<RuleRead> {
    must_add_up(row.get(3)?, "a program rule")?;
    Ok(RuleRead { program_id: row.get(0)?, answer: row.get(1)?, read_at: moment(row.get(2)?) })
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
        let path = reader.path.clone();
        // The writer last: it moves its log into the file.
        drop(reader);
        drop(index);
        let mut file = std::fs::read(&path).expect("reads");
        let at = file.windows(17).position(|bytes| bytes == b"a rule of its own").expect("in the file");
        file[at] = b'A';
        std::fs::write(&path, file).expect("damages");
        let reader = IndexReader::open(&path, None).expect("opens").expect("exists");
        let refused = reader.program_rule("b").expect_err("it does not add up");
        assert!(refused.message.contains("does not add up"), "{}", refused.message);
        assert_eq!(reader.program_rule("a").expect("reads"), Some(read("a", "1", 6)));
    }
}
