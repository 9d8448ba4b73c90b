//! The format of orders from Shopify's Admin API, by REST or by GraphQL bulk operations. In Shopify's JSON, refunds are
//! nested in the order (REST) or are lines of their own (bulk).

use std::collections::HashSet;

use serde::Deserialize;

use super::shopify_orders::status_of;
use super::{Column, Format, OrderStatus, RowCells, RowMeaning};
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
        (Column::Detail, &["test"]),
        (Column::Type, &["kind"]),
        (Column::AmountType, &["status"]),
        (Column::Part, &["transactions"]),
        (Column::Debit, &["refunds"]),
        (Column::OrderedAt, &["created_at", "createdAt"]),
        (Column::RowId, &["id"]),
        (Column::Reference, &["__parentId"]),
    ],
    required: &[Column::Status],
    interpret,
    ..Format::BASE
};

fn interpret(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    if !cells.text(Column::Reference).is_empty() {
        return child(cells);
    }
    let status = status_of(&cells.word(Column::Status)).ok_or_else(|| cells.unknown(Column::Status))?;
    match cells.text(Column::Detail) {
        "" | "false" => {}
        "true" => return Ok(RowMeaning::NoRefund("a test order".to_owned())),
        _ => return Err(cells.unknown(Column::Detail)),
    }
    let (total, nested) = (cells.text(Column::Total), cells.text(Column::Amount));
    // Shopify's REST API also lists failed refund attempts. `sum_of_refunds` skips the failed refund attempts.
    check_transactions(cells.text(Column::Debit), nested.starts_with('['))?;
    check_transactions(cells.text(Column::Part), false)?;
    if let (Some(one), Some(other)) = (currency_of(total), currency_of(nested))
        && one != other
    {
        return Err(format!("its refunds are in {other}, and the order in {one}"));
    }
    let total = money(total)?;
    let refunded = match nested.as_bytes().first() {
        None => None,
        Some(b'[') => Some(sum_of_refunds(nested, cells.text(Column::Currency))?),
        Some(_) => money(nested)?,
    };
    if status == OrderStatus::Refunded && total.is_some_and(Decimal::is_zero) {
        return Err("the order's total is 0".to_owned());
    }
    Ok(RowMeaning::OrderState { status, refunded, total })
}

/// Interprets a refund line of a Shopify bulk operation. The total of a Shopify refund line includes its transactions
/// and line items.
fn child(cells: &RowCells<'_>) -> Result<RowMeaning, String> {
    if cells.word(Column::Type) == "refund" && cells.word(Column::AmountType) != "success" {
        return Err(format!("a refund of it has the status {:?}", cells.text(Column::AmountType)));
    }
    check_transactions(cells.text(Column::Debit), false)?;
    check_transactions(cells.text(Column::Part), false)?;
    Ok(match money(cells.text(Column::Amount))? {
        Some(refunded) => RowMeaning::Refund { refunded, total: None },
        None => RowMeaning::Ignored,
    })
}

/// Returns the currency code of `{"shopMoney":{"amount":"100.0","currencyCode":"USD"}}`.
fn currency_of(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.get("shopMoney")?.get("currencyCode")?.as_str().map(str::to_uppercase)
}

/// Fails if a refund transaction at any depth is a test or did not succeed. If `may_fail` is set, a failed refund
/// transaction is no error.
fn check_transactions(text: &str, may_fail: bool) -> Result<(), String> {
    if !text.starts_with(['{', '[']) {
        return Ok(());
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return Ok(()) };
    let mut open = vec![&value];
    while let Some(value) = open.pop() {
        match value {
            serde_json::Value::Array(list) => open.extend(list),
            serde_json::Value::Object(map) => {
                let word = |key: &str| map.get(key).and_then(|it| it.as_str()).unwrap_or_default().to_lowercase();
                let failed = matches!(word("status").as_str(), "failure" | "error");
                if word("kind") == "refund" && word("status") != "success" && !(failed && may_fail) {
                    return Err(format!("a refund of it has the status {:?}", word("status")));
                }
                if map.get("test") == Some(&serde_json::Value::Bool(true)) {
                    return Err("a refund of it was made in test mode".to_owned());
                }
                open.extend(map.values());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Parses `"100.00"` or `{"shopMoney":{"amount":"100.0","currencyCode":"USD"}}`.
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
    let wrong = || format!("{text:?} is not an amount");
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

/// The text of a JSON string or number.
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
    id: Option<Text>,
    kind: String,
    status: String,
    currency: Option<String>,
    amount: Text,
}

/// Returns the sum of the refund transactions that succeeded.
fn sum_of_refunds(text: &str, currency: &str) -> Result<Decimal, String> {
    let refunds: Vec<Refund> =
        serde_json::from_str(text).map_err(|_unreadable| "refunds without readable transactions".to_owned())?;
    let mut sum = Decimal::ZERO;
    let mut ids = HashSet::new();
    for transaction in refunds.iter().flat_map(|refund| &refund.transactions) {
        match (transaction.kind.to_lowercase().as_str(), transaction.status.to_lowercase().as_str()) {
            ("refund", "success") => {
                if let Some(other) =
                    transaction.currency.as_deref().filter(|other| !currency.is_empty() && *other != currency)
                {
                    return Err(format!("a refund of it is in {other}, and the order in {currency}"));
                }
                if let Some(id) = &transaction.id
                    && !ids.insert(&id.0)
                {
                    return Err(format!("the transaction {} occurs twice", id.0));
                }
                let amount = Decimal::parse(&transaction.amount.0);
                sum = sum + amount.ok_or_else(|| format!("{:?} is not an amount", transaction.amount.0))?;
            }
            ("refund" | "capture" | "sale", "failure" | "error") | ("void" | "authorization", _) => {}
            (kind, status) => return Err(format!("a refund has a transaction {kind:?} with status {status:?}")),
        }
    }
    Ok(sum)
}
