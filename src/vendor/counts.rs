//! How often each host answered what, since this process began: for the metrics of a service.
//!
//! Counted where an answer arrives, whatever asked. Names nothing but the host and the status.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Answers by host and status; 0 where none came.
static ANSWERS: Mutex<BTreeMap<(&'static str, u16), u64>> = Mutex::new(BTreeMap::new());

/// Counts an answer.
pub(super) fn count(host: &'static str, status: u16) {
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).entry((host, status)).or_default() += 1;
}

/// Answers so far, by host and status; 0 stands for no answer.
pub fn answers() -> BTreeMap<(&'static str, u16), u64> {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
