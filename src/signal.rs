//! The first Ctrl-C or SIGTERM drains, the second exits.
//!
//! The first cancels a token: the command starts nothing new, finishes what it started, saves its state and exits with 130. The
//! second ends the process at once; every store survives that.

use tokio_util::sync::CancellationToken;

const INTERRUPTED: i32 = 130;

/// SIGXFSZ, the same number on all platforms but MIPS: a file has reached the size limit of the process (`ulimit -f`).
#[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
const FILE_TOO_LARGE: i32 = 25;

/// A token that the first signal cancels.
///
/// Also catches SIGXFSZ, which would kill the process between two steps. The write then fails instead, and is reported like a
/// full disk.
pub fn stop_token() -> CancellationToken {
    // Tokio's handler stays installed when its stream is dropped.
    #[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
    drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(FILE_TOO_LARGE)));
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        if next_signal().await.is_err() {
            return;
        }
        cancelled.cancel();
        if next_signal().await.is_ok() {
            leave();
        }
    });
    stop
}

#[expect(clippy::exit, reason = "a second signal means now: no destructor may keep the person waiting")]
fn leave() -> ! {
    std::process::exit(INTERRUPTED)
}

#[cfg(unix)]
async fn next_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn next_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
