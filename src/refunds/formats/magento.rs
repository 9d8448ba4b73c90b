//! Magento / Adobe Commerce, the orders grid. `closed` means refunded in full or cancelled, so the amounts decide.

use super::{Cells, Column, Format, Says, Status};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "magento-orders",
    title: "Magento / Adobe Commerce orders grid",
    grain: "order",
    rule: "Total Refunded is Grand Total (Purchased) > 0",
    signature: &[&["ID"], &["Grand Total (Purchased)"], &["Total Refunded"], &["Status"]],
    columns: &[
        (Column::OrderId, &["ID"]),
        (Column::Status, &["Status"]),
        (Column::Amount, &["Total Refunded"]),
        (Column::Total, &["Grand Total (Purchased)"]),
        (Column::OrderedAt, &["Purchase Date"]),
    ],
    required: &[Column::Amount, Column::Total],
    says,
    ..Format::BASE
};

fn says(cells: &Cells<'_>) -> Result<Says, String> {
    let status = cells.word(Column::Status);
    let total = cells.needed(Column::Total)?;
    let Some(refunded) = cells.amount(Column::Amount)? else {
        // The grid leaves the cell blank if nothing was refunded.
        return match status.as_str() {
            "pending" | "pending payment" | "processing" | "complete" | "holded" | "on hold" | "canceled"
            | "payment review" | "fraud" | "suspected fraud" => {
                Ok(Says::Order { status: Status::NotInFull, refunded: Some(Decimal::ZERO), total: Some(total) })
            }
            _ => Err(cells.blank(Column::Amount)),
        };
    };
    let status = if status.is_empty() { return Err(cells.blank(Column::Status)) } else { Status::AmountsDecide };
    Ok(Says::Order { status, refunded: Some(refunded.abs()), total: Some(total) })
}
