-- The index: which reward carries which order ID and which ActionId, and how sure that is.
--
-- All of it comes from the vendor and can be read again: deleting this file loses time, never proof. Moments are Unix
-- milliseconds. One writer at a time; a page and its cursor, and an account and its rewards, are each one transaction.
-- `sum` is a sum over the values of a row: an answer is refused if one does not fit.

-- Whom the file belongs to; recorded at first use, another is refused.
CREATE TABLE identity (
    key   TEXT PRIMARY KEY,                          -- tenant, account_sid, advocate_url, brand_url; ledger_id and ledger_head of the ledger used with it
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One crawl from its first request to its end, over as many processes as it takes. The counters move in the same
-- transaction as the rows that they count, so that an answer never has to count a million rows.
CREATE TABLE runs (
    id               INTEGER PRIMARY KEY,
    source           TEXT NOT NULL,                  -- participants, graphql, export
    state            TEXT NOT NULL CHECK (state IN ('running', 'finished', 'replaced')), -- replaced: --full began another
    started_at       INTEGER NOT NULL,               -- what existed then is in the index once the run is complete
    finished_at      INTEGER,
    complete         INTEGER NOT NULL DEFAULT 0,     -- 1: every known account was read and nothing is in doubt
    gaps             TEXT NOT NULL DEFAULT '[]',     -- JSON: what is in doubt, as sentences
    requests         INTEGER NOT NULL DEFAULT 0,     -- sent to the vendor, over all processes of the run
    accounts_known   INTEGER NOT NULL DEFAULT 0,     -- accounts that are not gone
    accounts_read    INTEGER NOT NULL DEFAULT 0,     -- of these, read in this run
    rewards_unusable INTEGER NOT NULL DEFAULT 0,     -- rewards without an id: in no other table
    values_unreadable INTEGER NOT NULL DEFAULT 0,    -- values under a fitting key that cannot be taken exactly: not indexed
    base             INTEGER NOT NULL DEFAULT 0,     -- the full run that this one refreshes; its own id where it is one
    cursor           TEXT,                           -- JSON: where the source stands; null: at its beginning, or it has none
    watermark        INTEGER,                        -- the newest dateModified that was read, the server's; null: no refresh can begin here
    rewards_known    INTEGER,                        -- how many rewards the vendor says there are; null: it does not
    requests_reread  INTEGER NOT NULL DEFAULT 0,     -- of the requests, those for accounts that were due by age alone
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, source, state, started_at, finished_at, complete, gaps, accounts_known, accounts_read,
        rewards_unusable, values_unreadable, base, watermark, rewards_known)) STORED
) STRICT;

CREATE INDEX runs_by_state ON runs (state, id);

-- One walk over the whole list of participants. A run makes several: rows shift under a walk, and the next one sees it.
CREATE TABLE sweeps (
    id             INTEGER PRIMARY KEY,              -- counts on over all runs, so that later is larger
    run            INTEGER NOT NULL REFERENCES runs (id),
    began_at       INTEGER NOT NULL,
    ended_at       INTEGER,                          -- null: goes on from its cursor
    cursor         TEXT NOT NULL,                    -- JSON of the walk: offset, the tail of the last page, what it noticed
    participants   INTEGER NOT NULL DEFAULT 0,       -- different participants seen
    accounts_new   INTEGER NOT NULL DEFAULT 0,       -- accounts seen for the first time
    accounts_vanished INTEGER NOT NULL DEFAULT 0,    -- accounts that a proven walk did not see any more
    accounts_returned INTEGER NOT NULL DEFAULT 0,    -- accounts that an earlier walk of the run took for gone: the order is not stable
    accounts_withheld INTEGER NOT NULL DEFAULT 0,    -- accounts not seen, and so many that none was marked as gone
    rows_unusable  INTEGER NOT NULL DEFAULT 0,       -- different rows without a user or account ID
    total          INTEGER,                          -- totalCount at its end
    whole          INTEGER NOT NULL DEFAULT 0,       -- 1: everyone who was there throughout was seen
    quiet          INTEGER NOT NULL DEFAULT 0        -- 1: nothing moved under it
) STRICT;

