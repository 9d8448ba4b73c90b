//! Taking an account out of the index, so that nothing of it is left in the file.
//!
//! Its rewards, links and JSON go; other accounts' rewards that name it keep everything but the name. What zstd learned from
//! rewards may repeat pieces of them, so a dictionary that may hold a piece of the account's ID is made anew from what stays,
//! and everything is packed again. At the end the file is written anew: SQLite leaves deleted text where it was until then.

use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;

use super::links::{delete_links, links_of};
use super::pack::Unpacker;
use super::rows::{OLD, Tally, old_from};
use super::shared::Shared;
use super::tombstones::{Scrubbed, leave_out, scrub};
use super::{Index, LAYOUT};
use crate::error::Result;
use crate::model::{AccountId, RewardId, fnv1a};
use crate::store::sql_error;

/// Rewards that are looked through in one transaction.
const BATCH: i64 = 2000;
/// Rewards that a dictionary is made from.
const SAMPLES: usize = 4000;
/// So many bytes of an ID in a row are a piece of it.
const PIECE: usize = 6;

/// What was taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Accounts: 0 where the index never had it.
    pub accounts: u64,
    /// Rewards, with their JSON.
    pub rewards: u64,
    /// Links between orders and actions.
    pub links: u64,
    /// Rewards of others that named it, and do not any more.
    pub renamed: u64,
    /// What was learned for packing may have held a piece of its ID, and was learned anew.
    pub repacked: bool,
}

impl Index {
    /// Takes accounts out. They must be buried before, or the next reading brings them back; `erased` is what that took.
    /// `each` hears how many rewards were looked through.
    pub fn erase(&mut self, accounts: &[AccountId], mut erased: Erased, mut each: impl FnMut(u64)) -> Result<Erased> {
        let secure = self.conn.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()));
        secure.map_err(|error| sql_error(&error, &LAYOUT, &self.path))?;
        for account in accounts {
            self.write(|tx, shared| erase_rows(tx, shared, account, &mut erased))?;
        }
        let ids: Vec<String> = accounts.iter().map(|account| account.as_str().to_owned()).collect();
        let dictionaries: Vec<Vec<u8>> = self.read(|conn| {
            conn.prepare("SELECT dictionary FROM dictionaries")?.query_map([], |row| row.get(0))?.collect()
        })?;
        erased.repacked = dictionaries.iter().any(|dictionary| ids.iter().any(|id| may_hold(dictionary, id)));
        let old = if erased.repacked { Some(self.learn_anew(&ids)?) } else { None };
        erased.renamed = self.look_through(&ids, erased.repacked, &mut each)?;
        if let Some(newest) = old {
            self.write(|tx, _| tx.execute("DELETE FROM dictionaries WHERE id <= ?1", [newest]).map(drop))?;
        }
        Ok(erased)
    }

    /// Writes the file anew, without what was deleted, and empties its log.
    pub fn rewrite(&mut self) -> Result<()> {
        self.log.settle();
        // The whole file passes through: not through memory.
        let rewritten =
            self.conn.pragma_update(None, "temp_store", "file").and_then(|()| crate::store::rewrite(&self.conn));
        rewritten.map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }

    /// Makes a dictionary from the rewards that stay; gives the number of the newest one before it.
    fn learn_anew(&mut self, ids: &[String]) -> Result<i64> {
        let mut samples = Vec::new();
        for (_, _, raw) in self.raw_after(0, SAMPLES)? {
            match scrub(&raw, ids) {
                Scrubbed::AsItIs => samples.push(raw),
                Scrubbed::Changed(raw) => samples.push(raw),
                Scrubbed::Impossible => {}
            }
        }
        self.write_packed(|tx, _, packer| {
            let newest = tx.query_row("SELECT max(id) FROM dictionaries", [], |row| row.get(0))?;
            packer.begin_anew(tx, &samples)?;
            Ok(newest)
        })
    }

    /// Takes the names out of the JSON of other accounts' rewards; packs all of it again where that is due.
    fn look_through(&mut self, ids: &[String], repack: bool, each: &mut impl FnMut(u64)) -> Result<u64> {
        let (mut after, mut looked, mut renamed) = (0, 0, 0);
        loop {
            let batch: Vec<(i64, Result<String>)> = self.read(|conn| {
                let mut unpacker = Unpacker::new(conn);
                let mut select = conn.prepare_cached(
                    "SELECT reward, dictionary, raw FROM raws WHERE reward > ?1 ORDER BY reward LIMIT ?2",
                )?;
                let mut rows = select.query(params![after, BATCH])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push((row.get(0)?, unpacker.unpack(row.get(1)?, row.get_ref(2)?.as_blob()?)?));
                }
                Ok(found)
            })?;
            let Some((last, _)) = batch.last() else { return Ok(renamed) };
            after = *last;
            looked += batch.len() as u64;
            let mut changed = Vec::new();
            for (row, raw) in batch {
                let raw = raw?;
                match scrub(&raw, ids) {
                    Scrubbed::AsItIs if repack => changed.push((row, Some(raw))),
                    Scrubbed::AsItIs => {}
                    Scrubbed::Changed(raw) => {
                        renamed += 1;
                        changed.push((row, Some(raw)));
                    }
                    Scrubbed::Impossible => {
                        renamed += 1;
                        changed.push((row, None));
                    }
                }
            }
            if !changed.is_empty() {
                self.write_packed(|tx, _, packer| {
                    let mut update =
                        tx.prepare_cached("UPDATE raws SET dictionary = ?2, raw = ?3 WHERE reward = ?1")?;
                    for (row, raw) in &changed {
                        // Without its JSON it cannot be extracted again, which is said of it as of damage.
                        let (dictionary, packed) = packer.pack(raw.as_deref().unwrap_or("{}"));
                        update.execute(params![row, dictionary, packed])?;
                    }
                    Ok(())
                })?;
            }
            each(looked);
        }
    }
}

