//! The rewards as they came: kept packed, so that a better mapping needs no second crawl.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::links::{move_keys_on, write_links};
use super::pack::Unpacker;
use super::pen::Pen;
use super::rows::{Tally, old_by_row};
use super::{Index, IndexReader, damaged_raw};
use crate::error::Result;
use crate::extract::Extracted;
use crate::model::{AccountId, RewardId};

/// A reward extracted again from its kept JSON.
#[derive(Debug)]
pub struct Reextracted {
    /// Its row.
    pub row: i64,
    /// What it says under the new mapping.
    pub extracted: Extracted,
}

impl Index {
    /// The next rewards as they came, in order of rows, to extract again: row, account that was asked, JSON.
    pub fn raw_after(&self, row: i64, limit: usize) -> Result<Vec<(i64, AccountId, String)>> {
        let rows: Vec<(i64, AccountId, Result<String>)> = self.read(|conn| {
            let mut unpacker = Unpacker::new(conn);
            let mut select = conn.prepare_cached(
                "SELECT reward, accounts.account_id, dictionary, raw
                 FROM raws JOIN rewards ON rewards.id = reward JOIN accounts ON accounts.id = account
                 WHERE reward > ?1 ORDER BY reward LIMIT ?2",
            )?;
            let mut rows = select.query(params![row, limit as i64])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let raw = unpacker.unpack(row.get(2)?, row.get_ref(3)?.as_blob()?)?;
                found.push((row.get(0)?, row.get(1)?, raw));
            }
            Ok(found)
        })?;
        rows.into_iter().map(|(row, account, raw)| Ok((row, account, raw?))).collect()
    }

    /// Makes a dictionary, where enough rewards are kept without one.
    pub(super) fn learn(&mut self, now: Timestamp) -> Result<()> {
        if !self.packer.is_due() {
            return Ok(());
        }
        self.write_packed(|tx, _, packer| packer.train(tx, now.as_millisecond()))
    }

    /// New links for rewards whose JSON was extracted again: a batch, all of it or nothing.
    pub fn reextract(&mut self, batch: &[Reextracted]) -> Result<()> {
        self.write(|tx, shared| {
            let mut tally = Tally::default();
            let pen = &mut Pen::new(tx);
            for Reextracted { row, extracted } in batch {
                let Some(old) = old_by_row(tx, *row)? else { continue };
                let finding = shared.finding(tx, extracted)?;
                let unreadable = extracted.unreadable as i64;
                if !old.gone {
                    tally.remove(&old);
                    tally.add(old.read_run, finding, extracted);
                }
                if (finding, unreadable) != (old.finding, old.unreadable) {
                    tx.prepare_cached("UPDATE rewards SET finding = ?2, unreadable = ?3 WHERE id = ?1")?
                        .execute([*row, finding, unreadable])?;
                }
                write_links(pen, *row, &old.links, &extracted.links)?;
            }
            move_keys_on(tx)?;
            tally.write(tx)
        })
    }
}

impl IndexReader {
    /// A reward's JSON as it came; an error if what is kept is another reward's.
    pub fn raw(&self, reward: &RewardId) -> Result<Option<String>> {
        let raw: Option<Result<String>> = self.read(|conn| {
            let select = "SELECT dictionary, raw FROM raws JOIN rewards ON rewards.id = reward WHERE reward_id = ?1";
            let packed: Option<(Option<i64>, Vec<u8>)> =
                conn.query_row(select, [reward], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            packed.map(|(dictionary, raw)| Unpacker::new(conn).unpack(dictionary, &raw)).transpose()
        })?;
        let raw = raw.transpose()?;
        let is_its_own = |raw: &str| {
            serde_json::from_str::<serde_json::Value>(raw).is_ok_and(|value| match &value["id"] {
                serde_json::Value::String(id) => id == reward.as_str(),
                // Another spelling of the key, or a number.
                _ => true,
            })
        };
        if raw.as_deref().is_some_and(|raw| !is_its_own(raw)) {
            return Err(damaged_raw());
        }
        Ok(raw)
    }
}
