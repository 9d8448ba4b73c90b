//! The format of returns apps, such as Loop, Frate and parcelLab. A completed return in the file of a returns app
//! counts as a refund. The file of a returns app does not contain the price of the order.

use super::{Column, Format, RowCells, RowMeaning};

pub(super) static FORMAT: Format = Format {
    name: "returns-app",
    title: "returns app (Loop, Frate, parcelLab and the like)",
    grain: "return",
    rule: "its returns are completed, and their refunds add up to the action's amount",
    signature: &[
        &["return_status", "return_state", "state"],
        &["order_name", "order_number"],
        &["total_refund", "refund_total", "total_refund_amount"],
    ],
    columns: &[
        (Column::OrderId, &["order_name", "order_number"]),
        (Column::Status, &["return_status", "return_state", "state"]),
        (Column::Amount, &["total_refund", "refund_total", "total_refund_amount"]),
        (Column::Type, &["refund_type", "refund_method", "return_type", "outcome", "resolution"]),
        (Column::Currency, &["currency", "currency_code"]),
        (Column::RowId, &["return_id", "return_number", "rma", "id"]),
        (Column::RefundedAt, &["return_processed_date", "processed_at", "refunded_at", "completed_at"]),
    ],
    required: &[Column::Status, Column::Amount],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    match cells.word(Column::Status).as_str() {
        "completed" | "complete" | "refunded" | "processed" => {
            // The shop keeps the money if the customer gets store credit or an exchange.
            let is_money = matches!(
                cells.word(Column::Type).as_str(),
                "" | "refund"
                    | "refunded"
                    | "return"
                    | "original"
                    | "original payment"
                    | "original payment method"
                    | "credit card"
            );
            if !is_money {
                return Err(cells.unknown(Column::Type));
            }
            Ok(RowMeaning::Refund { refunded: cells.needed(Column::Amount)?.abs(), total: None })
        }
        "rejected" | "declined" | "denied" | "labels generated" | "label generated" | "open" | "opened" | "pending"
        | "cancelled" | "canceled" | "requested" | "created" | "approved" | "in transit" | "in progress"
        | "shipped" | "delivered" | "received" | "expired" | "review" | "in review" | "needs review" | "flagged"
        | "draft" => Ok(RowMeaning::NoRefund(format!("the return is {}", cells.text(Column::Status)))),
        _ => Err(cells.unknown(Column::Status)),
    }
}
