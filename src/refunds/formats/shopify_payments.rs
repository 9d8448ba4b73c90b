//! The format of Shopify Payments transactions. A refund in Shopify Payments has a negative amount.

use super::{Column, Format, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "shopify-payments",
    title: "Shopify Payments transactions",
    grain: "transaction",
    rule: "the refunds of the order add up to its charges; without its charge in the file, to the action's amount",
    sums_payments: true,
    signature: &[&["Type"], &["Order"], &["Payout Status"], &["Amount"]],
    columns: &[
        (Column::OrderId, &["Order"]),
        (Column::Type, &["Type"]),
        (Column::Amount, &["Amount"]),
        (Column::Currency, &["Currency"]),
        (Column::Status, &["Payout Status"]),
        (Column::RefundedAt, &["Transaction Date"]),
        (Column::Payment, &["Checkout"]),
    ],
    required: &[Column::Type, Column::Amount, Column::Currency],
    signed: true,
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let kind = cells.word(Column::Type);
    let money = || -> Result<Decimal, String> { cells.needed(Column::Amount) };
    match kind.as_str() {
        "charge" | "sale" | "capture" => match money()? {
            amount if amount.is_negative() => Err(format!("a charge of {amount} is not a charge")),
            charged => Ok(RowMeaning::Transaction { charged, refunded: Decimal::ZERO }),
        },
        "refund" => match money()? {
            amount if amount.is_negative() => match cells.word(Column::Status).as_str() {
                "failed" | "canceled" | "cancelled" => Err(cells.unknown(Column::Status)),
                _ => Ok(RowMeaning::Transaction { charged: Decimal::ZERO, refunded: amount.abs() }),
            },
            amount => Err(format!("a refund of {amount} is not negative, so it took no money back")),
        },
        "adjustment" | "credit" if !money()?.is_negative() && !cells.text(Column::OrderId).is_empty() => {
            Err(format!("{kind} of {} may undo a refund", money()?))
        }
        "chargeback" | "dispute" | "chargeback won" | "dispute reversal" | "adjustment" | "payout"
        | "payout failure" | "reserve" | "reserved funds" | "advance" | "credit" | "debit" | "tax" => {
            Ok(RowMeaning::NoRefund(format!("{kind} is no refund")))
        }
        _ => Err(cells.unknown(Column::Type)),
    }
}
