//! Parses the flags of `recoup adjust` into a change. `change_flags` does no I/O.
//!
//! The parser splits `SKU=VALUE` at the last `=`, because a SKU may contain `=`. The flags are wrong if an amount
//! cannot be stored exactly, if one item has an amount and a delta, or if a SKU is repeated.

use crate::error::{Error, Kind, Result};
use crate::model::decimal::Decimal;
use crate::vendor::{Change, ItemChange, ItemMoney};

/// Digits that the vendor accepts before and after the decimal point (`docs/vendor/brand.md` §1, Transport).
const WHOLE: usize = 8;
const PLACES: usize = 2;

/// Longest SKU, in characters (`docs/vendor/brand.md` §1, Transport: text of 255 characters).
const SKU_AT_MOST: usize = 255;

#[derive(Debug, Clone, Default)]
pub struct ChangeFlags {
    /// `--sku SKU=AMOUNT`: the total of this order item after the refund.
    pub amounts: Vec<String>,
    /// `--quantity SKU=N`: how many units of this order item remain.
    pub quantities: Vec<String>,
    /// `--delta SKU=-AMOUNT`: the amount to subtract from this order item.
    pub deltas: Vec<String>,
    /// `--amount AMOUNT`: the order's total after the refund.
    pub total: Option<String>,
}

pub fn change(flags: &ChangeFlags) -> Result<Change> {
    if let Some(total) = &flags.total {
        let amount = money("--amount", total)?;
        return if amount.is_negative() {
            Err(usage("--amount is what the order costs after the refund, so it is not less than 0"))
        } else {
            Ok(Change::Order(amount))
        };
    }
    let mut items: Vec<ItemChange> = Vec::new();
    for text in &flags.amounts {
        let (sku, value) = split("--sku", text)?;
        let amount = money("--sku", value)?;
        if amount.is_negative() {
            return Err(usage("--sku is what the item costs after the refund, so it is not less than 0")
                .hint("what it loses is --delta SKU=-AMOUNT"));
        }
        put(&mut items, sku, ItemMoney::Amount(amount))?;
    }
    for text in &flags.deltas {
        let (sku, value) = split("--delta", text)?;
        let delta = money("--delta", value)?;
        if !delta.is_negative() {
            return Err(usage(format!("--delta {text:?} takes nothing away: a refund is less than 0"))
                .hint(format!("write it as --delta {sku}=-{delta}")));
        }
        put(&mut items, sku, ItemMoney::Delta(delta))?;
    }
    for text in &flags.quantities {
        let (sku, value) = split("--quantity", text)?;
        let quantity: u64 = value.trim().parse().map_err(|_cause| {
            usage(format!("--quantity {text:?}: how many remain is a whole number")).hint("0 means that all came back")
        })?;
        let item = named(&mut items, sku);
        if item.quantity.replace(quantity).is_some() {
            return Err(usage(format!("--quantity names {sku:?} twice")));
        }
    }
    if items.is_empty() {
        return Err(usage("what is to change is not said")
            .hint("name it with --sku SKU=AMOUNT, --quantity SKU=N, --delta SKU=-AMOUNT or --amount AMOUNT"));
    }
    Ok(Change::Items(items))
}

fn put(items: &mut Vec<ItemChange>, sku: &str, money: ItemMoney) -> Result<()> {
    let item = named(items, sku);
    if item.money.replace(money).is_some() {
        return Err(usage(format!("the money of {sku:?} is named twice"))
            .hint("an item takes one amount (--sku) or one difference (--delta)"));
    }
    Ok(())
}

fn named<'a>(items: &'a mut Vec<ItemChange>, sku: &str) -> &'a mut ItemChange {
    let place = items.iter().position(|item| item.sku == sku).unwrap_or_else(|| {
        items.push(ItemChange { sku: sku.to_owned(), category: None, quantity: None, money: None });
        items.len() - 1
    });
    &mut items[place]
}

fn split<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    let wrong = || usage(format!("{flag} {text:?} is not SKU=VALUE"));
    let (sku, value) = text.rsplit_once('=').ok_or_else(wrong)?;
    let length = sku.chars().count();
    if length == 0 || length > SKU_AT_MOST || sku.chars().any(char::is_control) {
        return Err(usage(format!("{flag} {text:?}: a SKU has 1 to {SKU_AT_MOST} characters on one line")));
    }
    Ok((sku, value))
}

fn money(flag: &str, text: &str) -> Result<Decimal> {
    let wrong = |why: &str| usage(format!("{flag} {text:?} {why}")).hint("write it as 12.50");
    let amount = Decimal::parse(text).ok_or_else(|| wrong("is no amount"))?;
    let shown = amount.to_string();
    let (whole, fraction) = shown.trim_start_matches('-').split_once('.').unwrap_or((&shown, ""));
    if whole.len() > WHOLE || fraction.len() > PLACES {
        return Err(wrong("is more exact or larger than the vendor takes: 8 digits and 2 decimals"));
    }
    Ok(amount)
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn of(amounts: &[&str], quantities: &[&str], deltas: &[&str]) -> ChangeFlags {
        ChangeFlags { amounts: texts(amounts), quantities: texts(quantities), deltas: texts(deltas), total: None }
    }

    #[test]
    fn flags_become_one_change_an_item() {
        let Ok(Change::Items(items)) = change(&of(&["A=5", "x=y=2.50"], &["A=1", "B=0"], &["C=-3"])) else {
            panic!("items")
        };
        let shown: Vec<String> = items.iter().map(|i| format!("{} {:?} {:?}", i.sku, i.quantity, i.money)).collect();
        assert_eq!(items.len(), 4);
        assert!(shown[0].starts_with("A Some(1) Some(Amount("), "{shown:?}");
        assert!(shown[1].starts_with("x=y None Some(Amount("), "{shown:?}");
        assert!(shown[2].starts_with("C None Some(Delta("), "{shown:?}");
        assert_eq!(shown[3], "B Some(0) None");
        let total = ChangeFlags { total: Some("12.5".into()), ..ChangeFlags::default() };
        assert!(matches!(change(&total), Ok(Change::Order(amount)) if amount.to_string() == "12.50"));
    }

    #[test]
    fn what_cannot_be_meant_is_wrong_usage() {
        for flags in [
            ChangeFlags::default(),
            of(&["A"], &[], &[]),
            of(&["=5"], &[], &[]),
            of(&["A=-5"], &[], &[]),
            of(&["A=1,5"], &[], &[]),
            of(&["A=1.005"], &[], &[]),
            of(&["A=123456789"], &[], &[]),
            of(&["A=5", "A=5"], &[], &[]),
            of(&["A=5"], &[], &["A=-1"]),
            of(&[], &["A=-1"], &[]),
            of(&[], &["A=1.5"], &[]),
            of(&[], &["A=1", "A=2"], &[]),
            of(&[], &[], &["A=5"]),
            of(&[], &[], &["A=0"]),
            ChangeFlags { total: Some("-1".into()), ..ChangeFlags::default() },
            ChangeFlags { total: Some("all".into()), ..ChangeFlags::default() },
        ] {
            assert_eq!(change(&flags).expect_err("wrong").kind, Kind::Usage, "{flags:?}");
        }
    }
}
