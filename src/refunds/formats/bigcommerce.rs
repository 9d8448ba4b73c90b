//! The format of BigCommerce's orders export.

use super::{Column, Format, OrderStatus, RowCells, RowMeaning, interpret_order};

pub(super) static FORMAT: Format = Format {
    name: "bigcommerce-orders",
    title: "BigCommerce orders export",
    grain: "order",
    rule: "Order Status is Refunded, and Refunded Amount is the order total > 0",
    signature: &[&["Order ID"], &["Order Status"], &["Refunded Amount"]],
    columns: &[
        (Column::OrderId, &["Order ID"]),
        (Column::Status, &["Order Status"]),
        (Column::Amount, &["Refunded Amount"]),
        (Column::Total, &["Order Total (inc tax)", "Order Total", "Total (inc tax)", "Total inc tax"]),
        (Column::Currency, &["Currency Code", "Order Currency Code", "Transactional Currency Code"]),
        (Column::OrderedAt, &["Order Date"]),
    ],
    required: &[Column::Status, Column::Amount],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let status = match cells.word(Column::Status).as_str() {
        "refunded" => OrderStatus::Refunded,
        "partially refunded" => OrderStatus::RefundedInPart,
        "pending"
        | "awaiting payment"
        | "awaiting fulfillment"
        | "awaiting shipment"
        | "awaiting pickup"
        | "partially shipped"
        | "completed"
        | "shipped"
        | "cancelled"
        | "canceled"
        | "declined"
        | "manual verification required"
        | "verification required"
        | "disputed"
        | "incomplete" => OrderStatus::NotInFull,
        _ => return Err(cells.unknown(Column::Status)),
    };
    interpret_order(cells, status)
}
