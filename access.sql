-- Who may use the page and the API: users, sessions, tokens.
--
-- A file of its own beside the ledger: nothing in here is evidence, or data of the tenant. No secret is stored in clear: a password is
-- an argon2id hash, a session or a token the SHA-256 of what its owner holds.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; csrf_key, made at random with the file
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name        TEXT PRIMARY KEY,
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'agent', 'lead', 'admin')),
    password    TEXT NOT NULL,          -- argon2id, as a PHC string
    os_user     TEXT UNIQUE,            -- the operating system's user that is the same person
    created_at  TEXT NOT NULL,          -- RFC 3339, UTC, as all text here
    password_at TEXT NOT NULL,          -- since when the password is this one
    disabled_at TEXT                    -- null while they may sign in
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,        -- SHA-256 of the cookie
    user_name  TEXT NOT NULL REFERENCES users (name),
    created_ms INTEGER NOT NULL,        -- Unix milliseconds, as all numbers of time here
    seen_ms    INTEGER NOT NULL         -- of the newest request, to the minute
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_name);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    user_name  TEXT NOT NULL REFERENCES users (name),
    name       TEXT NOT NULL,           -- what it is for
    hash       BLOB NOT NULL UNIQUE,    -- SHA-256 of the token
    scopes     TEXT NOT NULL,           -- words, with a space between two
    created_at TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER,                 -- of the newest request, to the minute
    revoked_at TEXT
) STRICT;

-- Failures to sign in, by 'user:NAME' (whether or not there is such a user), 'peer:NETWORK', 'browser:NUMBER' and 'everybody'; all
-- processes share them.
CREATE TABLE sign_in_attempts (
    key      TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,          -- no attempt before this
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests that are carried out once, by their Idempotency-Key.
CREATE TABLE idempotency_keys (
    user_name TEXT NOT NULL,
    key       TEXT NOT NULL,
    hash      TEXT NOT NULL,            -- of the request
    at_ms     INTEGER NOT NULL,
    status    INTEGER,                  -- of the answer; null while the request is being carried out
    body      TEXT,
    PRIMARY KEY (user_name, key)
) STRICT, WITHOUT ROWID;

-- Changes to users and tokens.
CREATE TABLE log (
    id     INTEGER PRIMARY KEY,
    at     TEXT NOT NULL,
    person TEXT NOT NULL,               -- as the operating system knows them
    host   TEXT NOT NULL,
    what   TEXT NOT NULL
) STRICT;
