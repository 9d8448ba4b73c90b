//! Counts the answers of each host by status since this process started, for the service's metrics endpoint.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

static ANSWERS: Mutex<BTreeMap<(&'static str, u16), u64>> = Mutex::new(BTreeMap::new());

pub(super) fn count_answer(host: &'static str, status: u16) {
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).entry((host, status)).or_default() += 1;
}

/// Returns the number of the vendor's answers for each host and status. Status 0 counts the requests that got no
/// answer.
pub fn answers_by_status() -> BTreeMap<(&'static str, u16), u64> {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
