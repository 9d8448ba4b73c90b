-- The ledger: what was sent to the vendor, by whom, why, and what came of it.
--
-- It cannot be rebuilt, so it lies in a file of its own, and nothing in it is ever changed or removed: a retraction is
-- written once, and all that happens to it afterwards is an event. Its state is the state of its newest event that has one.
-- Events are a chain: each holds a hash over itself and the one before, and the first event of a retraction holds a hash over
-- the retraction's own row. `recoup audit verify` computes all of them again.
--
-- What is personal stands in no hashed row: there is a salted commitment in its place ('~' and 64 hexadecimal digits), and
-- the value is in `personal`, the one table whose rows may go.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; made at random with the file: ledger_id,
                                        -- tombstone_key; number and hash of the newest event: head; in a copy made by
                                        -- `recoup backup`: copy_of
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One decision about one action: to take it back, or to change it.
CREATE TABLE retractions (
    id                INTEGER PRIMARY KEY,
    road              TEXT NOT NULL CHECK (road IN ('reversal', 'modification', 'file', 'reward')),
    target            TEXT NOT NULL,    -- what is unique for the vendor: 'action:ID', or 'order:TRACKER:ORDER'; with its road before
                                        -- it unless that is a reversal
    attempt           INTEGER NOT NULL, -- 1, and one more each time a person sends again
    order_id          TEXT NOT NULL,    -- empty where a reward was cancelled whose order nobody knows
    action_id         TEXT,             -- null with the fallback to order ID and action tracker
    action_tracker_id TEXT,
    program_id        TEXT,             -- of the rewards, where they name one
    disposition       TEXT NOT NULL,    -- goes to the vendor as it is; in a file it is the reason code
    reason            TEXT,             -- a person's words: a commitment; they stay here
    ticket            TEXT,
    batch             TEXT,             -- the batch it belongs to
    person            TEXT NOT NULL,    -- who ran the command, as the operating system knows them
    host              TEXT NOT NULL,
    created_at        TEXT NOT NULL,    -- RFC 3339, UTC
    plan              TEXT NOT NULL,    -- JSON: the rewards as they were before, the coverage, the verdicts
    UNIQUE (target, attempt)            -- two processes can never both begin on one action
) STRICT;

-- Which rewards a retraction takes back, so that one reward never goes out twice under two names.
CREATE TABLE retraction_rewards (
    reward_id     TEXT NOT NULL,
    retraction_id INTEGER NOT NULL REFERENCES retractions (id),
    PRIMARY KEY (reward_id, retraction_id)
) STRICT, WITHOUT ROWID;

-- What happened, in order.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,  -- 1, 2, 3 … without a gap
    retraction_id INTEGER REFERENCES retractions (id), -- null for what concerns the ledger as a whole
    at            TEXT NOT NULL,        -- RFC 3339, UTC
    state         TEXT CHECK (state IN ('planned', 'sending', 'queued', 'confirmed', 'partial', 'unconfirmed', 'failed', 'unknown',
                  'not_received', 'processed', 'handed_over', 'released', 'superseded')),
                                        -- of the retraction from here on; null where it stays as it was
    kind          TEXT NOT NULL,        -- 'state', or what else was written down: 'override', 'mistake', 'forgotten' …
    message       TEXT NOT NULL,        -- a sentence for the receipt
    details       TEXT NOT NULL,        -- JSON: what was sent, what came back, what was read; no credentials
    person        TEXT NOT NULL,        -- who ran the command that wrote this
    host          TEXT NOT NULL,
    hash          BLOB NOT NULL         -- SHA-256 over the hash before and all of this row
) STRICT;

CREATE INDEX events_by_retraction ON events (retraction_id, id);

CREATE INDEX retractions_by_order ON retractions (order_id);

CREATE INDEX retractions_by_action ON retractions (action_id);

-- What the hashed rows only commit to. `recoup forget` removes rows here; nothing changes one.
CREATE TABLE personal (
    commitment    TEXT PRIMARY KEY,     -- '~' and SHA-256, in hexadecimal, of salt, kind and value
    retraction_id INTEGER,              -- where it is used
    kind          TEXT NOT NULL,        -- account_id, user_id, reason, response
    salt          BLOB NOT NULL,
    value         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX personal_by_value ON personal (kind, value);

-- Accounts that were forgotten, as a keyed hash (HMAC-SHA-256 with identity.tombstone_key): no crawl brings them back.
CREATE TABLE tombstones (
    mac BLOB PRIMARY KEY,
    at  TEXT NOT NULL                   -- RFC 3339, UTC
) STRICT, WITHOUT ROWID;

-- Refunds whose order nobody has seen yet. A list to work off, not a record: its rows come and go.
CREATE TABLE watched (
    order_id    TEXT PRIMARY KEY,
    added_at    TEXT NOT NULL,          -- RFC 3339, UTC
    expires_at  TEXT NOT NULL,
    refunded_at TEXT,
    disposition TEXT,
    ticket      TEXT,
    person      TEXT NOT NULL,
    host        TEXT NOT NULL,
    looked_at   TEXT,                   -- when it was last looked for
    found_at    TEXT                    -- when its order turned up
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
