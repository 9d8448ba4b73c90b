//! How the JSON of a reward is packed for keeping: one by one, so that one can be read without the others.
//!
//! The first few are packed with LZ4. What they have in common, which is most of their text, becomes a zstd dictionary, and
//! from then on a reward takes what is its own. A dictionary is kept as long as the file is, and JSON that it does not fit
//! is only packed less well. Packing is done by the one who writes, never by the one who asks the vendor.

use std::collections::HashMap;
use std::fmt;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use zstd::bulk::{Compressor, Decompressor};

use super::damaged_raw;
use crate::error::Result;
use crate::model::fnv1a;

/// Rewards that a dictionary is made from.
const ENOUGH: u64 = 2000;
/// Most rewards that are packed again once there is a dictionary; the rest is when they are read again.
const SAMPLES: usize = 4000;
/// Size of a dictionary, in bytes.
const DICTIONARY: usize = 32 << 10;
/// The fast one: higher ones take twice as long and more for a few hundredths, once there is a dictionary.
const LEVEL: i32 = 1;
/// No answer is larger, so no reward is (`vendor`'s limit).
const LARGEST: usize = 64 << 20;

/// Packs, with the dictionary of the file where it has one.
pub(super) struct Packer {
    dictionary: Option<(i64, Compressor<'static>)>,
    buffer: Vec<u8>,
    /// Rewards packed without a dictionary, up to [`ENOUGH`].
    without: u64,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packer").field(&self.dictionary.as_ref().map(|(id, _)| id)).finish()
    }
}

impl Packer {
    /// With the newest dictionary of the file.
    pub(super) fn new(conn: &Connection) -> rusqlite::Result<Self> {
        let newest = "SELECT id, dictionary FROM dictionaries ORDER BY id DESC LIMIT 1";
        let dictionary: Option<(i64, Vec<u8>)> =
            conn.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        // One that cannot be used is as good as none.
        let dictionary = dictionary.and_then(|(id, bytes)| Some((id, compressor(&bytes)?)));
        let without = "SELECT count(*) FROM (SELECT 1 FROM raws WHERE dictionary IS NULL LIMIT ?1)";
        let without = match dictionary {
            Some(_) => 0,
            None => conn.query_row(without, [ENOUGH as i64], |row| row.get::<_, i64>(0))? as u64,
        };
        Ok(Self { dictionary, buffer: Vec::new(), without })
    }

    /// The columns `dictionary` and `raw`.
    pub(super) fn pack(&mut self, raw: &str) -> (Option<i64>, &[u8]) {
        if let Some((id, compressor)) = &mut self.dictionary {
            self.buffer.clear();
            self.buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            if compressor.compress_to_buffer(raw.as_bytes(), &mut self.buffer).is_ok() {
                self.buffer.extend(sum(raw.as_bytes()));
                return (Some(*id), &self.buffer);
            }
        }
        self.without += 1;
        self.buffer = lz4_flex::block::compress_prepend_size(raw.as_bytes());
        self.buffer.extend(sum(raw.as_bytes()));
        (None, &self.buffer)
    }

    /// Whether a dictionary is due.
    pub(super) fn is_due(&self) -> bool {
        self.dictionary.is_none() && self.without >= ENOUGH
    }

    /// A new dictionary in the place of those that there are, from these samples; none where they are too few. What is kept
    /// is packed again by the caller.
    pub(super) fn begin_anew(&mut self, tx: &Transaction<'_>, samples: &[String]) -> rusqlite::Result<()> {
        (self.dictionary, self.without) = (None, 0);
        let texts: Vec<&[u8]> = samples.iter().map(String::as_bytes).collect();
        let Ok(bytes) = zstd::dict::from_samples(&texts, DICTIONARY) else { return Ok(()) };
        let Some(compressor) = compressor(&bytes) else { return Ok(()) };
        let made_at = "coalesce((SELECT max(made_at) FROM dictionaries), 0)";
        tx.execute(&format!("INSERT INTO dictionaries (made_at, dictionary) VALUES ({made_at}, ?1)"), [bytes])?;
        self.dictionary = Some((tx.last_insert_rowid(), compressor));
        Ok(())
    }

