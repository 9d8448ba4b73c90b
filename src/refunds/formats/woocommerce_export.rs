//! The format of order exports by WooCommerce plugins, such as Customer/Order/Coupon Export.

use super::woocommerce_analytics::status_of;
use super::{Column, Format, OrderStatus, RowCells, RowMeaning, fold, interpret_order};

pub(super) static FORMAT: Format = Format {
    name: "woocommerce-export",
    title: "WooCommerce order export (export suite)",
    grain: "order, or line item with the order's columns repeated",
    rule: "status is refunded; if the export has the refunded total, it is the order's total > 0",
    signature: &[&["order_number"], &["order_id"], &["status", "order_status"], &["order_total"]],
    columns: &[
        (Column::OrderId, &["order_number"]),
        (Column::Status, &["status", "order_status"]),
        (Column::Total, &["order_total"]),
        (
            Column::Amount,
            &[
                "refunded_total",
                "total_refunded",
                "refund_total",
                "refund_amount",
                "refunded",
                "refunded_amount",
                "amount_refunded",
                "order_refund_total",
                "order_refunded",
            ],
        ),
        (Column::Currency, &["order_currency", "currency"]),
        (Column::Detail, &["refund_items", "refunds", "order_refunds"]),
        (Column::OrderedAt, &["order_date", "date"]),
    ],
    required: &[Column::Status],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let status = status_of(&cells.word(Column::Status)).ok_or_else(|| cells.unknown(Column::Status))?;
    if cells.has(Column::Amount) {
        return interpret_order(cells, status);
    }
    if status == OrderStatus::Refunded && !cells.text(Column::Detail).is_empty() {
        return Err(
            "its refunds are listed one by one, and recoup reads only a column with the refunded total".to_owned()
        );
    }
    // A total without a refunded amount proves nothing, but an unreadable total makes the order unclear.
    let total = cells.needed(Column::Total)?;
    if status == OrderStatus::Refunded && (total.is_zero() || total.is_negative()) {
        return Err(format!("the total of the order, {total}, is not more than 0"));
    }
    // Ignores the refund columns of order items, because the order's total includes them.
    let is_about_refund = |(place, name): (usize, &String)| {
        let name = fold(name);
        name.contains("refund") && !name.contains("item") && !cells.row.cell(place).trim().is_empty()
    };
    if status == OrderStatus::Refunded && cells.columns.header.iter().enumerate().any(is_about_refund) {
        return Err("a column about its refunds is unknown".to_owned());
    }
    Ok(RowMeaning::OrderState { status, refunded: None, total: None })
}
