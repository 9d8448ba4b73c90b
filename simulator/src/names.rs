//! IDs of simulated accounts, users and rewards: e-mail addresses, hashes, numbers, and unusual text. The simulator can
//! decode each of its IDs without a table.
//!
//! To decode an ID, the simulator guesses the number in the text, writes that number's ID, and compares the two.
//! Therefore decoding an ID can fail, but it never returns a wrong number.

use std::io::Write as _;

use super::{
    data::Data,
    keys::{ActionKey, RewardKey},
    random::Tag,
};

const FIRST: [&str; 16] = [
    "ada", "bob", "chloe", "dmitri", "elif", "farid", "grace", "hana", "ines", "jonas", "kofi", "lena", "mark", "noor",
    "olu", "pia",
];
const LAST: [&str; 16] = [
    "testerson",
    "ng",
    "garcia",
    "smith",
    "okafor",
    "ivanova",
    "muller",
    "sato",
    "rossi",
    "dubois",
    "haddad",
    "kim",
    "lopez",
    "oneill",
    "patel",
    "quist",
];

/// An odd multiplier that scrambles numbers, and the multiplier's inverse modulo 2^64.
const SCRAMBLE: u64 = 0x9e37_79b9_7f4a_7c15;
const UNSCRAMBLE: u64 = 0xf1de_83e1_9937_733d;

