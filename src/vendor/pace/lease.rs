//! The leases in hand: which request may start now, and getting the next lease before the last one is used up.
//!
//! Every request draws from a lease in memory; the shared budget is asked about twice a second, off the async path, while
//! the rest of the lease in hand lasts. Where the budget cannot be reached, a copy of what was last known of it goes on in
//! this process, and what was spent meanwhile is told as soon as it can be. What is not used is given back at the end.
//! A lease says how many requests and at what rate; `limiter` says when each may start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::deadline::Deadline;
use super::limiter::Limiter;
use crate::clock::Clock;
use crate::model::budget::{Account, Ask, Budget, Grant, Hold, Limited, News, Purpose, Terms, Told, Unavailable};

/// How often a lease without a limit is accounted for, in microseconds.
const REPORT_EVERY: i64 = 1_000_000;

/// Failures in a row after which it is said that the budget is not shared.
const SAID_AFTER: u32 = 3;

/// May the next request start?
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Draw {
    /// Now. A new lease is due where it says so.
    Go { due: bool },
    /// Not before this moment, Unix microseconds.
    At(i64),
    /// The budget has nothing before this moment.
    Not(Hold),
    /// There is no lease: ask for one.
    Empty,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    left: u64,
    size: u64,
    grant: Grant,
    /// When one without a limit is accounted for.
    report_us: i64,
}

#[derive(Default)]
struct Desk {
    lease: Option<Lease>,
    next: Option<Lease>,
    /// The rate of the lease in hand, from its first request on.
    limiter: Option<Limiter>,
    /// An exchange is under way.
    is_pending: bool,
    /// Leases of an older generation are void: a limit was learned since.
    generation: u64,
    refused: Option<Hold>,
    /// What the next exchange has to tell.
    news: News,
    /// Requests started since the last exchange, and when that was: how fast this process is.
    started: u64,
    asked_us: i64,
    want: u64,
    account: Account,
    closed: bool,
}

/// What only an exchange touches.
#[derive(Default)]
struct Books {
    /// What the shared budget has not heard yet.
    backlog: News,
    failures: u32,
}

pub(super) struct Leases {
    clock: Clock,
    budget: Option<Arc<dyn Budget>>,
    purpose: Purpose,
    terms: Terms,
    deadline: Arc<Deadline>,
    desk: Mutex<Desk>,
    books: Mutex<Books>,
    given: Notify,
    trouble: Mutex<Option<String>>,
    /// Draws need no turn: there is a lease and it has no limit.
    is_open: AtomicBool,
}

impl Leases {
    pub(super) fn new(
        clock: Clock,
        budget: Option<Arc<dyn Budget>>,
        purpose: Purpose,
        terms: Terms,
        deadline: Arc<Deadline>,
        want: usize,
    ) -> Self {
        let want = if purpose == Purpose::Retraction { 1 } else { want.max(1) as u64 };
        Self {
            clock,
            budget,
            purpose,
            terms,
            deadline,
            desk: Mutex::new(Desk { want, asked_us: now_us(&clock), ..Desk::default() }),
            books: Mutex::new(Books::default()),
            given: Notify::new(),
            trouble: Mutex::new(None),
            is_open: AtomicBool::new(false),
        }
    }

    /// Whether requests may draw without a turn.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Takes one request's leave, where there is one to take.
    pub(super) fn draw(&self) -> Draw {
        let now_us = now_us(&self.clock);
        let mut desk = lock(&self.desk);
        loop {
            let Some(lease) = &mut desk.lease else {
                // Asked ahead and refused: that counts once the lease in hand is used up, and not before.
                if let Some(hold) = desk.refused.take() {
                    return Draw::Not(hold);
                }
                self.is_open.store(false, Ordering::Release);
                return Draw::Empty;
            };
            let is_void = lease.grant.void_at_ms.is_some_and(|end| end * 1_000 <= now_us);
            if lease.left == 0 || is_void {
                if is_void {
                    desk.limiter = None;
                }
                let over = desk.lease.take();
                desk.lease = desk.next.take();
                if let Some(over) = over {
                    desk.put_back(&over);
                }
                desk.follow();
                continue;
            }
            if lease.grant.starts_us > now_us {
                return Draw::At(lease.grant.starts_us);
            }
            let (grant, unlimited) = (lease.grant, !lease.grant.counted);
            if grant.spacing_us > 0.0 {
                let late_us = now_us - grant.starts_us;
                let limiter = desk.limiter.get_or_insert_with(|| Limiter::new(&grant, late_us));
                if let Err(wait) = limiter.check() {
                    return Draw::At(now_us.saturating_add(wait.as_nanos().div_ceil(1_000) as i64));
                }
            }
            let Some(lease) = &mut desk.lease else { continue };
            lease.left -= u64::from(!unlimited);
            let runs_out = if unlimited { lease.report_us <= now_us } else { lease.left <= lease.size / 2 };
            desk.started += 1;
            desk.news.sent += 1;
            desk.news.uncounted += u64::from(unlimited);
            // A retraction is a handful of requests: it takes no leave for more.
            let ahead = self.purpose == Purpose::Crawl || unlimited;
            let due = runs_out && ahead && desk.next.is_none() && desk.refused.is_none() && !desk.is_pending;
            return Draw::Go { due };
        }
    }

