//! The rewards as they came: kept packed, so that a better mapping needs no second crawl.

use rusqlite::{OptionalExtension, params};

use super::rows::{Tally, finding, old_by_row, write_links};
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
        let packed: Vec<(i64, String, Vec<u8>)> = self.read(|conn| {
            conn.prepare_cached(
                "SELECT rewards.id, accounts.account_id, raw FROM rewards JOIN accounts ON accounts.id = account
                 WHERE rewards.id > ?1 ORDER BY rewards.id LIMIT ?2",
            )?
            .query_map(params![row, limit as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
        })?;
        packed.into_iter().map(|(row, account, raw)| Ok((row, AccountId::new(account), unpack(&raw)?))).collect()
    }

    /// New links for rewards whose JSON was extracted again: a batch, all of it or nothing.
    pub fn reextract(&mut self, batch: &[Reextracted]) -> Result<()> {
        self.write(|tx, findings| {
            let mut tally = Tally::default();
            for Reextracted { row, extracted } in batch {
                let Some(old) = old_by_row(tx, *row)? else { continue };
                let finding = finding(tx, findings, extracted)?;
                let unreadable = extracted.unreadable as i64;
                if !old.gone {
                    tally.remove(&old);
                    tally.add(old.read_run, finding, extracted);
                }
                if (finding, unreadable) != (old.finding, old.unreadable) {
                    tx.prepare_cached("UPDATE rewards SET finding = ?2, unreadable = ?3 WHERE id = ?1")?
                        .execute([*row, finding, unreadable])?;
                }
                write_links(tx, *row, &old.links, &extracted.links)?;
            }
            tally.write(tx)
        })
    }
}

impl IndexReader {
    /// A reward's JSON as it came.
    pub fn raw(&self, reward: &RewardId) -> Result<Option<String>> {
        let packed: Option<Vec<u8>> = self.read(|conn| {
            conn.query_row("SELECT raw FROM rewards WHERE reward_id = ?1", [reward.as_str()], |row| row.get(0))
                .optional()
        })?;
        packed.map(|raw| unpack(&raw)).transpose()
    }
}

fn unpack(raw: &[u8]) -> Result<String> {
    let bytes = lz4_flex::block::decompress_size_prepended(raw).map_err(|_damaged| damaged_raw())?;
    String::from_utf8(bytes).map_err(|_damaged| damaged_raw())
}