impl Data {
    pub(super) fn first_name(&self, person: u64) -> &'static str {
        FIRST[(self.hash(Tag::Name, person, 0) % 16) as usize]
    }

    pub(super) fn last_name(&self, person: u64) -> &'static str {
        LAST[(self.hash(Tag::Name, person, 0) >> 8) as usize % 16]
    }

    /// Writes the account ID of a participant who owns an account.
    pub(super) fn write_account_id(&self, out: &mut Vec<u8>, owner: u64) {
        self.write_name(out, owner, 600_000);
    }

    /// Writes the user ID of a participant. The vendor's user ID usually equals the account ID. In the simulator, a
    /// numeric user ID differs from the account ID.
    pub(super) fn write_user_id(&self, out: &mut Vec<u8>, person: u64) {
        self.write_name(out, person, 600_001);
    }

    fn write_name(&self, out: &mut Vec<u8>, person: u64, base: u64) {
        let (first, last) = (self.first_name(person), self.last_name(person));
        // Writing into a Vec cannot fail.
        let _written = match self.hash(Tag::Name, person, 1) % 100 {
            0..45 => write!(out, "{first}.{last}+{person}@example.com"),
            45..60 => write!(out, "{first}{person}@shop.example"),
            60..75 => {
                let tail = self.hash(Tag::Name, person, 2);
                write!(out, "{:016x}{tail:016x}{:08x}", self.scramble(person), (tail >> 7) as u32)
            }
            75..90 => write!(out, "{}", base + person * 3),
            90..97 => write!(out, "cust_{person}"),
            97..99 => write!(out, "team a/b & c 100%+#{person}"),
            _ => write!(out, "Größe-{person}"),
        };
    }

    pub(super) fn account_id(&self, owner: u64) -> String {
        text(|out| self.write_account_id(out, owner))
    }

    pub(super) fn user_id(&self, person: u64) -> String {
        text(|out| self.write_user_id(out, person))
    }

    /// Returns the participant's e-mail address. If the user ID is an e-mail address, it is also the participant's
    /// e-mail address.
    pub(super) fn email(&self, person: u64) -> String {
        let id = self.user_id(person);
        if id.contains('@') { id } else { format!("{}_{person}@mail.example", self.last_name(person)) }
    }

    /// Returns the participant with this account ID, even if the participant owns no account.
    pub(super) fn find_account(&self, id: &str) -> Option<u64> {
        self.find_name(id, 600_000)
    }

    /// Returns the participant with this user ID.
    pub(super) fn find_user(&self, id: &str) -> Option<u64> {
        self.find_name(id, 600_001)
    }

    fn find_name(&self, id: &str, base: u64) -> Option<u64> {
        let number = if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.unscramble(u64::from_str_radix(&id[..16], 16).ok()?)
        } else if id.bytes().all(|b| b.is_ascii_digit()) {
            id.parse::<u64>().ok()?.checked_sub(base)? / 3
        } else {
            let local = id.split('@').next()?;
            let digits = local.bytes().rev().take_while(u8::is_ascii_digit).count();
            local[local.len() - digits..].parse().ok()?
        };
        // A larger number belongs to no participant, and would overflow in the code below.
        if number > u64::from(u32::MAX) {
            return None;
        }
        let mut again = Vec::with_capacity(64);
        self.write_name(&mut again, number, base);
        (again == id.as_bytes()).then_some(number)
    }

    /// Writes a reward ID in the vendor's form: 24 hex digits. The first eight digits are the creation time in seconds.
    pub(super) fn write_reward_id(&self, out: &mut Vec<u8>, key: RewardKey) {
        let second = (self.created(key) / 1000) as u32;
        let rest = self.scramble(key.pack());
        let mut digits = [0; 24];
        hex(&mut digits[..8], u64::from(second));
        hex(&mut digits[8..], rest);
        out.extend_from_slice(&digits);
    }

    /// Returns when a participant joined, in Unix milliseconds.
    pub(super) fn joined(&self, person: u64) -> i64 {
        self.today - (self.hash(Tag::Look, person, 1) >> 8) as i64 % (900 * super::data::DAY)
    }

    pub(super) fn reward_id(&self, key: RewardKey) -> String {
        text(|out| self.write_reward_id(out, key))
    }

    /// Returns the reward with this reward ID; `None` if the formulas contain no such reward.
    pub(super) fn find_reward(&self, id: &str) -> Option<RewardKey> {
        if id.len() != 24 || !id.is_ascii() {
            return None;
        }
        let key = RewardKey::unpack(self.unscramble(u64::from_str_radix(&id[8..], 16).ok()?))?;
        (self.is_real(key) && self.reward_id(key) == id).then_some(key)
    }

    /// Writes the referral ID of an order: the order's time in seconds, and a number that encodes the order.
    pub(super) fn write_referral_id(&self, out: &mut Vec<u8>, buyer: u64, order: u64) {
        let mut digits = [0; 24];
        hex(&mut digits[..8], (self.ordered(buyer, order) / 1000) as u64);
        hex(&mut digits[8..], self.scramble(Self::number(buyer, order) | 1 << 60));
        out.extend_from_slice(&digits);
    }

    /// Returns the order with this referral ID.
    pub(super) fn find_referral(&self, id: &str) -> Option<(u64, u64)> {
        let number = self.unscramble(u64::from_str_radix(id.get(8..24)?, 16).ok()?) ^ 1 << 60;
        let (buyer, order) = Self::numbered(number)?;
        let mut again = Vec::with_capacity(24);
        self.write_referral_id(&mut again, buyer, order);
        (order < self.orders(buyer) && again == id.as_bytes()).then_some((buyer, order))
    }

    /// Writes the event ID of an action.
    pub(super) fn write_event_id(&self, out: &mut Vec<u8>, action: ActionKey) {
        let mut digits = [0; 24];
        let number = Self::number(action.buyer, action.order) * 2 + action.action;
        hex(&mut digits[..8], (self.ordered(action.buyer, action.order) / 1000) as u64);
        hex(&mut digits[8..], self.scramble(number | 2 << 60));
        out.extend_from_slice(&digits);
    }

    /// Returns the action with this event ID.
    pub(super) fn find_event(&self, id: &str) -> Option<ActionKey> {
        let number = self.unscramble(u64::from_str_radix(id.get(8..24)?, 16).ok()?) ^ 2 << 60;
        let (buyer, order) = Self::numbered(number / 2)?;
        let key = ActionKey { buyer, order, action: number % 2 };
        let mut again = Vec::with_capacity(24);
        self.write_event_id(&mut again, key);
        let real = order < self.orders(buyer) && key.action < self.actions(buyer, order);
        (real && again == id.as_bytes()).then_some(key)
    }

    pub(super) fn scramble(&self, value: u64) -> u64 {
        let mixed = (value ^ self.mask()).wrapping_mul(SCRAMBLE);
        mixed ^ mixed >> 32
    }

    pub(super) fn unscramble(&self, value: u64) -> u64 {
        (value ^ value >> 32).wrapping_mul(UNSCRAMBLE) ^ self.mask()
    }

    fn mask(&self) -> u64 {
        self.hash(Tag::Name, 0, 3)
    }
}

/// Returns the output of `write` as text.
fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(48);
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Writes the low digits of a number in lower-case hex. `hex` is faster than `write!`, which matters because every
/// reward needs a hex ID.
pub(super) fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}
