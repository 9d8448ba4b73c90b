//! Previews an adjustment item by item, with the values before and after. A person confirms the preview of an
//! adjustment, the ledger stores it, and recoup compares later reads with it. `preview` does no I/O.
//!
//! If recoup can read the action, each changed item must exist and its amount must decrease. The preview shows an
//! unreadable amount as *not known*.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::model::decimal::Decimal;
use crate::report::table;
use crate::vendor::{ActionItem, Change, ItemMoney};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub level: Level,
    pub currency: Option<String>,
    /// Why recoup could not read the values before the change; `null` if it read them.
    pub unread: Option<String>,
    /// One line for the order, or one line for each item, including unchanged items.
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Items,
    Order,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sku: Option<String>,
    pub name: Option<String>,
    /// The values of the item or order that recoup read before the send.
    pub before: Option<Measure>,
    /// The values of the item or order that recoup sends; `null` for an unchanged item.
    pub sent: Option<Sent>,
    /// The expected values of the item or order after the change; `null` if recoup cannot compute the values.
    pub expected: Option<Measure>,
    /// The values of the item or order that recoup read after the send.
    #[serde(default)]
    pub after: Option<Measure>,
}

/// A quantity and its total amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    pub quantity: Option<String>,
    /// Total amount of an item or order, as decimal text.
    pub amount: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sent {
    /// How many units of the item remain.
    pub quantity: Option<u64>,
    /// The new amount of the item or order.
    pub amount: Option<String>,
    /// The amount to subtract from the item.
    pub delta: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Before {
    Items(Vec<ActionItem>),
    /// The amount and currency of an order.
    Order(Option<String>, Option<String>),
    /// recoup could not read the values of the action. The text says why.
    Unread(String),
}

impl Preview {
    /// Builds the preview of a change from the values before the change. Fails if the change does not fit the values
    /// before the change.
    pub fn of(change: &Change, before: &Before) -> Result<Self> {
        match change {
            Change::Order(amount) => of_order(*amount, before),
            Change::Items(_) => of_items(change, before),
        }
    }

    /// Returns `true` if two previews make the same change.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let asked = |of: &Self| {
            let mut asked: Vec<(Option<String>, Sent)> =
                of.lines.iter().filter_map(|line| Some((line.sku.clone(), line.sent.clone()?))).collect();
            asked.sort();
            asked
        };
        self.level == other.level && asked(self) == asked(other)
    }

    #[must_use]
    pub fn read_again(mut self, after: &[(Option<String>, Measure)]) -> Self {
        for line in &mut self.lines {
            line.after = after.iter().find(|(sku, _)| *sku == line.sku).map(|(_, measure)| measure.clone());
        }
        self
    }

    /// Returns `true` if the newest values of a changed item or order differ from its values before the send; `None` if
    /// unknown.
    pub fn has_changed(&self) -> Option<bool> {
        let mut told = self.lines.iter().filter(|line| line.sent.is_some()).map(|line| {
            let (before, after) = (line.before.as_ref()?, line.after.as_ref()?);
            Some(!before.is_same(after))
        });
        told.try_fold(false, |any, changed| Some(any | changed?))
    }

    pub fn table(&self) -> Vec<String> {
        let unit = self.currency.as_deref().unwrap_or("");
        let show = |measure: Option<&Measure>, other: &str| match measure {
            Some(measure) => measure.show(unit),
            None => other.to_owned(),
        };
        let rows = self.lines.iter().map(|line| {
            let sent = match &line.sent {
                None => "stays".to_owned(),
                Some(sent) => sent.show(),
            };
            [
                line.sku.clone().unwrap_or_else(|| "the whole order".to_owned()),
                line.name.clone().unwrap_or_default(),
                show(line.before.as_ref(), "not known"),
                sent,
                show(line.expected.as_ref(), "not known"),
                show(line.after.as_ref(), "-"),
            ]
        });
        table(["item", "name", "before", "sent", "expected", "read after"], rows).lines().map(str::to_owned).collect()
    }
}

impl Measure {
    fn is_same(&self, other: &Self) -> bool {
        let number = |text: &Option<String>| text.as_deref().and_then(Decimal::parse);
        number(&self.quantity) == number(&other.quantity) && number(&self.amount) == number(&other.amount)
    }

    fn show(&self, unit: &str) -> String {
        let amount = self.amount.as_deref().map_or_else(|| "? ".to_owned(), |amount| format!("{amount} {unit}"));
        let amount = amount.trim_end();
        self.quantity.as_deref().map_or_else(|| amount.to_owned(), |quantity| format!("{quantity} for {amount}"))
    }

    pub fn of(item: &ActionItem) -> Self {
        Self { quantity: item.quantity.clone(), amount: item.sale_amount.clone() }
    }
}

