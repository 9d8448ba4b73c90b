//! Shopify Admin API: orders as REST answers or as GraphQL bulk operations write them, with refunds nested or as child lines.

use serde::Deserialize;

use super::shopify_orders::status_of;
use super::{Cells, Column, Format, Says, Status};
use crate::model::decimal::Decimal;

pub(super) static FORMAT: Format = Format {
    name: "shopify-json",
    title: "Shopify Admin API orders (REST or GraphQL bulk)",
    grain: "order; refunds are nested, or child lines by __parentId",
    rule: "the financial status is refunded, and the successful refunds add up to the order's total",
    is_json: Some(true),
    signature: &[&["name"], &["financial_status", "displayFinancialStatus"]],
    columns: &[
        (Column::OrderId, &["name"]),
        (Column::Status, &["displayFinancialStatus", "financial_status"]),
        (Column::Total, &["totalPriceSet", "total_price"]),
        (Column::Amount, &["totalRefundedSet", "refunds", "total_refunded", "totalRefunded"]),
        (Column::Currency, &["currency", "currencyCode"]),
        (Column::OrderedAt, &["created_at", "createdAt"]),
        (Column::RowId, &["id"]),
        (Column::Reference, &["__parentId"]),
    ],
    required: &[Column::Status],
    says,
    ..Format::BASE
};

fn says(cells: &Cells<'_>) -> Result<Says, String> {
    if !cells.text(Column::Reference).is_empty() {
        return child(cells);
    }
    let status = status_of(&cells.word(Column::Status)).ok_or_else(|| cells.unknown(Column::Status))?;
    let total = money(cells.text(Column::Total))?;
    let nested = cells.text(Column::Amount);
    let refunded = match nested.as_bytes().first() {
        None => None,
        Some(b'[') => Some(sum_of_refunds(nested)?),
        Some(_) => money(nested)?,
    };
    if status == Status::Refunded && total.is_some_and(Decimal::is_zero) {
        return Err("the order's total is 0".to_owned());
    }
    Ok(Says::Order { status, refunded, total })
}

/// A child line of a bulk operation. Its transactions and line items are in the refund's own sum.
fn child(cells: &Cells<'_>) -> Result<Says, String> {
    Ok(match money(cells.text(Column::Amount))? {
        Some(refunded) => Says::Refund { refunded, total: None },
        None => Says::Nothing,
    })
}

/// `"100.00"`, or `{"shopMoney":{"amount":"100.0","currencyCode":"USD"}}`.
fn money(text: &str) -> Result<Option<Decimal>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Set {
        shop_money: Money,
    }
    #[derive(Deserialize)]
    struct Money {
        amount: Text,
    }
    let wrong = || format!("{text:?} is no amount");
    if text.is_empty() {
        return Ok(None);
    }
    let amount = if text.starts_with('{') {
        serde_json::from_str::<Set>(text).map_err(|_unreadable| wrong())?.shop_money.amount.0
    } else {
        text.to_owned()
    };
    Decimal::parse(&amount).map(Some).ok_or_else(wrong)
}

/// A JSON text or number, as it stands there.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().trim_matches('"').to_owned()))
    }
}

#[derive(Deserialize)]
struct Refund {
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    kind: String,
    status: String,
    amount: Text,
}

/// What the successful refund transactions of an order add up to.
fn sum_of_refunds(text: &str) -> Result<Decimal, String> {
    let refunds: Vec<Refund> =
        serde_json::from_str(text).map_err(|_unreadable| "refunds without readable transactions".to_owned())?;
    let mut sum = Decimal::ZERO;
    for transaction in refunds.iter().flat_map(|refund| &refund.transactions) {
        match (transaction.kind.to_lowercase().as_str(), transaction.status.to_lowercase().as_str()) {
            ("refund", "success") => {
                let amount = Decimal::parse(&transaction.amount.0);
                sum = sum + amount.ok_or_else(|| format!("{:?} is no amount of a refund", transaction.amount.0))?;
            }
            ("refund", "failure" | "error") | ("void" | "authorization" | "capture" | "sale", _) => {}
            (kind, status) => return Err(format!("a refund has a transaction {kind:?} with status {status:?}")),
        }
    }
    Ok(sum)
}