CREATE INDEX sweeps_by_run ON sweeps (run, id);

-- Which rows of the list a sweep has seen, to count the different ones. Hashes, not IDs: nothing here needs to name a person.
CREATE TABLE participants (
    hash  INTEGER PRIMARY KEY,                       -- the row of the account and 32 bits of the user ID; 64 bits of the whole row where it has none
    sweep INTEGER NOT NULL                           -- the last sweep that saw it
) STRICT;

-- What Get Rewards is asked by.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,              -- often an e-mail address: personal data
    first_seen_at INTEGER NOT NULL,
    seen_sweep    INTEGER NOT NULL DEFAULT 0,        -- the last sweep that listed it
    read_run      INTEGER NOT NULL DEFAULT 0,        -- the last run in which its rewards were read; smaller than the run: to do
    read_at       INTEGER,                           -- when it was asked for them; null: never
    unusable      INTEGER NOT NULL DEFAULT 0,        -- rewards without an id in that answer
    failed_run    INTEGER,                           -- the run in which it could not be read; null: no failure
    failed_at     INTEGER,
    failed_reason TEXT,
    unknown       INTEGER NOT NULL DEFAULT 0,        -- 1: the failure is that Get Rewards does not know it
    gone_at       INTEGER,                           -- no longer listed, or unknown to the vendor; its rewards stay
    queued_run    INTEGER NOT NULL DEFAULT 0,        -- the last run that is to read it, where a run does not read them all; negative: though it was not listed
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, account_id, gone_at)) STORED
) STRICT;

CREATE INDEX accounts_failed ON accounts (failed_run) WHERE failed_run IS NOT NULL;

-- The different ways in which rewards offered links: what was there, and at which path.
CREATE TABLE findings (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('both', 'order_only', 'action_only', 'neither', 'ambiguous')),
    order_path  TEXT NOT NULL,                       -- JSONPath; empty: no order ID
    action_path TEXT NOT NULL,                       -- JSONPath; empty: no ActionId
    by_search   INTEGER NOT NULL,                    -- 1: the ActionId was found by its key, not at a configured path
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, kind, order_path, action_path, by_search)) STORED,
    UNIQUE (kind, order_path, action_path, by_search)
) STRICT;

-- How many rewards and links each way gave in one run.
CREATE TABLE run_findings (
    run     INTEGER NOT NULL REFERENCES runs (id),
    finding INTEGER NOT NULL REFERENCES findings (id),
    rewards INTEGER NOT NULL,
    links   INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(run, finding, rewards, links)) STORED,
    PRIMARY KEY (run, finding)
) STRICT, WITHOUT ROWID;

-- What many rewards say in the same words, kept once for all of them.
CREATE TABLE descriptors (
    id            INTEGER PRIMARY KEY,
    reward_type   TEXT,                              -- CREDIT, PCT_DISCOUNT, FUELTANK, INTEGRATION or newer
    reward_source TEXT,
    unit          TEXT,
    program_id    TEXT,
    name          TEXT,
    currency      TEXT,
    statuses      TEXT,
    cancellable   INTEGER,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable)) STORED
) STRICT;

CREATE INDEX descriptors_by_words ON descriptors (name, program_id, unit, reward_type, reward_source);

