//! Opens an address in the browser of this machine.

use std::process::{Command, Stdio};
use std::time::Duration;

/// If the program that opens a browser still runs after this time, it has opened a browser. Without a browser, the
/// program that opens it ends at once.
const OPENED_AFTER: Duration = Duration::from_secs(2);

/// Opens an address in a browser, and returns `true` if a browser was opened. The browser does not get the tokens of
/// this process.
pub async fn open_in_browser(url: &str) -> bool {
    let (program, first): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(first).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for secret in ["RECOUP_AUTH_TOKEN", "RECOUP_ADVOCATE_TOKEN", "RECOUP_WRITE_TOKEN"] {
        command.env_remove(secret);
    }
    let Ok(mut child) = command.spawn() else { return false };
    let ended = tokio::task::spawn_blocking(move || child.wait());
    match tokio::time::timeout(OPENED_AFTER, ended).await {
        Ok(ended) => matches!(ended, Ok(Ok(status)) if status.success()),
        Err(_still_running) => true,
    }
}
