-- The ledger from version 1 to 2.
--
-- Takes the file of an older recoup to what ledger.sql says, with every row kept. What is added to ledger.sql is added here
-- too; a test compares the two. Runs in one transaction with foreign keys off. Commitments and hashes are computed after it, in
-- the same transaction: until then the triggers are not there.

ALTER TABLE retractions RENAME TO old_retractions;
ALTER TABLE retraction_rewards RENAME TO old_retraction_rewards;
ALTER TABLE events RENAME TO old_events;

DROP INDEX events_by_retraction;
DROP INDEX retractions_by_order;
DROP INDEX retractions_by_action;

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
    kind          TEXT NOT NULL,        -- account_id, user_id, reason
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
    reason      TEXT,
    ticket      TEXT,
    person      TEXT NOT NULL,
    host        TEXT NOT NULL,
    looked_at   TEXT,                   -- when it was last looked for
    found_at    TEXT                    -- when its order turned up
) STRICT, WITHOUT ROWID;

INSERT INTO retractions (id, road, target, attempt, order_id, action_id, action_tracker_id, disposition, reason, ticket, person,
        host, created_at, plan)
    SELECT id, 'reversal', target, attempt, order_id, action_id, action_tracker_id, disposition, reason, ticket, person, host,
        created_at, plan FROM old_retractions;

INSERT INTO retraction_rewards (reward_id, retraction_id) SELECT reward_id, retraction_id FROM old_retraction_rewards;

-- A retraction that was never sent, and whose place a later attempt took, has a state of its own now.
INSERT INTO events (id, retraction_id, at, state, kind, message, details, person, host, hash)
    SELECT e.id, e.retraction_id, e.at, CASE WHEN e.details ->> '$.abandoned' IS NULL THEN e.state ELSE 'superseded' END, 'state',
        e.message, e.details, r.person, r.host, x''
    FROM old_events e JOIN old_retractions r ON r.id = e.retraction_id ORDER BY e.id;

DROP TABLE old_events;
DROP TABLE old_retraction_rewards;
DROP TABLE old_retractions;
