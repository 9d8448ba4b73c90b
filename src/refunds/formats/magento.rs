//! The format of the orders grid of Magento (Adobe Commerce). Magento's status `closed` means refunded in full or
//! cancelled. Therefore the amounts of the order decide whether it was refunded. A Magento order with a custom status
//! is unclear.

use super::{Column, Format, OrderStatus, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "magento-orders",
    title: "Magento / Adobe Commerce orders grid",
    grain: "order",
    rule: "Status is closed, and Total Refunded is Grand Total (Purchased) > 0",
    signature: &[&["ID"], &["Grand Total (Purchased)"], &["Total Refunded"], &["Status"]],
    columns: &[
        (Column::OrderId, &["ID"]),
        (Column::Status, &["Status"]),
        (Column::Amount, &["Total Refunded"]),
        (Column::Total, &["Grand Total (Purchased)"]),
        (Column::OrderedAt, &["Purchase Date"]),
    ],
    required: &[Column::Amount, Column::Total],
    interpret,
    ..Format::BASE
};

/// Returns `true` if the Magento status means that the order was not refunded in full.
fn is_open(status: &str) -> bool {
    matches!(
        status,
        "pending"
            | "pending payment"
            | "processing"
            | "complete"
            | "holded"
            | "on hold"
            | "canceled"
            | "payment review"
            | "fraud"
            | "suspected fraud"
    )
}

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let status = cells.word(Column::Status);
    let total = cells.needed(Column::Total)?;
    let Some(refunded) = cells.amount(Column::Amount)? else {
        // Magento's orders grid leaves the refunded amount blank if the shop refunded nothing.
        return if is_open(&status) {
            Ok(RowMeaning::OrderState {
                status: OrderStatus::NotInFull,
                refunded: Some(Decimal::ZERO),
                total: Some(total),
            })
        } else {
            Err(cells.blank(Column::Amount))
        };
    };
    let status = match status.as_str() {
        // Magento closes an order after a full refund. A partial refund does not change the Magento status of the
        // order.
        "closed" => OrderStatus::AmountsDecide,
        _ if is_open(&status) => OrderStatus::NotInFull,
        _ => return Err(cells.unknown(Column::Status)),
    };
    Ok(RowMeaning::OrderState { status, refunded: Some(refunded.abs()), total: Some(total) })
}
