//! The compressed JSON of each reward, unchanged from the vendor. recoup can extract links from this JSON again with a
//! better mapping, without a second crawl.
//!
//! Rewards are small and similar, so recoup compresses each one separately, with zstd and a built-in dictionary.
//! `benches/dictionary.rs` describes how the dictionary was made. The dictionary is trained on the simulator's output
//! and the vendor's published examples, so it contains no personal data. [`FORMAT`] must change together with the
//! dictionary. A process with another dictionary then refuses the compressed JSON instead of misreading it.

use std::fmt;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};

use super::links::write_links;
use super::reward_rows::previous_by_row;
use super::sums::{REWARDS, RowSum};
use super::{Index, damaged_raw};
use crate::error::{Error, Kind, Result};
use crate::extract::Extracted;
use crate::model::AccountId;
use crate::store::db::ColumnKind::{Blob, Integer};
use crate::store::db::{Bulk, DbError, Row, Tx, Value};

/// The version of the dictionary and the compression settings, stored with each compressed reward.
const FORMAT: i64 = 1;
const DICTIONARY: &[u8] = include_bytes!("rewards.dict");
/// zstd's default level. With a dictionary, a higher compression level takes longer and saves little space.
const LEVEL: i32 = 3;
/// The largest reward, in bytes of uncompressed JSON. `vendor` refuses larger responses.
const LARGEST: usize = 64 << 20;

/// Compresses JSON for `raw_rewards`. The writer reuses one compressor, because loading the dictionary takes longer than
/// compressing a reward.
pub(super) struct JsonCompressor(Compressor<'static>);

impl fmt::Debug for JsonCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonCompressor")
    }
}

impl JsonCompressor {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut compressor = Compressor::with_dictionary(LEVEL, DICTIONARY)?;
        // The columns `format` and `sum` replace zstd's dictionary ID and checksum, and take less space.
        compressor.include_dictid(false)?;
        compressor.include_checksum(false)?;
        Ok(Self(compressor))
    }

    /// Stores the JSON of a reward, and replaces the JSON stored before.
    pub(super) fn put(&mut self, tx: &Tx<'_>, reward: i64, raw: &str) -> Result<(), DbError> {
        let json = self.0.compress(raw.as_bytes());
        let json = json
            .map_err(|error| Error::new(Kind::Failed, format!("the JSON of a reward cannot be compressed: {error}")))?;
        tx.run_later(&PUT_JSON, &[&reward, &FORMAT, &json, &json_sum(reward, raw.as_bytes())])
    }
}

static PUT_JSON: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [("reward", Integer), ("format", Integer), ("json", Blob), ("sum", Integer)];
    let conflict =
        "ON CONFLICT (reward) DO UPDATE SET format = excluded.format, json = excluded.json, sum = excluded.sum";
    Bulk::insert(3, "raw_rewards", 1, &columns, conflict)
});

/// Returns the checksum of the JSON with the reward's row ID, so that the JSON of another reward does not match.
fn json_sum(reward: i64, raw: &[u8]) -> i64 {
    let mut sum = RowSum::default();
    sum.add(Value::Integer(reward));
    sum.add(Value::Blob(raw));
    sum.value()
}

/// A row of `raw_rewards`.
pub(super) struct StoredJson {
    pub(super) reward: i64,
    format: i64,
    json: Vec<u8>,
    sum: i64,
}

impl StoredJson {
    /// Reads the columns `reward, format, json, raw_rewards.sum`.
    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self { reward: row.get(0)?, format: row.get(1)?, json: row.get(2)?, sum: row.get(3)? })
    }

    /// # Errors
    /// [`Kind::OtherVersion`] if the JSON has another format, [`Kind::Storage`] if it is damaged.
    pub(super) fn decompress(&self, decompressor: &mut Decompressor<'_>) -> Result<String> {
        if self.format != FORMAT {
            let message = format!(
                "the JSON of a reward is stored in format {}, and this version of recoup reads format {FORMAT}",
                self.format
            );
            return Err(Error::new(Kind::OtherVersion, message).hint(
                "use the recoup that wrote it, or move the index away and run `recoup crawl`: it can be rebuilt",
            ));
        }
        let raw = decompressor.decompress(&self.json, LARGEST).map_err(|_damaged| damaged_raw())?;
        if json_sum(self.reward, &raw) != self.sum {
            return Err(damaged_raw());
        }
        String::from_utf8(raw).map_err(|_damaged| damaged_raw())
    }
}

