//! The format of refunds from WooCommerce's REST API, where `parent_id` is the order ID. A WooCommerce refund does not
//! contain the order's price.

use super::{Column, Format, RowCells, RowMeaning};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "woocommerce-refunds",
    title: "WooCommerce REST API refunds",
    grain: "refund",
    rule: "the refunds of the order add up to the action's amount",
    signature: SIGNATURE,
    columns: COLUMNS,
    required: &[Column::Amount],
    interpret,
    ..Format::BASE
};

const SIGNATURE: &[&[&str]] = &[&["parent_id"], &["amount"], &["reason"]];
const COLUMNS: &[super::ColumnNames] = &[
    (Column::OrderId, &["parent_id"]),
    (Column::Amount, &["amount"]),
    (Column::Reason, &["reason"]),
    (Column::Status, &["status"]),
    (Column::RowId, &["id"]),
    (Column::RefundedAt, &["date_created_gmt", "date_created"]),
];

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    if cells.text(Column::OrderId) == "0" {
        return Err("a refund without an order".to_owned());
    }
    if !matches!(cells.word(Column::Status).as_str(), "" | "completed" | "refunded") {
        return Err(cells.unknown(Column::Status));
    }
    Ok(RowMeaning::Refund { refunded: Decimal::abs(cells.needed(Column::Amount)?), total: None })
}
