//! Decides for each order which refund its rows prove.
//!
//! The decision about an order uses all of its rows, wherever they are in the refund file. The refunded amount of an
//! order is the minimum that its rows prove, and its price is the maximum. Rows that may be duplicates count once.
//! Therefore a missing row or value can make a refund smaller or unclear, but never full.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::SignedDuration;

use super::amount::{is_currency, may_be_same_currency};
use super::columns::{Column, Columns};
use super::dates::DateOrTime;
use super::decision::{Decision, Evidence};
use super::formats::{OrderStatus, RowCells, RowMeaning};
use super::row::RefundRow;
use super::row_orders::{conflicting_orders, lookalikes, orders_of};
use crate::model::decimal::Decimal;
use crate::model::order_text::visible;
use crate::model::{ActionId, OrderId};

/// The rows of one order in a refund file, and what they prove. If the rows of an order have ActionIds, the decision is
/// for one action of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    pub order_id: OrderId,
    /// The ActionId, if the order's rows have one.
    pub action_id: Option<ActionId>,
    /// The indexes of the order's rows in the refund file.
    pub rows: Vec<usize>,
    pub decision: Decision,
    pub evidence: Evidence,
    /// The latest refund date of the order; `None` if any of its refunds lacks a date.
    pub refunded_at: Option<DateOrTime>,
    /// The latest order date in the order's rows.
    pub ordered_at: Option<DateOrTime>,
}

