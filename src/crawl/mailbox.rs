//! What waits for the writing thread, and when that is woken: once for many answers.
//!
//! A channel would wake it for every one, and being woken costs more than most answers do. Bounded like a channel: who sends
//! waits while too much is waiting already.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a semaphore can count, in one step too.
const MOST_ROWS: usize = u32::MAX as usize >> 3;

/// Opens one that holds so many rows; a message has one at least.
pub(super) fn open<T>(capacity: usize) -> (Sender<T>, Mailbox<T>) {
    let capacity = capacity.clamp(1, MOST_ROWS);
    let inner = Inner {
        waiting: Mutex::new(Waiting {
            messages: Vec::new(),
            rows: 0,
            room_taken: 0,
            wanted: 0,
            is_urgent: false,
            crowded: 0,
            senders: 1,
        }),
        changed: Condvar::new(),
        room: Semaphore::new(capacity),
        capacity,
    };
    let inner = Arc::new(inner);
    (Sender(Arc::clone(&inner)), Mailbox(inner))
}

/// Where messages are put. The mailbox is closed when the last clone is dropped.
pub(super) struct Sender<T>(Arc<Inner<T>>);

/// Where they are taken from. When it is dropped, so is what is in it, and nothing more is accepted.
pub(super) struct Mailbox<T>(Arc<Inner<T>>);

/// The mailbox is gone.
#[derive(Debug)]
pub(super) struct Closed;

struct Inner<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    room: Semaphore,
    /// The room at most, in rows.
    capacity: usize,
}

struct Waiting<T> {
    messages: Vec<T>,
    rows: usize,
    /// The room that these messages take, in rows.
    room_taken: usize,
    /// Rows at which the thread wants to be woken.
    wanted: usize,
    /// Something waits that does not wait for more.
    is_urgent: bool,
    /// How many wait for room.
    crowded: usize,
    senders: usize,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for room, as long as it lives: whoever waits may also go.
struct Crowds<'a, T>(&'a Inner<T>);

impl<'a, T> Crowds<'a, T> {
    fn new(inner: &'a Inner<T>) -> Self {
        inner.lock().crowded += 1;
        Self(inner)
    }
}

impl<T> Drop for Crowds<'_, T> {
    fn drop(&mut self) {
        self.0.lock().crowded -= 1;
    }
}

impl<T> Sender<T> {
    /// Puts a message there. `rows` is how much it adds to a batch; `None`: it cannot wait for one.
    pub(super) async fn send(&self, message: T, rows: Option<usize>) -> Result<(), Closed> {
        // One that is larger than all of the room has all of it.
        let room = rows.unwrap_or(1).clamp(1, self.0.capacity);
        let permits = u32::try_from(room).unwrap_or(u32::MAX);
        if let Ok(room) = self.0.room.try_acquire_many(permits) {
            room.forget();
        } else {
            // Or the thread would wait for rows that wait for it.
            let _crowds = Crowds::new(&self.0);
            self.0.changed.notify_one();
            self.0.room.acquire_many(permits).await.map_err(|_closed| Closed)?.forget();
        }
        let mut waiting = self.0.lock();
        // The mailbox may have been dropped since there was room: it closes that first, and empties itself after.
        if self.0.room.is_closed() {
            return Err(Closed);
        }
        let is_first = waiting.messages.is_empty();
        waiting.messages.push(message);
        let before = waiting.rows;
        waiting.rows += rows.unwrap_or(0);
        waiting.room_taken += room;
        let is_full = before < waiting.wanted && waiting.rows >= waiting.wanted;
        let is_urgent = rows.is_none() && !waiting.is_urgent;
        waiting.is_urgent |= rows.is_none();
        drop(waiting);
        // The first starts the clock of its batch.
        if is_first || is_full || is_urgent {
            self.0.changed.notify_one();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.senders -= 1;
        let is_last = waiting.senders == 0;
        drop(waiting);
        if is_last {
            self.0.changed.notify_one();
        }
    }
}

impl<T> Mailbox<T> {
    /// Everything that is there, as soon as it comes to so many rows, holds something urgent, leaves no room for more, or so long
    /// after the first message. `None` once all senders are gone and all is taken.
    pub(super) fn take(&self, rows: usize, linger: Duration) -> Option<Vec<T>> {
        let mut due = None;
        let mut waiting = self.0.lock();
        waiting.wanted = rows;
        while waiting.messages.is_empty() || !(waiting.is_urgent || waiting.rows >= rows || waiting.crowded > 0) {
            if waiting.senders == 0 {
                if waiting.messages.is_empty() {
                    return None;
                }
                break;
            }
            if due.is_none() && !waiting.messages.is_empty() {
                due = Some(Instant::now() + linger);
            }
            waiting = match due.map(|due: Instant| due.saturating_duration_since(Instant::now())) {
                None => self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.0.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        Some(self.empty(waiting))
    }

    /// Everything that is there by now, which may be nothing.
    pub(super) fn take_now(&self) -> Vec<T> {
        self.empty(self.0.lock())
    }

    fn empty(&self, mut waiting: MutexGuard<'_, Waiting<T>>) -> Vec<T> {
        let messages = std::mem::take(&mut waiting.messages);
        let room = std::mem::take(&mut waiting.room_taken);
        (waiting.rows, waiting.is_urgent) = (0, false);
        drop(waiting);
        self.0.room.add_permits(room);
        messages
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        self.0.room.close();
        let left = std::mem::take(&mut self.0.lock().messages);
        // Outside of the lock: whoever waits for an answer to one of them hears that there will be none.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_waits_for_room_and_who_waits_for_rows_do_not_wait_for_each_other() {
        let (sender, mailbox) = open(4);
        // The second does not fit beside the first, and the first is less than what is wanted.
        let sending = tokio::spawn(async move {
            for message in ["first", "second", "larger than all"] {
                let rows = if message.starts_with("larger") { 9 } else { 3 };
                sender.send(message, Some(rows)).await.expect("it is open");
            }
        });
        let taking = tokio::task::spawn_blocking(move || {
            let mut taken = Vec::new();
            while let Some(more) = mailbox.take(4, LONG) {
                taken.extend(more);
            }
            taken
        });
        assert_eq!(taking.await.expect("it ends"), ["first", "second", "larger than all"]);
        sending.await.expect("it ends");
    }
}
