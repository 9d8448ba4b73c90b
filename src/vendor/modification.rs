//! A modification of an action, and its parameters for the PUT.
//!
//! The vendor's facts about modifications are from `docs/vendor/brand.md` §2 (Actions v14: ActionModificationRequest)
//! and `docs/vendor/contradictions.md` 5 and 9. `modification` does no I/O. One modification changes either the order
//! or its items, because both changes use the parameter `Amount`.

use std::collections::BTreeSet;

use super::brand::ActionItem;
use super::brand_writer::identifiers;
use crate::model::Target;
use crate::model::decimal::Decimal;

/// The vendor's reason code for changed orders and items (`docs/vendor/brand.md` §2).
pub const ORDER_UPDATE: &str = "ORDER_UPDATE";

/// A change to an action other than a reversal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modification {
    /// The parameter `Reason` of the PUT, which API version 14 requires.
    pub reason: String,
    /// The parameter `DispositionCode` of the PUT, which API version 11 requires. The disposition code is
    /// case-sensitive, and recoup sends it unchanged.
    pub disposition: String,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a new total of the order. A total of 0 reverses an action if its amount is not 0.
    Order(Decimal),
    Items(Vec<ItemChange>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemChange {
    pub sku: String,
    /// The category of the item. Some event types pay by category.
    pub category: Option<String>,
    /// The new quantity of the item. A quantity of 0 means that the customer returned the item.
    pub quantity: Option<u64>,
    pub money: Option<ItemMoney>,
}

/// The new price of all units of an item. The vendor accepts either the new price of an item or its change, not both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemMoney {
    /// The new price of the item itself (`Amount`).
    Amount(Decimal),
    /// The change of the item's price (`ItemSubTotalDelta`). The change is negative for a lower price.
    Delta(Decimal),
}

impl Modification {
    /// Creates a modification that sends the code as both `Reason`, which API version 14 requires, and
    /// `DispositionCode`, which version 11 requires (`docs/vendor/contradictions.md` 5).
    pub fn new(code: impl Into<String>, change: Change) -> Self {
        let code = code.into();
        Self { reason: code.clone(), disposition: code, change }
    }
}

impl ItemChange {
    /// Returns `true` if the item's price or quantity becomes 0. `before` is the item's price before the change, if
    /// recoup knows it.
    fn leaves_nothing(&self, before: Option<Decimal>) -> bool {
        let nothing = match self.money {
            Some(ItemMoney::Amount(amount)) => amount.is_zero(),
            Some(ItemMoney::Delta(delta)) => before.is_some_and(|before| before + delta <= Decimal::ZERO),
            None => false,
        };
        nothing || self.quantity == Some(0)
    }
}

/// Returns the parameters of the PUT, in order. The names of the first item's parameters have no number. The names of
/// the second item's parameters end in 2: `Sku`, `Sku2`. The vendor publishes numbered names for `Sku` and `Quantity`;
/// recoup numbers the other parameters in the same way.
pub fn modification_form(target: &Target, modification: &Modification) -> Vec<(String, String)> {
    let mut form: Vec<(String, String)> =
        identifiers(target).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    match &modification.change {
        Change::Order(amount) => form.push(("Amount".to_owned(), amount.to_string())),
        Change::Items(items) => {
            for (place, item) in items.iter().enumerate() {
                let mut put = |name: &str, value: String| {
                    let name = if place == 0 { name.to_owned() } else { format!("{name}{}", place + 1) };
                    form.push((name, value));
                };
                put("Sku", item.sku.clone());
                if let Some(category) = &item.category {
                    put("Category", category.clone());
                }
                if let Some(quantity) = item.quantity {
                    put("Quantity", quantity.to_string());
                }
                match item.money {
                    Some(ItemMoney::Amount(amount)) => put("Amount", amount.to_string()),
                    Some(ItemMoney::Delta(delta)) => put("ItemSubTotalDelta", delta.to_string()),
                    None => {}
                }
            }
        }
    }
    form.push(("Reason".to_owned(), modification.reason.clone()));
    form.push(("DispositionCode".to_owned(), modification.disposition.clone()));
    form
}

