//! The first Ctrl-C or SIGTERM drains, the second leaves.
//!
//! The first cancels a token: nothing new is started, what was started finishes, the state is saved and the command
//! ends with 130. The second ends the process at once; every store survives that.

use tokio_util::sync::CancellationToken;

/// The exit code of an interrupted command.
const INTERRUPTED: i32 = 130;

/// The number of SIGXFSZ, on all but MIPS: a file has reached the size limit of the process (`ulimit -f`).
#[cfg(all(unix, not(any(target_arch = "mips", target_arch = "mips64"))))]
const FILE_TOO_LARGE: i32 = 25;

/// A token that the first signal cancels.
///
/// SIGXFSZ, which would end the process between two steps, is caught from here on: the write fails instead, and what failed is
/// reported like a full disk.
pub fn stop_token() -> CancellationToken {
    // Tokio's handler stays when its stream is dropped.
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
