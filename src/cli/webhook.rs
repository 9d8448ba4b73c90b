//! Flags of `recoup webhook`.

use clap::{Args, Subcommand};

/// `recoup webhook`.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Ask the vendor to send events to the service: POST /webhooks/advocate
    Subscribe {
        /// Which address.
        #[command(flatten)]
        address: AddressArgs,
        /// Types of events [default: reward.created, user.reward.balance.changed]
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
    },
    /// Every subscription of the tenant
    List,
    /// Ask the vendor to send nothing there any more
    Remove {
        /// Which address.
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Ask the vendor to send a test there
    Test {
        /// Which address.
        #[command(flatten)]
        address: AddressArgs,
    },
    /// Read the accounts again that webhooks have named, as the schedule of `recoup serve` does
    Work,
}

/// The address of a subscription.
#[derive(Debug, Args)]
pub struct AddressArgs {
    /// The whole address: host, port and `/webhooks/advocate`
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask; required where there is no terminal
    #[arg(long)]
    pub yes: bool,
}
