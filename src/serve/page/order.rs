//! View model of an order on the page: verdict, rewards, history. This module makes no decisions.

use super::mask::Masks;
use super::view::{RetractionLine, Reward, Time, in_link, time};
use super::words;
use crate::lookup::{Answer, AnswerKind as Answered, KnownReferral, LedgerId, describe_extent};
use crate::model::order_text::{has_url, invisible_marks, is_email, visible};
use crate::model::{ActionId, OrderId, ReferralState};
use crate::retract::receipt::{Entry, RewardLine};
use crate::serve::PageOptions;
use crate::serve::flag_names::entry_for;
use crate::serve::looking::Look;
use crate::serve::routes::Audience;
use crate::store::ledger::{Retraction, State};

pub(super) struct Order {
    pub(super) id: String,
    pub(super) link: String,
    /// The order ID, with visible escapes for invisible characters.
    pub(super) heading: String,
    /// The URL of the order's page in the shop.
    pub(super) shop_url: Option<String>,
    /// Why recoup did not find the order.
    pub(super) nothing: Option<String>,
    pub(super) actions: Vec<Action>,
    pub(super) rows: Vec<RewardRow>,
    pub(super) referrals: Vec<Referral>,
    pub(super) basis: Basis,
    /// Orders that the pasted text may mean: ID, link, and how the ID differs from the text.
    pub(super) candidates: Vec<(String, String, String)>,
    /// The related orders, if the pasted text is the ID of an action, a reward or a participant, or a ticket.
    pub(super) related: Vec<Related>,
    /// The retractions whose state a person must know first: the newest attempt on each action.
    pub(super) current: Vec<RetractionLine>,
    /// Every retraction of the order with its events, the newest first.
    pub(super) history: Vec<(RetractionLine, Entry)>,
    /// `true` if a retraction of the order is confirmed. The order's page then reads from the vendor only if the user
    /// requests it.
    pub(super) is_proven: bool,
}

/// The orders that belong to an ActionId, a reward ID, a participant or a ticket.
pub(super) struct Related {
    pub(super) what: &'static str,
    /// Order ID and link of each order.
    pub(super) orders: Vec<(String, String)>,
    pub(super) more: bool,
}

/// An action of an order with several actions, for the user's choice.
pub(super) struct Action {
    pub(super) id: String,
    /// The rewards of the action in words.
    pub(super) rewards: String,
}

/// A reward in the table of an order.
pub(super) struct RewardRow {
    /// The ActionId; `None` if the reward contains no ActionId.
    pub(super) action: Option<String>,
    /// The URL of the action's page at the vendor.
    pub(super) action_url: Option<String>,
    pub(super) reward: Reward,
}

/// A referral of the order's rewards, as recoup last read it.
pub(super) struct Referral {
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) read_at: Option<Time>,
}

/// The coverage of the index that the answer is based on.
pub(super) struct Basis {
    pub(super) as_of: Option<Time>,
    pub(super) extent: String,
}

impl Order {
    /// Builds the view of an answer. Without `masks`, account IDs are shown unmasked.
    pub(super) fn of(
        answer: &Answer,
        known: &[Retraction],
        in_ledger: Option<LedgerId>,
        masks: Option<&Masks>,
        options: &PageOptions,
    ) -> Self {
        let rows = rows_of(answer, masks, options);
        let shown = |order: &OrderId| (visible(order.as_str()).into_owned(), in_link(order.as_str()));
        let candidates = answer.candidates.iter().map(|known| {
            let (id, link) = shown(&known.order_id);
            (id, link, known.because.clone())
        });
        let of_index = answer.related.as_ref().map(|related| Related {
            what: related.kind.describe(),
            orders: related.orders.iter().map(shown).collect(),
            more: related.more,
        });
        let is_known = in_ledger.is_some();
        let of_ledger = in_ledger.map(|found| Related {
            what: found.kind.describe(),
            orders: found.orders.iter().map(shown).collect(),
            more: found.more,
        });
        let newest_first = known.iter().rev();
        Self {
            id: answer.order_id.as_str().to_owned(),
            link: in_link(answer.order_id.as_str()),
            heading: visible(answer.order_id.as_str()).into_owned(),
            shop_url: options.shop_order_url.as_ref().and_then(|url| url.link(answer.order_id.as_str())),
            nothing: nothing(answer, is_known),
            actions: actions_of(&rows),
            rows,
            referrals: answer.referrals.iter().map(Referral::of).collect(),
            basis: Basis {
                as_of: answer.coverage.as_of.as_deref().map(time),
                extent: describe_extent(&answer.coverage),
            },
            candidates: candidates.collect(),
            related: of_index.into_iter().chain(of_ledger).collect(),
            current: newest_first.clone().filter(|one| is_current(one.state)).map(RetractionLine::of).collect(),
            history: newest_first
                .map(|one| (RetractionLine::of(one), entry_for(Entry::of(one, &[]), Audience::Page)))
                .collect(),
            is_proven: known.iter().any(|one| matches!(one.state, State::Confirmed | State::Partial)),
        }
    }

    /// Describes the order in a few words: the number and the states of its rewards.
    pub(super) fn summary(&self) -> String {
        summary(self.rows.iter().map(|row| &row.reward))
    }
}

/// Returns `false` if a later attempt has superseded the retraction, or a person has released it.
fn is_current(state: State) -> bool {
    !matches!(state, State::Superseded | State::Released)
}

