-- The index from version 1 to 2.
--
-- Takes the file of an older recoup to what schema.sql says, with every row kept. What is added to schema.sql is added
-- here too; a test compares the two. Runs in one transaction with foreign keys off.

-- Rewards: what they share in a table of its own, their JSON in another.
CREATE TABLE descriptors (
    id            INTEGER PRIMARY KEY,
    reward_type   TEXT,
    reward_source TEXT,
    unit          TEXT,
    program_id    TEXT,
    name          TEXT,
    currency      TEXT,
    statuses      TEXT,
    cancellable   INTEGER
) STRICT;

CREATE INDEX descriptors_by_words ON descriptors (name, program_id, unit, reward_type, reward_source);

INSERT INTO descriptors (reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable)
SELECT DISTINCT reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable FROM rewards;

CREATE TABLE dictionaries (
    id         INTEGER PRIMARY KEY,
    made_at    INTEGER NOT NULL,
    dictionary BLOB NOT NULL
) STRICT;

CREATE TABLE raws (
    reward     INTEGER PRIMARY KEY REFERENCES rewards (id),
    dictionary INTEGER REFERENCES dictionaries (id),
    raw        BLOB NOT NULL
) STRICT;

INSERT INTO raws (reward, raw) SELECT id, raw FROM rewards ORDER BY id;

CREATE TABLE rewards_2 (
    id                 INTEGER PRIMARY KEY,
    reward_id          ANY NOT NULL UNIQUE,
    account            INTEGER NOT NULL REFERENCES accounts (id),
    finding            INTEGER NOT NULL REFERENCES findings (id),
    descriptor         INTEGER NOT NULL REFERENCES descriptors (id),
    read_run           INTEGER NOT NULL,
    read_at            INTEGER NOT NULL,
    gone_at            INTEGER,
    account_id         TEXT,
    user_id            TEXT,
    assigned           INTEGER,
    redeemed           INTEGER,
    date_created       INTEGER,
    date_given         INTEGER,
    date_scheduled_for INTEGER,
    date_expires       INTEGER,
    date_cancelled     INTEGER,
    date_redeemed      INTEGER,
    unreadable         INTEGER NOT NULL DEFAULT 0,
    via                INTEGER NOT NULL DEFAULT 0,
    date_modified      INTEGER
) STRICT;

INSERT INTO rewards_2 (id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id, assigned,
    redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, unreadable)
SELECT r.id,
    CASE WHEN length(r.reward_id) = 24 AND r.reward_id NOT GLOB '*[^0-9a-f]*' THEN unhex(r.reward_id) ELSE r.reward_id END,
    r.account, r.finding,
    (SELECT d.id FROM descriptors d WHERE d.name IS r.name AND d.program_id IS r.program_id AND d.unit IS r.unit
        AND d.reward_type IS r.reward_type AND d.reward_source IS r.reward_source AND d.currency IS r.currency
        AND d.statuses IS r.statuses AND d.cancellable IS r.cancellable),
    r.read_run, r.read_at, r.gone_at, r.account_id,
    nullif(coalesce(r.user_id, ''), coalesce(r.account_id, a.account_id)),
    r.assigned, r.redeemed, r.date_created, nullif(coalesce(r.date_given, 0), coalesce(r.date_created, 0)),
    r.date_scheduled_for, r.date_expires, r.date_cancelled, r.date_redeemed, r.unreadable
FROM rewards r JOIN accounts a ON a.id = r.account ORDER BY r.id;

DROP TABLE rewards;

ALTER TABLE rewards_2 RENAME TO rewards;

CREATE INDEX rewards_by_account ON rewards (account);

-- Links: by reward and number, without a row number of their own.
CREATE TABLE links_2 (
    reward     INTEGER NOT NULL REFERENCES rewards (id),
    n          INTEGER NOT NULL,
    order_id   TEXT,
    action_id  TEXT,
    order_fold TEXT,
    PRIMARY KEY (reward, n)
) STRICT, WITHOUT ROWID;

INSERT INTO links_2 (reward, n, order_id, action_id, order_fold)
SELECT reward, row_number() OVER (PARTITION BY reward ORDER BY id) - 1, order_id, action_id, order_fold FROM links;

DROP TABLE links;

ALTER TABLE links_2 RENAME TO links;

CREATE INDEX links_by_order ON links (order_id) WHERE order_id IS NOT NULL;

CREATE INDEX links_by_fold ON links (order_fold) WHERE order_fold IS NOT NULL;

CREATE INDEX links_by_action ON links (action_id) WHERE action_id IS NOT NULL;

-- Runs, accounts, and what is new.
ALTER TABLE runs ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN cursor TEXT;
ALTER TABLE runs ADD COLUMN watermark INTEGER;
ALTER TABLE runs ADD COLUMN rewards_known INTEGER;
ALTER TABLE runs ADD COLUMN requests_reread INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET base = id;

ALTER TABLE accounts ADD COLUMN queued_run INTEGER NOT NULL DEFAULT 0;

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
