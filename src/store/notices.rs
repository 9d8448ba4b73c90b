//! The queue of notices that the service sends by webhook and e-mail, and the notices that it has sent.
//!
//! `notices.sql` describes every column, and explains why the queue is a separate file. A queued notice survives a restart.
//! If the service is killed between a delivery and its record, the service repeats the delivery with the same ID.

use std::path::Path;

use super::db::{Conn, Patience};
use super::{Identity, Layout, Place};
use crate::error::Result;

pub(super) const LAYOUT: Layout = Layout {
    name: "queue of notices",
    schema: include_str!("../../notices.sql"),
    version: 1,
    synchronous: "FULL",
    autocheckpoint_pages: 1000,
    application_id: 0x7265_636e, // "recn"
};

/// How long the queue keeps a notice that the service no longer sends.
const KEPT_MS: i64 = 366 * 24 * 3_600_000;

/// An event about which the service sends a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The ID of the event. Contains no order ID.
    pub key: String,
    /// The kind of the event, for example `needs_approval` or `batch_done`.
    pub event: &'static str,
    /// The time of the event, RFC 3339.
    pub at: String,
    pub order_id: Option<String>,
    /// The text of the notice, without personal data.
    pub text: String,
    /// The path on the web page, with its leading `/`.
    pub path: String,
}

/// A notice to send by one channel, for example by e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotice {
    pub key: String,
    pub channel: String,
    pub event: String,
    pub at: String,
    pub order_id: Option<String>,
    pub text: String,
    pub path: String,
    /// The number of earlier attempts to deliver the notice.
    pub attempts: u32,
}

#[derive(Debug)]
pub struct NoticeQueue {
    conn: Conn,
}

impl NoticeQueue {
    /// Returns the place of the queue: `NAME-notices.db` beside the ledger, or the ledger's server.
    pub fn beside(ledger: &Place) -> Place {
        ledger.beside(|ledger: &Path| {
            let stem = ledger.file_stem().unwrap_or_default().to_string_lossy();
            ledger.with_file_name(format!("{}-notices.db", stem.strip_suffix("-ledger").unwrap_or(&stem)))
        })
    }

    /// Opens the queue of notices; creates a missing queue.
    pub fn open(place: &Place, identity: &Identity) -> Result<Self> {
        Ok(Self { conn: Conn::open(place, &LAYOUT, identity)? })
    }

    /// Queues each notice once for each channel. A channel that is newly configured skips the events that already
    /// exist. Returns how many notices were queued.
    pub fn add(&self, notices: &[Notice], channels: &[&str], now_ms: i64) -> Result<u64> {
        self.conn.write(|tx| {
            tx.run("DELETE FROM notices WHERE due_ms IS NULL AND seen_ms < ?1", &[&(now_ms - KEPT_MS)])?;
            let mut queued = 0;
            for channel in channels {
                let since = "INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";
                let is_new = tx.run(since, &[&format!("since {channel}"), &now_ms.to_string()])? == 1;
                let due = (!is_new).then_some(now_ms);
                for Notice { key, event, at, order_id, text, path } in notices {
                    let added = tx.run(
                        "INSERT INTO notices (key, channel, event, at, order_id, text, path, attempts, due_ms, seen_ms)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9) ON CONFLICT (key, channel) DO NOTHING",
                        &[key, channel, event, at, order_id, text, path, &due, &now_ms],
                    )?;
                    queued += if is_new { 0 } else { added };
                }
            }
            Ok(queued)
        })
    }

    /// Returns the notice whose next attempt is due first.
    pub fn next_due(&self, now_ms: i64) -> Result<Option<QueuedNotice>> {
        let select = "SELECT key, channel, event, at, order_id, text, path, attempts FROM notices
             WHERE due_ms <= ?1 ORDER BY due_ms, at, key, channel LIMIT 1";
        self.conn.read(|tx| {
            tx.opt(select, &[&now_ms], |row| {
                Ok(QueuedNotice {
                    key: row.get(0)?,
                    channel: row.get(1)?,
                    event: row.get(2)?,
                    at: row.get(3)?,
                    order_id: row.get(4)?,
                    text: row.get(5)?,
                    path: row.get(6)?,
                    attempts: row.get(7)?,
                })
            })
        })
    }

    /// Records an attempt to deliver a notice. `error` is `None` after a successful delivery. `next_ms` is `None` if
    /// recoup makes no further attempt.
    pub fn record(&self, notice: &QueuedNotice, error: Option<&str>, next_ms: Option<i64>) -> Result<()> {
        let update =
            "UPDATE notices SET attempts = attempts + 1, error = ?3, due_ms = ?4 WHERE key = ?1 AND channel = ?2";
        self.conn.write(|tx| tx.run(update, &[&notice.key, &notice.channel, &error, &next_ms])).map(drop)
    }

    /// Removes every order ID from the queue, because an order may belong to a person who must be forgotten. The
    /// service still sends queued notices, without the order ID.
    pub fn forget_orders(place: &Place, identity: &Identity) -> Result<()> {
        let conn = Conn::open_existing(place, &LAYOUT, Some(identity), Patience::Usual)?;
        let Some(conn) = conn else { return Ok(()) };
        let queue = Self { conn };
        queue.conn.overwrite_deleted()?;
        queue.conn.write(|tx| tx.run("UPDATE notices SET order_id = NULL WHERE order_id IS NOT NULL", &[]))?;
        queue.conn.rewrite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(key: &str) -> Notice {
        Notice {
            key: key.to_owned(),
            event: "test",
            at: "2026-11-30T00:00:00Z".to_owned(),
            order_id: Some("1001".to_owned()),
            text: "a test".to_owned(),
            path: "/".to_owned(),
        }
    }

    #[test]
    fn each_event_is_queued_once_and_a_new_channel_skips_the_past() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = NoticeQueue::beside(&folder.path().join("recoup-ledger.db").into());
        let identity = Identity::of_a_test();
        let queue = NoticeQueue::open(&path, &identity).expect("opens");
        assert_eq!(queue.add(&[notice("old")], &["webhook"], 0).expect("adds"), 0, "it happened before");
        assert_eq!(queue.add(&[notice("old"), notice("a")], &["webhook"], 1).expect("adds"), 1);
        assert_eq!(queue.add(&[notice("old"), notice("a")], &["webhook", "email"], 2).expect("adds"), 0);
        // Opens the queue again, and finds the same notices.
        let queue = NoticeQueue::open(&path, &identity).expect("opens");
        assert_eq!(queue.add(&[notice("a"), notice("b")], &["webhook", "email"], 3).expect("adds"), 2);
        let first = queue.next_due(3).expect("reads").expect("is due");
        assert_eq!((first.key.as_str(), first.channel.as_str(), first.attempts), ("a", "webhook", 0));
        queue.record(&first, Some("answered 500"), Some(10)).expect("records");
        NoticeQueue::forget_orders(&path, &identity).expect("forgets");
        let (mut left, mut now) = (Vec::new(), 3);
        while let Some(next) = queue.next_due(now).expect("reads") {
            assert_eq!(next.order_id, None);
            queue.record(&next, None, None).expect("records");
            left.push((next.key, next.channel, next.attempts));
            now = 10;
        }
        let expect = |key: &str, channel: &str, attempts| (key.to_owned(), channel.to_owned(), attempts);
        assert_eq!(left, [expect("b", "email", 0), expect("b", "webhook", 0), expect("a", "webhook", 1)]);
    }
}
