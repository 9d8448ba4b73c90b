//! The rows of one reward: what was there before, what is there now, and how that moves the counters of its run.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::accounts::Lineage;
use super::{AccountKey, ReadReward, Via};
use crate::extract::Extracted;
use crate::model::{Link, RewardId};

/// One way in which a reward offers links.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    kind: &'static str,
    order_path: String,
    action_path: String,
    by_search: bool,
}

/// What moved in a run's counters, written once per batch.
#[derive(Default)]
pub(super) struct Tally {
    /// Rewards and links, by run and finding.
    found: HashMap<(i64, i64), (i64, i64)>,
    /// Unreadable values, by run.
    unreadable: HashMap<i64, i64>,
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

    pub(super) fn write(self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
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

/// Different findings that are kept apart.
const MAX_FINDINGS: i64 = 200;
/// What stands for the paths beyond them.
const OTHER_PATHS: &str = "other paths";

pub(super) type Findings = HashMap<Finding, i64>;

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

pub(super) fn old_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Old)> {
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

pub(super) fn old_rewards(tx: &Transaction<'_>, account: AccountKey) -> rusqlite::Result<HashMap<String, Old>> {
    let mut found: HashMap<String, Old> = tx
        .prepare_cached(&format!("{OLD} WHERE account = ?1"))?
        .query_map([account.0], old_from)?
        .collect::<Result<_, _>>()?;
    for old in found.values_mut() {
        old.links = links_of(tx, old.row)?;
    }
    Ok(found)
}

pub(super) fn old_reward(tx: &Transaction<'_>, reward: &RewardId) -> rusqlite::Result<Option<Old>> {
    with_links(
        tx,
        tx.prepare_cached(&format!("{OLD} WHERE reward_id = ?1"))?.query_row([reward.as_str()], old_from).optional()?,
    )
}

pub(super) fn old_by_row(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<Option<Old>> {
    with_links(tx, tx.prepare_cached(&format!("{OLD} WHERE id = ?1"))?.query_row([row], old_from).optional()?)
}

pub(super) fn with_links(tx: &Transaction<'_>, found: Option<(String, Old)>) -> rusqlite::Result<Option<Old>> {
    found.map(|(_, old)| Ok(Old { links: links_of(tx, old.row)?, ..old })).transpose()
}

pub(super) fn links_of(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<Vec<Link>> {
    tx.prepare_cached("SELECT order_id, action_id FROM links WHERE reward = ?1 ORDER BY id")?
        .query_map([row], |row| Ok(Link { order_id: row.get(0)?, action_id: row.get(1)? }))?
        .collect()
}

/// Writes a reward's links where they changed.
pub(super) fn write_links(tx: &Transaction<'_>, row: i64, old: &[Link], new: &[Link]) -> rusqlite::Result<()> {
    if old == new {
        return Ok(());
    }
    if !old.is_empty() {
        tx.prepare_cached("DELETE FROM links WHERE reward = ?1")?.execute([row])?;
    }
    let mut insert =
        tx.prepare_cached("INSERT INTO links (reward, order_id, action_id, order_fold) VALUES (?1, ?2, ?3, ?4)")?;
    for link in new {
        let fold = link.order_id.as_ref().map(|order| (order.folded(), order));
        let fold = fold.filter(|(fold, order)| fold != order.as_str()).map(|(fold, _)| fold);
        insert.execute(params![row, link.order_id, link.action_id, fold])?;
    }
    Ok(())
}

/// The number of a finding, made where it is new. Keys may be data (a basket by its articles), and then each reward has a path
/// of its own: after so many, further ones are one.
pub(super) fn finding(tx: &Transaction<'_>, known: &mut Findings, extracted: &Extracted) -> rusqlite::Result<i64> {
    let mut finding = Finding {
        kind: extracted.kind.as_str(),
        order_path: extracted.order_path.clone().unwrap_or_default(),
        action_path: extracted.action_path.clone().unwrap_or_default(),
        by_search: extracted.action_by_search,
    };
    if let Some(id) = known.get(&finding) {
        return Ok(*id);
    }
    let select = |finding: &Finding| {
        tx.prepare_cached(
            "SELECT id FROM findings WHERE kind = ?1 AND order_path = ?2 AND action_path = ?3 AND by_search = ?4",
        )?
        .query_row(params![finding.kind, finding.order_path, finding.action_path, finding.by_search], |row| row.get(0))
        .optional()
    };
    let mut found: Option<i64> = select(&finding)?;
    if found.is_none() {
        let count: i64 = tx.prepare_cached("SELECT count(*) FROM findings")?.query_row([], |row| row.get(0))?;
        if count >= MAX_FINDINGS {
            for path in [&mut finding.order_path, &mut finding.action_path] {
                if !path.is_empty() {
                    OTHER_PATHS.clone_into(path);
                }
            }
            found = select(&finding)?;
        }
    }
    let id = match found {
        Some(id) => id,
        None => tx
            .prepare_cached(
                "INSERT INTO findings (kind, order_path, action_path, by_search) VALUES (?1, ?2, ?3, ?4) RETURNING id",
            )?
            .query_row(params![finding.kind, finding.order_path, finding.action_path, finding.by_search], |row| {
                row.get(0)
            })?,
    };
    known.insert(finding, id);
    Ok(id)
}

/// One reward on its way into the index.
pub(super) struct Item<'a> {
    pub(super) lineage: Lineage,
    pub(super) key: AccountKey,
    pub(super) asked_at: Timestamp,
    pub(super) reward: &'a ReadReward,
}

impl Item<'_> {
    pub(super) fn write(
        &self,
        tx: &Transaction<'_>,
        findings: &mut Findings,
        tally: &mut Tally,
        old: Option<&Old>,
    ) -> rusqlite::Result<()> {
        // Answers arrive in another order than they were asked for, and a later one may have had this reward already.
        if old.is_some_and(|old| old.read_at > self.asked_at.as_millisecond()) {
            return Ok(());
        }
        let extracted = &self.reward.extracted;
        let reward = &extracted.reward;
        let finding = finding(tx, findings, extracted)?;
        if let Some(old) = old.filter(|old| old.read_run >= self.lineage.base && !old.gone) {
            tally.remove(old);
        }
        let keeps = old.filter(|old| old.via != self.reward.via && offers(&extracted.links) < offers(&old.links));
        match keeps {
            Some(old) => tally.shift(self.lineage.run, old.finding, (1, old.links.len() as i64), old.unreadable),
            None => tally.add(self.lineage.run, finding, extracted),
        }
        let row: i64 = tx
            .prepare_cached(
                "INSERT INTO rewards (reward_id, account, finding, read_run, read_at, gone_at, account_id, user_id,
                     reward_type, reward_source, unit, program_id, name, currency, assigned, redeemed, cancellable,
                     date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, statuses, raw,
                     unreadable, via, date_modified)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL,
                     nullif(?6, (SELECT account_id FROM accounts WHERE id = ?2)),
                     ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)
                 ON CONFLICT (reward_id) DO UPDATE SET account = excluded.account, finding = iif(?28, finding, excluded.finding),
                     read_run = excluded.read_run, read_at = excluded.read_at, gone_at = NULL,
                     account_id = excluded.account_id, user_id = excluded.user_id, reward_type = excluded.reward_type,
                     reward_source = excluded.reward_source, unit = excluded.unit, program_id = excluded.program_id,
                     name = excluded.name, currency = excluded.currency, assigned = excluded.assigned,
                     redeemed = excluded.redeemed, cancellable = excluded.cancellable,
                     date_created = excluded.date_created, date_given = excluded.date_given,
                     date_scheduled_for = excluded.date_scheduled_for, date_expires = excluded.date_expires,
                     date_cancelled = excluded.date_cancelled, date_redeemed = excluded.date_redeemed,
                     statuses = excluded.statuses, raw = iif(?28, raw, excluded.raw),
                     unreadable = iif(?28, unreadable, excluded.unreadable), via = iif(?28, via, excluded.via),
                     date_modified = coalesce(excluded.date_modified, date_modified)
                 RETURNING id",
            )?
            .query_row(
                params![
                    reward.reward_id,
                    self.key.0,
                    finding,
                    self.lineage.run,
                    self.asked_at.as_millisecond(),
                    reward.account_id,
                    reward.user_id,
                    reward.reward_type,
                    reward.reward_source,
                    reward.unit,
                    reward.program_id,
                    reward.name,
                    reward.currency,
                    reward.assigned,
                    reward.redeemed,
                    reward.cancellable,
                    reward.date_created,
                    reward.date_given,
                    reward.date_scheduled_for,
                    reward.date_expires,
                    reward.date_cancelled,
                    reward.date_redeemed,
                    reward.statuses,
                    self.reward.raw,
                    extracted.unreadable as i64,
                    self.reward.via.number(),
                    reward.date_modified,
                    keeps.is_some(),
                ],
                |row| row.get(0),
            )?;
        if keeps.is_some() {
            return Ok(());
        }
        write_links(tx, row, old.map_or(&[], |old| &old.links), &extracted.links)
    }
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
