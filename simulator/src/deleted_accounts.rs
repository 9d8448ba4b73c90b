//! Accounts that are deleted after the list showed them: Get Rewards does not know them.

use std::{collections::HashSet, sync::Mutex};

use super::lock::hold;

/// Which accounts are deleted, and how many will be.
#[derive(Debug, Default)]
pub(super) struct DeletedAccounts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owners: HashSet<u64>,
    /// Accounts that were read before the first deletion. They stay unless all are deleted.
    known: HashSet<u64>,
    /// Reads until the next deletion.
    after: u64,
    /// Number of accounts still to be deleted.
    left: u64,
    /// If set, every account is deleted from now on.
    all: bool,
}

impl DeletedAccounts {
    /// After this many reads of rewards, deletes the next accounts that are read: this many, or all for `None`.
    pub(super) fn begin(&self, after: u64, accounts: Option<u64>) {
        let mut state = hold(&self.0);
        (state.after, state.left, state.all) = (after, accounts.unwrap_or(0), accounts.is_none());
    }

    /// Whether this account is deleted. The call itself may delete it.
    pub(super) fn has(&self, owner: u64) -> bool {
        let mut state = hold(&self.0);
        if state.owners.contains(&owner) {
            return true;
        }
        if state.after > 0 {
            state.after -= 1;
            state.known.insert(owner);
            return false;
        }
        if state.left > 0 && !state.known.contains(&owner) {
            state.left -= 1;
            state.owners.insert(owner);
            return true;
        }
        state.all
    }
}
