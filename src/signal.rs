//! The first Ctrl-C or SIGTERM drains, the second leaves.
//!
//! The first cancels a token: nothing new is started, what was started finishes, the state is saved and the command
//! ends with 130. The second ends the process at once; every store survives that.

use tokio_util::sync::CancellationToken;

/// The exit code of an interrupted command.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels.
pub fn stop_token() -> CancellationToken {
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