-- Every reward ever read, as it was when last read.
CREATE TABLE rewards (
    id                 INTEGER PRIMARY KEY,
    reward_id          ANY NOT NULL UNIQUE,          -- 24 digits of 0-9a-f as the 12 bytes that they write; any other ID as its text
    account            INTEGER NOT NULL REFERENCES accounts (id), -- in whose list it was
    finding            INTEGER NOT NULL REFERENCES findings (id),
    descriptor         INTEGER NOT NULL REFERENCES descriptors (id),
    read_run           INTEGER NOT NULL,             -- 0: outside of any run
    read_at            INTEGER NOT NULL,
    gone_at            INTEGER,                      -- missing from its account's list since then; kept all the same
    account_id         TEXT,                         -- the account that the reward itself names, where it is another one
    user_id            TEXT,                         -- null: the same text as its account ID; empty: it names no user
    assigned           INTEGER,                      -- in its unit
    redeemed           INTEGER,
    date_created       INTEGER,
    date_given         INTEGER,                      -- null: as date_created; 0: none
    date_scheduled_for INTEGER,
    date_expires       INTEGER,
    date_cancelled     INTEGER,
    date_redeemed      INTEGER,
    unreadable         INTEGER NOT NULL DEFAULT 0,   -- values under a fitting key that cannot be taken exactly
    via                INTEGER NOT NULL DEFAULT 0,   -- which API its links are from: 0 Get Rewards, 1 GraphQL, 2 an export
    date_modified      INTEGER,                      -- GraphQL and exports say it, Get Rewards does not
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id,
        assigned, redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled,
        date_redeemed, unreadable, via, date_modified)) STORED
) STRICT;

CREATE INDEX rewards_by_account ON rewards (account);

-- A person may paste the ID of a participant: found by the account ID, or here where the user ID is another text.
CREATE INDEX rewards_by_user ON rewards (user_id) WHERE user_id <> '';

-- The JSON of every reward as it came: a better mapping needs no second crawl. Beside the rewards and not in them, so that
-- an answer reads few pages.
CREATE TABLE raws (
    reward     INTEGER PRIMARY KEY REFERENCES rewards (id),
    dictionary INTEGER REFERENCES dictionaries (id), -- zstd with this dictionary; null: LZ4 after four bytes of length
    raw        BLOB NOT NULL
) STRICT;

-- What rewards have in common, as zstd learned it from the first few thousand. Never changed: JSON is read with what it was
-- packed with.
CREATE TABLE dictionaries (
    id         INTEGER PRIMARY KEY,
    made_at    INTEGER NOT NULL,
    dictionary BLOB NOT NULL
) STRICT;

-- What all of this is for.
CREATE TABLE links (
    reward     INTEGER NOT NULL REFERENCES rewards (id),
    n          INTEGER NOT NULL,                     -- counts the links of one reward
    count      INTEGER NOT NULL,                     -- how many the reward has
    order_id   TEXT,                                 -- opaque; answers compare it byte for byte
    action_id  TEXT,
    sum INTEGER GENERATED ALWAYS AS (row_sum(reward, n, count, order_id, action_id)) STORED,
    PRIMARY KEY (reward, n)
) STRICT, WITHOUT ROWID;

