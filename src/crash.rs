//! Crash points for tests: with the feature `failpoints`, the process aborts at a named step, as after `kill -9`.
//!
//! Without the feature, crash points do nothing. An abort runs no destructor and flushes no buffer, so a test sees the
//! state that a power cut leaves.

#[cfg(feature = "failpoints")]
static ARMED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Arms the crash point with this name. `NAME:3` aborts when the process reaches it for the third time.
#[cfg(feature = "failpoints")]
pub fn arm(name: String) {
    drop(ARMED.set(name));
}

/// Aborts the process if the crash point is armed.
#[cfg(feature = "failpoints")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Some(armed) = ARMED.get() else { return };
    let (wanted, nth) = armed.rsplit_once(':').map_or((armed.as_str(), 1), |(name, n)| (name, n.parse().unwrap_or(1)));
    if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &str) {}