    /// Makes a dictionary from the rewards that are kept, and packs these again.
    pub(super) fn train(&mut self, tx: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<()> {
        // Where nothing comes of it, as many again are waited for.
        self.without = 0;
        let packed: Vec<(i64, Vec<u8>)> = tx
            .prepare("SELECT reward, raw FROM raws WHERE dictionary IS NULL ORDER BY reward LIMIT ?1")?
            .query_map([SAMPLES as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let samples: Vec<(i64, String)> =
            packed.into_iter().filter_map(|(row, raw)| Some((row, unpack_lz4(&raw).ok()?))).collect();
        let texts: Vec<&[u8]> = samples.iter().map(|(_, raw)| raw.as_bytes()).collect();
        let Ok(bytes) = zstd::dict::from_samples(&texts, DICTIONARY) else { return Ok(()) };
        let Some(compressor) = compressor(&bytes) else { return Ok(()) };
        tx.execute("INSERT INTO dictionaries (made_at, dictionary) VALUES (?1, ?2)", params![now_ms, bytes])?;
        self.dictionary = Some((tx.last_insert_rowid(), compressor));
        let mut update = tx.prepare("UPDATE raws SET dictionary = ?2, raw = ?3 WHERE reward = ?1")?;
        for (row, raw) in &samples {
            let (dictionary, packed) = self.pack(raw);
            update.execute(params![row, dictionary, packed])?;
        }
        Ok(())
    }
}

/// Stands behind what is packed: what is damaged in the file must not be read as another reward's words. LZ4 has no
/// checksum, and one for both is simpler than two.
fn sum(raw: &[u8]) -> [u8; 8] {
    fnv1a(raw.iter().copied()).to_le_bytes()
}

/// With a dictionary, and without what a frame may carry and nobody reads: the dictionary stands in its own column.
fn compressor(dictionary: &[u8]) -> Option<Compressor<'static>> {
    let mut compressor = Compressor::with_dictionary(LEVEL, dictionary).ok()?;
    compressor.include_dictid(false).ok()?;
    compressor.include_checksum(false).ok()?;
    Some(compressor)
}

/// Unpacks, with whatever dictionaries of the file that takes.
pub(super) struct Unpacker<'a> {
    conn: &'a Connection,
    dictionaries: HashMap<i64, Option<Decompressor<'static>>>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(conn: &'a Connection) -> Self {
        Self { conn, dictionaries: HashMap::new() }
    }

    /// The JSON as it came. The outer failure is the database's, the inner one is about what was packed.
    pub(super) fn unpack(&mut self, dictionary: Option<i64>, raw: &[u8]) -> rusqlite::Result<Result<String>> {
        let Some(id) = dictionary else { return Ok(unpack_lz4(raw)) };
        if !self.dictionaries.contains_key(&id) {
            let select = "SELECT dictionary FROM dictionaries WHERE id = ?1";
            let bytes: Option<Vec<u8>> = self.conn.query_row(select, [id], |row| row.get(0)).optional()?;
            self.dictionaries.insert(id, bytes.and_then(|bytes| Decompressor::with_dictionary(&bytes).ok()));
        }
        let decompressor = self.dictionaries.get_mut(&id).and_then(Option::as_mut);
        let Some((packed, of)) = raw.split_last_chunk() else { return Ok(Err(damaged_raw())) };
        let bytes = decompressor.and_then(|decompressor| decompressor.decompress(packed, LARGEST).ok());
        Ok(bytes.ok_or_else(damaged_raw).and_then(|bytes| checked(bytes, *of)))
    }
}

fn unpack_lz4(raw: &[u8]) -> Result<String> {
    let (packed, of) = raw.split_last_chunk().ok_or_else(damaged_raw)?;
    let size = packed.first_chunk().map_or(usize::MAX, |size| u32::from_le_bytes(*size) as usize);
    if size > LARGEST {
        return Err(damaged_raw());
    }
    checked(lz4_flex::block::decompress_size_prepended(packed).map_err(|_damaged| damaged_raw())?, *of)
}

