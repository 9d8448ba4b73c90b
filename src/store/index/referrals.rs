//! The referrals of rewards: the referral that a reward names, and the last reading of each referral (IDs and dates only).

use rusqlite::{Connection, OptionalExtension, params};

use super::sums::{REFERRALS, REWARDS, damaged};
use super::{Index, IndexReader};
use crate::error::Result;
use crate::model::RewardId;

/// A stored referral. All times are Unix milliseconds; all except `read_at` are by the vendor's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralRead {
    pub referral_id: String,
    /// `None` if the vendor gives no date.
    pub started_at: Option<i64>,
    /// `None` if the referral is not converted.
    pub converted_at: Option<i64>,
    /// `None` if the vendor gives no date.
    pub modified_at: Option<i64>,
    pub read_at: i64,
}

impl Index {
    /// Stores a referral; replaces an earlier reading.
    pub fn put_referral(&mut self, referral: &ReferralRead) -> Result<()> {
        let ReferralRead { referral_id, started_at, converted_at, modified_at, read_at } = referral;
        self.write(|tx| REFERRALS.put(tx, params![referral_id, started_at, converted_at, modified_at, read_at]))
    }

    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.read(|conn| select(conn, referral_id))
    }
}

impl IndexReader {
    /// Returns the distinct referrals that these rewards name. Ignores rewards that are missing from the index.
    pub fn referral_ids<'a>(&self, rewards: impl IntoIterator<Item = &'a RewardId>) -> Result<Vec<String>> {
        let sql = format!("SELECT {} FROM rewards WHERE reward_id = ?1", REWARDS.selected);
        self.consistent(|conn| {
            let mut ids: Vec<String> = Vec::new();
            let mut select = conn.prepare_cached(&sql)?;
            for reward in rewards {
                let named = select.query_row([reward], |row| {
                    REWARDS.verify(row, 0)?;
                    Ok((row.get::<_, RewardId>(2)?, row.get::<_, Option<String>>(11)?))
                });
                let Some((found, named)) = named.optional()? else { continue };
                if found != *reward {
                    return Err(damaged("the index of rewards"));
                }
                ids.extend(named.filter(|id| !ids.contains(id)));
            }
            Ok(ids)
        })
    }

    /// Returns the last reading of a referral; `None` if recoup never read it.
    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.read(|conn| select(conn, referral_id))
    }
}

fn select(conn: &Connection, referral_id: &str) -> rusqlite::Result<Option<ReferralRead>> {
    let select = format!("SELECT {} FROM referrals WHERE referral_id = ?1", REFERRALS.selected);
    let read = conn.prepare_cached(&select)?.query_row([referral_id], |row| {
        REFERRALS.verify(row, 0)?;
        Ok(ReferralRead {
            referral_id: row.get(1)?,
            started_at: row.get(2)?,
            converted_at: row.get(3)?,
            modified_at: row.get(4)?,
            read_at: row.get(5)?,
        })
    });
    read.optional()
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