/// Returns the rewards of an answer, grouped by action.
pub(super) fn rows_of(answer: &Answer, masks: Option<&Masks>, options: &PageOptions) -> Vec<RewardRow> {
    let mut rows: Vec<RewardRow> = Vec::new();
    for found in &answer.matches {
        let action = found.action_id.as_ref().map(ToString::to_string);
        let row = RewardRow::new(action, Reward::of(found, masks), options);
        let end = rows.iter().rposition(|other| other.action == row.action).map_or(rows.len(), |at| at + 1);
        rows.insert(end, row);
    }
    rows
}

/// Updates the reward rows by a preflight. If an action was chosen, keeps only the rows of the chosen action.
pub(super) fn update_rows(rows: &mut Vec<RewardRow>, look: &Look, chosen: Option<&ActionId>, options: &PageOptions) {
    if let Some(chosen) = chosen {
        rows.retain(|row| row.action.as_deref() == Some(chosen.as_str()));
    }
    let read_at = look.read_at.to_string();
    for entry in &look.receipt.retractions {
        for line in &entry.rewards {
            let of_entry = |row: &&mut RewardRow| {
                row.reward.id == line.reward_id && (row.action.is_none() || row.action == entry.action_id)
            };
            if let Some(row) = rows.iter_mut().find(of_entry) {
                row.reward.update(line, &read_at);
            } else {
                let reward = Reward::read_now(line, &read_at);
                rows.push(RewardRow::new(entry.action_id.clone(), reward, options));
            }
        }
    }
}

impl RewardRow {
    fn new(action: Option<String>, reward: Reward, options: &PageOptions) -> Self {
        let url = |id: &String| options.vendor_action_url.as_ref().and_then(|url| url.link(id));
        Self { action_url: action.as_ref().and_then(url), action, reward }
    }
}

impl Reward {
    fn update(&mut self, line: &RewardLine, read_at: &str) {
        words::state(&line.state).clone_into(&mut self.state);
        line.as_of.as_deref().unwrap_or(read_at).clone_into(&mut self.as_of);
    }

    /// The preflight has found a reward that the index did not have.
    fn read_now(line: &RewardLine, read_at: &str) -> Self {
        Self {
            id: line.reward_id.clone(),
            account: String::new(),
            source: super::view::source_of(line),
            state: words::state(&line.state).to_owned(),
            as_of: line.as_of.clone().unwrap_or_else(|| read_at.to_owned()),
            amount: super::view::amount_of(line),
            program: String::new(),
            given: String::new(),
            remark: "not in the index".to_owned(),
        }
    }
}

/// Returns every action in the reward rows.
fn actions_of(rows: &[RewardRow]) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    for id in rows.iter().filter_map(|row| row.action.as_ref()) {
        if actions.iter().all(|action| action.id != *id) {
            let of_it = rows.iter().filter(|row| row.action.as_ref() == Some(id)).map(|row| &row.reward);
            actions.push(Action { id: id.clone(), rewards: each(of_it) });
        }
    }
    actions
}

/// Describes each reward in words: `42.00 USD, referrer, available`.
fn each<'a>(rewards: impl Iterator<Item = &'a Reward>) -> String {
    let words = |reward: &Reward| {
        let parts = [&reward.amount, &reward.source, &reward.state];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    };
    rewards.map(words).collect::<Vec<_>>().join("; ")
}

fn summary<'a>(rewards: impl Iterator<Item = &'a Reward>) -> String {
    let mut states: Vec<(&str, u64)> = Vec::new();
    let mut seen = Vec::new();
    for reward in rewards {
        // A reward with several links has several rows.
        if seen.contains(&&reward.id) {
            continue;
        }
        seen.push(&reward.id);
        match states.iter_mut().find(|(state, _)| *state == reward.state) {
            Some((_, count)) => *count += 1,
            None => states.push((&reward.state, 1)),
        }
    }
    let total = crate::model::counted(seen.len() as u64, "reward");
    match states.as_slice() {
        [] => String::new(),
        [(state, _)] => format!("{total}, {state}"),
        states => {
            let each: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            format!("{total}: {}", each.join(", "))
        }
    }
}

impl Referral {
    fn of(known: &KnownReferral) -> Self {
        let read_at = known.read_at.as_deref().map(time);
        let state = match known.state {
            Some(state) if read_at.is_some() => ReferralState::as_str(state),
            _ => "not read yet",
        };
        Self { id: known.referral_id.clone(), state, read_at }
    }
}

/// Returns why recoup did not find the order; `None` if recoup found it. `in_ledger` is `true` if the ledger has the
/// pasted text.
fn nothing(answer: &Answer, in_ledger: bool) -> Option<String> {
    if answer.is_found() {
        return None;
    }
    let text = answer.order_id.as_str();
    let marks = invisible_marks(text).map(|marks| format!("The pasted text has {marks}.")).into_iter();
    let why = match answer.verdict {
        _ if !answer.candidates.is_empty() => "No order is written exactly like this.",
        _ if answer.related.is_some() => "This is not an order ID.",
        _ if in_ledger => "The index has no order with this ID.",
        Answered::Unclear if has_url(text) => {
            "This is a URL, and no part of it is a known order. Paste the order ID itself."
        }
        Answered::Unclear if is_email(text) => "This is an e-mail address, and the index knows no participant by it.",
        Answered::Unclear => "No order is written like this, with or without that.",
        _ if answer.is_without_index() => "There is no answer: nothing has been crawled yet.",
        Answered::NotAReferral => "This is not a referral order.",
        _ => "It is not in what has been read so far.",
    };
    let unclear = (answer.verdict == Answered::Unclear).then(|| "Unclear.".to_owned());
    Some(unclear.into_iter().chain(marks).chain([why.to_owned()]).collect::<Vec<_>>().join(" "))
}
