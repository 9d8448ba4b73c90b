//! The request quota of each host. All processes that use one index share the quota.
//!
//! Each exchange with the index is one short transaction on a separate connection. On a PostgreSQL server, the exchange
//! uses the server's clock. This module never creates the index: until a crawl has created it, each process limits its
//! own requests. `model::budget` contains the calculation.

use std::sync::{Mutex, PoisonError};

use super::db::{Conn, DbError, Patience, Row, Tx};
use super::index::LAYOUT;
use super::{Identity, Place};
use crate::error::{Error, Kind, Result};
use crate::model::budget::{
    Budget, Grant, LeaseRequest, Pause, Purpose, QuotaSettings, QuotaState, Shifted, Unavailable, UsageReport,
    WaitReason,
};

/// The number of minutes for which the index keeps request counts.
const MINUTES_KEPT: i64 = 2 * 24 * 60;

/// The number of hours in [`BudgetLine::hours`].
const HOURS_SHOWN: usize = 24;

/// The budget of one host in one index. The first call that needs the budget opens the index.
#[derive(Debug)]
pub struct SharedBudget {
    place: Place,
    host: String,
    owner: Option<Identity>,
    conn: Mutex<Option<Conn>>,
}

/// The quota of one host, for display.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetLine {
    /// The host: `advocate` or `brand`, and the base URL.
    pub host: String,
    /// The current quota.
    pub account: QuotaState,
    /// The requests of the last sixty minutes to the host, by purpose.
    pub last_hour: Spent,
    /// The number of requests to the host since midnight UTC.
    pub today: Spent,
    /// The number of requests to the host in each of the last 24 hours, oldest first. The last of the 24 hours ends
    /// now.
    pub hours: Vec<u64>,
}

/// Number of requests by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Number of requests of crawls and checks.
    pub crawl: u64,
    /// Number of requests of people who look at orders.
    pub looking: u64,
    /// Number of requests of retractions and their verification.
    pub retraction: u64,
}

impl Spent {
    pub fn total(&self) -> u64 {
        self.crawl + self.looking + self.retraction
    }
}

impl SharedBudget {
    /// Creates the budget of a host in the index at this path, without I/O. Requests have no shared budget if the index
    /// belongs to another tenant than `owner`.
    pub fn new(place: impl Into<Place>, host: impl Into<String>, owner: Option<Identity>) -> Self {
        Self { place: place.into(), host: host.into(), owner, conn: Mutex::new(None) }
    }

    fn open(&self) -> Result<Conn, Unavailable> {
        match Conn::open_existing(&self.place, &LAYOUT, self.owner.as_ref(), Patience::Brief) {
            Ok(Some(conn)) => Ok(conn),
            // The first writer of the index creates the schema. Without a schema, there is no shared budget.
            Ok(None) => Err(Unavailable::NoDatabase),
            Err(error) if error.kind == Kind::Identity => Err(Unavailable::NoDatabase),
            Err(error) => Err(Unavailable::Failed(error.message)),
        }
    }

    /// Ends the stored wait for this host at a person's request (see [`QuotaState::clear`]). Returns `true` if there
    /// was a wait.
    ///
    /// # Errors
    /// [`Kind::Storage`] or [`Kind::Busy`] if the change could not be stored. If the change fails, the stored wait stays in force.
    pub fn clear(&self, now_ms: i64) -> Result<bool> {
        let conn = self.open().map_err(|why| match why {
            Unavailable::NoDatabase => Error::new(
                Kind::Storage,
                format!("the index at {} keeps no quota for this tenant, account and hosts", self.place),
            )
            .hint("check the tenant, the QuotaState SID and the two base URLs, and run `recoup crawl` if there is no index yet"),
            Unavailable::Failed(why) => Error::new(Kind::Storage, why).hint("run the same command again"),
        })?;
        conn.write(|tx| {
            let (now_ms, _) = by_server(tx, now_ms)?;
            let Some(mut account) = read(tx, &self.host)?.map(|account| account.at(now_ms)) else { return Ok(false) };
            let hour_ago = now_ms.div_euclid(60_000) - 60;
            let sent: u64 = tx.one(
                "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) FROM budget_minutes WHERE host = ?1 AND minute >= ?2",
                &[&self.host, &hour_ago],
                |row| row.get(0),
            )?;
            let cleared = account.clear(sent, now_ms);
            write(tx, &self.host, &account)?;
            Ok(cleared)
        })
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
        let Some(open) = conn.as_ref() else { return Err(Unavailable::NoDatabase) };
        let done = open.write(|tx| {
            let (now_ms, ahead) = by_server(tx, now_ms)?;
            let mut account = read(tx, &self.host)?.unwrap_or_default();
            let grant = account.exchange(&report.shifted(-ahead), request, settings, now_ms);
            write(tx, &self.host, &account)?;
            count(tx, &self.host, request.purpose, report.sent, now_ms)?;
            Ok((grant.shifted(ahead), account.shifted(ahead)))
        });
        done.map_err(|error| {
            // After an error, the next exchange opens the index again, because a person may have replaced it or made
            // its folder writable.
            *conn = None;
            Unavailable::Failed(error.message)
        })
    }
}

