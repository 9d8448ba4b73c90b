//! The request quota of each host, kept in the index file so that every process on it shares one.
//!
//! One exchange is one short IMMEDIATE transaction on a connection of its own. The file is never created here:
//! where there is none yet, the caller paces itself alone. What the numbers mean is in `model::budget`; nothing here decides.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, named_params, params};

use super::index::AUTOCHECKPOINT_PAGES;
use super::index::LAYOUT;
use super::{Identity, check_file, check_identity, check_version, look_again, open_as_it_is, open_reader, sql_error};
use crate::error::{Error, Kind, Result};
use crate::model::budget::{
    Budget, Grant, LeaseRequest, Pause, Purpose, QuotaSettings, QuotaState, Unavailable, UsageReport, WaitReason,
};

/// How long an exchange waits for another writer: a crawl's commit takes less, and nobody should wait longer for a lease.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// How long requests are remembered by the minute.
const MINUTES_KEPT: i64 = 2 * 24 * 60;

/// How many hours back requests are shown one by one.
const HOURS_SHOWN: usize = 24;

/// The budget of one host in one index. Opens the file when it is first asked.
#[derive(Debug)]
pub struct SharedBudget {
    path: PathBuf,
    host: String,
    owner: Option<Identity>,
    conn: Mutex<Option<Connection>>,
}

/// What is known of one host's quota, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetLine {
    /// `advocate` or `brand`, and the base URL.
    pub host: String,
    /// As it stands now.
    pub account: QuotaState,
    /// Requests of the last sixty minutes, by what they were for.
    pub last_hour: Spent,
    /// Requests since midnight UTC.
    pub today: Spent,
    /// Requests of each of the last 24 hours, the oldest first; the last of them ends now.
    pub hours: Vec<u64>,
}

/// Requests by what they were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Crawls and look-ups.
    pub crawl: u64,
    /// Retractions and their verification.
    pub retraction: u64,
}

impl SharedBudget {
    /// The budget of a host in the index at this path; where the index belongs to somebody else than `owner`, it has none.
    /// No I/O.
    pub fn new(path: &Path, host: impl Into<String>, owner: Option<Identity>) -> Self {
        Self { path: path.to_owned(), host: host.into(), owner, conn: Mutex::new(None) }
    }

    fn open(&self) -> Result<Connection, Unavailable> {
        if !self.path.exists() {
            return Err(Unavailable::NoDatabase);
        }
        let failed = |error: rusqlite::Error| Unavailable::Failed(sql_error(&error, &LAYOUT, &self.path).message);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        check_file(&self.path, &LAYOUT).map_err(|error| Unavailable::Failed(error.message))?;
        let mut conn = open_as_it_is(&self.path, flags).map_err(failed)?;
        conn.busy_handler(Some(|looks| look_again(looks, BUSY_TIMEOUT))).map_err(failed)?;
        match check_version(&conn, &LAYOUT) {
            Ok(true) => {}
            // The process that writes the index makes its schema; until then it has no budget.
            Ok(false) => return Err(Unavailable::NoDatabase),
            Err(error) => return Err(Unavailable::Failed(error.at(&LAYOUT, &self.path).message)),
        }
        if let Some(owner) = &self.owner
            && check_identity(&conn, owner).is_err()
        {
            return Err(Unavailable::NoDatabase);
        }
        // As the index: a power cut may cost the last lease, never the file.
        conn.pragma_update(None, "synchronous", LAYOUT.synchronous).map_err(failed)?;
        // A lease is two rows, twice a second: it is not what the log of a crawl is copied into the file for.
        conn.pragma_update_and_check(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES, |_| Ok(())).map_err(failed)?;
        Ok(conn)
    }
}

impl SharedBudget {
    /// Ends the wait that is kept for this host, at a person's word: see [`QuotaState::clear`]. Whether there was one.
    ///
    /// # Errors
    /// `Storage` or `Busy`: nothing was cleared.
    pub fn clear(&self, now_ms: i64) -> Result<bool> {
        let mut conn = self.open().map_err(|why| match why {
            Unavailable::NoDatabase => Error::new(
                Kind::Storage,
                format!("the index at {} keeps no quota that this recoup and these settings can use", self.path.display()),
            )
            .hint("check the tenant, the Account SID and the two base URLs; `recoup crawl` brings an older index up to date"),
            Unavailable::Failed(why) => Error::new(Kind::Storage, why).hint("run the same command again"),
        })?;
        let cleared = conn.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let Some(mut account) = read(&tx, &self.host)?.map(|account| account.at(now_ms)) else { return Ok(false) };
            let hour_ago = now_ms.div_euclid(60_000) - 60;
            let sent: i64 = tx.query_row(
                "SELECT COALESCE(SUM(requests), 0) FROM budget_minutes WHERE host = ?1 AND minute >= ?2",
                params![self.host, hour_ago],
                |row| row.get(0),
            )?;
            let cleared = account.clear(sent.max(0).unsigned_abs(), now_ms);
            write(&tx, &self.host, &account)?;
            tx.commit()?;
            Ok(cleared)
        });
        cleared.map_err(|error| sql_error(&error, &LAYOUT, &self.path))
    }
}

