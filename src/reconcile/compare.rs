//! Compares one refund of the file with the index and the ledger.
//!
//! recoup uses a damaged order ID only if the index or the ledger has exactly this ID. The notes of a refund mention
//! similar IDs, and recoup never uses a similar ID. The rows of the report never contain an account ID.

use jiff::Timestamp;
use serde::Serialize;

use super::classification::{LedgerStatus, RefundClass, RewardStatus, RewardTotals};
use super::ledger_index::{LedgerIndex, is_done, is_open, ledger_status, newest_readings};
use super::reward_value::{RewardValue, Unit};
use crate::error::Result;
use crate::lookup;
use crate::lookup::why_absence_is_unproven;
use crate::model::{ActionId, Coverage, OrderId, RewardId, RewardState};
use crate::refunds::{
    Column, DateOrTime, Decision, DecisionKind, OrderRefund, RefundRow, Refunds, RowProblem, Severity,
};
use crate::store::index::{IndexReader, IndexedReward, JudgedNow};
use crate::store::ledger::{Channel, Outline};

/// The columns that recoup adds to the refund file.
pub const COLUMNS: [&str; 9] = [
    "recoup_class",
    "recoup_action",
    "recoup_reward",
    "recoup_worth",
    "recoup_state",
    "recoup_confirmed_at",
    "recoup_note",
    "recoup_decision",
    "recoup_evidence",
];

/// One refund of the file, with the result of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub line: u64,
    /// The order ID, unchanged from the refund file; `null` if the row has no order ID.
    pub order_id: Option<OrderId>,
    pub class: RefundClass,
    /// The line of the first row with the same order. The first row of an order has the values.
    pub duplicate_of: Option<u64>,
    pub refunded_at: Option<DateOrTime>,
    pub actions: Vec<String>,
    pub rewards: Vec<String>,
    /// The value of the rewards that determine the class: at stake, not confirmed, lost or taken back.
    pub worth: RewardValue,
    /// The most relevant retraction of the ledger.
    pub retraction: Option<i64>,
    /// The state of the most relevant retraction, or the states of the rewards if there is no retraction.
    pub state: String,
    /// When recoup recorded the proof of the order's last action.
    pub confirmed_at: Option<Timestamp>,
    /// `true` if the order was refunded in full, and the referral was still converted when recoup last read it.
    pub referral_converted: bool,
    pub note: String,
    /// The decision of the refund file; `null` if the row has no order ID.
    pub decision: Option<DecisionKind>,
    pub evidence: String,
}

/// A row of the reconciliation, with the data that the report's totals need.
#[derive(Debug)]
pub struct Compared {
    pub row: Row,
    pub known: Vec<RewardStatus>,
    /// Ledger IDs of the retractions of this order.
    pub retractions: Vec<i64>,
    /// When the ledger recorded the first proven retraction of the order.
    pub begun_at: Option<Timestamp>,
}

/// The data that recoup compares with the refunds of the file.
#[derive(Debug)]
pub struct Comparer<'a> {
    pub reader: &'a IndexReader,
    pub ledger: &'a LedgerIndex,
    pub coverage: &'a Coverage,
    /// The time as of which the coverage of the index is valid.
    pub as_of: Option<Timestamp>,
    /// The current time, and the clock that recoup took it from.
    pub now: JudgedNow,
    /// Refunds without a date count as older than `undated`.
    pub undated: Timestamp,
}

