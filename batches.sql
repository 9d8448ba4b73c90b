-- The batches of the page, if the stores are on a server. Beside a file, each part of a batch is a file in a folder.
--
-- A batch can be read and continued by every replica of the service, so no replica needs a disk. Rows are deleted after ninety
-- days; the ledger keeps the sent requests.

CREATE TABLE identity (
    key   TEXT PRIMARY KEY,             -- tenant, account_sid, advocate_url, brand_url
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE parts (
    id    TEXT NOT NULL,                -- of the batch
    part  TEXT NOT NULL,                -- json (metadata), plan, outcomes, upload
    bytes BLOB NOT NULL,
    PRIMARY KEY (id, part)
) STRICT, WITHOUT ROWID;