/// Returns the PostgreSQL server's time, and how far this machine's clock is ahead of it. Several machines share a
/// store on a PostgreSQL server, and the machines' clocks differ. Processes that share a file also share one clock.
fn by_server(tx: &Tx<'_>, now_ms: i64) -> Result<(i64, i64), DbError> {
    Ok(tx.server_now_ms()?.map_or((now_ms, 0), |server| (server, now_ms - server)))
}

fn count(tx: &Tx<'_>, host: &str, purpose: Purpose, sent: u64, now_ms: i64) -> Result<(), DbError> {
    if sent == 0 {
        return Ok(());
    }
    let minute = now_ms.div_euclid(60_000);
    let counted: u64 = tx.one(
        "INSERT INTO budget_minutes (host, minute, purpose, requests) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (host, minute, purpose) DO UPDATE SET requests = budget_minutes.requests + excluded.requests
         RETURNING requests",
        &[&host, &minute, &purpose.as_str(), &sent],
        |row| row.get(0),
    )?;
    let is_new = counted == sent;
    if is_new {
        let oldest = minute - MINUTES_KEPT;
        tx.run("DELETE FROM budget_minutes WHERE host = ?1 AND minute < ?2", &[&host, &oldest])?;
    }
    Ok(())
}

/// The SQL columns for [`account`], in order.
const COLUMNS: &str =
    "host, reserve, quota, window_ms, quota_told, window_number, window_ends_at, used, remaining, told_at, rate, rate_told,
    rate_learned, rate_top, limited_at, grown_at, next_slot_us, next_retraction_us, hold_until, hold_reason";

fn read(tx: &Tx<'_>, host: &str) -> Result<Option<QuotaState>, DbError> {
    tx.opt(&format!("SELECT {COLUMNS} FROM budgets WHERE host = ?1"), &[&host], account)
}

fn account(row: &Row<'_>) -> Result<QuotaState, DbError> {
    let number = |column: usize| row.get::<Option<i64>>(column).map(|n| n.map(|n| n.max(0).unsigned_abs()));
    let until: Option<i64> = row.get(18)?;
    let reason: Option<&str> = row.get(19)?;
    Ok(QuotaState {
        reserve: row.get(1)?,
        limit: number(2)?,
        window_ms: row.get(3)?,
        limit_from_header: number(4)?,
        window: number(5)?.unwrap_or(0),
        window_ends_ms: row.get(6)?,
        used: number(7)?.unwrap_or(0),
        remaining: number(8)?,
        header_at_ms: row.get(9)?,
        rate: row.get(10)?,
        rate_from_header: row.get(11)?,
        rate_learned: row.get(12)?,
        rate_at_last_429: row.get(13)?,
        limited_at_ms: row.get(14)?,
        rate_raised_at_ms: row.get(15)?,
        next_slot_us: row.get(16)?,
        next_retraction_us: row.get(17)?,
        pause: until.map(|until_ms| Pause { until_ms, reason: WaitReason::parse(reason.unwrap_or_default()) }),
    })
}

fn write(tx: &Tx<'_>, host: &str, account: &QuotaState) -> Result<(), DbError> {
    let columns = COLUMNS.split(',').map(str::trim);
    let updates: Vec<String> = columns.skip(1).map(|name| format!("{name} = excluded.{name}")).collect();
    let insert = format!(
        "INSERT INTO budgets ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT (host) DO UPDATE SET {}",
        updates.join(", ")
    );
    tx.run(
        &insert,
        &[
            &host,
            &account.reserve,
            &account.limit,
            &account.window_ms,
            &account.limit_from_header,
            &account.window,
            &account.window_ends_ms,
            &account.used,
            &account.remaining,
            &account.header_at_ms,
            &account.rate,
            &account.rate_from_header,
            &account.rate_learned,
            &account.rate_at_last_429,
            &account.limited_at_ms,
            &account.rate_raised_at_ms,
            &account.next_slot_us,
            &account.next_retraction_us,
            &account.pause.map(|pause| pause.until_ms),
            &account.pause.map(|pause| pause.reason.as_str()),
        ],
    )
    .map(drop)
}