pub(super) fn decompressor() -> Result<Decompressor<'static>> {
    Decompressor::with_dictionary(DICTIONARY)
        .map_err(|error| Error::new(Kind::Failed, format!("zstd failed to start: {error}")))
}

/// A reward with links extracted again from its stored JSON.
#[derive(Debug)]
pub struct Reextracted {
    pub row: i64,
    pub extracted: Extracted,
}

impl Index {
    /// Returns the next rewards after a row. Each returned item has the reward's row, the account that lists the
    /// reward, and the reward's JSON.
    pub fn raw_after(&self, row: i64, limit: usize) -> Result<Vec<(i64, AccountId, String)>> {
        let stored = self.conn.read(|tx| {
            tx.rows(
                "SELECT reward, format, json, raw_rewards.sum, accounts.account_id FROM raw_rewards
                     JOIN rewards ON rewards.id = reward JOIN accounts ON accounts.id = account
                 WHERE reward > ?1 ORDER BY reward LIMIT ?2",
                &[&row, &(limit as u64)],
                |row| Ok((StoredJson::from_row(row)?, row.get::<AccountId>(4)?)),
            )
        })?;
        let mut decompressor = decompressor()?;
        stored
            .into_iter()
            .map(|(stored, account)| Ok((stored.reward, account, stored.decompress(&mut decompressor)?)))
            .collect()
    }

