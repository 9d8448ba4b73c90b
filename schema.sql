-- The index: the order IDs and ActionIds of each reward, and the progress and coverage of each crawl.
--
-- All data comes from the vendor and can be crawled again: deleting this file costs time, but no evidence. Times are Unix
-- milliseconds. Only one process writes at a time. One transaction writes a page and its cursor, or an account and its rewards.
-- `sum` is a checksum of the other columns of its row: recoup computes it on every write and refuses a row that does not match
-- it (src/store/index/sums.rs).

-- The tenant that the index belongs to. The first use records the tenant; recoup refuses the index for any other tenant.
CREATE TABLE identity (
    key   TEXT PRIMARY KEY,                          -- tenant, account_sid, advocate_url, brand_url; ledger_id and ledger_head of
                                                     -- the ledger used with this index
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A run: one crawl from its first request to its end. Several processes may continue one run. The transaction that writes rows
-- also updates the counters of the run, so that a query never counts a million rows.
CREATE TABLE runs (
    id                INTEGER PRIMARY KEY,
    source            TEXT NOT NULL,                 -- participants, graphql, export
    state             TEXT NOT NULL CHECK (state IN ('running', 'finished', 'replaced')), -- replaced: `--full` began another run
    started_at        INTEGER NOT NULL,              -- a complete run has indexed every reward that existed at this time
    finished_at       INTEGER,
    complete          INTEGER NOT NULL DEFAULT 0,    -- 1: the crawler read every known account and found no gap
    gaps              TEXT NOT NULL DEFAULT '[]',    -- JSON list of texts, one for each gap
    requests          INTEGER NOT NULL DEFAULT 0,    -- requests sent to the vendor, by all processes of the run
    accounts_known    INTEGER NOT NULL DEFAULT 0,    -- known accounts without gone_at
    accounts_read     INTEGER NOT NULL DEFAULT 0,    -- the part of accounts_known that this run has read
    rewards_unusable  INTEGER NOT NULL DEFAULT 0,    -- rewards without an ID; no other table holds them
    values_unreadable INTEGER NOT NULL DEFAULT 0,    -- values under a matching key that recoup cannot read exactly and does not
                                                     -- index
    base              INTEGER NOT NULL DEFAULT 0,    -- the full run that this run refreshes; its own id if it is a full run
    cursor            TEXT,                          -- JSON position of the source; null at the start and for sources without one
    watermark         INTEGER,                       -- the newest dateModified read, by the vendor's clock; null: a refresh
                                                     -- cannot start from this run
    rewards_known     INTEGER,                       -- the vendor's own count of rewards; null if it gives none
    requests_reread   INTEGER NOT NULL DEFAULT 0,    -- the part of requests for accounts that were read again only because of
                                                     -- their age
    sum               INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One pass over the list of participants. A run makes several passes, because rows shift between pages while a pass reads them.
CREATE TABLE passes (
    id                INTEGER PRIMARY KEY,           -- increases over all runs: a later pass has a larger id
    run               INTEGER NOT NULL REFERENCES runs (id),
    started_at        INTEGER NOT NULL,
    ended_at          INTEGER,                       -- null: the pass is unfinished and resumes from its cursor
    cursor            TEXT NOT NULL,                 -- JSON of the pagination: the offset, the end of the last page, whether
                                                     -- a row has shifted
    participants      INTEGER NOT NULL DEFAULT 0,    -- distinct participants seen
    accounts_new      INTEGER NOT NULL DEFAULT 0,    -- accounts seen for the first time
    accounts_vanished INTEGER NOT NULL DEFAULT 0,    -- accounts marked as gone, because a proven pass did not list them
    accounts_returned INTEGER NOT NULL DEFAULT 0,    -- accounts listed again after an earlier pass of this run had marked them as
                                                     -- gone: the order of the list is not stable
    accounts_withheld INTEGER NOT NULL DEFAULT 0,    -- accounts that the pass did not list, if the number is implausibly
                                                     -- large: the pass then marks none as gone
    rows_unusable     INTEGER NOT NULL DEFAULT 0,    -- distinct rows without a user ID or an account ID
    total             INTEGER,                       -- totalCount at the end of the pass
    proven            INTEGER NOT NULL DEFAULT 0,    -- 1: the pass saw every participant that was listed during the whole
                                                     -- pass
    quiet             INTEGER NOT NULL DEFAULT 0     -- 1: no row shifted while the pass was reading
) STRICT;

CREATE INDEX passes_by_run ON passes (run, id);

-- The participants that a pass has seen, so that it counts each of them once. The table has hashes instead of IDs, because
-- IDs are personal data.
CREATE TABLE participants (
    hash INTEGER PRIMARY KEY,                        -- accounts.id and 32 bits of the user ID's hash; for a row without IDs, 64
                                                     -- bits of the row's hash
    pass INTEGER NOT NULL                            -- the last pass that saw the participant
) STRICT;

-- The accounts whose rewards recoup reads with Get Rewards.
CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,              -- often an e-mail address: personal data
    first_seen_at INTEGER NOT NULL,
    seen_pass     INTEGER NOT NULL DEFAULT 0,        -- the last pass that listed the account
    read_run      INTEGER NOT NULL DEFAULT 0,        -- the last run that read the account's rewards; a run still has to read
                                                     -- accounts with a smaller number
    read_at       INTEGER,                           -- when recoup last requested the rewards; null: never
    unusable      INTEGER NOT NULL DEFAULT 0,        -- rewards without an ID in that response
    failed_run    INTEGER,                           -- the run that failed to read the account; null: no failure
    failed_at     INTEGER,
    failed_reason TEXT,
    unknown       INTEGER NOT NULL DEFAULT 0,        -- 1: the failure is that Get Rewards does not know the account
    gone_at       INTEGER,                           -- when recoup found that the list lacks the account, or that the vendor
                                                     -- does not know it; its rewards stay in the file
    queued_run    INTEGER NOT NULL DEFAULT 0,        -- the last run that queued the account, for a source that does not read
                                                     -- every account; negative: the source did not list it
    sum           INTEGER NOT NULL DEFAULT 0         -- of id, account_id, gone_at
) STRICT;

CREATE INDEX accounts_failed ON accounts (failed_run) WHERE failed_run IS NOT NULL;

-- The distinct link patterns of rewards: the kinds of IDs, and their paths.
CREATE TABLE link_patterns (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('both', 'order_only', 'action_only', 'neither', 'ambiguous')),
    order_path  TEXT NOT NULL,                       -- JSONPath; empty: no order ID
    action_path TEXT NOT NULL,                       -- JSONPath; empty: no ActionId
    by_search   INTEGER NOT NULL,                    -- 1: the ActionId was found by its key, not at a configured path
    sum         INTEGER NOT NULL,
    UNIQUE (kind, order_path, action_path, by_search)
) STRICT;

