-- The users of the page and the API, with their sessions and tokens.
--
-- The users' database is separate from the ledger, because it has neither evidence nor the tenant's data. It has secrets only
-- as hashes: argon2id for a password, SHA-256 for a session cookie or a token.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url; csrf_key, made at random with the file
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    name        TEXT PRIMARY KEY,
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'agent', 'lead', 'admin')),
    password    TEXT NOT NULL,          -- argon2id, as a PHC string
    os_user     TEXT UNIQUE,            -- the same person's user name in the operating system
    created_at  TEXT NOT NULL,          -- RFC 3339, UTC, as in every time column of type TEXT
    password_at TEXT NOT NULL,          -- when the password was last set
    disabled_at TEXT                    -- null while the user may sign in
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,        -- SHA-256 of the cookie
    user_name  TEXT NOT NULL REFERENCES users (name),
    created_ms INTEGER NOT NULL,        -- Unix milliseconds, as in every column named *_ms
    seen_ms    INTEGER NOT NULL         -- time of the newest request, to the minute
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_name);

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    user_name  TEXT NOT NULL REFERENCES users (name),
    name       TEXT NOT NULL,           -- the purpose of the token
    hash       BLOB NOT NULL UNIQUE,    -- SHA-256 of the token
    scopes     TEXT NOT NULL,           -- scopes, separated by spaces
    created_at TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER,                 -- time of the newest request, to the minute
    revoked_at TEXT
) STRICT;

-- Failures to sign in, by 'user:NAME' (even if the user does not exist), 'peer:NETWORK', 'browser:NUMBER' and 'everybody'. All
-- processes share these counts.
CREATE TABLE sign_in_attempts (
    key      TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,          -- the earliest time of the next attempt
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Idempotency keys: the service executes each API request with a key once.
CREATE TABLE idempotency_keys (
    user_name TEXT NOT NULL,
    key       TEXT NOT NULL,
    hash      TEXT NOT NULL,            -- hash of the request
    at_ms     INTEGER NOT NULL,
    status    INTEGER,                  -- HTTP status of the response; null while the service executes the request
    body      TEXT,
    PRIMARY KEY (user_name, key)
) STRICT, WITHOUT ROWID;

-- Changes to users and tokens.
CREATE TABLE log (
    id     INTEGER PRIMARY KEY,
    at     TEXT NOT NULL,
    person TEXT NOT NULL,               -- the operating system's user name
    host   TEXT NOT NULL,
    what   TEXT NOT NULL
) STRICT;
