//! The format of the vendor's own reversal file (`docs/vendor/refund-guide.md` E). The column Amount of a reversal file
//! is the new amount: 0 reverses the whole action.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "impact-reversals",
    title: "impact.com reversal file",
    grain: "order",
    rule: "Amount is 0: here the column is the order's new amount",
    exact_names: true,
    signature: &[&["ActionTrackerId"], &["OrderId", "Oid"]],
    columns: &[
        (Column::OrderId, &["OrderId", "Oid"]),
        (Column::ActionTrackerId, &["ActionTrackerId"]),
        (Column::Amount, &["Amount"]),
        (Column::Reason, &["Reason"]),
        (Column::Detail, &["Sku", "ItemSku"]),
        (Column::AmountType, &["Quantity", "ItemQuantity"]),
    ],
    required: &[Column::Amount, Column::Reason],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    if !cells.text(Column::Detail).is_empty() || !cells.text(Column::AmountType).is_empty() {
        return Err("the line is about an item, not about the order".to_owned());
    }
    let amount = cells.needed(Column::Amount)?;
    if amount.is_negative() {
        return Err(format!("the new amount {amount} is negative"));
    }
    Ok(RowMeaning::NewAmount(amount))
}
