-- The ledger: every request to the vendor, with its person, reason and outcome.
--
-- The ledger cannot be rebuilt, so it is a separate file. Its record is append-only: a retraction is written once, and
-- everything later is an event. The state of a retraction is the newest state among its events. Events form a hash chain: each
-- has a hash over itself and the previous event. The first event of a retraction also holds a hash over the retraction's row.
-- `recoup audit verify` computes all hashes again.
--
-- A hashed row has a salted commitment ('~' and 64 hexadecimal digits) in place of personal data. The table `personal` has
-- the value. `personal` is the only table of the record whose rows may be deleted.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; made at random with the file: ledger_id,
                                        -- tombstone_key; number and hash of the newest event: head; in a copy made by
                                        -- `recoup backup`: copy_of
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One decision about one action: to reverse it, or to change it.
CREATE TABLE retractions (
    id                INTEGER PRIMARY KEY,
    road              TEXT NOT NULL CHECK (road IN ('reversal', 'modification', 'file', 'reward')),
    target            TEXT NOT NULL,    -- 'action:ID' or 'order:TRACKER:ORDER' for a reversal; any other request has its kind
                                        -- as a prefix
    attempt           INTEGER NOT NULL, -- 1 for the first attempt; each resend adds 1
    order_id          TEXT NOT NULL,    -- empty if the order of a cancelled reward is unknown
    action_id         TEXT,             -- null if the request uses order ID and action tracker
    action_tracker_id TEXT,
    program_id        TEXT,             -- the program of the rewards, if they name a program
    disposition       TEXT NOT NULL,    -- the code sent to the vendor; in a reversal file, the reason code
    reason            TEXT,             -- a commitment to the reason in a person's words
    ticket            TEXT,
    batch             TEXT,
    person            TEXT NOT NULL,    -- the operating system's name of the user who ran the command
    host              TEXT NOT NULL,
    created_at        TEXT NOT NULL,    -- RFC 3339, UTC
    plan              TEXT NOT NULL,    -- JSON: the previous state of the rewards, the coverage, the checks
    UNIQUE (target, attempt)            -- prevents two processes from beginning the same attempt
) STRICT;

-- The rewards that a retraction takes back. recoup uses them to find an earlier request for a reward under another target.
CREATE TABLE retraction_rewards (
    reward_id     TEXT NOT NULL,
    retraction_id INTEGER NOT NULL REFERENCES retractions (id),
    PRIMARY KEY (reward_id, retraction_id)
) STRICT, WITHOUT ROWID;

-- The events of retractions and of the ledger, in order.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,  -- 1, 2, 3 … without a gap
    retraction_id INTEGER REFERENCES retractions (id), -- null if the event concerns the ledger as a whole
    at            TEXT NOT NULL,        -- RFC 3339, UTC
    state         TEXT CHECK (state IN ('planned', 'sending', 'queued', 'confirmed', 'partial', 'unconfirmed', 'failed', 'unknown',
                  'not_received', 'processed', 'handed_over', 'released', 'superseded')),
                                        -- the retraction's new state; null if the event does not change it
    kind          TEXT NOT NULL,        -- 'state', or the kind of a note: 'override', 'mistake', 'forgotten' …
    message       TEXT NOT NULL,        -- a text for the receipt
    details       TEXT NOT NULL,        -- JSON: the request, the response, the readings; no credentials
    person        TEXT NOT NULL,        -- the user who ran the command that wrote the event
    host          TEXT NOT NULL,
    hash          BLOB NOT NULL         -- SHA-256 over the previous hash and this whole row
) STRICT;

CREATE INDEX events_by_retraction ON events (retraction_id, id);

CREATE INDEX retractions_by_order ON retractions (order_id);

CREATE INDEX retractions_by_action ON retractions (action_id);

-- The values behind the commitments. `recoup forget` deletes rows; a row never changes.
CREATE TABLE personal (
    commitment    TEXT PRIMARY KEY,     -- '~' and SHA-256, in hexadecimal, of salt, kind and value
    retraction_id INTEGER,              -- the retraction that uses it
    kind          TEXT NOT NULL,        -- account_id, user_id, reason, response
    salt          BLOB NOT NULL,
    value         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX personal_by_value ON personal (kind, value);

-- Forgotten accounts as keyed hashes (HMAC-SHA-256 with identity.tombstone_key). Crawls never store these accounts again.
CREATE TABLE tombstones (
    mac BLOB PRIMARY KEY,
    at  TEXT NOT NULL                   -- RFC 3339, UTC
) STRICT, WITHOUT ROWID;

-- Refunds that wait for their order. The waiting refunds are not part of the record: recoup deletes their rows.
CREATE TABLE watched (
    order_id    TEXT PRIMARY KEY,
    added_at    TEXT NOT NULL,          -- RFC 3339, UTC
    expires_at  TEXT NOT NULL,
    refunded_at TEXT,
    disposition TEXT,
    ticket      TEXT,
    person      TEXT NOT NULL,
    host        TEXT NOT NULL,
    looked_at   TEXT,                   -- when recoup last looked the order up
    found_at    TEXT                    -- when the index first had the order
) STRICT, WITHOUT ROWID;

CREATE TRIGGER retractions_stay BEFORE UPDATE ON retractions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER retractions_remain BEFORE DELETE ON retractions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER retraction_rewards_stay BEFORE UPDATE ON retraction_rewards
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER retraction_rewards_remain BEFORE DELETE ON retraction_rewards
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER events_stay BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER events_remain BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER personal_stays BEFORE UPDATE ON personal
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER tombstones_stay BEFORE UPDATE ON tombstones
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER tombstones_remain BEFORE DELETE ON tombstones
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
