//! Writes simulated order IDs in every form that shops use. Each simulated order ID is unique.
//!
//! Each order ID contains the order's own number. Therefore no two orders share an ID. Some pairs of order IDs differ
//! only in case. Therefore a client that ignores case finds the wrong order.

use std::fmt::Write as _;

use super::{data::Data, keys::Class, random::Tag};

impl Data {
    pub(super) fn order_id(&self, buyer: u64, order: u64) -> String {
        let number = Self::number(buyer, order);
        if order < 2 && self.hash(Tag::Twin, buyer, 0).is_multiple_of(8) && self.first_orders(buyer) > 1 {
            let first = Self::number(buyer, 0);
            return if order == 0 { format!("SKU-{first}-XL") } else { format!("sku-{first}-xl") };
        }
        match self.shape(buyer, order) {
            0 => format!("{:010}", number + 1),
            1 => format!("#{}", 1001 + number),
            2 => self.uuid(number),
            3 => format!("ORD {} {:03}", number / 1000, number % 1000),
            4 => format!("SO/{number}/A"),
            5 => format!("50%-{number}"),
            6 => format!("A%2F{number}"),
            7 => format!("A+B+{number}"),
            8 => format!("Größe-{number}"),
            9 => format!("注文{number}号"),
            10 => self.long(number),
            11 => format!("12\"-{number}"),
            12 => format!("A,{number};B"),
            13 => format!("=1+{number}"),
            14 => format!("O{}", 7_000_000 + number),
            _ => format!("{}", 10_000_000_000 + number),
        }
    }

    /// Returns `true` if the order ID is written as a JSON number. Some purely numeric order IDs are written as JSON
    /// numbers.
    pub(super) fn order_id_is_number(&self, buyer: u64, order: u64) -> bool {
        self.shape(buyer, order) == 15
            && (self.hash(Tag::Shape, buyer, order) >> 32).is_multiple_of(4)
            && self.order_id(buyer, order).bytes().all(|b| b.is_ascii_digit())
    }

    /// Returns the second order ID in the rewards of an order. An ambiguous order's second ID belongs to no order. A
    /// shared order's second ID belongs to the buyer's next order.
    pub(super) fn second_order_id(&self, buyer: u64, order: u64) -> Option<String> {
        match self.class(buyer, order) {
            Class::Ambiguous => Some(format!("WEB-{}", Self::number(buyer, order))),
            Class::Shared => Some(self.order_id(buyer, order + 1)),
            _ => None,
        }
    }

    /// Returns the order with this order ID, or with this second ID of an ambiguous order. Guesses the number in the
    /// order ID, and checks it by writing the ID again. Considers only buyers for whom `is_here` is true, because the
    /// formulas have no last buyer.
    pub(super) fn find_order(&self, id: &str, is_here: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        let hexed = |hex: String| u64::from_str_radix(&hex, 16).ok().map(|number| self.unscramble(number));
        let mut numbers = Vec::new();
        if id.len() == 64 && id.is_ascii() {
            numbers.extend(hexed(id[..16].to_owned()));
        }
        if id.len() == 36 && id.is_ascii() {
            numbers.extend(hexed([&id[..8], &id[9..13], &id[24..28]].concat()));
        }
        let digits: Vec<u64> =
            id.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
        if let [.., thousands, rest] = digits[..] {
            numbers.extend(thousands.checked_mul(1000).and_then(|number| number.checked_add(rest)));
        }
        if let Some(last) = digits.last() {
            numbers.extend([0, 1, 1001, 7_000_000, 10_000_000_000].iter().filter_map(|base| last.checked_sub(*base)));
        }
        let candidates: Vec<(u64, u64)> = numbers
            .into_iter()
            .filter_map(Self::numbered)
            .flat_map(|(buyer, order)| [(buyer, order), (buyer, order + 1)])
            .filter(|(buyer, order)| is_here(*buyer) && *order < self.orders(*buyer))
            .collect();
        let own = candidates.iter().find(|(buyer, order)| self.order_id(*buyer, *order) == id);
        own.or_else(|| {
            candidates.iter().find(|(buyer, order)| self.second_order_id(*buyer, *order).as_deref() == Some(id))
        })
        .copied()
    }

    fn shape(&self, buyer: u64, order: u64) -> u64 {
        self.hash(Tag::Shape, buyer, order) % 16
    }

    fn uuid(&self, number: u64) -> String {
        let (a, b) = (self.scramble(number), self.hash(Tag::Shape, number, 1));
        uuid(a, b)
    }

    /// Returns an order ID of 64 characters, the maximum length in the vendor's files.
    fn long(&self, number: u64) -> String {
        let mut id = format!("{:016x}", self.scramble(number));
        for part in 0..3 {
            let _written = write!(id, "{:016x}", self.hash(Tag::Shape, number, 2 + part));
        }
        id
    }
}

/// Formats two numbers as a version 4 UUID. Only the second of the two numbers loses bits in the UUID. Therefore the
/// first number keeps the UUID unique.
pub(super) fn uuid(a: u64, b: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}",
        a >> 32,
        a >> 16 & 0xffff,
        b & 0xfff,
        0x8000 | b >> 12 & 0x3fff,
        a & 0xffff,
        b >> 32
    )
}
