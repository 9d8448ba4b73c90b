//! Whether a file is sound: SQLite's own check of its pages, and for an index that a key leads to every link.
//!
//! Others may write meanwhile: each question sees the file as of one moment. Nothing else would notice a link to which no key
//! leads: the order would be answered as if nobody had ever been rewarded for it. This module must never change the file.

use rusqlite::{Connection, ErrorCode};

use super::whole::Whole;
use super::{damaged, index};
use crate::error::{Error, Kind, Result};

impl Whole {
    /// Looks through all of it, and fails with [`Kind::Storage`] where it is not sound. Takes as long as reading the file does.
    pub fn inspect(&self) -> Result<()> {
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Error::new(Kind::Interrupted, "interrupted; nothing was changed"),
            _ => self.failed(&error),
        };
        let is_index = self.layout.name == index::LAYOUT.name;
        // The rows of an index can be read again, so SQLite's own indexes are not compared with them, which takes far longer.
        let check = if is_index { "quick_check" } else { "integrity_check" };
        if let Some(finding) = first_finding(&self.conn, check).map_err(failed)? {
            return Err(damaged(self.layout, &self.path, &finding));
        }
        if is_index && let Some(finding) = index::first_damage(&self.conn).map_err(failed)? {
            return Err(damaged(self.layout, &self.path, &finding));
        }
        let lost = if is_index { index::links_without_keys(&self.conn).map_err(failed)? } else { 0 };
        if lost > 0 {
            return Err(damaged(self.layout, &self.path, &format!("{lost} links would not be found")));
        }
        Ok(())
    }
}

/// What one of SQLite's checks finds first; `None` where it finds nothing.
pub(super) fn first_finding(conn: &Connection, check: &str) -> rusqlite::Result<Option<String>> {
    let finding: String = conn.query_row(&format!("PRAGMA {check}(1)"), [], |row| row.get(0))?;
    Ok(Some(finding).filter(|finding| finding != "ok"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::extract::{self, Mapping};
    use crate::model::AccountId;
    use crate::store::Identity;
    use crate::store::index::{Index, NewRun, ReadReward, RewardRows};

    #[test]
    fn a_link_that_would_not_be_found_is_a_finding() {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("recoup.db");
        let mut index = Index::open(&path, &Identity::of_a_test()).expect("opens");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let (run, _) = index.begin_run(NewRun::of("graphql"), now).expect("begins");
        let account = AccountId::new("a");
        let rewards = (0..5).map(|n| {
            let raw = json!({"id": format!("r{n}"), "orderId": format!("#{n}"), "actionId": "1.2.3"}).to_string();
            let extracted = extract::read(&raw, &account, &Mapping::default()).expect("a reward");
            (account.clone(), ReadReward::new(extracted, &raw))
        });
        let page = RewardRows { rewards: rewards.collect(), unusable: 0, cursor: "{}".to_owned() };
        index.commit_rewards(run, &page, now).expect("commits");
        let inspect = || Whole::index(&path, None).expect("opens").expect("exists").inspect();
        inspect().expect("sound");

        let conn = Connection::open(&path).expect("opens");
        (index::LAYOUT.functions)(&conn).expect("functions");
        let moved = "INSERT INTO link_keys SELECT * FROM new_link_keys; DELETE FROM new_link_keys;";
        conn.execute_batch(moved).expect("moves");
        inspect().expect("sound");
        for (sql, lost) in [("reward = 2", 1), ("reward > 3", 3)] {
            conn.execute(&format!("DELETE FROM link_keys WHERE {sql}"), []).expect("damages");
            let error = inspect().expect_err("it is noticed");
            assert_eq!(error.kind, Kind::Storage);
            assert!(error.message.contains(&format!("{lost} links would not be found")), "{}", error.message);
        }
    }
}