impl Sent {
    fn show(&self) -> String {
        let parts = [
            self.quantity.map(|n| format!("quantity {n}")),
            self.amount.as_ref().map(|amount| format!("amount {amount}")),
            self.delta.as_ref().map(|delta| format!("delta {delta}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn refused(message: impl std::fmt::Display) -> Error {
    Error::new(Kind::Refused, format!("{message}; nothing was sent"))
}

fn of_order(amount: Decimal, before: &Before) -> Result<Preview> {
    let (was, currency, unread) = match before {
        Before::Order(amount, currency) => (amount.clone(), currency.clone(), None),
        Before::Items(_) => (None, None, None),
        Before::Unread(why) => (None, None, Some(why.clone())),
    };
    if let Some(was) = was.as_deref().and_then(Decimal::parse) {
        if amount > was {
            return Err(refused(format!("the order amounts to {was} and would amount to {amount}: that is no refund")));
        }
        if amount == was {
            return Err(refused(format!("the order amounts to {was} already: nothing would change")));
        }
    }
    let measure = |amount: String| Measure { quantity: None, amount: Some(amount) };
    let line = Line {
        sku: None,
        name: None,
        before: was.map(measure),
        sent: Some(Sent { quantity: None, amount: Some(amount.to_string()), delta: None }),
        expected: Some(measure(amount.to_string())),
        after: None,
    };
    Ok(Preview { level: Level::Order, currency, unread, lines: vec![line] })
}

fn of_items(change: &Change, before: &Before) -> Result<Preview> {
    let Change::Items(changes) = change else { return Err(refused("it changes no item")) };
    let (items, unread): (&[ActionItem], _) = match before {
        Before::Items(items) => (items, None),
        Before::Unread(why) => (&[], Some(why.clone())),
        Before::Order(..) => (&[], Some("they were not read".to_owned())),
    };
    if unread.is_none() {
        check(changes, items)?;
    }
    let sent_of = |sku: &str| {
        changes.iter().find(|change| change.sku == sku).map(|change| Sent {
            quantity: change.quantity,
            amount: match change.money {
                Some(ItemMoney::Amount(amount)) => Some(amount.to_string()),
                _ => None,
            },
            delta: match change.money {
                Some(ItemMoney::Delta(delta)) => Some(delta.to_string()),
                _ => None,
            },
        })
    };
    let line = |sku: &str, item: Option<&ActionItem>| {
        let (before, sent) = (item.map(Measure::of), sent_of(sku));
        let expected = match &sent {
            None => before.clone(),
            Some(sent) => expected(before.as_ref(), sent),
        };
        Line {
            sku: Some(sku.to_owned()),
            name: item.and_then(|item| item.name.clone()),
            before,
            sent,
            expected,
            after: None,
        }
    };
    let lines = if items.is_empty() {
        changes.iter().map(|change| line(&change.sku, None)).collect()
    } else {
        items.iter().map(|item| line(&item.sku, Some(item))).collect()
    };
    let currency = items.iter().find_map(|item| item.currency.clone());
    Ok(Preview { level: Level::Items, currency, unread, lines })
}

fn expected(before: Option<&Measure>, sent: &Sent) -> Option<Measure> {
    let was = before.and_then(|before| before.amount.as_deref()).and_then(Decimal::parse);
    let amount = match (&sent.amount, &sent.delta, sent.quantity) {
        (Some(amount), _, _) => Some(amount.clone()),
        (None, Some(delta), _) => was.zip(Decimal::parse(delta)).map(|(was, delta)| (was + delta).to_string()),
        (None, None, Some(0)) => Some(Decimal::ZERO.to_string()),
        // The vendor computes the price of the remaining items, so recoup expects no amount.
        _ => None,
    };
    let quantity = sent.quantity.map(|n| n.to_string()).or_else(|| before.and_then(|before| before.quantity.clone()));
    (amount.is_some() || quantity.is_some()).then_some(Measure { quantity, amount })
}

/// Returns an error if a changed item does not exist or its amount does not decrease.
fn check(changes: &[crate::vendor::ItemChange], items: &[ActionItem]) -> Result<()> {
    for change in changes {
        let sku = &change.sku;
        let Some(item) = items.iter().find(|item| item.sku == *sku) else {
            let known: Vec<String> = items.iter().map(|item| format!("{:?}", item.sku)).collect();
            return Err(refused(format!("the action has no item {sku:?}"))
                .hint(format!("it has {}; a SKU matches exactly", known.join(", "))));
        };
        if items.iter().filter(|item| item.sku == *sku).count() > 1 {
            return Err(refused(format!("the action has several items {sku:?}, and the change does not say which")));
        }
        let has = item.quantity.as_deref().and_then(|text| text.trim().parse::<u64>().ok());
        if let (Some(wanted), Some(has)) = (change.quantity, has)
            && wanted > has
        {
            return Err(refused(format!("{sku:?}: {wanted} would remain of {has}: that is no refund")));
        }
        let Some(was) = item.amount() else { continue };
        let same_quantity = change.quantity.is_none() || change.quantity == has;
        match change.money {
            Some(ItemMoney::Amount(amount)) if amount > was => {
                return Err(refused(format!("{sku:?} costs {was} and would cost {amount}: that is no refund")));
            }
            Some(ItemMoney::Amount(amount)) if amount == was && same_quantity => {
                return Err(refused(format!("{sku:?} costs {was} already: nothing would change")));
            }
            Some(ItemMoney::Delta(delta)) if (was + delta).is_negative() => {
                return Err(refused(format!("{sku:?} costs {was}, and {delta} takes more than that")));
            }
            None if same_quantity => {
                return Err(refused(format!("{sku:?} has that quantity already: nothing would change")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::change_flags::{self, ChangeFlags};
    use super::*;

    fn item(sku: &str, quantity: &str, amount: &str) -> ActionItem {
        ActionItem {
            sku: sku.into(),
            name: Some("Tea".into()),
            category: None,
            quantity: Some(quantity.into()),
            sale_amount: Some(amount.into()),
            currency: Some("USD".into()),
        }
    }

    fn change(amounts: &[&str], quantities: &[&str], deltas: &[&str]) -> Change {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let wanted =
            ChangeFlags { amounts: texts(amounts), quantities: texts(quantities), deltas: texts(deltas), total: None };
        change_flags::change(&wanted).expect("a change")
    }

    /// Columns: amounts, quantities, deltas, and a part of the expected error.
    type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static str);

    #[test]
    fn what_does_not_fit_the_action_is_refused() {
        let before = Before::Items(vec![item("A", "2", "10.00"), item("B", "1", "5.00")]);
        let table: [Row; 9] = [
            (&["A=4"], &[], &[], ""),
            (&["A=10"], &["A=1"], &[], ""),
            (&["C=4"], &[], &[], "no item \"C\""),
            (&["A=10.01"], &[], &[], "no refund"),
            (&["A=10"], &[], &[], "nothing would change"),
            (&[], &["A=3"], &[], "no refund"),
            (&[], &["A=2"], &[], "nothing would change"),
            (&[], &[], &["A=-10.01"], "takes more"),
            (&[], &[], &["A=-10"], ""),
        ];
        for (amounts, quantities, deltas, why) in table {
            let made = Preview::of(&change(amounts, quantities, deltas), &before);
            match made {
                Ok(_) => assert_eq!(why, "", "{amounts:?} {quantities:?} {deltas:?}"),
                Err(error) => {
                    assert!(!why.is_empty() && error.message.contains(why), "{error}");
                    assert_eq!(error.kind, Kind::Refused);
                }
            }
        }
        for (amount, fits) in [("10.00", false), ("9.99", true), ("11", false)] {
            let before = Before::Order(Some("10".into()), None);
            let order = Change::Order(Decimal::parse(amount).expect("a number"));
            assert_eq!(Preview::of(&order, &before).is_ok(), fits, "{amount}");
        }
    }

    #[test]
    fn before_and_after_stand_side_by_side() {
        let before = Before::Items(vec![item("A", "2", "10.00"), item("B", "1", "5.00")]);
        let preview = Preview::of(&change(&[], &["A=1"], &["A=-4.50"]), &before).expect("a preview");
        let measure =
            |quantity: &str, amount: &str| Measure { quantity: Some(quantity.into()), amount: Some(amount.into()) };
        assert_eq!(preview.lines[0].expected, Some(measure("1", "5.50")));
        assert_eq!(preview.lines[1].sent, None);
        assert_eq!(preview.has_changed(), None, "not read yet");
        let same = preview.clone().read_again(&[(Some("A".into()), measure("2", "10"))]);
        assert_eq!(same.has_changed(), Some(false));
        let other = preview.clone().read_again(&[(Some("A".into()), measure("1", "5.5"))]);
        assert_eq!(other.has_changed(), Some(true));
        let table = other.table().join("\n");
        for part in ["2 for 10.00 USD", "delta -4.50", "1 for 5.50 USD", "stays", "1 for 5.5 USD"] {
            assert!(table.contains(part), "{part}: {table}");
        }
    }

    #[test]
    fn the_same_is_recognised_in_any_order() {
        let unread = Before::Unread("404".into());
        let of =
            |amounts: &[&str], deltas: &[&str]| Preview::of(&change(amounts, &[], deltas), &unread).expect("a preview");
        assert!(of(&["A=5", "B=1"], &[]).asks_the_same(&of(&["B=1.00", "A=5.0"], &[])));
        assert!(!of(&["A=5"], &[]).asks_the_same(&of(&["A=5", "B=1"], &[])));
        assert!(!of(&[], &["A=-5"]).asks_the_same(&of(&["A=5"], &[])));
        let read = Before::Items(vec![item("A", "2", "10.00"), item("B", "1", "5.00")]);
        let with_others = Preview::of(&change(&["A=5"], &[], &[]), &read).expect("a preview");
        assert!(with_others.asks_the_same(&of(&["A=5"], &[])), "what stays as it is makes no difference");
    }
}
