-- The index from version 3 to 4: the schedule's memory, and what webhooks have said.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two.

CREATE TABLE jobs (
    name        TEXT PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    ok_at       INTEGER,
    error       TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_seen (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_seen_by_time ON webhook_seen (at);

CREATE TABLE webhook_queue (
    account_id TEXT PRIMARY KEY,
    event      TEXT NOT NULL,
    at         INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    due        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
