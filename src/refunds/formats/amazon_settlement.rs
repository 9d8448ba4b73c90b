//! The format of Amazon's settlement report V2. Amazon's settlement report has one line for each component of an
//! amount. Only the principal lines of a settlement report count, because tax and fee lines accompany them.

use super::{Column, Format, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "amazon-settlement",
    title: "Amazon settlement report V2",
    grain: "part of an amount",
    rule: "the Principal of the order's Refund lines adds up to that of its Order lines; without those, to the action's amount",
    sums_payments: true,
    signature: &[&["settlement-id"], &["transaction-type"], &["order-id"], &["amount-type"], &["amount"]],
    columns: &[
        (Column::OrderId, &["order-id"]),
        (Column::Type, &["transaction-type"]),
        (Column::AmountType, &["amount-type"]),
        (Column::Detail, &["amount-description"]),
        (Column::Amount, &["amount"]),
        (Column::Part, &["order-item-code"]),
        (Column::RefundedAt, &["posted-date-time", "posted-date"]),
    ],
    required: &[Column::Type, Column::AmountType, Column::Detail, Column::Amount],
    signed: true,
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let kind = cells.word(Column::Type);
    let is_refund = match kind.as_str() {
        "order" => false,
        "refund" => true,
        "other transaction"
        | "chargeback refund"
        | "a to z guarantee refund"
        | "transfer"
        | "servicefee"
        | "service fee"
        | "liquidations"
        | "micro deposit"
        | "adjustment"
        | "order retrocharge"
        | "previous reserve amount balance"
        | "current reserve amount"
        | "debt"
        | "successful charge" => {
            return Ok(RowMeaning::NoRefund(format!("{} is no refund", cells.text(Column::Type))));
        }
        "refund retrocharge" => return Err("a refund of it was charged back".to_owned()),
        // A line without order ID and amount type is the total line of the settlement.
        "" if cells.text(Column::OrderId).is_empty() && cells.text(Column::AmountType).is_empty() => {
            return Ok(RowMeaning::NoRefund("the total of the settlement".to_owned()));
        }
        _ => return Err(cells.unknown(Column::Type)),
    };
    match (cells.word(Column::AmountType).as_str(), cells.word(Column::Detail).as_str()) {
        ("itemprice", "principal") => {
            let amount = cells.needed(Column::Amount)?;
            match (is_refund, amount.is_negative()) {
                (true, true) => Ok(RowMeaning::Transaction { charged: Decimal::ZERO, refunded: amount.abs() }),
                (false, false) => Ok(RowMeaning::Transaction { charged: amount, refunded: Decimal::ZERO }),
                _ => Err(format!("a principal of {amount} on a line of type {}", cells.text(Column::Type))),
            }
        }
        (_, detail) if is_refund && detail.replace(' ', "").contains("restockingfee") => {
            Err("a restocking fee was kept of its refund".to_owned())
        }
        ("", _) => Err(cells.blank(Column::AmountType)),
        (_, "") => Err(cells.blank(Column::Detail)),
        (
            "itemprice"
            | "itemfees"
            | "promotion"
            | "itemwithheldtax"
            | "other"
            | "cost of advertising"
            | "other transaction",
            _,
        ) => Ok(RowMeaning::NoRefund(format!("{} is not the principal", cells.text(Column::Detail)))),
        _ => Err(cells.unknown(Column::AmountType)),
    }
}
