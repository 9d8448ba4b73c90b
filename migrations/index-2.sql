-- The index from version 1 to 2.
--
-- Takes the file of an older recoup to what schema.sql says, with every row kept. What is added to schema.sql is added
-- here too; a test compares the two. Runs in one transaction with foreign keys off.

ALTER TABLE runs ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN cursor TEXT;
ALTER TABLE runs ADD COLUMN watermark INTEGER;
ALTER TABLE runs ADD COLUMN rewards_known INTEGER;
ALTER TABLE runs ADD COLUMN requests_reread INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET base = id;

ALTER TABLE accounts ADD COLUMN queued_run INTEGER NOT NULL DEFAULT 0;

ALTER TABLE rewards ADD COLUMN via INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rewards ADD COLUMN date_modified INTEGER;

CREATE TABLE refusals (
    command TEXT PRIMARY KEY,                        -- crawl, retract, verify
    at      INTEGER NOT NULL,
    message TEXT NOT NULL                            -- what the error said; it holds neither token nor account
) STRICT, WITHOUT ROWID;

-- What every process on this file may still ask of a host, and until when all of them wait. One row per host; each process
-- takes leases of about half a second from it. Deleting a row only makes the next process find its pace anew.
CREATE TABLE budgets (
    host               TEXT PRIMARY KEY,             -- advocate or brand, and the base URL
    reserve            REAL NOT NULL,                -- the share of a window that is kept for retractions
    quota              INTEGER,                      -- requests per window in force; null: no limit is known
    window_ms          INTEGER,                      -- the window's length, as far as it is known
    quota_told         INTEGER,                      -- requests per window as the host told it
    window             INTEGER NOT NULL,             -- counts windows: what is left of a lease of an older one is void
    window_ends_at     INTEGER,                      -- null: the window begins with the next request
    used               INTEGER NOT NULL,             -- requests leased or sent in the window
    remaining          INTEGER,                      -- what the host last said is left
    told_at            INTEGER,                      -- when it said so
    rate               REAL,                         -- requests per second in force; null: none is known
    rate_told          REAL,                         -- as the host told it
    rate_learned       REAL,                         -- as 429s taught it
    rate_top           REAL,                         -- the learned rate at the last 429
    limited_at         INTEGER,                      -- the last 429 that spoke of a rate
    grown_at           INTEGER NOT NULL,             -- when the learned rate was last increased
    next_slot_us       INTEGER NOT NULL,             -- microseconds: the next free slot at this rate
    next_retraction_us INTEGER NOT NULL,             -- the same for retractions, which do not queue
    hold_until         INTEGER,                      -- no process asks before this
    hold_reason        TEXT                          -- asked to wait, backing off
) STRICT, WITHOUT ROWID;

-- Requests by the minute and by what they were for, two days back.
CREATE TABLE budget_minutes (
    host     TEXT NOT NULL,
    minute   INTEGER NOT NULL,                       -- minutes since 1970
    purpose  TEXT NOT NULL CHECK (purpose IN ('crawl', 'retraction')),
    requests INTEGER NOT NULL,
    PRIMARY KEY (host, minute, purpose)
) STRICT, WITHOUT ROWID;