/// The rows of one account, and what is counted of them.
pub(super) fn erase_rows(
    tx: &Transaction<'_>,
    shared: &mut Shared,
    account: &AccountId,
    erased: &mut Erased,
) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM webhook_queue WHERE account_id = ?1", [account.as_str()])?;
    let key: Option<i64> = tx
        .query_row("SELECT id FROM accounts WHERE account_id = ?1", [account.as_str()], |row| row.get(0))
        .optional()?;
    let mut users = vec![account.as_str().to_owned()];
    let mut rewards: Vec<(RewardId, super::rows::Old)> = tx
        .prepare(&format!("{OLD} WHERE account = ?1 OR account_id = ?2"))?
        .query_map(params![key, account.as_str()], old_from)?
        .collect::<rusqlite::Result<_>>()?;
    let mut tally = Tally::default();
    for (id, old) in &mut rewards {
        old.links = links_of(tx, old.row)?;
        erased.links += old.links.len() as u64;
        if !old.gone {
            tally.remove(old);
        }
        let (user, modified): (Option<String>, Option<i64>) =
            tx.query_row("SELECT user_id, date_modified FROM rewards WHERE id = ?1", [old.row], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        users.extend(user);
        leave_out(tx, &shared.forgotten, old.read_run, id, modified)?;
        delete_links(tx, old.row)?;
        for sql in ["DELETE FROM raws WHERE reward = ?1", "DELETE FROM rewards WHERE id = ?1"] {
            tx.prepare_cached(sql)?.execute([old.row])?;
        }
        erased.rewards += 1;
    }
    tally.write(tx)?;
    tx.execute(
        "UPDATE rewards SET user_id = ?2 WHERE user_id = ?1",
        [account.as_str(), crate::store::ledger::FORGOTTEN],
    )?;
    for user in users {
        let hash = fnv1a(user.bytes().chain([0]).chain(account.as_str().bytes()));
        tx.execute("DELETE FROM participants WHERE hash = ?1", [hash.cast_signed()])?;
    }
    if let Some(key) = key {
        // Rows of the list that were seen since version 3 begin with the account's row.
        tx.execute("DELETE FROM participants WHERE hash >= ?1 << 32 AND hash < (?1 + 1) << 32", [key])?;
        tx.execute("DELETE FROM accounts WHERE id = ?1", [key])?;
        erased.accounts += 1;
    }
    // What the runs say that answers rest on, and the one that goes on.
    tx.execute(
        "UPDATE runs SET
             accounts_known = (SELECT count(*) FROM accounts WHERE gone_at IS NULL
                 AND (runs.source = 'participants' OR read_run >= runs.base OR abs(queued_run) >= runs.base)),
             accounts_read = (SELECT count(*) FROM accounts WHERE gone_at IS NULL AND read_run >= runs.base)
         WHERE id = (SELECT max(id) FROM runs) OR id = (SELECT max(id) FROM runs WHERE state = 'finished')",
        [],
    )
    .map(drop)
}

/// Whether a dictionary may hold a piece of an ID: of an address the part before the @, since the rest is many people's.
fn may_hold(dictionary: &[u8], id: &str) -> bool {
    let own = id.rsplit_once('@').map_or(id, |(local, _)| local).as_bytes();
    let length = own.len().clamp(1, PIECE);
    own.windows(length).any(|piece| dictionary.windows(length).any(|window| window == piece))
}

#[cfg(test)]
mod tests {
    use super::may_hold;

    #[test]
    fn a_dictionary_that_may_hold_a_piece_of_an_id_is_told_from_one_that_does_not() {
        let dictionary = br#""accountId":"alice.smi"unit":"CENTS"@shop.example"#;
        for (id, holds) in [
            ("alice.smith@shop.example", true),
            ("bob@shop.example", false),
            ("roberta@shop.example", false),
            ("unit", true),
            ("a", true),
            ("account-1", true),
            ("kunde-1", false),
        ] {
            assert_eq!(may_hold(dictionary, id), holds, "{id}");
        }
    }
}