    /// Replaces the links of a batch of rewards by newly extracted ones, in one transaction.
    pub fn reextract(&mut self, rewards: &[Reextracted]) -> Result<()> {
        self.write_batch(|batch| {
            for Reextracted { row, extracted } in rewards {
                let Some(previous) = previous_by_row(batch.tx, *row)? else { continue };
                let pattern = batch.shared.link_pattern(batch.tx, extracted)?;
                let unreadable = extracted.unreadable as i64;
                if !previous.gone {
                    batch.counters.remove(&previous);
                    batch.counters.add(previous.read_run, pattern, extracted);
                }
                if (pattern, unreadable) != (previous.pattern, previous.unreadable) {
                    let update = "UPDATE rewards SET pattern = ?2, unreadable = ?3 WHERE id = ?1";
                    REWARDS.update(batch.tx, update, &[row, &pattern, &unreadable])?;
                }
                write_links(batch.tx, &mut batch.link_sums, *row, &previous.links, &extracted.links)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::{AccountAnswer, AccountKey, AccountRead, NewRun, Page, ReadReward, moment};
    use super::*;
    use crate::extract::{self, Mapping};
    use crate::model::{Participant, UserId};
    use crate::store::Identity;

    /// Returns a reward like the vendor's examples, with IDs and dates that depend on `n`.
    fn raw(n: u64) -> String {
        let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            r#"{{"id":"{noise:024x}","uniqueId":null,"dateCreated":{},"programId":"friends-and-family","programRewardKey":"referredReward","globalRewardKey":null,"referralId":null,"type":"CREDIT","dateGiven":{},"dateExpires":null,"dateCancelled":null,"dateScheduledFor":null,"accountId":"a","userId":"a","cancellable":true,"rewardSource":"FRIEND_SIGNUP","unit":"CENTS","discountPercent":null,"name":"Dollar Credit","description":null,"assignedCredit":{},"redeemedCredit":0,"redemptions":[],"currency":null,"orderId":"O{n}","actionId":"4711.6002.{n}"}}"#,
            1_700_000_000_000 + noise % 90_000_000_000,
            1_700_000_000_000 + noise % 90_000_000_000,
            noise % 90 * 100
        )
    }

    fn index_with(dir: &TempDir, raws: &[String]) -> Index {
        let mut index = Index::open(dir.path().join("recoup.db"), &Identity::of_a_test()).expect("opens");
        let (run, _) = index.begin_run(NewRun::of("participants"), moment(1)).expect("begins");
        let account = AccountId::new("a");
        let (pass, _) = index.begin_pass(run, "", moment(1)).expect("begins");
        let participant = Participant { user_id: UserId::new("a"), account_id: account.clone(), email: None };
        let page = Page { participants: vec![participant], unusable: Vec::new(), cursor: String::new() };
        index.commit_page(run, &pass, &page, moment(1)).expect("commits");
        let read = |raw: &String| {
            ReadReward::new(extract::read(raw, &account, &Mapping::default()).expect("a reward"), raw.as_str())
        };
        let answer = AccountAnswer::Listed { rewards: raws.iter().map(read).collect(), unusable: 0 };
        let key = AccountKey(1);
        index.record(run, vec![AccountRead { key, asked_at: moment(2), answer }]).expect("records");
        index
    }

    fn stored(index: &Index) -> Vec<StoredJson> {
        let sql = "SELECT reward, format, json, raw_rewards.sum FROM raw_rewards ORDER BY reward";
        index.conn.read(|tx| tx.rows(sql, &[], StoredJson::from_row)).expect("reads")
    }

    #[test]
    fn rewards_are_stored_in_a_fifth_of_their_size_and_come_back_unchanged() {
        let dir = TempDir::new().expect("a folder");
        let mut raws: Vec<String> = (0..500).map(raw).collect();
        raws.push(r#"{"id":"x","λόγος":[1,2,3]}"#.to_owned());
        let index = index_with(&dir, &raws);
        let back: Vec<String> = index.raw_after(0, 1000).expect("reads").into_iter().map(|(_, _, raw)| raw).collect();
        assert_eq!(back, raws);
        let size: usize = raws.iter().map(String::len).sum();
        let packed: usize = stored(&index).iter().map(|stored| stored.json.len()).sum();
        assert!(packed * 5 <= size, "{packed} of {size} bytes");
    }

    #[test]
    fn a_flipped_bit_is_never_read_as_another_text() {
        let dir = TempDir::new().expect("a folder");
        let index = index_with(&dir, &[raw(7)]);
        let mut decompressor = decompressor().expect("zstd");
        let mut row = stored(&index).pop().expect("a row");
        for (at, bit) in (0..row.json.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            row.json[at] ^= 1 << bit;
            assert!(!row.decompress(&mut decompressor).is_ok_and(|read| read != raw(7)), "byte {at}");
            row.json[at] ^= 1 << bit;
        }
        assert_eq!(row.decompress(&mut decompressor).expect("reads"), raw(7));
        row.reward += 1;
        assert_eq!(row.decompress(&mut decompressor).expect_err("of another reward").kind, Kind::Storage);
    }

    #[test]
    fn damaged_json_and_json_of_another_format_are_refused_each_with_its_reason() {
        let dir = TempDir::new().expect("a folder");
        let index = index_with(&dir, &[raw(0)]);
        for (damage, kind) in [
            ("json = x'28B52FFD2001000000'", Kind::Storage),
            ("json = x''", Kind::Storage),
            ("json = substr(json, 1, length(json) - 3)", Kind::Storage),
            ("sum = sum + 1", Kind::Storage),
            ("format = 2", Kind::OtherVersion),
        ] {
            let conn = index.conn.raw();
            conn.execute_batch(&format!("BEGIN; UPDATE raw_rewards SET {damage}")).expect("damages");
            assert_eq!(index.raw_after(0, 1).expect_err(damage).kind, kind, "{damage}");
            conn.execute_batch("ROLLBACK").expect("ends");
        }
        assert_eq!(index.raw_after(0, 1).expect("reads")[0].2, raw(0));
    }
}