impl Comparer<'_> {
    /// Compares an order with the index and the ledger, by the order's first row. This function also accepts a row
    /// without an order.
    pub fn compare(&self, refunds: &Refunds, refund: &RefundRow, order: Option<&OrderRefund>) -> Result<Compared> {
        let Some(order) = order else {
            return Ok(match &refund.no_order_needed {
                Some(what) => not_refunded(refund, format!("the row names no order: {what}")),
                None => not_usable(refund, damage_of(std::iter::once(refund)), Vec::new()),
            });
        };
        let Compared { mut row, mut known, retractions, begun_at } = self.compare_order(refunds, refund, order)?;
        row.order_id = Some(order.order_id.clone());
        row.refunded_at = order.refunded_at;
        let is_sure = matches!(order.decision, Decision::InFull { .. });
        let is_claim = matches!(row.class, RefundClass::StillRewarded | RefundClass::TooLate | RefundClass::PartlyLost);
        let instead = match order.decision {
            Decision::NotRefunded => Some(RefundClass::NotRefunded),
            Decision::ToCompare { .. } if is_claim => Some(RefundClass::ToCompare),
            Decision::InPart { .. } if is_claim => Some(RefundClass::RefundedInPart),
            Decision::Unclear if is_claim => Some(RefundClass::Unclear),
            _ => None,
        };
        if let Some(class) = instead {
            (row.class, row.worth) = (class, RewardValue::default());
            known.clear();
        }
        (row.decision, row.evidence) = (Some(order.decision.kind()), order.evidence.sentence());
        if is_sure && let Some(read_at) = self.converted_as_read(&known)? {
            row.referral_converted = true;
            row.add_note(&format!("its referral was still converted when it was read {}", moment(read_at)));
        }
        if !is_sure && let Some(why) = &order.evidence.why {
            row.add_note(why);
        }
        Ok(Compared { row, known, retractions, begun_at })
    }

    fn compare_order(&self, refunds: &Refunds, refund: &RefundRow, order: &OrderRefund) -> Result<Compared> {
        let rows = || order.rows.iter().map(|row| &refunds.rows[*row]);
        let problems = rows().flat_map(|row| &row.problems);
        let mut notes: Vec<String> =
            problems.filter(|problem| !is_about_id(problem)).map(ToString::to_string).collect();
        let order_id = &order.order_id;
        let mut indexed = self.reader.rewards_of_order(order_id)?;
        let order_is_known = !indexed.is_empty();
        if let Some(wanted) = &refund.action_id {
            indexed.retain(|indexed| indexed.action_ids.contains(wanted));
        }
        let about = self.retractions_of(refund, order_id, &indexed);
        let known = self.known(order_id, &indexed, &about);
        let mut shares = RewardTotals::default();
        for known in &known {
            shares.merge(&RewardTotals::of(known));
        }
        let class = shares.class(about.iter().any(|it| is_open(it)), about.iter().any(|it| is_done(it)));
        let Some(class) = class else {
            if let Some(damage) = damage_of(rows()) {
                return Ok(not_usable(refund, Some(damage), notes));
            }
            if order_is_known {
                let why = "the index has this order with other actions than the one in this row".to_owned();
                return Ok(not_usable(refund, Some(why), notes));
            }
            return self.not_found(refund, order, &about, notes);
        };
        notes.extend(reward_notes(&known));
        notes.extend(retraction_notes(&about, class));
        let mut actions: Vec<String> = Vec::new();
        let of_index = indexed.iter().flat_map(|indexed| &indexed.action_ids);
        for action_id in of_index.chain(about.iter().filter_map(|outline| outline.action_id.as_ref())) {
            if !actions.iter().any(|known| known == action_id.as_str()) {
                actions.push(action_id.as_str().to_owned());
            }
        }
        let proven = matches!(class, RefundClass::Confirmed | RefundClass::PartlyLost);
        let done = || about.iter().filter(|outline| is_done(outline));
        let leading = most_relevant(&about);
        let row = Row {
            class,
            actions,
            rewards: known.iter().map(|known| known.reward_id.clone()).collect(),
            worth: shares.worth(class),
            retraction: leading.map(|outline| outline.id),
            state: leading.map_or_else(|| states(&known), |outline| outline.state.as_str().to_owned()),
            confirmed_at: done().map(|outline| outline.since).max().filter(|_| proven),
            referral_converted: false,
            note: notes.join("; "),
            ..empty(refund)
        };
        let retractions = about.iter().map(|outline| outline.id).collect();
        let begun_at = done().map(|outline| outline.created_at).min();
        Ok(Compared { row, known, retractions, begun_at })
    }

    /// Returns when recoup last read a referral of these rewards as converted; `None` if no referral was converted.
    fn converted_as_read(&self, known: &[RewardStatus]) -> Result<Option<Timestamp>> {
        let rewards: Vec<RewardId> = known.iter().map(|known| RewardId::new(known.reward_id.as_str())).collect();
        for id in self.reader.referral_ids(&rewards)? {
            if let Some(read) = self.reader.referral(&id)?.filter(|read| read.converted_at.is_some()) {
                return Ok(Timestamp::from_millisecond(read.read_at).ok());
            }
        }
        Ok(None)
    }

    fn retractions_of(&self, refund: &RefundRow, order_id: &OrderId, indexed: &[IndexedReward]) -> Vec<&Outline> {
        let actions = indexed.iter().flat_map(|indexed| &indexed.action_ids);
        let rewards = indexed.iter().map(|indexed| indexed.reward.reward_id.as_str());
        let mut about = self.ledger.about(order_id, actions, rewards);
        if let Some(wanted) = &refund.action_id {
            // A retraction without an ActionId may affect this action.
            about.retain(|outline| outline.action_id.as_ref().is_none_or(|action_id| action_id == wanted));
        }
        about
    }

    /// Merges the order's rewards in the index with the rewards that only the ledger has. If the index and the ledger
    /// have a reward, the newer reading of it counts.
    fn known(&self, order_id: &OrderId, indexed: &[IndexedReward], about: &[&Outline]) -> Vec<RewardStatus> {
        let mut readings = newest_readings(about);
        let mut all = Vec::with_capacity(indexed.len());
        for indexed in indexed {
            let reward = &indexed.reward;
            let reward_id = reward.reward_id.as_str();
            let by_index = reward.state(self.now.at.as_millisecond());
            let later = readings.remove(reward_id).filter(|(at, ..)| *at > indexed.read_at);
            let (state, redeemed) = match later {
                // The ledger does not record the expiry of a reward.
                Some((_, RewardState::Pending | RewardState::Available, _)) if by_index == RewardState::Expired => {
                    (by_index, reward.redeemed)
                }
                Some((_, state, seen)) => (state, seen.redeemed.or(reward.redeemed)),
                None => (by_index, reward.redeemed),
            };
            let mut remarks = Vec::new();
            if matches!(
                state,
                RewardState::Pending | RewardState::Available | RewardState::PartlyRedeemed | RewardState::Unclear
            ) {
                let facts = [
                    (state == RewardState::Unclear, "its dates contradict each other about whether it is cancelled"),
                    (indexed.gone, "the vendor no longer lists it"),
                    (reward.cancellable == Some(false), "not cancellable"),
                    (indexed.ambiguous || indexed.order_ids.len() > 1, "it names other orders or actions, too"),
                    (indexed.action_ids.is_empty(), "it has no ActionId"),
                ];
                remarks.extend(facts.into_iter().filter(|(is_so, _)| *is_so).map(|(_, remark)| remark));
            }
            all.push(RewardStatus {
                reward_id: reward_id.to_owned(),
                state,
                unit: Unit::of(reward.currency.as_deref(), reward.unit.as_deref()),
                assigned: reward.assigned,
                redeemed,
                ledger_status: ledger_status(about, order_id, reward_id, &indexed.action_ids),
                remarks,
            });
        }
        let mut others: Vec<_> = readings.into_iter().collect();
        others.sort_by_key(|(reward_id, _)| *reward_id);
        all.extend(others.into_iter().map(|(reward_id, (_, state, seen))| RewardStatus {
            reward_id: reward_id.to_owned(),
            state,
            unit: Unit::of(None, seen.unit.as_deref()),
            assigned: seen.assigned,
            redeemed: seen.redeemed,
            ledger_status: ledger_status(about, order_id, reward_id, &[] as &[ActionId]),
            remarks: vec!["only the ledger has it"],
        }));
        all
    }

    /// Classifies a refund whose order the index lacks. Only a complete index that is newer than the refund proves that
    /// the order is not a referral.
    fn not_found(
        &self,
        refund: &RefundRow,
        order: &OrderRefund,
        about: &[&Outline],
        mut notes: Vec<String>,
    ) -> Result<Compared> {
        let order_id = &order.order_id;
        let refunded = order.refunded_at.map_or(self.undated, DateOrTime::latest);
        let unclear = lookup::why_unclear(self.reader, order_id)?;
        let is_unclear = unclear.is_some();
        let why = unclear.or_else(|| why_absence_is_unproven(self.coverage, refunded));
        notes.extend(why.clone());
        notes.extend(retraction_notes(about, RefundClass::NotFoundYet));
        notes.extend(refund.problems.iter().filter(|problem| is_about_id(problem)).map(ToString::to_string));
        let (_, similar) = self.reader.find_and_suggest(order_id, 3)?;
        if !similar.is_empty() {
            let list: Vec<&str> = similar.iter().map(OrderId::as_str).collect();
            notes.push(format!("similar, but not the same: {}", list.join(", ")));
        }
        let class = match why {
            _ if is_unclear => RefundClass::Unclear,
            None => RefundClass::NotAReferral,
            Some(_) => RefundClass::NotFoundYet,
        };
        let row = Row { class, note: notes.join("; "), ..empty(refund) };
        let retractions = about.iter().map(|outline| outline.id).collect();
        Ok(Compared { row, known: Vec::new(), retractions, begun_at: None })
    }
}

