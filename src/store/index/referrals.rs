//! The referrals of rewards as they were last read: IDs and dates, no person.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::sums::{adds_up, must_add_up};
use super::{Index, IndexReader};
use crate::error::Result;
use crate::extract::referral_id;
use crate::model::RewardId;

/// A referral as it was read. Dates are Unix milliseconds, the vendor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralRead {
    /// The referral.
    pub referral_id: String,
    /// When it started; `None` if the vendor gives no date.
    pub started_at: Option<i64>,
    /// When it converted; `None` if it is not converted.
    pub converted_at: Option<i64>,
    /// When it was modified; `None` if the vendor gives no date.
    pub modified_at: Option<i64>,
    /// When it was read.
    pub read_at: i64,
}

impl Index {
    /// Keeps a referral as it was read, in place of what was read before.
    pub fn put_referral(&mut self, referral: &ReferralRead) -> Result<()> {
        let ReferralRead { referral_id, started_at, converted_at, modified_at, read_at } = referral;
        self.write(|tx, _| {
            let insert = "INSERT INTO referrals (referral_id, started_at, converted_at, modified_at, read_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (referral_id) DO UPDATE SET started_at = excluded.started_at,
                     converted_at = excluded.converted_at, modified_at = excluded.modified_at, read_at = excluded.read_at";
            tx.execute(insert, params![referral_id, started_at, converted_at, modified_at, read_at]).map(drop)
        })
    }

    /// As [`IndexReader::referral`].
    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.read(|conn| select(conn, referral_id))
    }
}

impl IndexReader {
    /// The referrals that these rewards name, each once.
    pub fn referral_ids<'a>(&self, rewards: impl IntoIterator<Item = &'a RewardId>) -> Result<Vec<String>> {
        let mut ids: Vec<String> = Vec::new();
        for reward in rewards {
            if let Some(id) = self.raw(reward)?.as_deref().and_then(referral_id)
                && !ids.contains(&id)
            {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// A referral as it was last read; `None` if it never was.
    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.read(|conn| select(conn, referral_id))
    }
}

fn select(conn: &Connection, referral_id: &str) -> rusqlite::Result<Option<ReferralRead>> {
    let select = format!(
        "SELECT referral_id, started_at, converted_at, modified_at, read_at, {} FROM referrals WHERE referral_id = ?1",
        adds_up("referrals", "referrals")
    );
    conn.prepare_cached(&select)?.query_row([referral_id], referral_from).optional()
}

fn referral_from(row: &Row<'_>) -> rusqlite::Result<ReferralRead> {
    must_add_up(row.get(5)?, "a referral")?;
    Ok(ReferralRead {
        referral_id: row.get(0)?,
        started_at: row.get(1)?,
        converted_at: row.get(2)?,
        modified_at: row.get(3)?,
        read_at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use super::*;

    #[test]
    fn the_newest_reading_of_a_referral_is_kept_with_what_it_does_not_say() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let (mut index, reader) = open(&dir);
        let converted = ReferralRead {
            referral_id: "r".into(),
            started_at: Some(1),
            converted_at: Some(2),
            modified_at: Some(3),
            read_at: 4,
        };
        let started = ReferralRead { converted_at: None, modified_at: None, read_at: 5, ..converted.clone() };
        for referral in [converted, started.clone()] {
            index.put_referral(&referral).expect("writes");
            assert_eq!(index.referral("r").expect("reads").as_ref(), Some(&referral));
        }
        assert_eq!(reader.referral("r").expect("reads"), Some(started));
        assert_eq!(reader.referral("R").expect("reads"), None);
    }
}