impl Budget for SharedBudget {
    fn exchange(
        &self,
        report: &UsageReport,
        request: LeaseRequest,
        settings: &QuotaSettings,
        now_ms: i64,
    ) -> Result<(Grant, QuotaState), Unavailable> {
        let mut conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        if conn.is_none() {
            *conn = Some(self.open()?);
        }
        let Some(open) = conn.as_mut() else { return Err(Unavailable::NoDatabase) };
        let done = open.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let mut account = read(&tx, &self.host)?.unwrap_or_default();
            let grant = account.exchange(report, request, settings, now_ms);
            write(&tx, &self.host, &account)?;
            count(&tx, &self.host, request.purpose, report.sent, now_ms)?;
            tx.commit()?;
            Ok((grant, account))
        });
        done.map_err(|error| {
            // The file may have been replaced, or its folder made writable: the next exchange opens it afresh.
            *conn = None;
            Unavailable::Failed(sql_error(&error, &LAYOUT, &self.path).message)
        })
    }
}

fn count(tx: &Transaction<'_>, host: &str, purpose: Purpose, sent: u64, now_ms: i64) -> rusqlite::Result<()> {
    if sent == 0 {
        return Ok(());
    }
    let minute = now_ms.div_euclid(60_000);
    let mut insert = tx.prepare_cached(
        "INSERT INTO budget_minutes (host, minute, purpose, requests) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (host, minute, purpose) DO UPDATE SET requests = requests + excluded.requests
         RETURNING requests = ?4",
    )?;
    let is_new: bool = insert.query_row(params![host, minute, purpose.as_str(), sent as i64], |row| row.get(0))?;
    if is_new {
        tx.execute("DELETE FROM budget_minutes WHERE host = ?1 AND minute < ?2", params![host, minute - MINUTES_KEPT])?;
    }
    Ok(())
}

fn read(conn: &Connection, host: &str) -> rusqlite::Result<Option<QuotaState>> {
    conn.prepare_cached("SELECT * FROM budgets WHERE host = ?1")?.query_row([host], account).optional()
}

fn account(row: &Row<'_>) -> rusqlite::Result<QuotaState> {
    let number = |name: &str| row.get::<_, Option<i64>>(name).map(|n| n.map(|n| n.max(0).unsigned_abs()));
    let until: Option<i64> = row.get("hold_until")?;
    let reason: Option<String> = row.get("hold_reason")?;
    Ok(QuotaState {
        reserve: row.get("reserve")?,
        limit: number("quota")?,
        window_ms: row.get("window_ms")?,
        limit_from_header: number("quota_told")?,
        window_ends_ms: row.get("window_ends_at")?,
        window: number("window")?.unwrap_or(0),
        used: number("used")?.unwrap_or(0),
        remaining: number("remaining")?,
        header_at_ms: row.get("told_at")?,
        rate: row.get("rate")?,
        rate_from_header: row.get("rate_told")?,
        rate_learned: row.get("rate_learned")?,
        rate_at_last_429: row.get("rate_top")?,
        limited_at_ms: row.get("limited_at")?,
        rate_raised_at_ms: row.get("grown_at")?,
        next_slot_us: row.get("next_slot_us")?,
        next_retraction_us: row.get("next_retraction_us")?,
        pause: until
            .map(|until_ms| Pause { until_ms, reason: WaitReason::parse(reason.as_deref().unwrap_or_default()) }),
    })
}