-- The number of rewards and links of each pattern in one run.
CREATE TABLE run_link_patterns (
    run     INTEGER NOT NULL REFERENCES runs (id),
    pattern INTEGER NOT NULL REFERENCES link_patterns (id),
    rewards INTEGER NOT NULL,
    links   INTEGER NOT NULL,
    sum     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, pattern)
) STRICT, WITHOUT ROWID;

-- Texts that many rewards share, stored once for all of them.
CREATE TABLE descriptors (
    id            INTEGER PRIMARY KEY,
    hash          INTEGER NOT NULL,                  -- hash of the texts, to find the row for a reward
    reward_type   TEXT,                              -- CREDIT, PCT_DISCOUNT, FUELTANK, INTEGRATION or newer
    reward_source TEXT,
    unit          TEXT,
    program_id    TEXT,
    name          TEXT,
    currency      TEXT,
    statuses      TEXT,
    cancellable   INTEGER,
    sum           INTEGER NOT NULL
) STRICT;

CREATE INDEX descriptors_by_hash ON descriptors (hash);

-- The newest reading of every reward.
CREATE TABLE rewards (
    id                 INTEGER PRIMARY KEY,
    reward_id          TEXT NOT NULL UNIQUE,
    account            INTEGER NOT NULL REFERENCES accounts (id), -- the account that lists the reward
    pattern            INTEGER NOT NULL REFERENCES link_patterns (id),
    descriptor         INTEGER NOT NULL REFERENCES descriptors (id),
    read_run           INTEGER NOT NULL,             -- 0: read outside of any run
    read_at            INTEGER NOT NULL,
    gone_at            INTEGER,                      -- when the account stopped listing the reward; the row stays
    account_id         TEXT,                         -- the account that the reward itself names; null: the account that lists it
    user_id            TEXT,                         -- null: equal to the account ID; empty: the reward names no user
    referral_id        TEXT,                         -- null: the reward names no referral
    assigned           INTEGER,                      -- in the unit of the reward
    redeemed           INTEGER,
    date_created       INTEGER,
    date_given         INTEGER,                      -- null: equal to date_created; 0: the reward has no such date
    date_scheduled_for INTEGER,
    date_expires       INTEGER,
    date_cancelled     INTEGER,
    date_redeemed      INTEGER,
    unreadable         INTEGER NOT NULL DEFAULT 0,   -- values under a matching key that recoup cannot read exactly
    source             INTEGER NOT NULL DEFAULT 0,   -- the API that supplied its links: 0 Get Rewards, 1 GraphQL, 2 an export
    date_modified      INTEGER,                      -- GraphQL and exports supply this date; Get Rewards omits it
    sum                INTEGER NOT NULL
) STRICT;