    /// Asks for a lease. Where that may block it goes on elsewhere, and [`Leases::given`] ends when it is there.
    pub(super) fn renew(self: &Arc<Self>) {
        {
            let mut desk = lock(&self.desk);
            if desk.is_pending || desk.closed {
                return;
            }
            desk.is_pending = true;
        }
        self.go(true);
    }

    fn go(self: &Arc<Self>, asks: bool) {
        let shared = self.budget.is_some();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if shared => {
                let leases = Arc::clone(self);
                drop(runtime.spawn_blocking(move || leases.exchange(asks)));
            }
            _ => {
                let _account = self.exchange(asks);
            }
        }
    }

    /// Ends when an exchange has ended since the last call. One caller at a time.
    pub(super) async fn given(&self) {
        self.given.notified().await;
    }

    /// Notes a moment before which nothing starts, for every process.
    pub(super) fn note(&self, hold: Hold) {
        lock(&self.desk).news.merge(&News { hold: Some(hold), ..News::default() });
    }

    /// Tells the shared budget what was noted, unless an exchange is about to.
    pub(super) fn tell(self: &Arc<Self>) {
        {
            let desk = lock(&self.desk);
            if self.budget.is_none() || desk.is_pending || desk.closed {
                return;
            }
        }
        self.go(false);
    }

    /// What the shared budget holds, after it has heard what this process has to tell; `None` if there is none, or it cannot be
    /// reached.
    pub(super) async fn held(self: &Arc<Self>) -> Option<Option<Hold>> {
        self.budget.as_ref()?;
        let leases = Arc::clone(self);
        tokio::task::spawn_blocking(move || leases.exchange(false)).await.ok()?.map(|account| account.hold)
    }

    /// Notes what the host told. A limit that is news ends the leases that knew nothing of it.
    pub(super) fn hear(&self, mut told: Told, in_flight: usize) {
        let mut desk = lock(&self.desk);
        let known = [desk.account.limit_told, desk.account.rate_told.map(|rate| rate as u64)];
        let is_news = !known.contains(&Some(told.limit)) && desk.news.told.is_none_or(|last| last.limit != told.limit);
        if is_news {
            self.void(&mut desk);
        }
        // The answer that tells it is still in its slot.
        told.outstanding = (in_flight as u64).saturating_sub(1);
        // Answers overtake each other: of one window the smallest remainder is the newest.
        let is_older = desk.news.told.is_some_and(|last| {
            last.limit == told.limit
                && (last.resets_at_ms - told.resets_at_ms).abs() < 2_500
                && last.remaining < told.remaining
        });
        if !is_older || told.resets_at_ms - told.at_ms <= 2_500 {
            desk.news.told = Some(told);
        }
    }

    /// Notes a 429 that speaks of a rate. The leases in hand are void; the next one knows better.
    pub(super) fn limited(&self, limited: Limited) {
        let mut desk = lock(&self.desk);
        desk.news.limited = Some(limited);
        self.void(&mut desk);
    }

    /// A better estimate of the 429 that the next exchange tells of.
    pub(super) fn estimate(&self, estimate: impl FnOnce(i64) -> Option<f64>) {
        if let Some(limited) = &mut lock(&self.desk).news.limited {
            limited.estimate = estimate(limited.at_ms);
        }
    }

    fn void(&self, desk: &mut Desk) {
        desk.generation += 1;
        desk.limiter = None;
        for lease in [desk.lease.take(), desk.next.take()].into_iter().flatten() {
            desk.put_back(&lease);
        }
        self.is_open.store(false, Ordering::Release);
    }

    /// The rate in force, where 429s taught it.
    pub(super) fn learned_rate(&self) -> Option<f64> {
        let account = lock(&self.desk).account;
        account.rate_learned.filter(|learned| account.rate.is_some_and(|rate| rate >= *learned))
    }

    /// Whether a rate is in force.
    pub(super) fn has_rate(&self) -> bool {
        lock(&self.desk).account.rate.is_some()
    }

    /// What is known of the budget.
    pub(super) fn account(&self) -> Account {
        lock(&self.desk).account
    }

    /// Why the budget is not shared, where that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Gives back what is left and tells what is untold.
    pub(super) fn close(&self) {
        {
            let mut desk = lock(&self.desk);
            desk.closed = true;
            self.void(&mut desk);
        }
        let _account = self.exchange(false);
    }

    /// One exchange. Takes as long as the budget takes. The account as the shared budget has it now, if it was reached.
    fn exchange(&self, asks: bool) -> Option<Account> {
        let mut books = lock(&self.books);
        let now_us = now_us(&self.clock);
        let (news, ask, generation, known) = {
            let mut desk = lock(&self.desk);
            let ask = (asks && !desk.closed).then(|| desk.ask(self.purpose, now_us));
            // A 429 is told with the next wish, when all that was on its way has come to its estimate.
            let limited = if ask.is_none() { desk.news.limited.take() } else { None };
            let news = std::mem::take(&mut desk.news);
            desk.news.limited = limited;
            (news, ask, desk.generation, desk.account)
        };
        let now_ms = now_us / 1_000;
        let reached = match &self.budget {
            None => None,
            Some(budget) => {
                books.backlog.merge(&news);
                Some(budget.exchange(&books.backlog, self.purpose, ask.as_ref(), &self.terms, now_ms))
            }
        };
        let is_shared = matches!(reached, Some(Ok(_)));
        let (grant, account) = match reached {
            Some(Ok(done)) => {
                *books = Books::default();
                *lock(&self.trouble) = None;
                done
            }
            alone => {
                let mut account = known;
                let grant = account.exchange(&news, ask.as_ref(), &self.terms, now_ms);
                if grant.counted {
                    books.backlog.uncounted += grant.requests;
                }
                if let Some(Err(Unavailable::Failed(why))) = alone {
                    books.failures += 1;
                    // A retraction makes no three exchanges.
                    if books.failures >= SAID_AFTER || self.purpose == Purpose::Retraction {
                        *lock(&self.trouble) = Some(why);
                    }
                }
                (grant, account)
            }
        };
        if let Some(hold) = account.hold {
            self.deadline.extend(hold);
        }
        let mut desk = lock(&self.desk);
        desk.account = account;
        if ask.is_some() {
            desk.is_pending = false;
            desk.take(&grant, generation, now_us);
            self.is_open.store(desk.lease.as_ref().is_some_and(|lease| !lease.grant.counted), Ordering::Release);
        }
        drop(desk);
        self.given.notify_one();
        is_shared.then_some(account)
    }
}

