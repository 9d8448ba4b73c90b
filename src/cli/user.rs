//! Flags of `recoup user`.

use clap::{Args, Subcommand};

use crate::access::{Right, Role};
use crate::config::Span;

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, generate a password and print it once
    Add(UserAddArgs),
    /// List all users
    List,
    /// Give a user another role
    Role {
        /// The user whose role changes
        name: String,
        /// The new role
        #[arg(value_enum)]
        role: Role,
    },
    /// Disable a user, and end their sessions, tokens and approvals at once
    Disable {
        /// The user to disable
        name: String,
        /// Disable the user even if no user is left who may manage users
        #[arg(long)]
        yes: bool,
    },
    /// Enable a user again, whose tokens stay revoked
    Enable {
        /// The user to enable
        name: String,
    },
    /// Give a user a new password, and end their sessions
    Rotate {
        /// The user who gets a new password
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
    /// The name of the user: letters, digits, and . _ - @
    pub name: String,
    /// The user's role
    #[arg(long, value_enum)]
    pub role: Role,
    /// The operating system user of the same person; needed to request or give approvals at the command line
    #[arg(long, value_name = "USER")]
    pub os_user: Option<String>,
    /// Read the password from the first line of standard input instead of generating one
    #[arg(long)]
    pub password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Add a token and print it once
    Add {
        /// The user of the token, whose rights limit the token's
        user: String,
        /// The name of the token, which says what it is for
        #[arg(long, value_name = "NAME")]
        name: String,
        /// A right that the token has. The flag may be repeated
        #[arg(long = "scope", value_name = "SCOPE", value_enum, required = true)]
        scopes: Vec<Right>,
        /// The date on which the token expires
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: Span,
    },
    /// List all tokens, or those of one user
    List {
        /// The user whose tokens are listed
        user: Option<String>,
    },
    /// Revoke a token
    Revoke {
        /// The number of the token to revoke
        id: i64,
    },
}