/// Returns one decision for each order, and for each row of the refund file the index of its order.
pub(super) fn decide(
    rows: &[RefundRow],
    columns: &Columns,
    interpret: impl Fn(&RowCells<'_>) -> Result<RowMeaning, String>,
) -> (Vec<OrderRefund>, Vec<Option<usize>>) {
    let orders = orders_of(rows, columns);
    let mut groups: Vec<(OrderId, Option<ActionId>, Vec<usize>)> = Vec::new();
    let mut places: HashMap<(&OrderId, Option<&ActionId>), usize> = HashMap::new();
    let mut of_row = vec![None; rows.len()];
    // If only some rows of an order have an ActionId, the action of its other rows is unclear.
    let mut named: HashMap<&OrderId, [bool; 2]> = HashMap::new();
    for (n, order_id) in orders.iter().enumerate() {
        let Some(order_id) = order_id else { continue };
        let action_id = rows[n].action_id.as_ref();
        named.entry(order_id).or_default()[usize::from(action_id.is_some())] = true;
        let place = *places.entry((order_id, action_id)).or_insert_with(|| {
            groups.push(((*order_id).clone(), action_id.cloned(), Vec::new()));
            groups.len() - 1
        });
        groups[place].2.push(n);
        of_row[n] = Some(place);
    }
    let mixed: HashSet<&OrderId> =
        named.iter().filter(|(_, named)| **named == [true, true]).map(|(order_id, _)| *order_id).collect();
    let undos = undos_without_order(rows, columns, &orders, &interpret);
    let conflicts = conflicting_orders(rows, columns, &orders);
    let alike = lookalikes(groups.iter().map(|(order_id, _, _)| order_id));
    let decided = groups
        .iter()
        .map(|(order_id, action_id, places)| {
            let mut sum = OrderAccumulator::default();
            if let Some(other) = alike.get(order_id) {
                sum.unclear(format!(
                    "another row has the order ID {:?}, which looks the same",
                    visible(other.as_str())
                ));
            }
            if conflicts.contains(order_id) {
                sum.unclear("a row names one order and references a payment of another one");
            }
            if mixed.contains(order_id) {
                sum.unclear("some rows of the order name an action and others do not");
            }
            for place in places {
                let cells = RowCells::new(&rows[*place], columns);
                let meaning = interpret(&cells);
                sum.add(&rows[*place], meaning, &cells);
            }
            if let Some((line, amount)) = undos.iter().find(|(_, amount)| sum.has_refunded(*amount)) {
                sum.unclear(format!("line {line} may undo a refund of {amount}, and names no order"));
            }
            let ordered_at = sum.ordered_at;
            let (decision, evidence, refunded_at) = sum.finish();
            let (order_id, action_id, rows) = (order_id.clone(), action_id.clone(), places.clone());
            OrderRefund { order_id, action_id, rows, decision, evidence, refunded_at, ordered_at }
        })
        .collect();
    (decided, of_row)
}

/// Returns line and amount of each row that may undo a refund and has no order ID. A row that undoes a refund and has
/// no order ID may undo any refund of that amount.
fn undos_without_order(
    rows: &[RefundRow],
    columns: &Columns,
    orders: &[Option<&OrderId>],
    interpret: &impl Fn(&RowCells<'_>) -> Result<RowMeaning, String>,
) -> Vec<(u64, Decimal)> {
    let mut undos = Vec::new();
    for (row, _) in rows.iter().zip(orders).filter(|(_, order)| order.is_none()) {
        let cells = RowCells::new(row, columns);
        let may_undo = match interpret(&cells) {
            Err(_) => true,
            Ok(RowMeaning::Transaction { refunded, .. }) => refunded.is_negative(),
            Ok(_) => false,
        };
        if may_undo {
            let amounts =
                [Column::Amount, Column::Debit, Column::Credit].map(|column| cells.amount(column).ok().flatten());
            undos.extend(
                amounts.into_iter().flatten().filter(|it| !it.is_zero()).map(|amount| (row.line, amount.abs())),
            );
        }
    }
    undos
}

/// The tolerance between the dates of two columns, because their time zones may differ.
const ONE_DAY: SignedDuration = SignedDuration::from_hours(24);

const LISTED_TWICE: &str = "a refund is listed twice, and the file does not say whether there were two";

/// Adds up the rows of one order.
#[derive(Default)]
struct OrderAccumulator {
    evidence: Evidence,
    unclear: Option<String>,
    notes: BTreeSet<String>,
    listed: bool,
    /// `true` if the status of a payment says that the payment was partly refunded.
    partly_refunded: bool,
    /// What the rows of an order state about the whole order. Two different statements about one order contradict each
    /// other.
    statements: HashSet<Statement>,
    new_amounts: HashSet<Decimal>,
    stated_totals: HashSet<Decimal>,
    /// The order's transactions, grouped by charged and refunded amount.
    transactions: HashMap<(Decimal, Decimal), SameAmountRows>,
    /// The line, charge and refund of each row ID.
    ids: HashMap<String, (u64, Decimal, Decimal)>,
    overrides: HashSet<(Option<String>, Option<String>)>,
    currencies: BTreeSet<String>,
    dates: Vec<Option<DateOrTime>>,
    /// The latest order date in the rows that were added so far.
    ordered_at: Option<DateOrTime>,
}

/// The status, the refunded amount and the total that a row states for the whole order.
type Statement = (OrderStatus, Option<Decimal>, Option<Decimal>);

/// The rows of one order with the same amounts. Two rows with the same amounts are two transactions, or one transaction
/// that the refund file lists twice.
#[derive(Default)]
struct SameAmountRows {
    ids: HashSet<String>,
    without_id: usize,
    /// The refund date and the order item of each row. The date and item distinguish rows that have no ID.
    moments: HashSet<(DateOrTime, String)>,
}

impl SameAmountRows {
    /// Returns the minimum and maximum number of transactions that these rows mean. A row without ID, date and item may
    /// be a copy of another row.
    fn bounds(&self) -> (usize, usize) {
        let least = [self.ids.len(), self.moments.len()].into_iter().find(|count| *count > 0).unwrap_or(1);
        (least, self.ids.len() + self.without_id)
    }
}

#[derive(Default)]
struct Totals {
    max_charged: Decimal,
    min_refunded: Decimal,
    max_refunded: Decimal,
}

impl OrderAccumulator {
    fn unclear(&mut self, why: impl Into<String>) {
        self.unclear.get_or_insert_with(|| why.into());
    }

    fn add(&mut self, row: &RefundRow, meaning: Result<RowMeaning, String>, cells: &RowCells<'_>) {
        self.evidence.lines.push(row.line);
        self.ordered_at = self.ordered_at.into_iter().chain(row.ordered_at).max_by_key(|when| when.earliest());
        let currency = cells.text(Column::Currency).to_uppercase();
        self.evidence.cells.extend(cells.evidence());
        let meaning = match meaning {
            Ok(meaning) => meaning,
            Err(why) => return self.unclear(format!("line {}: {why}", row.line)),
        };
        if meaning == RowMeaning::Ignored {
            return;
        }
        if !currency.is_empty() {
            if !is_currency(&currency) {
                self.unclear(format!("line {}: {currency:?} is not a currency", row.line));
            }
            self.currencies.insert(currency);
        }
        self.currencies.append(&mut cells.currencies.borrow_mut());
        self.overrides.insert((row.disposition.clone(), row.action_tracker_id.clone()));
        match meaning {
            RowMeaning::Ignored => {}
            RowMeaning::Listed => {
                self.listed = true;
                self.dates.push(row.refunded_at);
            }
            RowMeaning::OrderState { status, refunded, total } => {
                self.statements.insert((status, refunded, total));
                self.dates.push(row.refunded_at);
            }
            RowMeaning::NewAmount(amount) => {
                self.new_amounts.insert(amount);
                self.dates.push(row.refunded_at);
            }
            RowMeaning::NoRefund(what) => {
                self.notes.insert(what);
            }
            RowMeaning::Refund { refunded, total } => {
                self.stated_totals.extend(total);
                self.add_transaction(Decimal::ZERO, refunded, row, cells);
            }
            RowMeaning::PartlyRefundedPayment { charged } => {
                self.partly_refunded = true;
                self.add_transaction(charged, Decimal::ZERO, row, cells);
            }
            RowMeaning::Transaction { charged, refunded } => self.add_transaction(charged, refunded, row, cells),
        }
    }

    fn add_transaction(&mut self, charged: Decimal, refunded: Decimal, row: &RefundRow, cells: &RowCells<'_>) {
        if !refunded.is_zero() {
            self.dates.push(row.refunded_at);
        }
        let same = self.transactions.entry((charged, refunded)).or_default();
        let (id, payment) = (cells.text(Column::RowId), cells.text(Column::Payment));
        if !id.is_empty() {
            let id = if payment.is_empty() { id.to_owned() } else { format!("{id} of {payment}") };
            same.ids.insert(id.clone());
            match self.ids.entry(id.clone()) {
                Entry::Vacant(entry) => drop(entry.insert((row.line, charged, refunded))),
                Entry::Occupied(entry) => {
                    let (line, of_charge, of_refund) = *entry.get();
                    if (of_charge, of_refund) != (charged, refunded) {
                        self.unclear(format!(
                            "lines {line} and {} have the same ID {id:?} and different amounts",
                            row.line
                        ));
                    }
                }
            }
            return;
        }
        same.without_id += 1;
        let part = cells.text(Column::Part);
        if let Some(when) = row.refunded_at.filter(|_| !part.is_empty() || !cells.has(Column::Part)) {
            same.moments.insert((when, format!("{part} {payment}")));
        }
    }

    /// Returns `true` if one refund of the order, or the sum of all its refunds, equals this amount.
    fn has_refunded(&self, amount: Decimal) -> bool {
        self.transactions.keys().any(|(_, refunded)| *refunded == amount) || self.totals().min_refunded == amount
    }

    fn totals(&self) -> Totals {
        let times = |amount: Decimal, count: usize| (0..count).fold(Decimal::ZERO, |sum, _| sum + amount);
        let mut totals = Totals::default();
        for ((charged, refunded), same) in &self.transactions {
            let (least, most) = same.bounds();
            // A negative refund lowers the sum of the refunds. Therefore the minimum sum counts a negative refund as
            // often as possible.
            let (fewest, most_often) = if refunded.is_negative() { (most, least) } else { (least, most) };
            totals.max_charged = totals.max_charged + times(*charged, most);
            totals.min_refunded = totals.min_refunded + times(*refunded, fewest);
            totals.max_refunded = totals.max_refunded + times(*refunded, most_often);
        }
        totals
    }

    fn finish(mut self) -> (Decision, Evidence, Option<DateOrTime>) {
        let differ = |one: &String| self.currencies.iter().any(|other| !may_be_same_currency(one, other));
        if self.currencies.iter().any(differ) {
            let list: Vec<&str> = self.currencies.iter().map(String::as_str).collect();
            self.unclear(format!("its rows are in different currencies: {}", list.join(", ")));
        }
        if self.overrides.len() > 1 {
            self.unclear("its rows ask for different dispositions or action trackers");
        }
        if self.statements.len() > 1 {
            self.unclear("its rows contradict each other about the whole order");
        }
        if self.new_amounts.len() > 1 {
            self.unclear("its rows give different new amounts");
        }
        let newest = self.dates.iter().flatten().max_by_key(|when| when.latest());
        if let (Some(refunded), Some(ordered)) = (newest, self.ordered_at)
            && ordered.earliest().duration_since(refunded.latest()) > ONE_DAY
        {
            self.unclear(format!("it was refunded on {refunded}, before it was ordered, on {ordered}"));
        }
        if self.stated_totals.len() > 1 {
            self.unclear("its rows give different totals");
        }
        // Prefers a currency code to a currency sign.
        let is_code = |name: &&String| name.bytes().all(|b| b.is_ascii_uppercase());
        self.evidence.currency = self.currencies.iter().find(is_code).or(self.currencies.first()).cloned();
        let decided = match self.unclear.take() {
            Some(why) => Err(why),
            None => self.decide(),
        };
        let (decision, why) = match decided {
            Ok(decision) => (decision, None),
            Err(why) => (Decision::Unclear, Some(why)),
        };
        let is_full = matches!(decision, Decision::InFull { .. });
        let notes = self.notes.into_iter().filter(|_| !is_full || self.listed);
        let why: Vec<String> = why.into_iter().chain(notes.take(2)).collect();
        self.evidence.why = (!why.is_empty()).then(|| why.join("; "));
        // The latest refund date is unknown if any refund lacks a date.
        let refunded_at = self.dates.iter().copied().collect::<Option<Vec<DateOrTime>>>();
        let refunded_at = refunded_at.and_then(|dates| dates.into_iter().max_by_key(|when| when.latest()));
        (decision, self.evidence, refunded_at)
    }

    fn decide(&mut self) -> Result<Decision, String> {
        let kinds = [self.listed, !self.statements.is_empty(), !self.new_amounts.is_empty()];
        match kinds.iter().filter(|kind| **kind).count() {
            0 => self.by_amounts(),
            1 if !self.transactions.is_empty() && self.statements.is_empty() => {
                Err("its rows contradict each other".to_owned())
            }
            1 => self.by_statement(),
            _ => Err("its rows contradict each other".to_owned()),
        }
    }

    fn by_statement(&mut self) -> Result<Decision, String> {
        if self.listed {
            self.notes.insert("listed as refunded".to_owned());
            return Ok(Decision::InFull { refunded: None });
        }
        if let Some(left) = self.new_amounts.iter().next().copied() {
            return Ok(if left.is_zero() {
                Decision::InFull { refunded: None }
            } else {
                Decision::InPart { refunded: None, total: None, left: Some(left) }
            });
        }
        let Some((status, mut refunded, total)) = self.statements.iter().next().copied() else {
            return Err("no row says whether the order was refunded".to_owned());
        };
        if !self.transactions.is_empty() {
            // Some exports list refunds on separate lines, in addition to the line of the order.
            let Totals { min_refunded, max_refunded, .. } = self.totals();
            if min_refunded != max_refunded {
                return Err(LISTED_TWICE.to_owned());
            }
            if refunded.is_some_and(|refunded| refunded != min_refunded) {
                return Err("its refunds do not add up to the refunded amount of the order".to_owned());
            }
            refunded = Some(min_refunded);
        }
        (self.evidence.refunded, self.evidence.total) = (refunded, total);
        by_status(status, refunded, total)
    }

    fn by_amounts(&mut self) -> Result<Decision, String> {
        if self.transactions.is_empty() {
            return if self.notes.is_empty() {
                Err("no row says whether the order was refunded; that row may be missing from the file".to_owned())
            } else {
                Ok(Decision::NotRefunded)
            };
        }
        let Totals { max_charged, min_refunded: least, max_refunded: most } = self.totals();
        if least.is_negative() || most.is_negative() {
            return Err("more refunds were undone than made".to_owned());
        }
        let total = match self.stated_totals.iter().next().copied() {
            Some(total) => Some(total),
            // The total is the maximum that the shop may have charged, because a charge that the refund file lists
            // twice may be two charges.
            None => self.transactions.keys().any(|(charged, _)| !charged.is_zero()).then_some(max_charged),
        };
        self.evidence.refunded = Some(least);
        self.evidence.total = total;
        let Some(total) = total else {
            return match (least.is_zero(), least == most) {
                (true, true) => Ok(Decision::NotRefunded),
                (false, true) => Ok(Decision::ToCompare { refunded: least }),
                _ => Err(LISTED_TWICE.to_owned()),
            };
        };
        if total.is_zero() || total.is_negative() {
            return Err("the total of the order is not more than 0".to_owned());
        }
        if least == total && self.partly_refunded {
            return Err(format!("a payment is marked as refunded in part, and {least} of {total} was refunded"));
        }
        if least == total {
            return Ok(Decision::InFull { refunded: Some(least) });
        }
        if least > total {
            return Err(format!(
                "{least} was refunded, more than the order's {total}: rows may be missing from the file"
            ));
        }
        if most >= total {
            return Err(LISTED_TWICE.to_owned());
        }
        Ok(if most.is_zero() {
            Decision::NotRefunded
        } else {
            let refunded = (least == most).then_some(least);
            Decision::InPart { refunded, total: Some(total), left: refunded.map(|refunded| total - refunded) }
        })
    }
}

/// Combines the status, the refunded amount and the total of an order. Each of the amounts may be missing. Returns an
/// error if the status and the amounts of the order contradict each other.
fn by_status(status: OrderStatus, refunded: Option<Decimal>, total: Option<Decimal>) -> Result<Decision, String> {
    let is = |wanted: OrderStatus| status == wanted;
    let says = |text: &str| -> Result<Decision, String> {
        let show = |amount: Option<Decimal>| amount.map_or_else(|| "an unknown amount".to_owned(), |it| it.to_string());
        Err(format!("its status says {text}, its amounts {} of {}", show(refunded), show(total)))
    };
    if total.is_some_and(Decimal::is_negative) {
        return Err("the total of the order is less than 0".to_owned());
    }
    // `Some(true)` if the amounts prove a full refund, `Some(false)` if they prove that the refund is not full, `None`
    // otherwise.
    let all = match (refunded, total) {
        (Some(refunded), Some(total)) if refunded > total => {
            return Err(format!("{refunded} was refunded, more than the order's {total}"));
        }
        (Some(refunded), Some(total)) => Some(refunded == total && !total.is_zero()),
        (Some(refunded), None) if refunded.is_zero() => Some(false),
        _ => None,
    };
    let none = refunded.is_some_and(Decimal::is_zero);
    let part = || {
        let left = refunded.zip(total).map(|(refunded, total)| total - refunded);
        Ok(Decision::InPart { refunded, total, left })
    };
    if is(OrderStatus::Refunded) {
        return match (all, refunded) {
            (Some(false), _) => says("refunded"),
            (None, None) if total.is_some() => says("refunded"),
            // The refund file has no price. Therefore the amount of the live action decides.
            (None, Some(refunded)) => Ok(Decision::ToCompare { refunded }),
            _ => Ok(Decision::InFull { refunded }),
        };
    }
    if is(OrderStatus::RefundedInPart) {
        return if all == Some(true) || none { says("refunded in part") } else { part() };
    }
    if is(OrderStatus::NotRefunded) {
        let some = refunded.is_some_and(|refunded| !refunded.is_zero());
        return if some { says("not refunded") } else { Ok(Decision::NotRefunded) };
    }
    if is(OrderStatus::NotInFull) {
        return match (all, none || refunded.is_none()) {
            (Some(true), _) => says("not refunded in full"),
            (_, true) => Ok(Decision::NotRefunded),
            _ => part(),
        };
    }
    match (all, none) {
        (_, true) => Ok(Decision::NotRefunded),
        (Some(true), _) => Ok(Decision::InFull { refunded }),
        (Some(false), _) => part(),
        (None, _) => Err("the file does not say how much of the order was refunded".to_owned()),
    }
}