impl Desk {
    /// A wish that fits how fast this process was; growing, so that it is never held back by its own past.
    fn ask(&mut self, purpose: Purpose, now_us: i64) -> Ask {
        let passed = (now_us - self.asked_us).max(1) as f64 / 1e6;
        if purpose == Purpose::Crawl && passed > 0.05 {
            let in_half_a_second = self.started as f64 / passed / 2.0;
            self.want = (in_half_a_second * 1.5) as u64 + 4;
        }
        (self.started, self.asked_us) = (0, now_us);
        Ask { purpose, want: self.want }
    }

    fn take(&mut self, grant: &Grant, generation: u64, now_us: i64) {
        let lease =
            Lease { left: grant.requests, size: grant.requests, grant: *grant, report_us: now_us + REPORT_EVERY };
        if generation != self.generation || self.closed {
            self.put_back(&lease);
        } else if grant.requests == 0 {
            self.refused = grant.hold;
        } else if self.lease.is_none_or(|lease| !lease.grant.counted) {
            self.lease = Some(lease);
            self.follow();
        } else {
            self.next = Some(lease);
        }
    }

    /// Keeps the limiter where the lease in hand goes on with it.
    fn follow(&mut self) {
        let goes_on = match (&self.lease, &mut self.limiter) {
            (Some(lease), Some(limiter)) => limiter.goes_on_with(&lease.grant),
            // No lease yet: the next one may follow on the last.
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !goes_on {
            self.limiter = None;
        }
    }

    fn put_back(&mut self, lease: &Lease) {
        if lease.grant.counted && lease.left > 0 {
            let window = lease.grant.window;
            self.news.merge(&News { unspent: lease.left, unspent_window: window, ..News::default() });
        }
    }
}

fn now_us(clock: &Clock) -> i64 {
    clock.now().as_microsecond()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
