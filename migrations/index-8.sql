-- The index from version 7 to 8: the program rules and the referrals as they were last read.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two.

CREATE TABLE program_rules (
    program_id TEXT PRIMARY KEY,
    answer     TEXT NOT NULL,
    read_at    INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(program_id, answer, read_at)) STORED
) STRICT;

CREATE TABLE referrals (
    referral_id  TEXT PRIMARY KEY,
    started_at   INTEGER,
    converted_at INTEGER,
    modified_at  INTEGER,
    read_at      INTEGER NOT NULL,
    sum INTEGER GENERATED ALWAYS AS (row_sum(referral_id, started_at, converted_at, modified_at, read_at)) STORED
) STRICT;
