//! The format of the orders report of WooCommerce Analytics. A partial refund lowers a WooCommerce order's Net Sales
//! and does not change its status.

use super::{Column, Format, OrderStatus, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "woocommerce-analytics",
    title: "WooCommerce Analytics orders",
    grain: "order",
    rule: "Status is refunded (a partial refund cannot be told from this report)",
    caveat: "this report does not show refunds in part: such an order counts as not refunded here",
    signature: &[&["Order #"], &["N. Revenue (formatted)"], &["Status"]],
    columns: &[
        (Column::OrderId, &["Order #"]),
        (Column::Status, &["Status"]),
        (Column::Amount, &["Net Sales"]),
        (Column::OrderedAt, &["Date"]),
    ],
    required: &[Column::Status, Column::Amount],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let status = status_of(&cells.word(Column::Status)).ok_or_else(|| cells.unknown(Column::Status))?;
    if status == OrderStatus::Refunded && !cells.needed(Column::Amount)?.is_zero() {
        return Err("the status is refunded, and the order still has net sales".to_owned());
    }
    Ok(RowMeaning::OrderState { status, refunded: None, total: None })
}

/// Maps WooCommerce's order statuses. Only the WooCommerce status `refunded` proves a refund.
pub(super) fn status_of(word: &str) -> Option<OrderStatus> {
    match word.strip_prefix("wc ").unwrap_or(word) {
        "refunded" => Some(OrderStatus::Refunded),
        "completed" | "processing" | "on hold" | "pending" | "pending payment" | "cancelled" | "canceled"
        | "failed" | "draft" | "checkout draft" | "trash" => Some(OrderStatus::NotInFull),
        _ => None,
    }
}
