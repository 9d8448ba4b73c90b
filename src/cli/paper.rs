//! Flags of the commands that write about recoup itself.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Flags of `recoup completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Flags of `recoup man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page for each command into this folder, instead of the main page to standard output
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