CREATE INDEX rewards_by_account ON rewards (account);

-- Look-ups by participant ID use accounts.account_id, and rewards_by_user if the user ID differs from the account ID.
CREATE INDEX rewards_by_user ON rewards (user_id) WHERE user_id <> '';

-- The JSON of every reward as the vendor sent it, so that a better mapping needs no second crawl. The JSON has a separate
-- table, so that a look-up reads few pages.
CREATE TABLE raw_rewards (
    reward INTEGER PRIMARY KEY REFERENCES rewards (id),
    format INTEGER NOT NULL,                         -- 1: zstd with src/store/index/rewards.dict
    json   BLOB NOT NULL,
    sum    INTEGER NOT NULL                          -- of the reward's row and the uncompressed JSON
) STRICT;

-- The links between orders and actions.
CREATE TABLE links (
    reward     INTEGER NOT NULL REFERENCES rewards (id),
    n          INTEGER NOT NULL,                     -- numbers the links of one reward, from 0
    count      INTEGER NOT NULL,                     -- how many links the reward has
    order_id   TEXT,                                 -- opaque; look-ups compare it byte for byte
    order_key  INTEGER,                              -- hash of the order ID without case, white space, a leading #, leading
                                                     -- zeros and letters beyond ASCII; finds suggestions
    action_id  TEXT,
    action_key INTEGER,                              -- hash of the ActionId
    sum        INTEGER NOT NULL,
    PRIMARY KEY (reward, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX links_by_order ON links (order_key) WHERE order_key IS NOT NULL;
CREATE INDEX links_by_action ON links (action_key) WHERE action_key IS NOT NULL;

-- Checksums of links_by_order and links_by_action, by bucket: the upper 14 bits of a key. A look-up reads a whole bucket. If
-- the bucket matches its checksum, no entry is missing, so an order without a match is not in the index.
CREATE TABLE link_sums (
    bucket     INTEGER PRIMARY KEY,
    order_sum  INTEGER NOT NULL,
    action_sum INTEGER NOT NULL
) STRICT;

-- Forgotten accounts as keyed hashes (HMAC-SHA-256), with the key of the ledger that they come from. Crawls skip these
-- accounts.
CREATE TABLE tombstones (
    key BLOB NOT NULL,
    mac BLOB NOT NULL,
    at  INTEGER NOT NULL,                            -- when this file received the tombstone
    PRIMARY KEY (key, mac)
) STRICT, WITHOUT ROWID;

-- Rewards of forgotten accounts that a run has skipped, so that the vendor's totals can be compared with the index.
CREATE TABLE skipped_rewards (
    reward        INTEGER PRIMARY KEY,               -- 64 bits of a keyed hash of the reward's ID
    run           INTEGER NOT NULL,                  -- the last run that skipped the reward
    date_modified INTEGER
) STRICT;

-- Commands whose credentials the vendor has refused and not accepted since. `recoup status --check` reports these commands.
CREATE TABLE refusals (
    command TEXT PRIMARY KEY,                        -- crawl, retract, verify
    at      INTEGER NOT NULL,
    message TEXT NOT NULL                            -- the error message; it contains neither a token nor an account
) STRICT, WITHOUT ROWID;

-- The shared request quota of each host, and the time until which all processes wait. Each process takes leases of about half a
-- second from its host's row. After a row is deleted, the next process learns the host's rate again.
CREATE TABLE budgets (
    host               TEXT PRIMARY KEY,             -- advocate or brand, and the base URL
    reserve            REAL NOT NULL,                -- the share of a window's quota that only retractions may use
    quota              INTEGER,                      -- the limit in force, in requests per window; null: no limit is known
    window_ms          INTEGER,                      -- the window's length; null: unknown
    quota_told         INTEGER,                      -- requests per window, according to the host
    window_number      INTEGER NOT NULL,             -- counts windows: the rest of a lease from an older window is void
    window_ends_at     INTEGER,                      -- null: the window begins with the next request
    used               INTEGER NOT NULL,             -- requests leased or sent in the window
    remaining          INTEGER,                      -- the requests left, according to the host's newest response
    told_at            INTEGER,                      -- the time of that response
    rate               REAL,                         -- the rate in force, in requests per second; null: no limit is known
    rate_told          REAL,                         -- requests per second, according to the host
    rate_learned       REAL,                         -- requests per second, learned from 429 responses
    rate_top           REAL,                         -- the learned rate at the last 429
    limited_at         INTEGER,                      -- the time of the last 429 that was about the rate
    grown_at           INTEGER NOT NULL,             -- when the learned rate was last increased
    next_slot_us       INTEGER NOT NULL,             -- microseconds: the next free slot at this rate
    next_retraction_us INTEGER NOT NULL,             -- microseconds: the next free slot for retractions, which do not queue
                                                     -- behind a crawl
    hold_until         INTEGER,                      -- no process sends a request before this
    hold_reason        TEXT                          -- the reason: the text of WaitReason in src/model/budget.rs
) STRICT, WITHOUT ROWID;

-- Requests by minute and purpose, for the last two days.
CREATE TABLE budget_minutes (
    host     TEXT NOT NULL,
    minute   INTEGER NOT NULL,                       -- minutes since 1970
    purpose  TEXT NOT NULL CHECK (purpose IN ('crawl', 'looking', 'retraction')),
    requests INTEGER NOT NULL,
    PRIMARY KEY (host, minute, purpose)
) STRICT, WITHOUT ROWID;

-- The scheduler's record, one row per job. Before a process starts a job, it reads the job's row.
CREATE TABLE jobs (
    name        TEXT PRIMARY KEY,                    -- refresh, verify, webhooks, backup
    started_at  INTEGER NOT NULL,                    -- when the job last started
    finished_at INTEGER,                             -- when the job last ended, with or without success
    ok_at       INTEGER,                             -- when the job last succeeded
    error       TEXT                                 -- the error of the job's last end; null if it succeeded
) STRICT, WITHOUT ROWID;

-- Webhook deliveries that were accepted, so that a repeated delivery has no effect. Rows expire after some days.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,                             -- the vendor's ID of the event
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (at);

-- Accounts that a webhook has named, queued to be read again. A webhook is only a hint: recoup reads the data from the vendor's
-- API.
CREATE TABLE webhook_queue (
    account_id TEXT PRIMARY KEY,                     -- personal data: deleted after the account is read
    event      TEXT NOT NULL,                        -- the type of the newest event
    at         INTEGER NOT NULL,                     -- time of the first delivery
    tries      INTEGER NOT NULL,                     -- failed readings
    due        INTEGER NOT NULL                      -- earliest time of the next reading
) STRICT, WITHOUT ROWID;

-- The last reading of the vendor's program rules, one row per program. A retraction reads a rule again if it is older than an
-- hour.
CREATE TABLE program_rules (
    program_id TEXT PRIMARY KEY,
    answer     TEXT NOT NULL,                        -- JSON: the rule that recoup read from the program, or why that failed
    read_at    INTEGER NOT NULL,
    sum        INTEGER NOT NULL
) STRICT;

-- The last reading of each referral: IDs and dates, no personal data.
CREATE TABLE referrals (
    referral_id  TEXT PRIMARY KEY,
    started_at   INTEGER,                            -- by the vendor's clock; null: the vendor gives no date
    converted_at INTEGER,                            -- null: the referral is not converted
    modified_at  INTEGER,
    read_at      INTEGER NOT NULL,
    sum          INTEGER NOT NULL
) STRICT;
