//! Flags of `recoup init`, `config` and `open`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The tenant alias [default: asked for]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The Account SID [default: asked for]
    #[arg(long, value_name = "SID")]
    pub account_sid: Option<String>,
    /// The file with the Auth Token, or the file to write it to [default: token, beside recoup.toml]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Read the Auth Token from the first line of standard input, and write it to the token file
    #[arg(long)]
    pub token_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value and the place that it comes from; secrets are left out
    Show,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Print the address and open nothing
    #[arg(long)]
    pub print: bool,
}
