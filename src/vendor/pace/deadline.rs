//! The time before which the pacer starts no request to the host, and the reason. The pacer moves its deadline back
//! only after `recoup quota clear`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::budget::Pause;

#[derive(Default)]
pub(super) struct Deadline(Mutex<Option<Pause>>);

impl Deadline {
    /// Moves the pacer's deadline forward. Returns `false` if the new pause ends no later than the current pause.
    pub(super) fn extend(&self, pause: Pause) -> bool {
        let mut current = self.lock();
        let is_later = current.is_none_or(|current| current.until_ms < pause.until_ms);
        if is_later {
            *current = Some(pause);
        }
        is_later
    }

    /// Moves the pacer's deadline back from `seen` to `cleared`, if no other caller has changed it since `seen`.
    pub(super) fn move_back(&self, seen: Pause, cleared: Option<Pause>) {
        let mut current = self.lock();
        if *current == Some(seen) && cleared.is_none_or(|cleared| cleared.until_ms < seen.until_ms) {
            *current = cleared;
        }
    }

    pub(super) fn get(&self) -> Option<Pause> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
