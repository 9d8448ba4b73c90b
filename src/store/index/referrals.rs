//! Stores referrals: reads the referral IDs in rewards, and stores the newest reading of each referral (IDs and dates
//! only).

use std::sync::LazyLock;

use super::sums::{REFERRALS, REWARDS, damaged};
use super::{Index, IndexReader};
use crate::error::Result;
use crate::model::RewardId;
use crate::store::db::{DbError, Tx};

/// A stored referral. All times are Unix milliseconds. All times except `read_at` are by the vendor's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralRead {
    pub referral_id: String,
    /// When the referral started; `None` if the vendor gives no date.
    pub started_at: Option<i64>,
    /// When the referral was converted; `None` if it is not converted.
    pub converted_at: Option<i64>,
    /// When the referral was last modified; `None` if the vendor gives no date.
    pub modified_at: Option<i64>,
    pub read_at: i64,
}

impl Index {
    /// Stores a referral, and replaces an earlier reading of it.
    pub fn put_referral(&mut self, referral: &ReferralRead) -> Result<()> {
        let ReferralRead { referral_id, started_at, converted_at, modified_at, read_at } = referral;
        self.conn.write(|tx| REFERRALS.put(tx, &[referral_id, started_at, converted_at, modified_at, read_at]))
    }

    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.conn.read(|tx| select(tx, referral_id))
    }
}

impl IndexReader {
    /// Returns the distinct IDs of the referrals of these rewards. Ignores rewards that are missing from the index.
    pub fn referral_ids<'a>(&self, rewards: impl IntoIterator<Item = &'a RewardId>) -> Result<Vec<String>> {
        let rewards: Vec<&RewardId> = rewards.into_iter().collect();
        self.conn.read(|tx| {
            let mut ids: Vec<String> = Vec::new();
            for reward in &rewards {
                let named = tx.opt(&REWARD_BY_ID, &[reward], |row| {
                    REWARDS.verify(row, 0)?;
                    Ok((row.get::<RewardId>(2)?, row.get::<Option<String>>(11)?))
                })?;
                let Some((found, named)) = named else { continue };
                if found != **reward {
                    return Err(damaged("the index of rewards"));
                }
                ids.extend(named.filter(|id| !ids.contains(id)));
            }
            Ok(ids)
        })
    }

    /// Returns the last reading of a referral; `None` if recoup never read it.
    pub fn referral(&self, referral_id: &str) -> Result<Option<ReferralRead>> {
        self.conn.read(|tx| select(tx, referral_id))
    }
}

static REWARD_BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM rewards WHERE reward_id = ?1", REWARDS.selected));

static REFERRAL_BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM referrals WHERE referral_id = ?1", REFERRALS.selected));

fn select(tx: &Tx<'_>, referral_id: &str) -> Result<Option<ReferralRead>, DbError> {
    tx.opt(&REFERRAL_BY_ID, &[&referral_id], |row| {
        REFERRALS.verify(row, 0)?;
        Ok(ReferralRead {
            referral_id: row.get(1)?,
            started_at: row.get(2)?,
            converted_at: row.get(3)?,
            modified_at: row.get(4)?,
            read_at: row.get(5)?,
        })
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
