//! The format of eBay's orders report. eBay's orders report lists sales and no refunds.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "ebay-orders",
    title: "eBay orders report",
    grain: "item",
    rule: "never: the report lists sales only",
    signature: &[&["Sales Record Number"], &["Order Number"], &["Paid On Date"]],
    columns: &[
        (Column::OrderId, &["Order Number"]),
        (Column::RowId, &["Sales Record Number"]),
        (Column::OrderedAt, &["Paid On Date"]),
    ],
    required: &[],
    interpret,
    ..Format::BASE
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every format's rule")]
fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    // Reads the cell only to record it as evidence.
    cells.text(Column::OrderedAt);
    Ok(RowMeaning::NoRefund("a report of sales cannot show a refund".to_owned()))
}
