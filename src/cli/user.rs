//! Flags of `recoup user`.

use clap::{Args, Subcommand};

use crate::access::{Right, Role};
use crate::config::Span;

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; a password is generated and printed once
    Add(UserAddArgs),
    /// List all users
    List,
    /// Give a user another role
    Role {
        /// The user
        name: String,
        /// The role
        #[arg(value_enum)]
        role: Role,
    },
    /// Disable a user; their sessions, tokens and approvals end at once
    Disable {
        /// The user
        name: String,
        /// Also if no user who may manage users would be left
        #[arg(long)]
        yes: bool,
    },
    /// Enable a user again; their tokens stay revoked
    Enable {
        /// The user
        name: String,
    },
    /// Give a user a new password, and end their sessions
    Rotate {
        /// The user
        name: String,
        /// Read the password from the first line of standard input instead of generating one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Manage API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List all changes to users and tokens, and who made them
    Log,
}

#[derive(Debug, Args)]
pub struct UserAddArgs {
    /// The name: letters, digits, and . _ - @
    pub name: String,
    /// The user's role
    #[arg(long, value_enum)]
    pub role: Role,
    /// The same person's user of the operating system; needed to request or give approvals at the command line
    #[arg(long, value_name = "USER")]
    pub os_user: Option<String>,
    /// Read the password from the first line of standard input instead of generating one
    #[arg(long)]
    pub password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Add a token; it is printed once
    Add {
        /// The user of the token, which may do no more than that user
        user: String,
        /// A name that says what the token is for
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What the token may be used for. May be repeated
        #[arg(long = "scope", value_name = "SCOPE", value_enum, required = true)]
        scopes: Vec<Right>,
        /// When the token expires
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: Span,
    },
    /// List all tokens, or those of one user
    List {
        /// The user
        user: Option<String>,
    },
    /// Revoke a token
    Revoke {
        /// The number of the token
        id: i64,
    },
}
