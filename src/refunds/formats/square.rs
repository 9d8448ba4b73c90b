//! The format of Square's payments report. Square reports refunds as negative rows of another report. Therefore a file
//! of payments proves no refund.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "square-payments",
    title: "Square payments report",
    grain: "payment",
    rule: "never: the report lists payments, and refunds are in another one",
    signature: &[&["Payment ID"], &["Total Collected"], &["Fees"]],
    columns: &[
        (Column::OrderId, &["Order ID", "Order Reference ID", "Transaction ID"]),
        (Column::Amount, &["Total Collected"]),
        (Column::Type, &["Event Type"]),
        (Column::RowId, &["Payment ID"]),
    ],
    required: &[],
    signed: true,
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    if cells.has(Column::Type) && cells.word(Column::Type) != "payment" {
        return Err(cells.unknown(Column::Type));
    }
    if cells.needed(Column::Amount)?.is_negative() {
        return Err("money went back, and this report does not have the price of the order".to_owned());
    }
    Ok(RowMeaning::NoRefund("a report of payments cannot show a refund".to_owned()))
}