impl Row {
    /// Builds the result for a further row of an order. A further row of an order has no value, because the value
    /// column must be summable.
    pub fn repeats(&self, refund: &RefundRow) -> Self {
        Self {
            line: refund.line,
            duplicate_of: Some(self.line),
            refunded_at: refund.refunded_at,
            worth: RewardValue::default(),
            referral_converted: false,
            note: format!("the same order as line {}, and counted there", self.line),
            ..self.clone()
        }
    }

    pub fn add_note(&mut self, note: &str) {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note);
    }

    /// Returns the cells of the row for [`COLUMNS`].
    pub fn cells(&self) -> Vec<String> {
        let cells = [
            self.class.words().to_owned(),
            self.actions.join(" "),
            self.rewards.join(" "),
            self.worth.to_string(),
            self.state.clone(),
            self.confirmed_at.map(moment).unwrap_or_default(),
            self.note.clone(),
            self.decision.map_or_else(String::new, |decision| decision.words().to_owned()),
            self.evidence.clone(),
        ];
        cells.map(|cell| crate::report::one_line(&cell).into_owned()).into()
    }
}

/// Formats a time as the ledger does.
pub fn moment(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn empty(refund: &RefundRow) -> Row {
    Row {
        line: refund.line,
        order_id: refund.order_id.clone(),
        class: RefundClass::NotFoundYet,
        duplicate_of: None,
        refunded_at: refund.refunded_at,
        actions: Vec::new(),
        rewards: Vec::new(),
        worth: RewardValue::default(),
        retraction: None,
        state: String::new(),
        confirmed_at: None,
        referral_converted: false,
        note: String::new(),
        decision: None,
        evidence: String::new(),
    }
}

fn not_refunded(refund: &RefundRow, note: String) -> Compared {
    let row = Row { class: RefundClass::NotRefunded, note, ..empty(refund) };
    Compared { row, known: Vec::new(), retractions: Vec::new(), begun_at: None }
}

fn not_usable(refund: &RefundRow, why: Option<String>, mut notes: Vec<String>) -> Compared {
    notes.splice(0..0, why);
    let row = Row { class: RefundClass::NotUsable, note: notes.join("; "), ..empty(refund) };
    Compared { row, known: Vec::new(), retractions: Vec::new(), begun_at: None }
}

/// Returns `true` if the row's problem affects the order ID or the ActionId. If the row has any other problem, it still
/// shows the state of its order.
fn is_about_id(problem: &RowProblem) -> bool {
    matches!(problem.column, Column::OrderId | Column::ActionId)
}

fn damage_of<'a>(rows: impl Iterator<Item = &'a RefundRow>) -> Option<String> {
    let damage = |problem: &&RowProblem| is_about_id(problem) && problem.severity >= Severity::Doubt;
    rows.flat_map(|row| &row.problems).find(damage).map(ToString::to_string)
}