fn write(tx: &Transaction<'_>, host: &str, account: &QuotaState) -> rusqlite::Result<()> {
    let number = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    tx.prepare_cached(
        "INSERT OR REPLACE INTO budgets
            (host, reserve, quota, window_ms, quota_told, window, window_ends_at, used, remaining, told_at, rate, rate_told,
             rate_learned, rate_top, limited_at, grown_at, next_slot_us, next_retraction_us, hold_until, hold_reason)
         VALUES
            (:host, :reserve, :quota, :window_ms, :quota_told, :window, :window_ends_at, :used, :remaining, :told_at, :rate,
             :rate_told, :rate_learned, :rate_top, :limited_at, :grown_at, :next_slot_us, :next_retraction_us, :hold_until,
             :hold_reason)",
    )?
    .execute(named_params! {
        ":host": host,
        ":reserve": account.reserve,
        ":quota": number(account.limit),
        ":window_ms": account.window_ms,
        ":quota_told": number(account.limit_from_header),
        ":window": number(Some(account.window)),
        ":window_ends_at": account.window_ends_ms,
        ":used": number(Some(account.used)),
        ":remaining": number(account.remaining),
        ":told_at": account.header_at_ms,
        ":rate": account.rate,
        ":rate_told": account.rate_from_header,
        ":rate_learned": account.rate_learned,
        ":rate_top": account.rate_at_last_429,
        ":limited_at": account.limited_at_ms,
        ":grown_at": account.rate_raised_at_ms,
        ":next_slot_us": account.next_slot_us,
        ":next_retraction_us": account.next_retraction_us,
        ":hold_until": account.pause.map(|pause| pause.until_ms),
        ":hold_reason": account.pause.map(|pause| pause.reason.as_str()),
    })?;
    Ok(())
}

