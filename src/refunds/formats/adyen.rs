//! The formats of Adyen's settlement details and payment accounting reports.

use super::{Column, Format, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "adyen-settlement",
    title: "Adyen settlement details or payment accounting",
    grain: "transaction",
    rule: "the Refunded rows of the order add up to its Settled ones; without those in the file, to the action's amount",
    sums_payments: true,
    signature: &[
        &["Psp Reference"],
        &["Merchant Reference"],
        &["Type", "Record Type"],
        &["Gross Debit (GC)", "Main Amount", "Gross Debit"],
    ],
    columns: &[
        (Column::OrderId, &["Merchant Reference"]),
        (Column::Type, &["Type", "Record Type"]),
        (Column::Debit, &["Gross Debit (GC)", "Gross Debit"]),
        (Column::Credit, &["Gross Credit (GC)", "Gross Credit"]),
        (Column::Amount, &["Main Amount"]),
        (Column::Currency, &["Gross Currency", "Main Currency"]),
        (Column::Payment, &["Psp Reference"]),
        (Column::RowId, &["Modification Reference", "Modification Psp Reference"]),
        (Column::RefundedAt, &["Booking Date"]),
    ],
    required: &[Column::Type, Column::Currency],
    signed: true,
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let kind = cells.word(Column::Type).replace(' ', "");
    let amount = |column: Column| -> Result<Decimal, String> {
        let column = if cells.has(column) { column } else { Column::Amount };
        let amount = cells.needed(column)?;
        let other = if column == Column::Debit { Column::Credit } else { Column::Debit };
        if column != Column::Amount && cells.amount(other)?.is_some_and(|other| !other.is_zero()) {
            return Err(format!("a {kind} row with both a debit and a credit"));
        }
        if amount.is_negative() && column != Column::Amount {
            return Err(format!("a {kind} row with an amount of {amount}"));
        }
        let amount = amount.abs();
        if amount.is_zero() { Err(format!("a {kind} row without an amount")) } else { Ok(amount) }
    };
    match kind.as_str() {
        "settled" => Ok(RowMeaning::Transaction { charged: amount(Column::Credit)?, refunded: Decimal::ZERO }),
        "refunded" => Ok(RowMeaning::Transaction { charged: Decimal::ZERO, refunded: amount(Column::Debit)? }),
        "refundedreversed" => {
            Ok(RowMeaning::Transaction { charged: Decimal::ZERO, refunded: -amount(Column::Credit)? })
        }
        "refundfailed" => Err("a refund of the order failed".to_owned()),
        "chargeback"
        | "chargebackreversed"
        | "secondchargeback"
        | "merchantpayout"
        | "fee"
        | "misccosts"
        | "balancetransfer"
        | "invoicededuction"
        | "depositcorrection"
        | "reserveadjustment"
        | "paymentcost"
        | "received"
        | "authorised"
        | "sentforsettle"
        | "sentforrefund"
        | "cancelled"
        | "refused"
        | "error"
        | "expired"
        | "capturefailed"
        | "notificationofchargeback"
        | "disputedefense"
        | "bankpayout"
        | "payout" => Ok(RowMeaning::NoRefund(format!("{} is no refund", cells.text(Column::Type)))),
        _ => Err(cells.unknown(Column::Type)),
    }
}
