//! Crash points for tests: with the feature `failpoints`, the process aborts at a named step, as if killed with `kill
//! -9`.
//!
//! Without the feature, crash points do nothing. An abort runs no destructor and flushes no buffer, so a test sees the
//! state after a power cut.

#[cfg(feature = "failpoints")]
static ARMED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Arms the crash point with this name. `NAME:3` aborts when the process reaches `NAME` for the third time. `stop-NAME`
/// stops the process at `NAME` until it gets SIGCONT, as when a machine sleeps.
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
    let (armed, stops) = armed.strip_prefix("stop-").map_or((armed.as_str(), false), |armed| (armed, true));
    let (wanted, nth) = armed.rsplit_once(':').map_or((armed, 1), |(name, n)| (name, n.parse().unwrap_or(1)));
    if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        #[cfg(unix)]
        if stops {
            let _always_allowed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            return;
        }
        assert!(!stops, "this system cannot stop a process");
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &str) {}
