//! Flags of `recoup completions` and `recoup man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell for which completions are printed
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page for each command into this folder [default: the main page on standard output]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
