//! Accounts that the simulator deletes after the participant list contained them. Get Rewards answers that a deleted
//! account does not exist.

use std::{collections::HashSet, sync::Mutex};

use super::lock::hold;

/// The accounts that the simulator has deleted, and how many more it will delete.
#[derive(Debug, Default)]
pub(super) struct DeletedAccounts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owners: HashSet<u64>,
    /// The accounts that a client read before the first deletion. The simulator deletes the accounts that were read
    /// earlier only if it deletes all accounts.
    known: HashSet<u64>,
    /// The number of reads of rewards before the next deletion of an account.
    after: u64,
    /// The number of accounts that the simulator will still delete.
    left: u64,
    /// Whether the simulator deletes every account.
    all: bool,
}

impl DeletedAccounts {
    /// Starts the deletion of accounts after `after` more reads of rewards. After `after` reads, the simulator deletes
    /// each account that a client reads for the first time, up to `accounts`; with `None`, every account.
    pub(super) fn begin(&self, after: u64, accounts: Option<u64>) {
        let mut state = hold(&self.0);
        (state.after, state.left, state.all) = (after, accounts.unwrap_or(0), accounts.is_none());
    }

    /// Counts a read of an account. The read may delete the account. Returns `true` if the account is deleted.
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
