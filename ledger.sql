-- The ledger: what was sent to the vendor, by whom, why, and what came of it.
--
-- It cannot be rebuilt, so it lies in a file of its own, and nothing in it is ever changed or removed: a retraction is
-- written once, and all that happens to it afterwards is an event. Its state is the state of its newest event.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; ledger_id, made at random with the file
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One decision to take back one action.
CREATE TABLE retractions (
    id                INTEGER PRIMARY KEY,
    target            TEXT NOT NULL,    -- what is unique for the vendor: 'action:ID', or 'order:TRACKER:ORDER'
    attempt           INTEGER NOT NULL, -- 1, and one more each time a person sends again what was refused
    order_id          TEXT NOT NULL,
    action_id         TEXT,             -- null with the fallback to order ID and action tracker
    action_tracker_id TEXT,
    disposition       TEXT NOT NULL,    -- goes to the vendor as it is
    reason            TEXT,             -- a person's words; stay here
    ticket            TEXT,
    person            TEXT NOT NULL,    -- who ran the command, as the operating system knows them
    host              TEXT NOT NULL,
    created_at        TEXT NOT NULL,    -- RFC 3339, UTC
    plan              TEXT NOT NULL,    -- JSON: the rewards as they were before, the coverage, the warnings
    UNIQUE (target, attempt)            -- two processes can never both begin on one action
) STRICT;

-- Which rewards a retraction takes back, so that one reward never goes out twice under two names.
CREATE TABLE retraction_rewards (
    reward_id     TEXT NOT NULL,
    retraction_id INTEGER NOT NULL REFERENCES retractions (id),
    PRIMARY KEY (reward_id, retraction_id)
) STRICT, WITHOUT ROWID;

-- What happened to a retraction, in order.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    retraction_id INTEGER NOT NULL REFERENCES retractions (id),
    at            TEXT NOT NULL,        -- RFC 3339, UTC
    state         TEXT NOT NULL CHECK (state IN
                  ('planned', 'sending', 'queued', 'confirmed', 'partial', 'unconfirmed', 'failed', 'unknown', 'processed')),
    message       TEXT NOT NULL,        -- a sentence for the receipt
    details       TEXT NOT NULL         -- JSON: what was sent, what came back, what was read; no credentials
) STRICT;

CREATE INDEX events_by_retraction ON events (retraction_id, id);

CREATE INDEX retractions_by_order ON retractions (order_id);

CREATE INDEX retractions_by_action ON retractions (action_id);

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