/// Returns `true` if the modification reduces the order's amount, or the amount of every item, to 0, as a retraction
/// does. If `items` is unknown, this function assumes that the modification contains every item of the order. If a
/// modification wrongly counts as a full retraction, the user only confirms once more. If a full retraction counted as
/// a smaller change, a refunded order could keep its reward.
pub fn is_full_retraction(modification: &Modification, items: Option<&[ActionItem]>) -> bool {
    let changes = match &modification.change {
        Change::Order(amount) => return amount.is_zero(),
        Change::Items(changes) => changes,
    };
    let cost = |sku: &str| items?.iter().find(|item| item.sku == sku)?.amount();
    let emptied: BTreeSet<&str> = changes
        .iter()
        .filter(|change| change.leaves_nothing(cost(&change.sku)))
        .map(|change| change.sku.as_str())
        .collect();
    match items {
        _ if emptied.is_empty() => false,
        None | Some([]) => changes.iter().all(|change| emptied.contains(change.sku.as_str())),
        Some(items) => items.iter().all(|item| {
            let is_changed = changes.iter().any(|change| change.sku == item.sku);
            emptied.contains(item.sku.as_str()) || (!is_changed && item.amount().is_some_and(Decimal::is_zero))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ActionId, OrderId};

    fn money(text: &str) -> Decimal {
        Decimal::parse(text).expect("a number")
    }

    fn change(sku: &str, quantity: Option<u64>, money: Option<ItemMoney>) -> ItemChange {
        ItemChange { sku: sku.into(), category: None, quantity, money }
    }

    fn item(sku: &str, amount: &str) -> ActionItem {
        ActionItem {
            sku: sku.into(),
            name: None,
            category: None,
            quantity: Some("1".into()),
            sale_amount: Some(amount.into()),
            currency: Some("USD".into()),
        }
    }

    #[test]
    fn the_parameters_are_the_published_ones() {
        let action = Target::Action(ActionId::new("1000.4636.158133"));
        let order = Target::Order { order_id: OrderId::new("O 1"), action_tracker_id: "2240".into() };
        let amount = |text: &str| Some(ItemMoney::Amount(money(text)));
        let mut shoes = change("A-1", Some(2), amount("19.99"));
        shoes.category = Some("Footwear".into());
        for (target, change, expected) in [
            (&action, Change::Order(money("19.9")), "ActionId=1000.4636.158133 Amount=19.90"),
            (&order, Change::Order(money("0")), "ActionTrackerId=2240 OrderId=O 1 Amount=0.00"),
            (
                &action,
                Change::Items(vec![shoes]),
                "ActionId=1000.4636.158133 Sku=A-1 Category=Footwear Quantity=2 Amount=19.99",
            ),
            (
                &order,
                Change::Items(vec![
                    change("A", Some(0), None),
                    change("B", None, Some(ItemMoney::Delta(money("-5")))),
                    change("C", Some(1), amount("3")),
                ]),
                "ActionTrackerId=2240 OrderId=O 1 Sku=A Quantity=0 Sku2=B ItemSubTotalDelta2=-5.00 Sku3=C Quantity3=1 Amount3=3.00",
            ),
        ] {
            let form = modification_form(target, &Modification::new("my Code", change));
            let text: Vec<String> = form.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(text.join(" "), format!("{expected} Reason=my Code DispositionCode=my Code"));
        }
        let mut two = Modification::new(ORDER_UPDATE, Change::Order(money("1")));
        two.disposition = "house code".into();
        let form = modification_form(&action, &two);
        assert!(form.contains(&("Reason".into(), "ORDER_UPDATE".into())));
        assert!(form.contains(&("DispositionCode".into(), "house code".into())));
    }

    #[test]
    fn a_modification_that_leaves_nothing_is_a_full_retraction() {
        let zero = || Some(ItemMoney::Amount(Decimal::ZERO));
        let delta = |text: &str| Some(ItemMoney::Delta(money(text)));
        let items = [item("A", "10.00"), item("B", "5"), item("gift", "0.00")];
        for (change, known, expected) in [
            (Change::Order(Decimal::ZERO), None, true),
            (Change::Order(money("0.01")), None, false),
            (Change::Items(vec![]), None, false),
            (Change::Items(vec![change("A", Some(0), None)]), None, true),
            (Change::Items(vec![change("A", Some(0), None)]), Some(&items[..]), false),
            (Change::Items(vec![change("A", None, zero()), change("B", Some(0), None)]), Some(&items[..]), true),
            (
                Change::Items(vec![change("A", None, delta("-10")), change("B", None, delta("-5.0"))]),
                Some(&items[..]),
                true,
            ),
            (
                Change::Items(vec![change("A", None, delta("-9.99")), change("B", None, zero())]),
                Some(&items[..]),
                false,
            ),
            (Change::Items(vec![change("A", None, delta("-10"))]), None, false),
            (Change::Items(vec![change("A", Some(1), zero())]), Some(&[]), true),
            (Change::Items(vec![change("A", None, zero()), change("X", Some(1), None)]), None, false),
            (
                Change::Items(vec![
                    change("A", Some(0), None),
                    change("B", Some(0), None),
                    change("gift", Some(1), None),
                ]),
                Some(&items[..]),
                false,
            ),
        ] {
            let modification = Modification::new(ORDER_UPDATE, change);
            assert_eq!(is_full_retraction(&modification, known), expected, "{:?}", modification.change);
        }
    }
}
