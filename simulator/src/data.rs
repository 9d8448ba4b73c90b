//! Computes the simulator's data by formulas: accounts, referrals, orders, and the rewards for the orders.
//!
//! All simulated data are hashes of the seed and a few small numbers. Therefore a million participants need no memory.
//! Finding the rewards of an account, and the accounts of an action, takes a few multiplications, because referrals are
//! an invertible affine permutation of the participants. Only new orders change the formulas' data (`new_orders`). The
//! module of the formulas does not know JSON or HTTP.

use super::{
    keys::{ActionKey, Class, RewardKey, Side},
    new_orders::NewOrders,
    options::Options,
    random::{Tag, hash, permutation},
    rewarded::Rewarded,
};

pub(super) const DAY: i64 = 86_400_000;
/// The day 2008-01-01 in Unix milliseconds. The second group of digits in an ActionId is the number of days since
/// 2008-01-01.
const ACTION_EPOCH: i64 = 1_199_145_600_000;
/// Maximum number of orders of one simulated participant. The maximum is a power of two, because an order's number
/// contains the buyer and the order.
const ORDERS: u64 = 1024;
/// Number of participants in a block. Only participants of the same block share an account.
const BLOCK: u64 = 16;

/// The formulas of the simulated data, and their parameters.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) seed: u64,
    /// Number of participants at the simulator's start. A participant who joins later has this or a higher number.
    pub(super) people: u64,
    /// Midnight UTC of the day in `--today`.
    pub(super) today: i64,
    step: u64,
    back: u64,
    shift: u64,
    heavy: u64,
    special: u64,
    rewarded: Option<Rewarded>,
    new_orders: NewOrders,
}

impl Data {
    pub(super) fn new(options: &Options, today: i64) -> Self {
        let people = options.participants;
        let seed = options.seed;
        let (step, back) = permutation(people);
        let hash = |tag| hash(seed, tag, 0, 0);
        Self {
            seed,
            people,
            today,
            step,
            back,
            shift: hash(Tag::Differences) % people,
            heavy: hash(Tag::Heavy) % 500,
            special: hash(Tag::Special) % 500,
            rewarded: options.rewarded.map(Rewarded::new),
            new_orders: NewOrders::default(),
        }
    }

    pub(super) fn hash(&self, tag: Tag, a: u64, b: u64) -> u64 {
        hash(self.seed, tag, a, b)
    }

    // ---- people and accounts -----------------------------------------------------------------------------------

    /// Returns the participant who owns this participant's account. The ID of an account is made from its owner.
    pub(super) fn owner(&self, person: u64) -> u64 {
        if person >= self.people {
            return person;
        }
        let block = person / BLOCK;
        let first = block * BLOCK;
        first + shared(self.hash(Tag::Share, block, 0), person - first)
    }

