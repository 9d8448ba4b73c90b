//! Accounts that are deleted after the participant list contained them. Get Rewards responds that they do not exist.

use std::{collections::HashSet, sync::Mutex};

use super::lock::hold;

/// The deleted accounts, and how many more will be deleted.
#[derive(Debug, Default)]
pub(super) struct DeletedAccounts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owners: HashSet<u64>,
    /// Accounts that were read before the first deletion. They are deleted only if all accounts are.
    known: HashSet<u64>,
    /// Number of reads of rewards before the next deletion.
    after: u64,
    /// Number of accounts that are still to be deleted.
    left: u64,
    /// If set, every account is deleted.
    all: bool,
}

impl DeletedAccounts {
    /// Starts deletions after `after` more reads of rewards. Then each account that is read for the first time is deleted,
    /// up to `accounts`; with `None`, every account is deleted.
    pub(super) fn begin(&self, after: u64, accounts: Option<u64>) {
        let mut state = hold(&self.0);
        (state.after, state.left, state.all) = (after, accounts.unwrap_or(0), accounts.is_none());
    }

    /// Counts a read of an account, which may delete the account. Returns whether the account is deleted.
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
