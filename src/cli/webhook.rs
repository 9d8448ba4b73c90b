//! Flags of `recoup webhook` and `recoup notify`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Ask the vendor to send events to `recoup serve`
    Subscribe {
        #[command(flatten)]
        address: AddressArgs,
        /// Event types [default: reward.created, user.reward.balance.changed]
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
    },
    /// List the tenant's subscriptions
    List,
    /// Remove a subscription
    Remove {
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Ask the vendor to send a test webhook
    Test {
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Read the accounts again that webhooks have queued, as `recoup serve` does on schedule
    Work,
}

#[derive(Debug, Args)]
pub struct AddressArgs {
    /// The whole webhook URL of your service: https://HOST/webhooks/advocate
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Show the change without making it
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required without a terminal
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send one test notice by every configured channel, and print the results
    Test,
}
