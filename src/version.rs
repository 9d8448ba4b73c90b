//! The version, the commit and the optional parts of this build, for `recoup --version`.

use std::env::consts::{ARCH, OS};
use std::sync::LazyLock;

/// The Cargo features that a build may leave out, and whether this build has them.
pub const FEATURES: [(&str, bool); 3] =
    [("mcp", cfg!(feature = "mcp")), ("postgres", cfg!(feature = "postgres")), ("smtp", cfg!(feature = "smtp"))];

/// The commit, which the scripts in `packages/` pass to the compiler. A build script that asks git would compile recoup anew
/// after every commit.
const COMMIT: Option<&str> = option_env!("RECOUP_COMMIT");

/// Returns what follows the name in the output of `recoup --version`.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let names = |wanted: bool| {
            let names: Vec<&str> = FEATURES.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let libc = if cfg!(target_env = "musl") { "-musl" } else { "" };
        format!(
            "{}\ncommit: {}\nfeatures: {}\nleft out: {}\ntarget: {ARCH}-{OS}{libc}",
            env!("CARGO_PKG_VERSION"),
            COMMIT.unwrap_or("not recorded"),
            names(true),
            names(false),
        )
    });
    &TEXT
}
