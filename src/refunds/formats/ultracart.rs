//! The format of UltraCart's refund report. In an UltraCart file, a second table with its own header may follow the
//! first.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "ultracart-refunds",
    title: "UltraCart refund report",
    grain: "refund",
    rule: "Total Refunded adds up to Total > 0",
    has_sections: true,
    signature: &[&["Order ID"], &["Total Refunded"], &["Refund By User"]],
    columns: &[
        (Column::OrderId, &["Order ID"]),
        (Column::Amount, &["Total Refunded"]),
        (Column::Total, &["Total", "Order Total"]),
        (Column::Currency, &["Currency", "Currency Code"]),
        (Column::RefundedAt, &["Refund Date", "Refund Dts"]),
        (Column::Reason, &["Refund Reason", "Reason"]),
    ],
    required: &[Column::Amount],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    let refunded = cells.needed(Column::Amount)?.abs();
    let total = cells.amount(Column::Total)?;
    if cells.has(Column::RefundedAt) && cells.text(Column::RefundedAt).is_empty() {
        return Err(cells.blank(Column::RefundedAt));
    }
    if cells.has(Column::Total) && total.is_none() {
        return Err(cells.blank(Column::Total));
    }
    Ok(RowMeaning::Refund { refunded, total })
}
