//! Flags of `recoup user`.

use clap::{Args, Subcommand};

use crate::access::{Right, Role};
use crate::config::Span;

/// `recoup user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; a password is made and printed once
    Add(UserAddArgs),
    /// Every user
    List,
    /// Give a user another role
    Role {
        /// The user
        name: String,
        /// The role
        #[arg(value_enum)]
        role: Role,
    },
    /// Disable a user: sessions, tokens and approvals end at once
    Disable {
        /// The user
        name: String,
        /// Also where nobody who may manage users would be left
        #[arg(long)]
        yes: bool,
    },
    /// Let a user sign in again; their tokens stay revoked
    Enable {
        /// The user
        name: String,
    },
    /// Give a user another password, and end their sessions
    Rotate {
        /// The user
        name: String,
        /// Read the password from the first line of standard input, instead of making one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Tokens of the API
    #[command(subcommand)]
    Token(TokenCommand),
    /// What was done to users and tokens, and by whom
    Log,
}

/// Flags of `recoup user add`.
#[derive(Debug, Args)]
pub struct UserAddArgs {
    /// The name: letters, digits, and . _ - @
    pub name: String,
    /// What they are
    #[arg(long, value_enum)]
    pub role: Role,
    /// The operating system's user that is the same person: only then they may ask for, and give, an approval at the command line
    #[arg(long, value_name = "USER")]
    pub os_user: Option<String>,
    /// Read the password from the first line of standard input, instead of making one
    #[arg(long)]
    pub password_stdin: bool,
}

/// `recoup user token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed once
    Add {
        /// Whose it is: it may do no more than they may
        user: String,
        /// What it is for
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may be used for
        #[arg(long = "scope", value_name = "SCOPE", value_enum, required = true)]
        scopes: Vec<Right>,
        /// When it ends
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: Span,
    },
    /// Every token, or those of one user
    List {
        /// The user
        user: Option<String>,
    },
    /// End a token
    Revoke {
        /// Its number
        id: i64,
    },
}
