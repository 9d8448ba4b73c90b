-- From version 2 to 3 of the ledger: a list that is worked off keeps no person's words, which nobody could forget there.

ALTER TABLE watched DROP COLUMN reason;
