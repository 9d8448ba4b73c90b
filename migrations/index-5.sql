-- The index from version 4 to 5: links are found by keys, new ones in a table of their own until they are many.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two. The rows of link_keys are made by the program, which alone knows how.

DROP INDEX links_by_order;

DROP INDEX links_by_fold;

DROP INDEX links_by_action;

ALTER TABLE links DROP COLUMN order_fold;

CREATE TABLE link_keys (
    key    INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    PRIMARY KEY (key, reward)
) STRICT, WITHOUT ROWID;

CREATE TABLE new_link_keys (
    key    INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    PRIMARY KEY (key, reward)
) STRICT, WITHOUT ROWID;
