//! The current data of the simulator: the formulas, and the changes since the start.
//!
//! The changes of the data are few: reversed actions, participants who joined or left, rewards that a test changed.
//! Maps under locks store the changes of the data. An atomic flag tells whether any reward has changed. Therefore a
//! crawl of an unchanged tenant takes no lock. The module of the current data does not know HTTP.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    action_log::ActionLog,
    data::Data,
    deleted_accounts::DeletedAccounts,
    facts::Touch,
    keys::{ActionKey, RewardKey, Side},
    lock::{read, write},
    options::Options,
    participants::Participants,
    programs::Programs,
    random::Tag,
    referrals::Referrals,
    reward_json::{Style, program_reward_key},
    time,
    timeline::{Differences, Entry, Timeline},
};

#[derive(Debug, Default)]
struct Changes {
    touched: HashMap<u64, Touch>,
    /// The rewards that a control path has moved to another account.
    moved: Vec<RewardKey>,
    /// The differences that the changes make in the order by modification time.
    shift: Differences,
    /// The time of the last change of a reward. A later change of a reward never gets an earlier time.
    last: i64,
}

impl Changes {
    fn moment(&mut self, now: i64) -> i64 {
        self.last = self.last.max(now);
        self.last
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) data: Data,
    pub(super) style: Style,
    pub(super) action_log: ActionLog,
    pub(super) programs: Programs,
    pub(super) referrals: Referrals,
    /// The accounts for which Get Rewards always fails.
    failing: HashSet<u64>,
    pub(super) deleted_accounts: DeletedAccounts,
    changed: AtomicBool,
    changes: RwLock<Changes>,
    /// The rewards of the formulas sorted by modification time. The list is built on first use.
    moments: OnceLock<Vec<Entry>>,
    /// The number of rewards that will still change while a client reads rewards.
    pub(super) churn_left: AtomicU64,
    pub(super) reads: AtomicU64,
    /// The number of earlier changes of accounts.
    pub(super) turns: AtomicU64,
    churned: AtomicBool,
    participants: RwLock<Participants>,
}

impl World {
    pub(super) fn new(options: &Options, today: i64) -> Self {
        let data = Data::new(options, today);
        let mut failing = HashSet::new();
        let mut roll = 0;
        while (failing.len() as u64) < options.accounts_fail.min(data.people / 2) {
            failing.insert(data.owner(data.hash(Tag::Fail, roll, 0) % data.people));
            roll += 1;
        }
        Self {
            style: Style { tidy: options.tidy, link_in: options.link_in, names: options.link_names },
            action_log: ActionLog::default(),
            programs: Programs::new(options),
            referrals: Referrals::new(options),
            failing,
            deleted_accounts: DeletedAccounts::default(),
            changed: AtomicBool::new(false),
            changes: RwLock::default(),
            moments: OnceLock::new(),
            churn_left: AtomicU64::new(options.reward_churn),
            reads: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            churned: AtomicBool::new(false),
            participants: RwLock::new(Participants::new(data.people, options.churn)),
            data,
        }
    }

    // ---- people ------------------------------------------------------------------------------------------------

    /// Returns at most `limit` participants from `offset`, and the total number of participants. A read of a page may
    /// make some participants join or leave.
    pub(super) fn page(&self, offset: u64, limit: u64) -> (Vec<u64>, u64) {
        if self.churn_is_due() {
            let mut participants = write(&self.participants);
            if participants.churn(&self.data, offset, limit) {
                self.churned.store(true, Ordering::Release);
                for (person, came) in participants.take_fresh() {
                    if came { self.add_rewards_of(person) } else { self.remove_rewards_of(person) }
                }
            }
            return participants.page(offset, limit);
        }
        read(&self.participants).page(offset, limit)
    }

    fn churn_is_due(&self) -> bool {
        read(&self.participants).has_churn_left()
    }

    /// Adds a number of participants who join or leave while a client reads `/users`.
    pub(super) fn churn_more(&self, events: u64) {
        write(&self.participants).churn_more(events);
    }

    /// Returns the page of [`World::page`] without making a participant join or leave.
    pub(super) fn page_unchanged(&self, offset: u64, limit: u64) -> (Vec<u64>, u64) {
        read(&self.participants).page(offset, limit)
    }