/// The quota of every host that was ever asked from this index, at this moment. Empty where there is no index yet.
pub fn budgets(path: &Path, now_ms: i64) -> Result<Vec<BudgetLine>> {
    let Some(conn) = open_reader(path, &LAYOUT, None)? else { return Ok(Vec::new()) };
    let minute = now_ms.div_euclid(60_000);
    let spent = |host: &str, from: i64| -> rusqlite::Result<Spent> {
        let mut sum = conn.prepare_cached(
            "SELECT purpose, SUM(requests) FROM budget_minutes WHERE host = ?1 AND minute >= ?2 GROUP BY purpose",
        )?;
        let mut spent = Spent::default();
        for row in sum.query_map(params![host, from], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
            let (purpose, requests) = row?;
            let of = if purpose == Purpose::Crawl.as_str() { &mut spent.crawl } else { &mut spent.retraction };
            *of = requests.max(0).unsigned_abs();
        }
        Ok(spent)
    };
    let hours = |host: &str| -> rusqlite::Result<Vec<u64>> {
        let mut sum = conn.prepare_cached(
            "SELECT (?2 - minute) / 60 AS ago, SUM(requests) FROM budget_minutes
             WHERE host = ?1 AND minute > ?2 - ?3 * 60 AND minute <= ?2 GROUP BY ago",
        )?;
        let mut hours = vec![0; HOURS_SHOWN];
        let rows = sum.query_map(params![host, minute, HOURS_SHOWN as i64], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?))
        })?;
        for row in rows {
            let (ago, requests) = row?;
            if let Some(of) = hours.iter_mut().nth_back(ago as usize) {
                *of = requests.max(0).unsigned_abs();
            }
        }
        Ok(hours)
    };
    let lines = || -> rusqlite::Result<Vec<BudgetLine>> {
        let mut all = conn.prepare("SELECT * FROM budgets ORDER BY host")?;
        let rows = all.query_map([], |row| Ok((row.get::<_, String>("host")?, account(row)?)))?;
        rows.map(|row| {
            let (host, account) = row?;
            let (last_hour, today) = (spent(&host, minute - 59)?, spent(&host, minute - minute % (24 * 60))?);
            Ok(BudgetLine { account: account.at(now_ms), last_hour, today, hours: hours(&host)?, host })
        })
        .collect()
    };
    lines().map_err(|error| sql_error(&error, &LAYOUT, path))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::budget::{Quota, QuotaHeader, RateLimited};
    use crate::store::index::Index;

    const NOW: i64 = 1_700_000_000_000;
    const REQUEST: LeaseRequest = LeaseRequest { purpose: Purpose::Crawl, want: 8 };

    fn owner(tenant: &str) -> Identity {
        let text = |text: &str| text.to_owned();
        Identity {
            tenant: text(tenant),
            account_sid: text("s"),
            advocate_url: text("http://a"),
            brand_url: text("http://b"),
        }
    }

    fn index() -> (TempDir, PathBuf) {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("recoup.db");
        drop(Index::open(&path, &owner("t")).expect("an index"));
        (dir, path)
    }

    fn quota(limit: u64) -> QuotaSettings {
        QuotaSettings { quota: Some(Quota { limit, window_ms: 60_000 }), ..QuotaSettings::default() }
    }

    fn take(budget: &SharedBudget, report: &UsageReport, settings: &QuotaSettings) -> (Grant, QuotaState) {
        budget.exchange(report, REQUEST, settings, NOW).expect("it is there")
    }

    #[test]
    fn two_processes_share_one_quota() {
        let (_dir, path) = index();
        let (a, b) = (SharedBudget::new(&path, "h", None), SharedBudget::new(&path, "h", None));
        let mut taken = 0;
        for n in 0..200 {
            taken += take(if n % 2 == 0 { &a } else { &b }, &UsageReport::default(), &quota(100)).0.requests;
        }
        assert_eq!(taken, 90, "all but the reserve");
        let other = SharedBudget::new(&path, "another host", None);
        assert!(take(&other, &UsageReport::default(), &quota(100)).0.requests > 0);
    }

    #[test]
    fn an_account_comes_back_as_it_was() {
        let (_dir, path) = index();
        let header = QuotaHeader {
            limit: 50,
            remaining: 40,
            resets_at_ms: NOW + 30_000,
            window_ms: None,
            at_ms: NOW,
            outstanding: 1,
        };
        let pause = Pause { until_ms: NOW + 1, reason: WaitReason::BackingOff };
        let limited = RateLimited { at_ms: NOW, estimate: Some(12.5) };
        let report = UsageReport {
            header: Some(header),
            pause: Some(pause),
            limited: Some(limited),
            sent: 3,
            ..UsageReport::default()
        };
        let (_, kept) = take(&SharedBudget::new(&path, "h", None), &report, &quota(60));
        assert!(
            kept.rate_learned.is_some() && kept.limit_from_header == Some(50) && kept.pause == Some(pause),
            "{kept:?}"
        );
        let lines = budgets(&path, NOW).expect("readable");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].account, kept);
        assert_eq!(lines[0].last_hour, Spent { crawl: 3, retraction: 0 });
        let later = budgets(&path, NOW + 3 * 3_600_000).expect("readable");
        assert_eq!((later[0].last_hour, later[0].account.used), (Spent::default(), 0));
        assert_eq!(later[0].account.pause, None);
    }

    #[test]
    fn requests_are_counted_by_the_minute_and_not_for_ever() {
        let (_dir, path) = index();
        let budget = SharedBudget::new(&path, "h", None);
        let send = |purpose, at| {
            let report = UsageReport { sent: 5, ..UsageReport::default() };
            let request = LeaseRequest { purpose, want: 0 };
            budget.exchange(&report, request, &QuotaSettings::default(), at).expect("it is there");
        };
        send(Purpose::Crawl, NOW);
        send(Purpose::Crawl, NOW + 1);
        send(Purpose::Retraction, NOW + 59 * 60_000);
        let lines = budgets(&path, NOW + 59 * 60_000).expect("readable");
        assert_eq!(lines[0].last_hour, Spent { crawl: 10, retraction: 5 });
        let day = 24 * 3_600_000;
        send(Purpose::Crawl, NOW + 3 * day);
        let rows: i64 = Connection::open(&path)
            .and_then(|conn| conn.query_row("SELECT COUNT(*) FROM budget_minutes", [], |row| row.get(0)))
            .expect("a count");
        assert_eq!(rows, 1);
    }

    #[test]
    fn nothing_is_made_or_touched_where_it_has_no_business() {
        let (dir, path) = index();
        let missing = SharedBudget::new(&dir.path().join("none.db"), "h", None);
        let refused = |budget: &SharedBudget| {
            budget.exchange(&UsageReport::default(), REQUEST, &QuotaSettings::default(), NOW).map(|_| ())
        };
        assert_eq!(refused(&missing), Err(Unavailable::NoDatabase));
        assert!(!dir.path().join("none.db").exists());
        let foreign = SharedBudget::new(&path, "h", Some(owner("somebody else")));
        assert_eq!(refused(&foreign), Err(Unavailable::NoDatabase));
        assert!(budgets(&path, NOW).expect("readable").is_empty());
        assert_eq!(refused(&SharedBudget::new(&path, "h", Some(owner("t")))), Ok(()));
        std::fs::write(dir.path().join("junk.db"), "this is no database, and long enough to be seen as none")
            .expect("a file");
        let junk = refused(&SharedBudget::new(&dir.path().join("junk.db"), "h", None));
        assert!(matches!(junk, Err(Unavailable::Failed(_))), "{junk:?}");
    }
}