-- By what links are found. A key is 64 bits of a hash: of an order ID without what suggestions overlook (case, white space, a
-- leading #, leading zeros) and without letters beyond ASCII, or of an ActionId. It leads to a reward; the text of that
-- reward's links decides. Rows of links never come or go without theirs.
CREATE TABLE link_keys (
    key    INTEGER NOT NULL,
    reward INTEGER NOT NULL,                         -- no reference: each would be looked up by reward before one can be deleted
    PRIMARY KEY (key, reward)
) STRICT, WITHOUT ROWID;

-- The newest of them, until they are many enough to be moved on together: keys come in no order, and this table is small.
CREATE TABLE new_link_keys (
    key    INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    PRIMARY KEY (key, reward)
) STRICT, WITHOUT ROWID;

-- A sum over the keys of both tables, by bucket: the key shifted right by 52 bits. A key that is not in its bucket is not in the
-- index.
CREATE TABLE key_sums (
    bucket INTEGER PRIMARY KEY,
    sum    INTEGER NOT NULL
) STRICT;

CREATE TRIGGER link_key_comes AFTER INSERT ON link_keys
BEGIN INSERT INTO key_sums (bucket, sum) VALUES (new.key >> 52, key_sum(0, new.key, new.reward))
ON CONFLICT DO UPDATE SET sum = key_sum(sum, new.key, new.reward); END;

CREATE TRIGGER link_key_goes AFTER DELETE ON link_keys
BEGIN UPDATE key_sums SET sum = key_sum(sum, old.key, old.reward) WHERE bucket = old.key >> 52; END;

CREATE TRIGGER new_link_key_comes AFTER INSERT ON new_link_keys
BEGIN INSERT INTO key_sums (bucket, sum) VALUES (new.key >> 52, key_sum(0, new.key, new.reward))
ON CONFLICT DO UPDATE SET sum = key_sum(sum, new.key, new.reward); END;

CREATE TRIGGER new_link_key_goes AFTER DELETE ON new_link_keys
BEGIN UPDATE key_sums SET sum = key_sum(sum, old.key, old.reward) WHERE bucket = old.key >> 52; END;

-- Accounts that were forgotten, as keyed hashes (HMAC-SHA-256), with the key of the ledger that they are from: no reading
-- brings them back.
CREATE TABLE tombstones (
    key BLOB NOT NULL,
    mac BLOB NOT NULL,
    at  INTEGER NOT NULL,                            -- when this file heard of it
    PRIMARY KEY (key, mac)
) STRICT, WITHOUT ROWID;

-- Rewards of forgotten accounts that a run met and left out, so that what the vendor counts adds up.
CREATE TABLE left_out (
    reward        INTEGER PRIMARY KEY,               -- 64 bits of a keyed hash of its ID
    run           INTEGER NOT NULL,                  -- the last run that met it
    date_modified INTEGER
) STRICT;

-- Commands whose credentials the vendor has refused, and not accepted since: `recoup status --check` raises them.
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

-- What the schedule has done, one row a job: every process on this file looks here before it begins one.
CREATE TABLE jobs (
    name        TEXT PRIMARY KEY,                    -- refresh, verify, webhooks, backup
    started_at  INTEGER NOT NULL,                    -- when it last began
    finished_at INTEGER,                             -- when it last came to an end, well or not
    ok_at       INTEGER,                             -- when it last went well
    error       TEXT                                 -- why it did not, the last time; null where it did
) STRICT, WITHOUT ROWID;

-- Deliveries of webhooks that were taken, so that the same one twice does nothing. Dropped after some days.
CREATE TABLE webhook_seen (
    id TEXT PRIMARY KEY,                             -- the vendor's ID of the event
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_seen_by_time ON webhook_seen (at);

-- Accounts that a webhook has named: they are read again. A hint, and never the truth.
CREATE TABLE webhook_queue (
    account_id TEXT PRIMARY KEY,                     -- personal data: gone once it was read
    event      TEXT NOT NULL,                        -- the type of the newest event
    at         INTEGER NOT NULL,                     -- when the first one came
    tries      INTEGER NOT NULL,                     -- readings that have failed
    due        INTEGER NOT NULL                      -- not before this
) STRICT, WITHOUT ROWID;

-- What the vendor's program rules said when they were last read, one row a program. A retraction reads a rule again once it is
-- an hour old.
CREATE TABLE program_rules (
    program_id TEXT PRIMARY KEY,
    answer     TEXT NOT NULL,                        -- JSON: what recoup read out of the program, or why it could not
    read_at    INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(program_id, answer, read_at)) STORED
) STRICT;

-- The referrals of rewards as they were last read: IDs and dates, no person.
CREATE TABLE referrals (
    referral_id  TEXT PRIMARY KEY,
    started_at   INTEGER,                            -- the vendor's dates; null: it gives none
    converted_at INTEGER,                            -- null: the referral is not converted
    modified_at  INTEGER,
    read_at      INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(referral_id, started_at, converted_at, modified_at, read_at)) STORED
) STRICT;
