-- The index from version 2 to 3: accounts that were forgotten stay out.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two.

CREATE TABLE tombstones (
    key BLOB NOT NULL,
    mac BLOB NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (key, mac)
) STRICT, WITHOUT ROWID;

CREATE TABLE left_out (
    reward        INTEGER PRIMARY KEY,
    run           INTEGER NOT NULL,
    date_modified INTEGER
) STRICT;
