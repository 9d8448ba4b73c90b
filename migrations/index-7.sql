-- The index from version 6 to 7: rows and keys have sums, by which an answer notices that the file is damaged.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two. SQLite cannot add such a column to a table that is there, so each table is made anew.

CREATE TABLE new_runs (
    id               INTEGER PRIMARY KEY,
    source           TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('running', 'finished', 'replaced')),
    started_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    complete         INTEGER NOT NULL DEFAULT 0,
    gaps             TEXT NOT NULL DEFAULT '[]',
    requests         INTEGER NOT NULL DEFAULT 0,
    accounts_known   INTEGER NOT NULL DEFAULT 0,
    accounts_read    INTEGER NOT NULL DEFAULT 0,
    rewards_unusable INTEGER NOT NULL DEFAULT 0,
    values_unreadable INTEGER NOT NULL DEFAULT 0,
    base             INTEGER NOT NULL DEFAULT 0,
    cursor           TEXT,
    watermark        INTEGER,
    rewards_known    INTEGER,
    requests_reread  INTEGER NOT NULL DEFAULT 0,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, source, state, started_at, finished_at, complete, gaps, accounts_known, accounts_read,
        rewards_unusable, values_unreadable, base, watermark, rewards_known)) STORED
) STRICT;

INSERT INTO new_runs (id, source, state, started_at, finished_at, complete, gaps, requests, accounts_known, accounts_read, rewards_unusable, values_unreadable, base, cursor, watermark, rewards_known, requests_reread)
SELECT id, source, state, started_at, finished_at, complete, gaps, requests, accounts_known, accounts_read, rewards_unusable, values_unreadable, base, cursor, watermark, rewards_known, requests_reread FROM runs;

DROP TABLE runs;

ALTER TABLE new_runs RENAME TO runs;

CREATE TABLE new_accounts (
    id            INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,
    first_seen_at INTEGER NOT NULL,
    seen_sweep    INTEGER NOT NULL DEFAULT 0,
    read_run      INTEGER NOT NULL DEFAULT 0,
    read_at       INTEGER,
    unusable      INTEGER NOT NULL DEFAULT 0,
    failed_run    INTEGER,
    failed_at     INTEGER,
    failed_reason TEXT,
    unknown       INTEGER NOT NULL DEFAULT 0,
    gone_at       INTEGER,
    queued_run    INTEGER NOT NULL DEFAULT 0,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, account_id, gone_at)) STORED
) STRICT;

INSERT INTO new_accounts (id, account_id, first_seen_at, seen_sweep, read_run, read_at, unusable, failed_run, failed_at, failed_reason, unknown, gone_at, queued_run)
SELECT id, account_id, first_seen_at, seen_sweep, read_run, read_at, unusable, failed_run, failed_at, failed_reason, unknown, gone_at, queued_run FROM accounts;

DROP TABLE accounts;

ALTER TABLE new_accounts RENAME TO accounts;

CREATE TABLE new_findings (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('both', 'order_only', 'action_only', 'neither', 'ambiguous')),
    order_path  TEXT NOT NULL,
    action_path TEXT NOT NULL,
    by_search   INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, kind, order_path, action_path, by_search)) STORED,
    UNIQUE (kind, order_path, action_path, by_search)
) STRICT;

INSERT INTO new_findings (id, kind, order_path, action_path, by_search)
SELECT id, kind, order_path, action_path, by_search FROM findings;

DROP TABLE findings;

ALTER TABLE new_findings RENAME TO findings;

CREATE TABLE new_run_findings (
    run     INTEGER NOT NULL REFERENCES runs (id),
    finding INTEGER NOT NULL REFERENCES findings (id),
    rewards INTEGER NOT NULL,
    links   INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(run, finding, rewards, links)) STORED,
    PRIMARY KEY (run, finding)
) STRICT, WITHOUT ROWID;

INSERT INTO new_run_findings (run, finding, rewards, links)
SELECT run, finding, rewards, links FROM run_findings;

DROP TABLE run_findings;

ALTER TABLE new_run_findings RENAME TO run_findings;

CREATE TABLE new_descriptors (
    id            INTEGER PRIMARY KEY,
    reward_type   TEXT,
    reward_source TEXT,
    unit          TEXT,
    program_id    TEXT,
    name          TEXT,
    currency      TEXT,
    statuses      TEXT,
    cancellable   INTEGER,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable)) STORED
) STRICT;

INSERT INTO new_descriptors (id, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable)
SELECT id, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable FROM descriptors;

DROP TABLE descriptors;

ALTER TABLE new_descriptors RENAME TO descriptors;

CREATE TABLE new_rewards (
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
    date_modified      INTEGER,
    sum INTEGER GENERATED ALWAYS AS (row_sum(id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id,
        assigned, redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled,
        date_redeemed, unreadable, via, date_modified)) STORED
) STRICT;

INSERT INTO new_rewards (id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id, assigned, redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, unreadable, via, date_modified)
SELECT id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id, assigned, redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, unreadable, via, date_modified FROM rewards;

DROP TABLE rewards;

ALTER TABLE new_rewards RENAME TO rewards;

CREATE TABLE new_links (
    reward     INTEGER NOT NULL REFERENCES rewards (id),
    n          INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    order_id   TEXT,
    action_id  TEXT,
    sum INTEGER GENERATED ALWAYS AS (row_sum(reward, n, count, order_id, action_id)) STORED,
    PRIMARY KEY (reward, n)
) STRICT, WITHOUT ROWID;

INSERT INTO new_links (reward, n, count, order_id, action_id)
SELECT reward, n, (SELECT count(*) FROM links other WHERE other.reward = links.reward), order_id, action_id FROM links;

DROP TABLE links;

ALTER TABLE new_links RENAME TO links;

CREATE INDEX runs_by_state ON runs (state, id);

CREATE INDEX accounts_failed ON accounts (failed_run) WHERE failed_run IS NOT NULL;

CREATE INDEX descriptors_by_words ON descriptors (name, program_id, unit, reward_type, reward_source);

CREATE INDEX rewards_by_account ON rewards (account);

CREATE INDEX rewards_by_user ON rewards (user_id) WHERE user_id <> '';

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

INSERT INTO key_sums (bucket, sum)
SELECT key >> 52, keys_sum(key, reward) FROM (
    SELECT key, reward FROM link_keys UNION ALL SELECT key, reward FROM new_link_keys) GROUP BY key >> 52;
