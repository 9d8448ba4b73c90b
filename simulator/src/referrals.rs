//! Simulates referrals: an order converts its referral, which becomes started again when every action of the order is
//! taken back.
//!
//! A simulated referral belongs to one order, and its ID encodes that order (`names`). In REST, a referral contains two
//! of its rewards, as in the vendor's document. In GraphQL, a referral contains all of its rewards. The vendor does not
//! publish that a retraction empties `dateConverted`. The simulator infers that a retraction empties `dateConverted`.

use std::{collections::HashMap, sync::RwLock};

use clap::ValueEnum as _;

use super::{
    advocate::write_user,
    data::DAY,
    keys::{ActionKey, Side},
    lock::{read, write},
    options::{Options, ReferralAfter, ReferralRewards},
    programs, query,
    random::Tag,
    reply::{JSON, Reply, advocate_error},
    reward_json::{Object, quoted},
    world::World,
};

#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    after: ReferralAfter,
    rewards: ReferralRewards,
}

impl Live {
    /// Changes one setting of the simulated referrals. Returns `true` if the setting's name and value are valid.
    pub(super) fn set(&mut self, key: &str, value: &str) -> bool {
        match key {
            "referral-after" => ReferralAfter::from_str(value, true).map(|after| self.after = after).is_ok(),
            "referral-rewards" => ReferralRewards::from_str(value, true).map(|rewards| self.rewards = rewards).is_ok(),
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Referrals {
    pub(super) live: RwLock<Live>,
    /// When each action was taken back, in Unix milliseconds.
    taken_back: RwLock<HashMap<ActionKey, i64>>,
}

impl Referrals {
    pub(super) fn new(options: &Options) -> Self {
        let live = Live { after: options.referral_after, rewards: options.referral_rewards };
        Self { live: RwLock::new(live), taken_back: RwLock::default() }
    }

    pub(super) fn take_back(&self, action: ActionKey, now: i64) {
        write(&self.taken_back).entry(action).or_insert(now);
    }

    /// Returns `true` if the tenant has rewards for this recipient.
    pub(super) fn has(&self, side: Side) -> bool {
        match side {
            Side::Third => read(&self.live).rewards == ReferralRewards::Third,
            Side::Loose => read(&self.live).rewards == ReferralRewards::Loose,
            Side::Friend | Side::Referrer | Side::Manual => true,
        }
    }

    /// Returns what a client sees of a referral whose action was taken back.
    pub(super) fn after(&self) -> ReferralAfter {
        read(&self.live).after
    }
}

/// The dates of a referral, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) started: i64,
    pub(super) converted: Option<i64>,
    pub(super) modified: i64,
}

impl World {
    /// Returns the order with this referral ID; `None` if the order's buyer is not a current participant.
    pub(super) fn referral(&self, id: &str) -> Option<(u64, u64)> {
        self.data.find_referral(id).filter(|(buyer, _)| self.is_here(*buyer))
    }

    pub(super) fn referral_dates(&self, buyer: u64, order: u64) -> Dates {
        let ordered = self.data.ordered(buyer, order);
        let days = 1 + self.data.hash(Tag::When, buyer, order).rotate_left(32) % 20;
        let (started, converted) = (ordered - days as i64 * DAY, ordered + 60_000);
        let taken_back = read(&self.referrals.taken_back);
        let actions = (0..self.data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action });
        // If the order has two actions, the referral is taken back only after both are taken back.
        let back: Option<Vec<i64>> = actions.map(|action| taken_back.get(&action).copied()).collect();
        match back.and_then(|back| back.into_iter().max()) {
            Some(at) if self.referrals.after() == ReferralAfter::Started => {
                Dates { started, converted: None, modified: at }
            }
            _ => Dates { started, converted: Some(converted), modified: converted },
        }
    }
}

/// Answers a request for `referrals/{id}`.
pub(super) fn answer(world: &World, path: &str) -> Reply {
    match world.referrals.after() {
        ReferralAfter::Forbidden => return advocate_error(403, "This token may not do that.", None, None),
        ReferralAfter::NoField => return advocate_error(404, "There is nothing here.", None, None),
        ReferralAfter::Started | ReferralAfter::Converted => {}
    }
    let Some((buyer, order)) = world.referral(&query::segment(path.trim_start_matches("referrals/"))) else {
        return advocate_error(404, "Referral not found.", None, None);
    };
    let mut out = Vec::with_capacity(2048);
    write_referral(&mut out, world, buyer, order);
    Reply::new(200, JSON, out)
}

fn write_referral(out: &mut Vec<u8>, world: &World, buyer: u64, order: u64) {
    let data = &world.data;
    let dates = world.referral_dates(buyer, order);
    let rewards = world.rewards_of_referral(buyer, order);
    let mut referral = Object::new(out, true, false);
    quoted(referral.key("id"), |out| data.write_referral_id(out, buyer, order));
    write_user(referral.key("referredUser"), world, buyer);
    if let Some(referrer) = data.referrer(buyer) {
        write_user(referral.key("referrerUser"), world, referrer);
    }
    for (name, side) in [("referredReward", Side::Friend), ("referrerReward", Side::Referrer)] {
        match rewards.iter().find(|(key, _)| key.side == side) {
            Some((key, touch)) => drop(world.style.write(referral.key(name), data, *key, *touch)),
            // In the vendor's document, only the referrer's field of a referral may be null.
            None if side == Side::Friend && world.style.tidy => {}
            None => referral.null(name),
        }
    }
    referral.text("referralCodeUsed", data.referrer(buyer).map(|person| data.first_name(person)));
    referral.null("shareLinkUsed");
    referral.text("moderationStatus", Some("ACTIONED"));
    referral.text("referredModerationStatus", Some("APPROVED"));
    referral.text("referrerModerationStatus", Some("APPROVED"));
    referral.null("fraudSignals");
    referral.number("dateReferralStarted", Some(dates.started));
    referral.null("dateReferralPaid");
    referral.null("dateReferralEnded");
    referral.number("dateModerated", Some(dates.started));
    referral.number("dateConverted", dates.converted);
    referral.number("dateModified", Some(dates.modified));
    referral.null("dateUserModified");
    referral.text("programId", Some(programs::ID));
    referral.end();
}
