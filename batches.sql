-- The batches of the page, if the stores are on a PostgreSQL server. Otherwise each part of a batch is a file in a folder.
--
-- Every replica of the service can read and continue a batch, so no replica needs a disk. recoup deletes rows after ninety
-- days; the ledger keeps the sent requests.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE parts (
    id    TEXT NOT NULL,                -- the ID of the batch
    part  TEXT NOT NULL,                -- json (metadata), plan, outcomes, upload
    bytes BLOB NOT NULL,
    PRIMARY KEY (id, part)
) STRICT, WITHOUT ROWID;
