-- The ledger: what was sent to the vendor, by whom, why, and the outcome.
--
-- It cannot be rebuilt, so it is a file of its own, and nothing in it is ever changed or removed: a retraction is written
-- once, and all that happens to it afterwards is an event. Its state is the state of its newest event that has one. Events are a
-- chain: each holds a hash over itself and the event before it, and the first event of a retraction also holds a hash over the
-- retraction's row. `recoup audit verify` computes all of them again.
--
-- No hashed row holds personal data. It has a salted commitment instead ('~' and 64 hexadecimal digits), and the value is in
-- `personal`, the one table of the record whose rows may be deleted.

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
    target            TEXT NOT NULL,    -- the key of one request: 'action:ID', or 'order:TRACKER:ORDER'; with the road before it
                                        -- unless that is a reversal
    attempt           INTEGER NOT NULL, -- 1, and one more each time a person sends again
    order_id          TEXT NOT NULL,    -- empty if a reward was cancelled whose order is not known
    action_id         TEXT,             -- null if it was sent by order ID and action tracker
    action_tracker_id TEXT,
    program_id        TEXT,             -- of the rewards, if they name one
    disposition       TEXT NOT NULL,    -- sent to the vendor unchanged; in a file it is the reason code
    reason            TEXT,             -- a person's words: a commitment
    ticket            TEXT,
    batch             TEXT,
    person            TEXT NOT NULL,    -- who ran the command, as the operating system knows them
    host              TEXT NOT NULL,
    created_at        TEXT NOT NULL,    -- RFC 3339, UTC
    plan              TEXT NOT NULL,    -- JSON: the rewards as they were before, the coverage, the checks
    UNIQUE (target, attempt)            -- two processes can never both begin one attempt
) STRICT;

-- The rewards that a retraction takes back, so that one reward is never sent twice under two names.
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
                                        -- of the retraction from now on; null if it does not change
    kind          TEXT NOT NULL,        -- 'state', or the kind of a note: 'override', 'mistake', 'forgotten' …
    message       TEXT NOT NULL,        -- a sentence for the receipt
    details       TEXT NOT NULL,        -- JSON: the request, the answer, what was read; no credentials
    person        TEXT NOT NULL,        -- who ran the command that wrote this
    host          TEXT NOT NULL,
    hash          BLOB NOT NULL         -- SHA-256 over the hash before and all of this row
) STRICT;

CREATE INDEX events_by_retraction ON events (retraction_id, id);

CREATE INDEX retractions_by_order ON retractions (order_id);

CREATE INDEX retractions_by_action ON retractions (action_id);

-- The values behind the commitments. `recoup forget` deletes rows; nothing changes one.
CREATE TABLE personal (
    commitment    TEXT PRIMARY KEY,     -- '~' and SHA-256, in hexadecimal, of salt, kind and value
    retraction_id INTEGER,              -- the one that uses it
    kind          TEXT NOT NULL,        -- account_id, user_id, reason, response
    salt          BLOB NOT NULL,
    value         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX personal_by_value ON personal (kind, value);

-- Forgotten accounts, as a keyed hash (HMAC-SHA-256 with identity.tombstone_key): no crawl stores them again.
CREATE TABLE tombstones (
    mac BLOB PRIMARY KEY,
    at  TEXT NOT NULL                   -- RFC 3339, UTC
) STRICT, WITHOUT ROWID;

-- Refunds that wait for their order. A list, not a record: its rows are deleted.
CREATE TABLE watched (
    order_id    TEXT PRIMARY KEY,
    added_at    TEXT NOT NULL,          -- RFC 3339, UTC
    expires_at  TEXT NOT NULL,
    refunded_at TEXT,
    disposition TEXT,
    ticket      TEXT,
    person      TEXT NOT NULL,
    host        TEXT NOT NULL,
    looked_at   TEXT,                   -- the newest look-up
    found_at    TEXT                    -- when its order was first in the index
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