    /// Returns all members of the account of `owner`, in order; empty if that participant owns no account.
    pub(super) fn members(&self, owner: u64) -> impl Iterator<Item = u64> + '_ {
        let (from, to) = if owner >= self.people {
            (owner, owner + 1)
        } else {
            let first = owner / BLOCK * BLOCK;
            (first, (first + BLOCK).min(self.people))
        };
        // Hashes the block of participants once and not for every member, because each Get Rewards runs this function.
        let pattern = self.hash(Tag::Share, owner / BLOCK, 0);
        let late = owner >= self.people;
        (from..to).filter(move |person| late || from + shared(pattern, person - from) == owner)
    }

    /// Returns the participant who referred this buyer; `None` if the two are in the same account.
    pub(super) fn referrer(&self, buyer: u64) -> Option<u64> {
        if buyer >= self.people {
            return None;
        }
        let other = (buyer * self.step + self.shift) % self.people;
        (self.owner(other) != self.owner(buyer)).then_some(other)
    }

    /// Returns the participant `hops` steps after `start`, in an order that reaches every participant once.
    pub(super) fn hop(&self, start: u64, hops: u64) -> u64 {
        (start + hops * self.step) % self.people
    }

    /// Returns the one buyer whom this participant referred.
    pub(super) fn friend(&self, person: u64) -> Option<u64> {
        if person >= self.people {
            return None;
        }
        let buyer = (person + self.people - self.shift) % self.people * self.back % self.people;
        (self.owner(buyer) != self.owner(person)).then_some(buyer)
    }

    // ---- orders and actions ------------------------------------------------------------------------------------

    /// Returns `true` if this buyer has 500 orders. A buyer with 500 orders is rare.
    fn is_heavy(&self, buyer: u64) -> bool {
        self.people >= 500 && buyer < self.people && buyer % 20_000 == self.heavy
    }

    /// Returns the fixed class of a few buyers in each 500, because a small tenant must have orders of every class.
    fn planted(&self, buyer: u64) -> Option<Class> {
        match (buyer + self.special) % 500 {
            0 => Some(Class::TwoActions),
            1 => Some(Class::NoAction),
            2 => Some(Class::Unfamiliar),
            3 => Some(Class::Ambiguous),
            4 => Some(Class::ZeroAmount),
            _ => None,
        }
    }

    /// Returns the number of this buyer's orders, including new orders.
    pub(super) fn orders(&self, buyer: u64) -> u64 {
        self.first_orders(buyer) + self.new_orders.count(buyer)
    }

    /// Returns how many orders this buyer has by the formulas, without new orders.
    pub(super) fn first_orders(&self, buyer: u64) -> u64 {
        if self.is_heavy(buyer) {
            return 500;
        }
        let roll = self.hash(Tag::Orders, buyer, 0);
        let roll = match self.rewarded {
            None => roll % 100,
            Some(rewarded) if (roll >> 32) % 10_000 < rewarded.buyers => 55 + roll % 45,
            Some(_) => 0,
        };
        let orders = match roll {
            0..=54 => 0,
            55..=84 => 1,
            85..=94 => 2,
            _ => 3,
        };
        if orders == 0 && self.planted(buyer).is_some() { 1 } else { orders }
    }

    /// Returns when a new order was placed; `None` for an order of the formulas.
    pub(super) fn late(&self, buyer: u64, order: u64) -> Option<i64> {
        if !self.new_orders.any() {
            return None;
        }
        self.new_orders.at(buyer, order.checked_sub(self.first_orders(buyer))?)
    }

    /// Adds an order of this buyer. The order rewards only the buyer. Returns the key of the new order's reward, or
    /// `None` if the buyer has no free order number.
    pub(super) fn place_late(&self, buyer: u64, at: i64) -> Option<RewardKey> {
        let order = self.orders(buyer);
        if order >= ORDERS {
            return None;
        }
        self.new_orders.place(buyer, at);
        Some(RewardKey { buyer, order, action: 0, side: Side::Friend })
    }

    pub(super) fn class(&self, buyer: u64, order: u64) -> Class {
        if self.late(buyer, order).is_some() {
            return Class::Plain;
        }
        if order == 0
            && let Some(class) = self.planted(buyer)
        {
            return class;
        }
        match self.hash(Tag::Class, buyer, order) % 10_000 {
            0..100 => Class::TwoActions,
            100..400 => Class::NoAction,
            400..420 => Class::Unfamiliar,
            420..440 => Class::Ambiguous,
            440..460 => Class::ZeroAmount,
            _ => self.late_class(buyer, order),
        }
    }

    /// Returns one of the two classes of orders that were added to the formulas later. Orders of the later classes
    /// replace plain orders, because a seed must still have the same number of orders.
    fn late_class(&self, buyer: u64, order: u64) -> Class {
        match (buyer + self.special) % 500 {
            100..115 if order == 0 && self.first_orders(buyer) > 1 => Class::Shared,
            200..206 if order == 0 => Class::Kept,
            _ => Class::Plain,
        }
    }

    /// Returns the number of conversions of an order. An order without an ActionId also has a conversion, because the
    /// order gave rewards.
    pub(super) fn actions(&self, buyer: u64, order: u64) -> u64 {
        if self.class(buyer, order) == Class::TwoActions { 2 } else { 1 }
    }

    /// Returns when the order was placed, in Unix milliseconds: up to 900 days ago, and more often recently.
    pub(super) fn ordered(&self, buyer: u64, order: u64) -> i64 {
        self.late(buyer, order).unwrap_or_else(|| self.first_ordered(buyer, order))
    }

    fn first_ordered(&self, buyer: u64, order: u64) -> i64 {
        let roll = self.hash(Tag::When, buyer, order);
        let days = (roll % 1000) * (roll % 1000) * 900 / 1_000_000;
        self.today - days as i64 * DAY - (roll >> 16) as i64 % DAY
    }

    /// Returns a number that is unique to the order.
    pub(super) fn number(buyer: u64, order: u64) -> u64 {
        buyer * ORDERS + order
    }

    /// Returns buyer and order of an order's number, as the inverse of [`Data::number`]. Returns `None` if the formulas
    /// allow no such buyer.
    pub(super) fn numbered(number: u64) -> Option<(u64, u64)> {
        let buyer = number / ORDERS;
        u32::try_from(buyer).is_ok().then_some((buyer, number % ORDERS))
    }

    pub(super) fn campaign(&self, buyer: u64) -> u64 {
        if self.hash(Tag::Tracker, buyer, 1).is_multiple_of(4) { 20_817 } else { 4711 }
    }

    pub(super) fn tracker(&self, buyer: u64, order: u64) -> u64 {
        if self.hash(Tag::Tracker, buyer, order + 2).is_multiple_of(5) { 31_002 } else { 31_001 }
    }

    /// Returns the order's amount in cents.
    pub(super) fn amount(&self, buyer: u64, order: u64) -> u64 {
        if self.class(buyer, order) == Class::ZeroAmount {
            0
        } else {
            500 + self.hash(Tag::Value, buyer, order) % 50_000
        }
    }

    /// Returns the ActionId of an action; `None` if the action's order has no ActionId.
    pub(super) fn action_id(&self, key: ActionKey) -> Option<String> {
        let number = 100_000 + Self::number(key.buyer, key.order) * 2 + key.action;
        match self.class(key.buyer, key.order) {
            Class::NoAction => None,
            Class::Unfamiliar => Some(format!("ACT-{number:x}")),
            _ => {
                let days = (self.ordered(key.buyer, key.order) - ACTION_EPOCH) / DAY;
                Some(format!("{}.{days}.{number}", self.campaign(key.buyer)))
            }
        }
    }

    /// Returns the action that has an ActionId. Decodes the ActionId and checks the result by writing the ActionId
    /// again.
    pub(super) fn find_action(&self, text: &str) -> Option<ActionKey> {
        let number = match text.strip_prefix("ACT-") {
            Some(hex) => u64::from_str_radix(hex, 16).ok()?,
            None => text.rsplit('.').next()?.parse().ok()?,
        };
        let number: u64 = number.checked_sub(100_000)?;
        let key = ActionKey { buyer: number / 2 / ORDERS, order: number / 2 % ORDERS, action: number % 2 };
        let real = key.order < self.orders(key.buyer) && key.action < self.actions(key.buyer, key.order);
        (real && self.action_id(key).as_deref() == Some(text)).then_some(key)
    }

    // ---- rewards -----------------------------------------------------------------------------------------------

    /// Returns when the order of this reward was placed; `None` if it is not a new order.
    pub(super) fn late_reward(&self, key: RewardKey) -> Option<i64> {
        self.late(key.buyer, key.order).filter(|_| key.side != Side::Manual)
    }

    /// Returns when a reward was created: when its order was placed, or at any time for a manual reward.
    pub(super) fn created(&self, key: RewardKey) -> i64 {
        self.late_reward(key).unwrap_or_else(|| {
            self.first_ordered(key.buyer, key.order) + (self.hash(Tag::When, key.pack(), 7) % 60_000) as i64
        })
    }

    /// Returns whether the order rewards the friend, and whether it rewards the referrer.
    fn sides(&self, buyer: u64, order: u64) -> (bool, bool) {
        if self.referrer(buyer).is_none() || self.late(buyer, order).is_some() {
            return (true, false);
        }
        // Of a buyer's 500 orders, only one in ten rewards the referrer, because only one account must have many
        // rewards.
        if self.is_heavy(buyer) {
            return (true, order.is_multiple_of(10));
        }
        match self.hash(Tag::Sides, buyer, order) % 20 {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        }
    }

    fn manual(&self, person: u64) -> bool {
        let roll = self.hash(Tag::Manual, person, 0);
        self.rewarded.map_or(roll % 100 < 12, |rewarded| roll % 10_000 < rewarded.manual)
    }

    /// Returns `true` if the formulas contain this reward.
    pub(super) fn is_real(&self, key: RewardKey) -> bool {
        let RewardKey { buyer, order, action, side } = key;
        match side {
            Side::Manual => order == 0 && action == 0 && self.manual(buyer),
            Side::Third | Side::Loose => order < self.orders(buyer) && action == 0,
            Side::Friend | Side::Referrer => {
                let (friend, referrer) = self.sides(buyer, order);
                let rewarded = if side == Side::Friend { friend } else { referrer };
                order < self.orders(buyer) && action < self.actions(buyer, order) && rewarded
            }
        }
    }

    /// Returns the participant who has this reward.
    pub(super) fn holder(&self, key: RewardKey) -> u64 {
        if key.side == Side::Referrer { self.referrer(key.buyer).unwrap_or(key.buyer) } else { key.buyer }
    }

    /// Calls `each` for every reward of one participant, always in the same order.
    pub(super) fn rewards_of(&self, person: u64, mut each: impl FnMut(RewardKey)) {
        let mut give = |buyer: u64, side: Side| {
            for order in 0..self.orders(buyer) {
                let (friend, referrer) = self.sides(buyer, order);
                if (side == Side::Friend && friend) || (side == Side::Referrer && referrer) {
                    for action in 0..self.actions(buyer, order) {
                        each(RewardKey { buyer, order, action, side });
                    }
                }
            }
        };
        give(person, Side::Friend);
        if let Some(buyer) = self.friend(person) {
            give(buyer, Side::Referrer);
        }
        if self.manual(person) {
            each(RewardKey { buyer: person, order: 0, action: 0, side: Side::Manual });
        }
    }
}

/// Returns the position in its block of the participant who owns a participant's account. Some pairs and one triple of
/// distant participants share an account. Therefore the members of one account are on different pages.
fn shared(pattern: u64, position: u64) -> u64 {
    match (pattern % 4, position) {
        (0, 14) => 3,
        (1, 9 | 15) => 4,
        (3, 6) => 5,
        (3, 12) => 1,
        _ => position,
    }
}
