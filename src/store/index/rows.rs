//! The rows of one reward: what was there before, what is there now, and how that moves the counters of its run.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::HashMap;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, ToSql, Transaction, params};

use super::accounts::Lineage;
use super::links::{link_from, links_of, write_links};
use super::pack::Packer;
use super::pen::{Pen, Sql};
use super::shared::Shared;
use super::tombstones::leave_out;
use super::{AccountKey, ReadReward, Via};
use crate::extract::Extracted;
use crate::model::{AccountId, Link, Reward, RewardId};

/// What moved in a run's counters, written once per batch.
#[derive(Default)]
pub(super) struct Tally {
    /// Rewards and links, by run and finding.
    found: HashMap<(i64, i64), (i64, i64)>,
    /// Unreadable values, by run.
    unreadable: HashMap<i64, i64>,
    /// Accounts known, accounts read, and rewards without an ID, by run.
    accounts: HashMap<i64, [i64; 3]>,
}

impl Tally {
    /// One more reward of a run.
    pub(super) fn add(&mut self, run: i64, finding: i64, extracted: &Extracted) {
        self.shift(run, finding, (1, extracted.links.len() as i64), extracted.unreadable as i64);
    }

    /// One reward less: it is read again, or it is gone.
    pub(super) fn remove(&mut self, old: &Old) {
        self.shift(old.read_run, old.finding, (-1, -(old.links.len() as i64)), -old.unreadable);
    }

    fn shift(&mut self, run: i64, finding: i64, (rewards, links): (i64, i64), unreadable: i64) {
        let entry = self.found.entry((run, finding)).or_default();
        entry.0 += rewards;
        entry.1 += links;
        *self.unreadable.entry(run).or_default() += unreadable;
    }

    /// More accounts, or less.
    pub(super) fn count_accounts(&mut self, run: i64, known: i64, read: i64) {
        let counts = self.accounts.entry(run).or_default();
        counts[0] += known;
        counts[1] += read;
    }

    /// More rewards without an ID, or less.
    pub(super) fn count_unusable(&mut self, run: i64, more: i64) {
        self.accounts.entry(run).or_default()[2] += more;
    }

    pub(super) fn write(self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for (run, [known, read, unusable]) in self.accounts {
            if (known, read, unusable) != (0, 0, 0) {
                tx.prepare_cached(
                    "UPDATE runs SET accounts_known = accounts_known + ?2, accounts_read = accounts_read + ?3,
                         rewards_unusable = rewards_unusable + ?4 WHERE id = ?1",
                )?
                .execute(params![run, known, read, unusable])?;
            }
        }
        for (run, unreadable) in self.unreadable {
            if unreadable != 0 {
                tx.prepare_cached("UPDATE runs SET values_unreadable = values_unreadable + ?2 WHERE id = ?1")?
                    .execute(params![run, unreadable])?;
            }
        }
        for ((run, finding), (rewards, links)) in self.found {
            // Run 0 is no run: what was read live before the first crawl is counted by none.
            if run == 0 || (rewards == 0 && links == 0) {
                continue;
            }
            tx.prepare_cached(
                "INSERT INTO run_findings (run, finding, rewards, links) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (run, finding)
                 DO UPDATE SET rewards = rewards + excluded.rewards, links = links + excluded.links",
            )?
            .execute(params![run, finding, rewards, links])?;
        }
        Ok(())
    }
}

/// A reward's row as it was before.
pub(super) struct Old {
    pub(super) row: i64,
    pub(super) finding: i64,
    pub(super) read_run: i64,
    pub(super) read_at: i64,
    pub(super) gone: bool,
    pub(super) unreadable: i64,
    pub(super) via: Via,
    pub(super) links: Vec<Link>,
}

pub(super) const OLD: &str =
    "SELECT id, finding, read_run, read_at, gone_at IS NOT NULL, unreadable, reward_id, via FROM rewards";

pub(super) fn old_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<(RewardId, Old)> {
    let old = Old {
        row: row.get(0)?,
        finding: row.get(1)?,
        read_run: row.get(2)?,
        read_at: row.get(3)?,
        gone: row.get(4)?,
        unreadable: row.get(5)?,
        via: Via::of_number(row.get(7)?),
        links: Vec::new(),
    };
    Ok((row.get(6)?, old))
}

pub(super) fn old_rewards(pen: &mut Pen<'_>, account: AccountKey) -> rusqlite::Result<HashMap<RewardId, Old>> {
    let mut found: HashMap<RewardId, Old> =
        pen.sql(Sql::RewardsOfAccount)?.query_map([account.0], old_from)?.collect::<Result<_, _>>()?;
    for old in found.values_mut() {
        old.links = pen.sql(Sql::LinksOfReward)?.query_map([old.row], link_from)?.collect::<Result<_, _>>()?;
    }
    Ok(found)
}

pub(super) fn old_reward(tx: &Transaction<'_>, reward: &RewardId) -> rusqlite::Result<Option<Old>> {
    with_links(tx, tx.prepare_cached(&format!("{OLD} WHERE reward_id = ?1"))?.query_row([reward], old_from).optional()?)
}

