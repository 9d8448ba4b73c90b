//! The items of a simulated order, and how a modification changes them.
//!
//! A formula computes the items of an order. The prices of the items add up to the order's amount, in hundredths. The
//! module of the items stores no changes and does not know HTTP. The vendor does not publish what happens to an unknown
//! SKU, or to an amount below 0. The simulator ignores an unknown SKU and raises a negative amount to 0.

use super::{data::Data, keys::ActionKey, random::Tag};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) sku: String,
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) quantity: u64,
    /// The price of all units of this item, in hundredths.
    pub(super) cents: i64,
    /// When the item was last changed, in Unix milliseconds, and why.
    pub(super) adjusted: Option<(i64, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ItemWanted {
    pub(super) sku: String,
    pub(super) quantity: Option<u64>,
    pub(super) amount: Option<i64>,
    pub(super) delta: Option<i64>,
}

/// The change that a modification requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The new amount of the whole order.
    Amount(i64),
    Items(Vec<ItemWanted>),
    /// A change that has no effect on items, such as the customer's status.
    Other,
}

const GOODS: [(&str, &str); 8] = [
    ("Tennis balls (one dozen)", "Sports"),
    ("Green tea, loose", "Drinks"),
    ("Größenverstellbare Mütze", "Clothing"),
    ("Cable, 2 m", "Electronics"),
    ("Notebook \"A5\"", "Stationery"),
    ("Gift wrap", "Services"),
    ("Lamp & shade", "Home"),
    ("注文ケース", "Electronics"),
];

impl Data {
    /// Returns the original items of an action's order: one to three items with different SKUs.
    pub(super) fn items(&self, key: ActionKey) -> Vec<Item> {
        let total = self.amount(key.buyer, key.order) as i64;
        let roll = self.hash(Tag::Item, key.buyer, key.order);
        let count = if total < 1000 { 1 } else { 1 + roll % 3 };
        let mut left = total;
        (0..count)
            .map(|place| {
                let roll = self.hash(Tag::Item, key.buyer, key.order << 2 | (place + 1));
                let cents = if place + 1 == count { left } else { total / (count as i64 + 1) };
                left -= cents;
                let (name, category) = GOODS[(roll % 8) as usize];
                let sku = match roll >> 8 & 7 {
                    0 => format!("00{}-{place}", roll >> 16 & 0xfff),
                    1 => format!("A/B {}&{place}", roll >> 16 & 0xfff),
                    _ => format!("SKU{}-{place}", roll >> 16 & 0xffff),
                };
                Item { sku, name, category, quantity: 1 + (roll >> 40) % 3, cents, adjusted: None }
            })
            .collect()
    }
}

pub(super) fn total(items: &[Item]) -> i64 {
    items.iter().map(|item| item.cents).sum()
}

/// Applies the requested change to the items of an order.
pub(super) fn apply(items: &mut [Item], wanted: &Wanted, at: i64, reason: &str) {
    match wanted {
        Wanted::Other => {}
        Wanted::Amount(amount) => spread(items, (*amount).max(0), at, reason),
        Wanted::Items(changes) => {
            for change in changes {
                if let Some(item) = items.iter_mut().find(|item| item.sku == change.sku) {
                    adjust(item, change, at, reason);
                }
            }
        }
    }
}

fn adjust(item: &mut Item, change: &ItemWanted, at: i64, reason: &str) {
    let before = item.quantity;
    if let Some(quantity) = change.quantity {
        item.quantity = quantity;
    }
    item.cents = match (change.amount, change.delta) {
        _ if change.quantity == Some(0) => 0,
        (Some(amount), _) => amount.max(0),
        (None, Some(delta)) => (item.cents + delta).max(0),
        // If the change has no amount, the new quantity is priced at the unit price.
        (None, None) if before > 0 => item.cents * item.quantity as i64 / before as i64,
        (None, None) => item.cents,
    };
    item.adjusted = Some((at, reason.to_owned()));
}

/// Distributes a new total over the items in proportion to their prices. The last item takes the rounding difference.
fn spread(items: &mut [Item], amount: i64, at: i64, reason: &str) {
    let (before, count) = (total(items), items.len());
    let mut left = amount;
    for (place, item) in items.iter_mut().enumerate() {
        let share = if place + 1 == count || before == 0 { left } else { item.cents * amount / before };
        left -= share;
        item.cents = share;
        item.adjusted = Some((at, reason.to_owned()));
    }
}

/// Parses the fields of a PUT that modifies an action: `Sku`, `Sku2`, … with `Quantity`, `Amount` or
/// `ItemSubTotalDelta` of the same number, or an amount without a SKU.
pub(super) fn wanted(get: impl Fn(&str) -> Option<String>) -> Result<Wanted, (&'static str, &'static str)> {
    let money = |name: &str| {
        let parse =
            |text: String| text.trim().parse::<f64>().ok().filter(|value| value.is_finite() && value.abs() < 1e8);
        match get(name).map(parse) {
            Some(None) => Err(("Amount", "Not a number")),
            Some(Some(value)) => Ok(Some((value * 100.0).round() as i64)),
            None => Ok(None),
        }
    };
    if get("Sku").is_none() {
        return Ok(money("Amount")?.map_or(Wanted::Other, Wanted::Amount));
    }
    let mut items = Vec::new();
    for place in 1.. {
        let number = if place == 1 { String::new() } else { place.to_string() };
        let Some(sku) = get(&format!("Sku{number}")) else { break };
        let quantity = match get(&format!("Quantity{number}")).map(|text| text.trim().parse()) {
            Some(Err(_)) => return Err(("Quantity", "Not a number")),
            quantity => quantity.and_then(Result::ok),
        };
        let (amount, delta) = (money(&format!("Amount{number}"))?, money(&format!("ItemSubTotalDelta{number}"))?);
        items.push(ItemWanted { sku, quantity, amount, delta });
    }
    Ok(Wanted::Items(items))
}