/// Returns the current quota of every host that this index's processes have called. Returns an empty list of quotas if
/// there is no index yet.
pub fn budgets(place: impl Into<Place>, now_ms: i64) -> Result<Vec<BudgetLine>> {
    let Some(conn) = Conn::open_read_only(&place.into(), &LAYOUT, None)? else { return Ok(Vec::new()) };
    conn.read(|tx| {
        let (now_ms, ahead) = by_server(tx, now_ms)?;
        let minute = now_ms.div_euclid(60_000);
        let all = format!("SELECT {COLUMNS} FROM budgets ORDER BY host");
        let accounts = tx.rows(&all, &[], |row| Ok((row.get::<String>(0)?, account(row)?)))?;
        let line = |(host, account): (String, QuotaState)| {
            let (last_hour, today) = (spent(tx, &host, minute - 59)?, spent(tx, &host, minute - minute % (24 * 60))?);
            let hours = by_hour(tx, &host, minute)?;
            Ok(BudgetLine { account: account.at(now_ms).shifted(ahead), last_hour, today, hours, host })
        };
        accounts.into_iter().map(line).collect()
    })
}

/// Counts the requests to a host since the minute `from`.
fn spent(tx: &Tx<'_>, host: &str, from: i64) -> Result<Spent, DbError> {
    let mut spent = Spent::default();
    let sum = "SELECT purpose, CAST(SUM(requests) AS BIGINT) FROM budget_minutes WHERE host = ?1 AND minute >= ?2 GROUP BY purpose";
    tx.each(sum, &[&host, &from], |row| {
        let of = match row.get::<&str>(0)? {
            word if word == Purpose::Crawl.as_str() => &mut spent.crawl,
            word if word == Purpose::Looking.as_str() => &mut spent.looking,
            _ => &mut spent.retraction,
        };
        *of = row.get(1)?;
        Ok(())
    })?;
    Ok(spent)
}

/// Counts the requests of each displayed hour, oldest first. The last hour ends with the current minute.
fn by_hour(tx: &Tx<'_>, host: &str, minute: i64) -> Result<Vec<u64>, DbError> {
    let mut hours = vec![0; HOURS_SHOWN];
    let oldest = minute - HOURS_SHOWN as i64 * 60;
    let requests = "SELECT minute, requests FROM budget_minutes WHERE host = ?1 AND minute > ?2 AND minute <= ?3";
    tx.each(requests, &[&host, &oldest, &minute], |row| {
        let ago = (minute - row.get::<i64>(0)?) / 60;
        if let Some(of) = hours.iter_mut().nth_back(usize::try_from(ago).unwrap_or(usize::MAX)) {
            *of += row.get::<u64>(1)?;
        }
        Ok(())
    })?;
    Ok(hours)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::model::budget::{Quota, QuotaHeader, RateLimited};
    use crate::store::db::RawConnection;
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
        assert_eq!(lines[0].last_hour, Spent { crawl: 3, ..Spent::default() });
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
        send(Purpose::Looking, NOW + 2);
        send(Purpose::Retraction, NOW + 59 * 60_000);
        let lines = budgets(&path, NOW + 59 * 60_000).expect("readable");
        assert_eq!(lines[0].last_hour, Spent { crawl: 10, looking: 5, retraction: 5 });
        let day = 24 * 3_600_000;
        send(Purpose::Crawl, NOW + 3 * day);
        let rows: i64 = RawConnection::open(&path)
            .and_then(|conn| conn.query_row("SELECT COUNT(*) FROM budget_minutes", [], |row| row.get(0)))
            .expect("a count");
        assert_eq!(rows, 1);
    }

    #[test]
    fn nothing_is_made_or_touched_where_it_has_no_business() {
        let (dir, path) = index();
        let missing = SharedBudget::new(dir.path().join("none.db"), "h", None);
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
        let junk = refused(&SharedBudget::new(dir.path().join("junk.db"), "h", None));
        assert!(matches!(junk, Err(Unavailable::Failed(_))), "{junk:?}");
    }
}
