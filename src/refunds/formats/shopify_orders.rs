//! The format of Shopify's orders export. Shopify's export has status and totals only in the first row of an order. In
//! Shopify's export, the rows of further line items leave status and totals blank.

use super::{Column, Format, OrderStatus, RowCells, RowMeaning, interpret_order};

pub(super) static FORMAT: Format = Format {
    name: "shopify-orders",
    title: "Shopify orders export",
    grain: "line item; only an order's first row has status and totals",
    rule: "Financial Status is refunded, and Refunded Amount is Total > 0",
    is_json: Some(false),
    signature: &[&["Name"], &["Financial Status"]],
    columns: &[
        (Column::OrderId, &["Name"]),
        (Column::Status, &["Financial Status"]),
        (Column::Amount, &["Refunded Amount"]),
        (Column::Total, &["Total"]),
        (Column::Currency, &["Currency"]),
        (Column::OrderedAt, &["Created at"]),
    ],
    required: &[Column::Status, Column::Amount, Column::Total],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let all = [Column::Status, Column::Amount, Column::Total];
    if all.iter().all(|column| cells.text(*column).is_empty()) {
        return Ok(RowMeaning::Ignored);
    }
    let status = status_of(&cells.word(Column::Status)).ok_or_else(|| cells.unknown(Column::Status))?;
    interpret_order(cells, status)
}

/// Maps Shopify's financial statuses, which are the same in the orders export and the Admin API.
pub(super) fn status_of(word: &str) -> Option<OrderStatus> {
    match word {
        "refunded" => Some(OrderStatus::Refunded),
        "partially refunded" => Some(OrderStatus::RefundedInPart),
        "pending" | "authorized" | "partially paid" | "paid" | "voided" | "expired" | "unpaid" => {
            Some(OrderStatus::NotRefunded)
        }
        _ => None,
    }
}
