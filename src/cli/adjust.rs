//! Flags of `recoup adjust`.

use clap::{ArgGroup, Args};

use super::SendArgs;

/// Flags of `recoup adjust`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["sku", "quantity", "delta", "amount"]).required(true).multiple(true)))]
pub struct AdjustArgs {
    /// The order ID, exactly as the shop writes it
    #[arg(value_name = "ORDER")]
    pub order: String,
    /// What an item costs after the refund, all of its kind together. May be repeated
    #[arg(long, value_name = "SKU=AMOUNT")]
    pub sku: Vec<String>,
    /// How many of an item remain; 0 means that all came back. May be repeated
    #[arg(long, value_name = "SKU=N")]
    pub quantity: Vec<String>,
    /// What an item loses, as -AMOUNT. May be repeated
    #[arg(long, value_name = "SKU=-AMOUNT")]
    pub delta: Vec<String>,
    /// What the whole order costs after the refund; Advocate evaluates items, so name these where they are known
    #[arg(long, value_name = "AMOUNT", conflicts_with_all = ["sku", "quantity", "delta"])]
    pub amount: Option<String>,
    /// The one action to change, named by its ActionId; it must belong to the order
    #[arg(long, value_name = "ID")]
    pub action_id: Option<String>,
    /// The code that goes to the vendor as Reason and as DispositionCode; custom codes are case-sensitive
    #[arg(long, value_name = "CODE", default_value = "ORDER_UPDATE")]
    pub code: String,
    /// Why, how carefully, and how long.
    #[command(flatten)]
    pub send: SendArgs,
    /// Send a change that was sent before: it is another refund
    #[arg(long)]
    pub again: bool,
    /// Where the items cannot be read: the order has others than those that are named, and they stay
    #[arg(long)]
    pub others_stay: bool,
}
