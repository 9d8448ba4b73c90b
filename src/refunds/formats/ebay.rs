//! eBay, orders report. It lists sales and shows no refund.

use super::{Cells, Column, Format, Says};

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
    says,
    ..Format::BASE
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every format's rule")]
fn says(cells: &Cells<'_>) -> Result<Says, String> {
    // Looked at for the evidence.
    cells.text(Column::OrderedAt);
    Ok(Says::NoRefund("a report of sales cannot show a refund".to_owned()))
}
