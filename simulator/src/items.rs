//! What an order consists of, and what a modification makes of it.
//!
//! The items of an order are a formula, and add up to its amount; everything is in hundredths. Pure arithmetic: nothing here
//! remembers a change, and nothing here knows of HTTP. What the vendor does with a SKU that the action does not have, or
//! with an item that would fall below 0, is not published; here nothing happens, and 0 is the least.

use super::{data::Data, keys::ActionKey, mix::Tag};

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) sku: String,
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) quantity: u64,
    /// What they cost together.
    pub(super) cents: i64,
    /// When it was last changed, and the reason given.
    pub(super) adjusted: Option<(i64, String)>,
}

/// What is to become of one item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ItemWanted {
    pub(super) sku: String,
    pub(super) quantity: Option<u64>,
    pub(super) amount: Option<i64>,
    pub(super) delta: Option<i64>,
}

/// What a modification asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This is the whole order's amount now.
    Amount(i64),
    Items(Vec<ItemWanted>),
    /// Something else, such as a customer's status.
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
    /// The items of an action's order as it was placed: one to three, each with a SKU of its own.
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

/// The sum of all items.
pub(super) fn total(items: &[Item]) -> i64 {
    items.iter().map(|item| item.cents).sum()
}

/// Does what is wanted to the items.
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
        // Fewer of them cost less, at the price of one.
        (None, None) if before > 0 => item.cents * item.quantity as i64 / before as i64,
        (None, None) => item.cents,
    };
    item.adjusted = Some((at, reason.to_owned()));
}

/// Shares a new total out among the items in proportion; the last takes what rounding leaves.
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

/// Reads what a PUT wants: `Sku`, `Sku2`, … with `Quantity`, `Amount` or `ItemSubTotalDelta` of the same number, or an
/// amount without a SKU.
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
