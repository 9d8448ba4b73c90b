//! The format of Stripe's payments export. Stripe's `Status` stays `Paid` after a partial refund. In a Stripe export,
//! the order ID is in a metadata column.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "stripe-payments",
    title: "Stripe payments export",
    grain: "charge",
    rule: "Amount Refunded of the order's charges adds up to their Amount > 0",
    sums_payments: true,
    signature: &[&["Amount"], &["Amount Refunded"], &["Captured"], &["Status"]],
    columns: &[
        (
            Column::OrderId,
            &[
                "order_id (metadata)",
                "orderid (metadata)",
                "order (metadata)",
                "order_number (metadata)",
                "order_name (metadata)",
                "order_no (metadata)",
            ],
        ),
        (Column::Status, &["Status"]),
        (Column::Type, &["Captured"]),
        (Column::Detail, &["Mode"]),
        (Column::Total, &["Amount"]),
        (Column::Amount, &["Amount Refunded"]),
        (Column::Currency, &["Currency"]),
        (Column::RowId, &["id"]),
    ],
    required: &[Column::Status, Column::Type, Column::Total, Column::Amount, Column::Currency],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let status = cells.word(Column::Status);
    match status.as_str() {
        "failed"
        | "canceled"
        | "cancelled"
        | "requires action"
        | "requires payment method"
        | "requires confirmation"
        | "requires capture"
        | "uncaptured"
        | "blocked"
        | "incomplete"
        | "expired" => {
            return Ok(RowMeaning::NoRefund(format!("the payment is {status}")));
        }
        "paid" | "succeeded" | "refunded" | "partially refunded" | "partial refund" | "disputed" => {}
        _ => return Err(cells.unknown(Column::Status)),
    }
    match cells.word(Column::Type).as_str() {
        "true" | "yes" | "1" => {}
        "false" | "no" | "0" => return Ok(RowMeaning::NoRefund("the payment was not captured".to_owned())),
        _ => return Err(cells.unknown(Column::Type)),
    }
    let (charged, refunded) = (cells.needed(Column::Total)?, cells.needed(Column::Amount)?.abs());
    if charged.is_negative() {
        return Err(format!("a charge of {charged} is not a charge"));
    }
    if cells.word(Column::Detail) == "test" {
        return Ok(RowMeaning::NoRefund("a payment in test mode".to_owned()));
    }
    if status.starts_with("partial") && refunded == charged {
        return Err(format!("Status is {status}, and {refunded} of {charged} was refunded"));
    }
    if status == "refunded" && refunded != charged {
        return Err(format!("Status is refunded, and {refunded} of {charged} was"));
    }
    if status == "disputed" && !refunded.is_zero() {
        return Err("the payment is disputed and was refunded".to_owned());
    }
    Ok(RowMeaning::Transaction { charged, refunded })
}