pub(super) fn old_by_row(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<Option<Old>> {
    with_links(tx, tx.prepare_cached(&format!("{OLD} WHERE id = ?1"))?.query_row([row], old_from).optional()?)
}

pub(super) fn with_links(tx: &Transaction<'_>, found: Option<(RewardId, Old)>) -> rusqlite::Result<Option<Old>> {
    found.map(|(_, old)| Ok(Old { links: links_of(tx, old.row)?, ..old })).transpose()
}

/// One reward on its way into the index.
pub(super) struct Item<'a> {
    pub(super) lineage: Lineage,
    pub(super) key: AccountKey,
    /// The ID of that account.
    pub(super) listed_by: &'a AccountId,
    pub(super) asked_at: Timestamp,
    pub(super) reward: &'a ReadReward,
}

impl Item<'_> {
    /// `old` is the row that its account had of it, where that is known; another account's is found here.
    pub(super) fn write(
        &self,
        pen: &mut Pen<'_>,
        shared: &mut Shared,
        packer: &mut Packer,
        tally: &mut Tally,
        old: Option<Old>,
    ) -> rusqlite::Result<()> {
        let Some(reward) = shared.forgotten.admit(self.reward) else {
            let Reward { reward_id, date_modified, .. } = &self.reward.extracted.reward;
            return leave_out(pen, &shared.forgotten, self.lineage.run, reward_id, *date_modified);
        };
        if let Cow::Owned(reward) = &reward {
            return Item { reward, ..*self }.write_admitted(pen, shared, packer, tally, old);
        }
        self.write_admitted(pen, shared, packer, tally, old)
    }

    fn write_admitted(
        &self,
        pen: &mut Pen<'_>,
        shared: &mut Shared,
        packer: &mut Packer,
        tally: &mut Tally,
        old: Option<Old>,
    ) -> rusqlite::Result<()> {
        let Self { lineage, reward: ReadReward { extracted, raw, via }, .. } = self;
        let asked_at = self.asked_at.as_millisecond();
        let new = Columns {
            finding: shared.finding(pen, extracted)?,
            descriptor: shared.descriptor(pen, &extracted.reward)?,
            unreadable: extracted.unreadable as i64,
            via: via.number(),
        };
        let old = match old {
            Some(old) => old,
            None if self.put(pen, Sql::NewReward, &new, &extracted.reward.reward_id)? => {
                let row = pen.last_insert_rowid();
                tally.add(lineage.run, new.finding, extracted);
                let (dictionary, raw) = packer.pack(raw);
                pen.sql(Sql::NewRaw)?.execute(params![row, dictionary, raw])?;
                return write_links(pen, row, &[], &extracted.links);
            }
            None => match old_reward(pen, &extracted.reward.reward_id)? {
                Some(old) => old,
                None => return Ok(()),
            },
        };
        // Answers arrive in another order than they were asked for, and a later one may have had this reward already.
        if old.read_at > asked_at {
            return Ok(());
        }
        if old.read_run >= lineage.base && !old.gone {
            tally.remove(&old);
        }
        if old.via != *via && offers(&extracted.links) < offers(&old.links) {
            // It says less of the link than another API did: what that said stays, with the JSON that says it.
            tally.shift(lineage.run, old.finding, (1, old.links.len() as i64), old.unreadable);
            let kept = Columns { finding: old.finding, unreadable: old.unreadable, via: old.via.number(), ..new };
            return self.put(pen, Sql::RewardAgain, &kept, &old.row).map(drop);
        }
        tally.add(lineage.run, new.finding, extracted);
        self.put(pen, Sql::RewardAgain, &new, &old.row)?;
        let (dictionary, raw) = packer.pack(raw);
        pen.sql(Sql::RawAgain)?.execute(params![old.row, dictionary, raw])?;
        write_links(pen, old.row, &old.links, &extracted.links)
    }

    /// Writes the row; says whether there is one now that was not there before, or that was changed.
    fn put(&self, pen: &mut Pen<'_>, sql: Sql, columns: &Columns, last: &dyn ToSql) -> rusqlite::Result<bool> {
        let reward = &self.reward.extracted.reward;
        let user_id = reward.user_id.as_ref().map_or("", |user| user.as_str());
        let date_given = reward.date_given.unwrap_or(0);
        let not_gone: Option<i64> = None;
        let changed = pen.sql(sql)?.execute(params![
            self.key.0,
            columns.finding,
            columns.descriptor,
            self.lineage.run,
            self.asked_at.as_millisecond(),
            Some(&reward.account_id).filter(|account| *account != self.listed_by),
            Some(user_id).filter(|user| *user != reward.account_id.as_str()),
            reward.assigned,
            reward.redeemed,
            reward.date_created,
            Some(date_given).filter(|given| *given != reward.date_created.unwrap_or(0)),
            reward.date_scheduled_for,
            reward.date_expires,
            reward.date_cancelled,
            reward.date_redeemed,
            columns.unreadable,
            columns.via,
            reward.date_modified,
            not_gone,
            last,
        ])?;
        Ok(changed > 0)
    }
}

/// What of a row is not in the reward itself.
struct Columns {
    finding: i64,
    descriptor: i64,
    unreadable: i64,
    via: i64,
}

/// How much links offer: nothing, an order ID or an ActionId, both, or several of one.
fn offers(links: &[Link]) -> u8 {
    let orders: HashSet<_> = links.iter().filter_map(|link| link.order_id.as_ref()).collect();
    let actions: HashSet<_> = links.iter().filter_map(|link| link.action_id.as_ref()).collect();
    match (orders.len(), actions.len()) {
        (0, 0) => 0,
        (0, 1) | (1, 0) => 1,
        (1, 1) => 2,
        _ => 3,
    }
}