/// Returns an open retraction, or else the newest proven retraction, or else the newest retraction.
fn most_relevant<'a>(about: &[&'a Outline]) -> Option<&'a Outline> {
    let newest = |of: &dyn Fn(&Outline) -> bool| about.iter().copied().rfind(|outline| of(outline));
    newest(&is_open).or_else(|| newest(&is_done)).or_else(|| newest(&|_| true))
}

fn states(known: &[RewardStatus]) -> String {
    known.iter().map(|known| known.state.as_str()).collect::<Vec<_>>().join(" ")
}

fn reward_notes(known: &[RewardStatus]) -> Vec<String> {
    let mut notes = Vec::new();
    for known in known {
        let mut remarks = known.remarks.clone();
        match (known.state, known.ledger_status) {
            (RewardState::PartlyRedeemed, LedgerStatus::Done) => {
                remarks.push("the rest was not cancelled: review it by hand");
            }
            (RewardState::Pending | RewardState::Available, LedgerStatus::Done) => {
                remarks.push("its retraction was proven, but it is active in a later reading: run `recoup verify`");
            }
            (RewardState::Expired, _) => remarks.push("expired"),
            _ => {}
        }
        if !remarks.is_empty() {
            notes.push(format!("reward {}: {}", known.reward_id, remarks.join(", ")));
        }
    }
    notes
}

/// Returns notes about retractions whose state needs an explanation.
fn retraction_notes(about: &[&Outline], class: RefundClass) -> Vec<String> {
    let told = |outline: &&&Outline| {
        let is_end = is_done(outline) || (is_open(outline) && class == RefundClass::NotConfirmed);
        outline.channel == Channel::Modification || outline.channel == Channel::Reward || !is_end
    };
    let line = |outline: &&Outline| {
        let what = match outline.channel {
            Channel::Reversal => "retraction",
            Channel::File => "reversal by file",
            Channel::Modification => "modification",
            Channel::Reward => "cancellation of one reward",
        };
        format!("{what} {}: {}", outline.id, outline.state.as_str())
    };
    about.iter().filter(told).map(line).collect()
}
