//! Flags of `recoup init`, `config` and `open`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The tenant alias [default: recoup asks for it]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The Account SID [default: recoup asks for it]
    #[arg(long, value_name = "SID")]
    pub account_sid: Option<String>,
    /// The file that contains the Auth Token, or to which recoup writes it [default: token, beside recoup.toml]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Read the Auth Token from the first line of standard input, and write it to the token file
    #[arg(long)]
    pub token_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its value and its source, without secrets
    Show,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Print the address of the page and open nothing
    #[arg(long)]
    pub print: bool,
}
