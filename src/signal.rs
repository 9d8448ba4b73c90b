//! Handles Ctrl-C and SIGTERM: the first signal stops the command gracefully, the second ends the process.
//!
//! The first signal cancels a token: the command starts no new work, finishes running work, saves its state and exits
//! with 130. The second signal ends the process at once. Every store survives the sudden end of a process.

use tokio_util::sync::CancellationToken;

const INTERRUPTED: i32 = 130;

/// The number of SIGXFSZ on every platform except MIPS. The system sends SIGXFSZ if a file has reached the process's
/// size limit (`ulimit -f`).
#[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
const FILE_TOO_LARGE: i32 = 25;

/// Returns a token that the first signal cancels.
///
/// Also catches SIGXFSZ, which would otherwise kill the process between two steps. With SIGXFSZ caught, the write to
/// the file fails, and recoup reports the failure like a full disk.
pub fn stop_token() -> CancellationToken {
    // tokio's signal handler stays installed after the stream is dropped.
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
