//! The statements that write an index, each prepared once in a transaction: a crawl runs a dozen of them for every account.
//!
//! rusqlite keeps prepared statements by their text, so each use of one would hash a few hundred bytes and take it out of a
//! map and put it back. What runs seldom is prepared where it is used.

use std::ops::Deref;

use rusqlite::{CachedStatement, Transaction};

/// Declares the statements, so that each has its name and its text in one place.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        /// One statement.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Sql {
            $($(#[$doc])* $name),*
        }

        const TEXTS: &[&str] = &[$($sql),*];
    };
}

statements! {
    /// What is known of an account, by its row.
    AccountByRow = "SELECT account_id, read_run, read_at, gone_at IS NOT NULL, unusable, queued_run, \
         failed_run IS NOT NULL OR unknown FROM accounts WHERE id = ?1";
    /// The same, as a page of participants needs it.
    AccountById = "SELECT id, seen_sweep, gone_at FROM accounts WHERE account_id = ?1";
    /// An account that a page lists for the first time.
    NewAccount = "INSERT INTO accounts (account_id, first_seen_at, seen_sweep) VALUES (?1, ?2, ?3)";
    /// A sweep has seen an account.
    AccountSeen = "UPDATE accounts SET seen_sweep = ?2 WHERE id = ?1";
    /// A sweep has seen a row of the list.
    RowSeen = "INSERT INTO participants (hash, sweep) VALUES (?1, ?2) \
         ON CONFLICT (hash) DO UPDATE SET sweep = excluded.sweep WHERE sweep <> excluded.sweep";
    /// An account was read that was neither gone nor failed: no index has to be looked at.
    AccountRead = "UPDATE accounts SET read_run = ?2, read_at = ?3, unusable = ?4 WHERE id = ?1";
    /// An account was read, whatever was known of it.
    AccountReadAgain = "UPDATE accounts SET read_run = ?2, read_at = ?3, unusable = ?4, gone_at = NULL, \
         failed_run = NULL, failed_at = NULL, failed_reason = NULL, unknown = 0 WHERE id = ?1";
    /// The rewards of an account.
    RewardsOfAccount = "SELECT id, finding, read_run, read_at, gone_at IS NOT NULL, unreadable, reward_id, via \
         FROM rewards WHERE account = ?1";
    /// A reward, unless it is there.
    NewReward = "INSERT INTO rewards (account, finding, descriptor, read_run, read_at, account_id, user_id, assigned, \
         redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, unreadable, \
         via, date_modified, gone_at, reward_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20) \
         ON CONFLICT (reward_id) DO NOTHING";
    /// A reward that is there. Get Rewards does not say `date_modified`, and what another API said of it stays true.
    RewardAgain = "UPDATE rewards SET account = ?1, finding = ?2, descriptor = ?3, read_run = ?4, read_at = ?5, \
         account_id = ?6, user_id = ?7, assigned = ?8, redeemed = ?9, date_created = ?10, date_given = ?11, \
         date_scheduled_for = ?12, date_expires = ?13, date_cancelled = ?14, date_redeemed = ?15, unreadable = ?16, \
         via = ?17, date_modified = coalesce(?18, date_modified), gone_at = ?19 WHERE id = ?20";
    /// The JSON of a reward that is new.
    NewRaw = "INSERT INTO raws (reward, dictionary, raw) VALUES (?1, ?2, ?3)";
    /// The JSON of a reward that is there.
    RawAgain = "INSERT INTO raws (reward, dictionary, raw) VALUES (?1, ?2, ?3) \
         ON CONFLICT (reward) DO UPDATE SET dictionary = excluded.dictionary, raw = excluded.raw";
    /// The links of a reward.
    LinksOfReward = "SELECT order_id, action_id FROM links WHERE reward = ?1 ORDER BY n";
    /// One link.
    NewLink = "INSERT INTO links (reward, n, count, order_id, action_id) VALUES (?1, ?2, ?3, ?4, ?5)";
    /// By what a link is found.
    NewLinkKey = "INSERT OR IGNORE INTO new_link_keys (key, reward) VALUES (?1, ?2)";
}

/// A transaction with the statements that were prepared in it.
pub(super) struct Pen<'t> {
    tx: &'t Transaction<'t>,
    prepared: [Option<CachedStatement<'t>>; TEXTS.len()],
}

impl<'t> Pen<'t> {
    pub(super) fn new(tx: &'t Transaction<'t>) -> Self {
        Self { tx, prepared: [const { None }; TEXTS.len()] }
    }

    /// The statement, ready to run.
    pub(super) fn sql(&mut self, sql: Sql) -> rusqlite::Result<&mut CachedStatement<'t>> {
        let prepared = &mut self.prepared[sql as usize];
        let statement = match prepared.take() {
            Some(statement) => statement,
            None => self.tx.prepare_cached(TEXTS[sql as usize])?,
        };
        Ok(prepared.insert(statement))
    }
}

impl<'t> Deref for Pen<'t> {
    type Target = Transaction<'t>;

    fn deref(&self) -> &Self::Target {
        self.tx
    }
}
