//! Accounts that were deleted since the list had them: Get Rewards does not know them.

use std::{collections::HashSet, sync::Mutex};

use super::lock::hold;

/// Who has vanished so far, and who still will.
#[derive(Debug, Default)]
pub(super) struct Vanished(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owners: HashSet<u64>,
    /// Who was read before anybody vanished, and stays unless all do.
    known: HashSet<u64>,
    /// Reads until the next one vanishes.
    after: u64,
    /// How many still will.
    left: u64,
    /// From then on nobody is known, whoever was before.
    all: bool,
}

impl Vanished {
    /// After so many reads of rewards, the next accounts that are asked for vanish: so many, or all there are.
    pub(super) fn begin(&self, after: u64, accounts: Option<u64>) {
        let mut state = hold(&self.0);
        (state.after, state.left, state.all) = (after, accounts.unwrap_or(0), accounts.is_none());
    }

    /// Whether this one has vanished; asking may make it vanish.
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