    /// Returns all current participants in the order of `/users`.
    pub(super) fn everyone(&self) -> impl Iterator<Item = u64> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (people, _) = self.page_unchanged(offset, 1000);
            offset += people.len() as u64;
            (!people.is_empty()).then_some(people)
        })
        .flatten()
    }

    pub(super) fn is_here(&self, person: u64) -> bool {
        if self.churned.load(Ordering::Acquire) {
            read(&self.participants).is_here(person)
        } else {
            person < self.data.people
        }
    }

    /// Returns the account with this ID; `None` if the account does not exist.
    pub(super) fn account(&self, id: &str) -> Option<u64> {
        let owner = self.data.find_account(id)?;
        (self.data.owner(owner) == owner && self.is_here(owner)).then_some(owner)
    }

    pub(super) fn fails(&self, owner: u64) -> bool {
        !self.failing.is_empty() && self.failing.contains(&owner)
    }

    // ---- rewards -----------------------------------------------------------------------------------------------

    /// Calls `each` for every current reward of an account, with the reward's changes.
    pub(super) fn rewards(&self, owner: u64, mut each: impl FnMut(RewardKey, Touch)) {
        if !self.changed.load(Ordering::Acquire) {
            for person in self.data.members(owner) {
                self.data.rewards_of(person, |key| each(key, Touch::default()));
            }
            return;
        }
        let changes = read(&self.changes);
        let touch = |key: RewardKey| changes.touched.get(&key.pack()).copied().unwrap_or_default();
        for person in self.data.members(owner) {
            self.data.rewards_of(person, |key| {
                let touch = touch(key);
                if !touch.deleted && touch.moved_to.is_none() {
                    each(key, touch);
                }
            });
        }
        for key in &changes.moved {
            let touch = touch(*key);
            if !touch.deleted && touch.moved_to == Some(owner) {
                each(*key, touch);
            }
        }
    }

    /// Returns the reward with this ID; `None` if the reward does not exist.
    pub(super) fn reward(&self, id: &str) -> Option<(RewardKey, Touch)> {
        let key = self.data.find_reward(id)?;
        let touch = self.touch_of(key);
        let owner = touch.moved_to.unwrap_or_else(|| self.data.owner(self.data.holder(key)));
        let is_there = !touch.deleted && self.is_here(owner) && self.referrals.has(key.side);
        is_there.then_some((key, touch))
    }

    /// Returns the existing rewards of an action, without the rewards that lists omit.
    pub(super) fn rewards_of_action(&self, action: ActionKey) -> Vec<(RewardKey, Touch)> {
        self.rewards_of_sides(action, &[Side::Friend, Side::Referrer])
    }

    /// Returns every existing reward of a referral.
    pub(super) fn rewards_of_referral(&self, buyer: u64, order: u64) -> Vec<(RewardKey, Touch)> {
        let sides = [Side::Friend, Side::Referrer, Side::Third, Side::Loose];
        (0..self.data.actions(buyer, order))
            .flat_map(|action| self.rewards_of_sides(ActionKey { buyer, order, action }, &sides))
            .collect()
    }

    fn rewards_of_sides(&self, action: ActionKey, sides: &[Side]) -> Vec<(RewardKey, Touch)> {
        sides
            .iter()
            .copied()
            .map(|side| action.reward(side))
            .filter(|key| self.data.is_real(*key))
            .filter_map(|key| self.reward(&self.data.reward_id(key)))
            .collect()
    }

    fn touch_of(&self, key: RewardKey) -> Touch {
        if !self.changed.load(Ordering::Acquire) {
            return Touch::default();
        }
        read(&self.changes).touched.get(&key.pack()).copied().unwrap_or_default()
    }

    /// Changes one reward of the simulator. The time of a reward's change is never before an earlier change.
    fn touch(&self, key: RewardKey, now: i64, change: impl FnOnce(&mut Touch, i64)) {
        let mut changes = write(&self.changes);
        let now = changes.moment(now);
        let old = changes.touched.get(&key.pack()).copied().unwrap_or_default();
        let mut new = old;
        change(&mut new, now);
        new.modified = Some(now);
        changes.touched.insert(key.pack(), new);
        if !key.side.is_unlisted() {
            let (was, is) = (self.entry(key, old), self.entry(key, new));
            changes.shift.put(was, is);
        }
        self.changed.store(true, Ordering::Release);
    }

    /// Returns the timeline entry of a reward; `None` if the reward is deleted.
    fn entry(&self, key: RewardKey, touch: Touch) -> Option<Entry> {
        let modified = self.data.facts(key, touch, self.style.tidy).modified;
        (!touch.deleted).then(|| (modified, self.data.tie(key)))
    }

    /// Places one more order of this buyer now. Returns the reward of the new order, or `None` if the buyer has no free
    /// order number.
    pub(super) fn place_order(&self, buyer: u64, now: i64) -> Option<RewardKey> {
        let mut changes = write(&self.changes);
        let now = changes.moment(now);
        let key = self.data.place_late(buyer, now)?;
        let entry = self.entry(key, Touch::default());
        changes.shift.put(None, entry);
        Some(key)
    }

    /// Adds the rewards of a participant who has just joined. The rewards of the new participant were created earlier,
    /// and are modified now.
    fn add_rewards_of(&self, person: u64) {
        let mut changes = write(&self.changes);
        let now = changes.moment(time::now_ms());
        self.data.rewards_of(person, |key| {
            let touch = Touch { modified: Some(now), ..Touch::default() };
            changes.touched.insert(key.pack(), touch);
            let entry = self.entry(key, touch);
            changes.shift.put(None, entry);
        });
        self.changed.store(true, Ordering::Release);
    }

    /// Removes the rewards of a participant who has just left and was the account's only member.
    fn remove_rewards_of(&self, person: u64) {
        let mut gone = Vec::new();
        self.rewards(person, |key, touch| gone.push((key, touch)));
        let mut changes = write(&self.changes);
        for (key, touch) in gone {
            let entry = self.entry(key, touch);
            changes.shift.put(entry, None);
        }
    }

    /// Calls `look` with all rewards sorted by modification time. The locks are held during the call. Therefore `look`
    /// must not call a method of `World` that takes a lock.
    pub(super) fn timeline<T>(&self, look: impl FnOnce(Timeline<'_>, &dyn Fn(RewardKey) -> Touch) -> T) -> T {
        let list = self.moments.get_or_init(|| {
            let mut list = Vec::new();
            for person in 0..self.data.people {
                // The rewards of a new order are in the timeline's differences and not in its list.
                self.data.rewards_of(person, |key| {
                    if self.data.late_reward(key).is_none() {
                        list.extend(self.entry(key, Touch::default()));
                    }
                });
            }
            list.shrink_to_fit();
            list.sort_unstable();
            list
        });
        let changes = read(&self.changes);
        let touch = |key: RewardKey| changes.touched.get(&key.pack()).copied().unwrap_or_default();
        look(Timeline { list, shift: &changes.shift }, &touch)
    }

    /// Cancels one reward, if it is cancellable. Returns `true` if the reward was cancellable.
    pub(super) fn cancel_reward(&self, key: RewardKey, now: i64) -> bool {
        let facts = self.data.facts(key, self.touch_of(key), self.style.tidy);
        if facts.cancellable {
            self.touch(key, now, |touch, now| touch.cancelled = Some(now));
        }
        facts.cancellable
    }

    /// Redeems one reward in full, if it is a redeemable credit. Returns `true` if the reward was a redeemable credit.
    pub(super) fn redeem(&self, key: RewardKey, now: i64) -> bool {
        let facts = self.data.facts(key, self.touch_of(key), self.style.tidy);
        let possible = facts.cancellable && facts.assigned.is_some();
        if possible {
            self.touch(key, now, |touch, now| touch.redeemed = Some(now));
        }
        possible
    }

    pub(super) fn delete_reward(&self, key: RewardKey) {
        self.touch(key, time::now_ms(), |touch, _| touch.deleted = true);
    }

    pub(super) fn move_reward(&self, key: RewardKey, owner: u64) {
        self.touch(key, time::now_ms(), |touch, _| touch.moved_to = Some(owner));
        let mut changes = write(&self.changes);
        if !changes.moved.contains(&key) {
            changes.moved.push(key);
        }
    }

    // ---- actions -----------------------------------------------------------------------------------------------

    /// Returns the action with this ID; `None` if the action's buyer never was a participant.
    pub(super) fn action(&self, id: &str) -> Option<ActionKey> {
        let action = self.data.find_action(id)?;
        (action.buyer < self.data.people || self.is_here(action.buyer)).then_some(action)
    }

    /// Cancels the cancellable rewards of an action, and takes its referral back. Returns the number of rewards that
    /// the function cancelled.
    pub(super) fn cancel_action(&self, action: ActionKey, now: i64) -> usize {
        self.referrals.take_back(action, now);
        self.cancel_rewards_of(action, now, |_| true)
    }

    /// Applies the program's refund rule to a reversed action.
    pub(super) fn retract(&self, action: ActionKey, now: i64) {
        let effect = self.programs.effect();
        if effect.conversion {
            self.referrals.take_back(action, now);
        }
        self.cancel_rewards_of(action, now, |side| effect.reward_keys.contains(&program_reward_key(side)));
    }

    fn cancel_rewards_of(&self, action: ActionKey, now: i64, takes: impl Fn(Side) -> bool) -> usize {
        let rewards = self.rewards_of_sides(action, &[Side::Friend, Side::Referrer, Side::Third]);
        rewards.into_iter().filter(|(key, _)| takes(key.side) && self.cancel_reward(*key, now)).count()
    }

    /// Returns the actions of an order under one event type, newest last.
    pub(super) fn actions_of_order(&self, order_id: &str, tracker: u64) -> Vec<ActionKey> {
        let found = self.data.find_order(order_id, |buyer| self.is_here(buyer)).filter(|(buyer, order)| {
            self.data.tracker(*buyer, *order) == tracker && self.data.order_id(*buyer, *order) == order_id
        });
        let Some((buyer, order)) = found else { return Vec::new() };
        (0..self.data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action }).collect()
    }
}
