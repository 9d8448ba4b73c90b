-- The index from version 5 to 6: rewards are found by the ID of their user.
--
-- Takes the file of an older recoup to what schema.sql says. What is added to schema.sql is added here too; a test compares
-- the two.

CREATE INDEX rewards_by_user ON rewards (user_id) WHERE user_id <> '';
