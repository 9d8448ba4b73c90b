//! Checks whether a file is sound: SQLite's own check of its pages, and for an index that a key leads to every link.
//!
//! Other processes may write meanwhile: each statement sees the file as of one moment. Without the second check, an order whose
//! link no key leads to would be answered as not rewarded. Nothing here writes.

use super::db::Checks;
use super::store_file::StoreFile;
use super::{damaged, index};
use crate::error::Result;

impl StoreFile {
    /// Fails with [`Kind::Storage`](crate::error::Kind::Storage) if the file is damaged. Takes as long as reading it does.
    pub fn check_integrity(&self) -> Result<()> {
        let (conn, layout) = (&self.0, self.0.layout());
        let is_index = layout.name == index::LAYOUT.name;
        // The rows of an index can be read again, and comparing them with SQLite's own indexes takes far longer.
        let checks = if is_index { Checks::WithoutIndexes } else { Checks::All };
        let mut finding = conn.read(|tx| tx.first_damage(checks))?;
        if finding.is_none() && is_index {
            finding = conn.with_driver(index::first_damage)?;
        }
        if finding.is_none() && is_index {
            let lost = conn.with_driver(index::links_without_keys)?;
            finding = (lost > 0).then(|| format!("{lost} links would not be found"));
        }
        finding.map_or(Ok(()), |finding| Err(damaged(layout, conn.path(), &finding)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::error::Kind;
    use crate::extract::{self, Mapping};
    use crate::model::AccountId;
    use crate::store::Identity;
    use crate::store::db::RawConnection;
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
        let check = || StoreFile::index(&path, None).expect("opens").expect("exists").check_integrity();
        check().expect("sound");

        let conn = RawConnection::open(&path).expect("opens");
        (index::LAYOUT.functions)(&conn).expect("functions");
        let moved = "INSERT INTO link_keys SELECT * FROM new_link_keys; DELETE FROM new_link_keys;";
        conn.execute_batch(moved).expect("moves");
        check().expect("sound");
        for (sql, lost) in [("reward = 2", 1), ("reward > 3", 3)] {
            conn.execute(&format!("DELETE FROM link_keys WHERE {sql}"), []).expect("damages");
            let error = check().expect_err("it is noticed");
            assert_eq!(error.kind, Kind::Storage);
            assert!(error.message.contains(&format!("{lost} links would not be found")), "{}", error.message);
        }
    }
}
