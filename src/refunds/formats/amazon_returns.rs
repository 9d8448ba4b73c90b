//! The format of Amazon's FBA customer returns report. The FBA customer returns report lists returned units and no
//! amounts.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "amazon-fba-returns",
    title: "Amazon FBA customer returns",
    grain: "returned unit, without an amount",
    rule: "never by itself: the settlement report has the refunds",
    signature: &[&["return-date"], &["order-id"], &["detailed-disposition", "fnsku"]],
    columns: &[
        (Column::OrderId, &["order-id"]),
        (Column::Status, &["status"]),
        (Column::AmountType, &["detailed-disposition"]),
        (Column::RowId, &["license-plate-number"]),
    ],
    required: &[],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    // Reads the cell only to record it as evidence.
    cells.text(Column::Status);
    Err("a unit was returned, and this report has neither refunds nor the other units of the order; use the settlement \
         report"
        .to_owned())
}