/// The text, if the sum behind it fits.
fn checked(bytes: Vec<u8>, of: [u8; 8]) -> Result<String> {
    // Nothing at all unpacks to nothing at all.
    if bytes.is_empty() || sum(&bytes) != of {
        return Err(damaged_raw());
    }
    String::from_utf8(bytes).map_err(|_damaged| damaged_raw())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::{Index, IndexReader, Reextracted, moment};
    use super::*;
    use crate::error::Kind;
    use crate::extract::{self, Mapping};
    use crate::model::{AccountId, OrderId, RewardId};
    use crate::store::Identity;
    use crate::store::index::{AccountAnswer, AccountRead, NewRun, Page, ReadReward};

    fn open(dir: &TempDir) -> Index {
        let identity = Identity::of_a_test();
        Index::open(&dir.path().join("recoup.db"), &identity).expect("opens")
    }

    /// A reward like those of the vendor's examples; `n` makes what is its own.
    fn raw(n: u64) -> String {
        let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!(
            r#"{{"id":"{noise:024x}","uniqueId":null,"dateCreated":{},"programId":"friends-and-family","programRewardKey":"referredReward","globalRewardKey":null,"referralId":null,"type":"CREDIT","dateGiven":{},"dateExpires":null,"dateCancelled":null,"dateScheduledFor":null,"accountId":"a","userId":"a","cancellable":true,"rewardSource":"FRIEND_SIGNUP","unit":"CENTS","discountPercent":null,"name":"Dollar Credit","description":null,"assignedCredit":{},"redeemedCredit":0,"redemptions":[],"currency":null,"orderId":"O{n}","actionId":"4711.6002.{n}"}}"#,
            1_700_000_000_000 + noise % 90_000_000_000,
            1_700_000_000_000 + noise % 90_000_000_000,
            noise % 90 * 100
        )
    }

    fn record(index: &mut Index, raws: &[String], ms: i64) {
        let (run, _) = index.begin_run(NewRun::of("participants"), moment(1)).expect("begins");
        let account = AccountId::new("a");
        let (sweep, _) = index.begin_sweep(run, "", moment(1)).expect("begins");
        let participant = crate::model::Participant {
            user_id: crate::model::UserId::new("a"),
            account_id: account.clone(),
            email: None,
        };
        let page = Page { participants: vec![participant], unusable: Vec::new(), cursor: String::new() };
        index.commit_page(run, &sweep, &page, moment(1)).expect("commits");
        let key = index.conn.query_row("SELECT id FROM accounts", [], |row| row.get(0)).map(super::super::AccountKey);
        let rewards = raws
            .iter()
            .map(|raw| {
                ReadReward::new(extract::read(raw, &account, &Mapping::default()).expect("a reward"), raw.as_str())
            })
            .collect();
        let answer = AccountAnswer::Listed { rewards, unusable: 0 };
        index.record(run, vec![AccountRead { key: key.expect("one"), asked_at: moment(ms), answer }]).expect("records");
    }

    fn count(index: &Index, sql: &str) -> i64 {
        index.conn.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    fn kept(index: &Index) -> Vec<String> {
        index.raw_after(0, 100_000).expect("reads").into_iter().map(|(_, _, raw)| raw).collect()
    }

    #[test]
    fn a_few_thousand_rewards_teach_how_to_pack_the_rest() {
        let dir = TempDir::new().expect("a folder");
        let mut index = open(&dir);
        let mut raws: Vec<String> = (0..ENOUGH - 1).map(raw).collect();
        record(&mut index, &raws, 2);
        assert_eq!(count(&index, "SELECT count(*) FROM dictionaries"), 0);
        // Where one process ends, the next counts on.
        drop(index);
        let mut index = open(&dir);
        raws.push(raw(ENOUGH));
        record(&mut index, &raws, 3);
        assert_eq!(count(&index, "SELECT count(*) FROM dictionaries"), 1);
        assert_eq!(count(&index, "SELECT count(*) FROM raws WHERE dictionary IS NULL"), 0, "all are packed again");
        drop(index);
        let mut index = open(&dir);
        raws.extend((ENOUGH + 1..ENOUGH + 500).map(raw));
        // What fits no dictionary is kept like the rest.
        raws.push(r#"{"id":"x","λόγος":[1,2,3]}"#.to_owned());
        record(&mut index, &raws, 4);
        assert_eq!(kept(&index), raws);
        assert_eq!(count(&index, "SELECT count(*) FROM dictionaries"), 1);
        let size: usize = raws.iter().map(String::len).sum();
        let packed = count(&index, "SELECT sum(length(raw)) FROM raws") as usize;
        assert!(packed * 4 <= size, "{packed} of {size} bytes");
        let reader = IndexReader::open(&dir.path().join("recoup.db"), None).expect("opens").expect("exists");
        assert_eq!(reader.raw(&RewardId::new("x")).expect("reads"), raws.last().cloned());
    }

    #[test]
    fn both_ways_of_packing_are_read_side_by_side() {
        let dir = TempDir::new().expect("a folder");
        let mut index = open(&dir);
        let raws: Vec<String> = (0..ENOUGH).map(raw).collect();
        record(&mut index, &raws, 2);
        let mut without = Packer { dictionary: None, buffer: Vec::new(), without: 0 };
        let lz4 = without.pack(&raws[1]).1.to_vec();
        index.conn.execute("UPDATE raws SET dictionary = NULL, raw = ?1 WHERE reward = 2", [lz4]).expect("writes");
        assert_eq!(kept(&index), raws);
        let mapping = Mapping::new(&["$.actionId".into()], &[]).expect("a path");
        let again = index.raw_after(0, 9).expect("reads").into_iter().map(|(row, account, raw)| Reextracted {
            row,
            extracted: extract::read(&raw, &account, &mapping).expect("a reward"),
        });
        index.reextract(&again.collect::<Vec<_>>()).expect("writes");
        let reader = IndexReader::open(&dir.path().join("recoup.db"), None).expect("opens").expect("exists");
        for order in ["4711.6002.0", "4711.6002.1"] {
            assert_eq!(reader.find(&OrderId::new(order)).expect("finds").len(), 1, "{order}");
        }
    }

    #[test]
    fn damage_is_said_and_is_nothing_worse() {
        let dir = TempDir::new().expect("a folder");
        let mut index = open(&dir);
        record(&mut index, &(0..ENOUGH).map(raw).collect::<Vec<_>>(), 2);
        for damage in [
            "raw = x'28B52FFD2001000000'",
            "raw = x''",
            "raw = substr(raw, 1, length(raw) - 3)",
            "dictionary = NULL",
            "dictionary = NULL, raw = x'FFFFFFFF00'",
            "dictionary = NULL, raw = x'01'",
            "dictionary = 77",
        ] {
            index.conn.execute_batch("PRAGMA foreign_keys = off; SAVEPOINT whole").expect("begins");
            index.conn.execute(&format!("UPDATE raws SET {damage} WHERE reward = 1"), []).expect("damages");
            let error = index.raw_after(0, 1).expect_err(damage);
            assert_eq!(error.kind, Kind::Storage, "{damage}");
            assert!(error.message.contains("JSON of a reward is damaged"), "{damage}: {}", error.message);
            index.conn.execute_batch("ROLLBACK TO whole; RELEASE whole").expect("ends");
        }
        assert_eq!(index.raw_after(0, 1).expect("reads")[0].2, raw(0));
    }

    #[test]
    fn a_flipped_byte_is_never_read_as_another_text() {
        let text = raw(7);
        let samples: Vec<String> = (0..ENOUGH).map(raw).collect();
        let texts: Vec<&[u8]> = samples.iter().map(String::as_bytes).collect();
        let dictionary = zstd::dict::from_samples(&texts, DICTIONARY).expect("a dictionary");
        let mut with =
            Packer { dictionary: compressor(&dictionary).map(|one| (1, one)), buffer: Vec::new(), without: 0 };
        let mut without = Packer { dictionary: None, buffer: Vec::new(), without: 0 };
        let conn = Connection::open_in_memory().expect("opens");
        let decompressor = Decompressor::with_dictionary(&dictionary).ok();
        let mut unpacker = Unpacker { conn: &conn, dictionaries: HashMap::from([(1, decompressor)]) };
        let (zstd, lz4) = (with.pack(&text).1.to_vec(), without.pack(&text).1.to_vec());
        for (at, bit) in (0..lz4.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = lz4.clone();
            damaged[at] ^= 1 << bit;
            assert!(!unpack_lz4(&damaged).is_ok_and(|read| read != text), "byte {at}");
        }
        for (at, bit) in (0..zstd.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut damaged = zstd.clone();
            damaged[at] ^= 1 << bit;
            let read = unpacker.unpack(Some(1), &damaged).expect("no question");
            assert!(!read.is_ok_and(|read| read != text), "byte {at}");
        }
    }
}
