//! The flags that every command accepts. The module `config` has these flags because they override settings; `cli` adds
//! them to its parser.

use std::path::PathBuf;

use clap::{Args, ColorChoice};

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalFlags {
    /// The configuration file [default: $RECOUP_CONFIG, then $XDG_CONFIG_HOME/recoup/recoup.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The index file, or postgres://USER@HOST/DATABASE [default: $RECOUP_DATABASE, then
    /// $XDG_DATA_HOME/recoup/recoup.db]; the ledger is beside the index
    #[arg(long, global = true, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// Use [profile.NAME] of the configuration file; each profile has a default database of its own
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print data as JSON: one object, or one per line
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only these fields of each JSON object, in this order; implies --json. An error is always printed
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// Print no notes and no progress, only data, warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log to stderr: -v logs the steps, -vv every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to print colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}
