//! Flags of `recoup adjust`.

use clap::{ArgGroup, Args};

use super::SendArgs;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["sku", "quantity", "delta", "amount"]).required(true).multiple(true)))]
pub struct AdjustArgs {
    /// The order ID, exactly as the shop writes it
    #[arg(value_name = "ORDER")]
    pub order: String,
    /// The amount of an item after the refund, for all its units together. The flag may be repeated
    #[arg(long, value_name = "SKU=AMOUNT")]
    pub sku: Vec<String>,
    /// The quantity of an item after the refund; 0 if the buyer returned all. The flag may be repeated
    #[arg(long, value_name = "SKU=N")]
    pub quantity: Vec<String>,
    /// The change of an item's amount, as -AMOUNT. The flag may be repeated
    #[arg(long, value_name = "SKU=-AMOUNT")]
    pub delta: Vec<String>,
    /// The amount of the whole order after the refund. Advocate evaluates items, so name the items if you know them
    #[arg(long, value_name = "AMOUNT", conflicts_with_all = ["sku", "quantity", "delta"])]
    pub amount: Option<String>,
    /// The ActionId of the action to change; it must belong to the order
    #[arg(long, value_name = "ID")]
    pub action_id: Option<String>,
    /// The code for the vendor, sent as Reason and as DispositionCode; the case of custom codes matters
    #[arg(long, value_name = "CODE", default_value = "ORDER_UPDATE")]
    pub code: String,
    #[command(flatten)]
    pub send: SendArgs,
    /// Send the same change a second time, because it is another refund
    #[arg(long)]
    pub again: bool,
    /// Confirm that the order has other items than the named ones, which stay unchanged; needed if the items cannot be
    /// read
    #[arg(long)]
    pub others_stay: bool,
}
