-- The notices that the service sends by webhook and e-mail, and those that it has sent.
--
-- The queue of notices is separate from the other stores. The ledger is append-only and keeps evidence, which deliveries are
-- not. The index can be deleted and rebuilt; recoup would then send every notice again. The users' database exists only if
-- there are users.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; 'since CHANNEL', when a channel was set
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Notices, one row for each event and channel. A row stays for a year, so that recoup does not send its event again.
CREATE TABLE notices (
    key      TEXT NOT NULL,             -- the event; has no order ID
    channel  TEXT NOT NULL,             -- 'webhook' or 'email'
    event    TEXT NOT NULL,             -- the kind of event
    at       TEXT NOT NULL,             -- when recoup noticed the event, RFC 3339, UTC
    order_id TEXT,                      -- null if the event is not about one order, and after `recoup forget`
    text     TEXT NOT NULL,             -- a sentence without personal data
    path     TEXT NOT NULL,             -- the path of a page of the service
    attempts INTEGER NOT NULL,
    due_ms   INTEGER,                   -- the next attempt, Unix milliseconds; null if there is none
    error    TEXT,                      -- the error of the newest attempt
    seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (key, channel)
) STRICT, WITHOUT ROWID;
