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

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Create the tables on a PostgreSQL server, with the owner's address, and print the rights of the service's role
    Init(StoreInitArgs),
}

#[derive(Debug, Args)]
pub struct StoreInitArgs {
    /// Print the statements that give this role what the service needs; it can add to the ledger, and not alter it
    #[arg(long, value_name = "NAME")]
    pub role: Option<String>,
    /// Run the statements instead of only printing them
    #[arg(long, requires = "role")]
    pub apply: bool,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Print the address of the page and open nothing
    #[arg(long)]
    pub print: bool,
}
