//! Decides for each order what the rows of a file prove.
//!
//! All rows of an order count, in any order. The refunded amount is the minimum that the rows prove (rows that may be
//! duplicates count once), and the price is the maximum. A missing row or value can therefore make a refund smaller or
//! unclear, but never full.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::SignedDuration;

use super::amount::{is_currency, may_be_same_currency};
use super::columns::{Column, Columns};
use super::dates::DateOrTime;
use super::decision::{Decision, Evidence};
use super::formats::{OrderStatus, RowCells, RowMeaning};
use super::row::RefundRow;
use crate::model::decimal::Decimal;
use crate::model::order_text::{ordinary, visible};
use crate::model::{ActionId, OrderId};

/// What a file says about one order, or about one action if the rows name actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRefund {
    pub order_id: OrderId,
    /// The action, if the rows name one.
    pub action_id: Option<ActionId>,
    /// Indexes of the rows in the file.
    pub rows: Vec<usize>,
    pub decision: Decision,
    pub evidence: Evidence,
    /// The latest refund date; `None` if any refund has no date.
    pub refunded_at: Option<DateOrTime>,
    /// The latest order date of the rows.
    pub ordered_at: Option<DateOrTime>,
}

/// Returns one decision for each order, and for each row the index of its order.
pub(super) fn decide(
    rows: &[RefundRow],
    columns: &Columns,
    interpret: impl Fn(&RowCells<'_>) -> Result<RowMeaning, String>,
) -> (Vec<OrderRefund>, Vec<Option<usize>>) {
    let orders = orders_of(rows, columns);
    let mut groups: Vec<(OrderId, Option<ActionId>, Vec<usize>)> = Vec::new();
    let mut places: HashMap<(&OrderId, Option<&ActionId>), usize> = HashMap::new();
    let mut of_row = vec![None; rows.len()];
    // If only some rows of an order name an action, the action of the others is unclear.
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
    let conflicts = in_conflict(rows, columns, &orders);
    let alike = look_alikes(groups.iter().map(|(order_id, _, _)| order_id));
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
                sum.unclear("a row refers to a payment of one order and names another one");
            }
            if mixed.contains(order_id) {
                sum.unclear("some rows of the order name an action and others do not");
            }
            for place in places {
                let cells = RowCells::new(&rows[*place], columns);
                let said = interpret(&cells);
                sum.add(&rows[*place], said, &cells);
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

/// Maps each order ID to another one of the file that differs only in invisible characters and blanks.
fn look_alikes<'a>(orders: impl Iterator<Item = &'a OrderId>) -> HashMap<&'a OrderId, &'a OrderId> {
    let mut by_look: HashMap<String, Vec<&OrderId>> = HashMap::new();
    for order_id in orders {
        let look = ordinary(order_id.as_str()).split_whitespace().collect();
        let same: &mut Vec<&OrderId> = by_look.entry(look).or_default();
        if !same.contains(&order_id) {
            same.push(order_id);
        }
    }
    let others = |same: &[&'a OrderId]| -> Vec<(&'a OrderId, &'a OrderId)> {
        same.iter().enumerate().map(|(n, one)| (*one, same[usize::from(n == 0)])).collect()
    };
    by_look.values().filter(|same| same.len() > 1).flat_map(|same| others(same)).collect()
}

/// Line and amount of each row that may undo a refund and names no order. It may concern any order with that refund.
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
            Ok(RowMeaning::Money { refunded, .. }) => refunded.is_negative(),
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

/// The order of each row: its own, else that of the row it references.
fn orders_of<'a>(rows: &'a [RefundRow], columns: &Columns) -> Vec<Option<&'a OrderId>> {
    let mut orders: Vec<Option<&OrderId>> = rows.iter().map(|row| row.order_id.as_ref()).collect();
    let by_payment = of_payments(rows, columns, &orders);
    let (Some(id), Some(reference)) = (columns.get(Column::RowId), columns.get(Column::Reference)) else {
        return by_payment;
    };
    let cell = |n: usize, place: usize| Some(rows[n].cell(place).trim()).filter(|cell| !cell.is_empty());
    let by_id: HashMap<&str, usize> = (0..rows.len()).filter_map(|n| Some((cell(n, id)?, n))).collect();
    for n in 0..rows.len() {
        let mut at = n;
        // A refund's line item references the refund, which references the order. The limit also ends cycles.
        for _ in 0..4 {
            if orders[at].is_some() {
                break;
            }
            let Some(next) = cell(at, reference).and_then(|id| by_id.get(id)) else { break };
            at = *next;
        }
        orders[n] = orders[at];
    }
    orders
}

/// Gives a row without an order the order of its payment, if all other rows of the payment name the same one.
fn of_payments<'a>(
    rows: &'a [RefundRow],
    columns: &Columns,
    orders: &[Option<&'a OrderId>],
) -> Vec<Option<&'a OrderId>> {
    let Some(place) = columns.get(Column::Payment) else { return orders.to_vec() };
    let payment = |row: &'a RefundRow| Some(row.cell(place).trim()).filter(|cell| !cell.is_empty());
    let mut known: HashMap<&str, Option<&OrderId>> = HashMap::new();
    for (row, order) in rows.iter().zip(orders) {
        let (Some(payment), Some(order)) = (payment(row), order) else { continue };
        known.entry(payment).and_modify(|it| *it = it.filter(|known| known == order)).or_insert(Some(order));
    }
    let of_row = |(row, order): (&'a RefundRow, Option<&'a OrderId>)| {
        order.or_else(|| payment(row).and_then(|payment| known.get(payment).copied().flatten()))
    };
    rows.iter().zip(orders.iter().copied()).map(of_row).collect()
}

/// Orders of rows that reference a row of another order. The order they concern is unclear.
fn in_conflict<'a>(rows: &'a [RefundRow], columns: &Columns, orders: &[Option<&'a OrderId>]) -> HashSet<&'a OrderId> {
    let (Some(id), Some(reference)) = (columns.get(Column::RowId), columns.get(Column::Reference)) else {
        return HashSet::new();
    };
    let cell = |n: usize, place: usize| Some(rows[n].cell(place).trim()).filter(|cell| !cell.is_empty());
    let by_id: HashMap<&str, usize> = (0..rows.len()).filter_map(|n| Some((cell(n, id)?, n))).collect();
    let pair = |n: usize| {
        let other = by_id.get(cell(n, reference)?)?;
        let (one, other) = (orders[n]?, orders[*other]?);
        (one != other).then_some([one, other])
    };
    (0..rows.len()).filter_map(pair).flatten().collect()
}

/// Dates of two columns may differ by their time zones.
const A_DAY: SignedDuration = SignedDuration::from_hours(24);

const WRITTEN_TWICE: &str = "a refund of it is written twice, and nothing says whether there were two";

/// Adds up the rows of one order.
#[derive(Default)]
struct OrderAccumulator {
    evidence: Evidence,
    unclear: Option<String>,
    notes: BTreeSet<String>,
    listed: bool,
    /// Whether the status of a payment says that it was refunded only in part.
    kept_in_part: bool,
    /// Statements about the whole order. More than one is a contradiction.
    states: HashSet<StatedOrder>,
    new_amounts: HashSet<Decimal>,
    totals: HashSet<Decimal>,
    /// Rows that moved money, by the amounts charged and refunded.
    moves: HashMap<(Decimal, Decimal), SameAmountRows>,
    /// Line, charge and refund for each row ID.
    ids: HashMap<String, (u64, Decimal, Decimal)>,
    wants: HashSet<(Option<String>, Option<String>)>,
    currencies: BTreeSet<String>,
    dates: Vec<Option<DateOrTime>>,
    /// The latest order date.
    ordered_at: Option<DateOrTime>,
}

/// Status, refunded amount and total of the whole order.
type StatedOrder = (OrderStatus, Option<Decimal>, Option<Decimal>);

/// Rows of one order with the same amounts. Two such rows are two refunds or one that is listed twice.
#[derive(Default)]
struct SameAmountRows {
    ids: HashSet<String>,
    without_id: usize,
    /// Date and item, which tell rows without an ID apart.
    moments: HashSet<(DateOrTime, String)>,
}

impl SameAmountRows {
    /// Minimum and maximum number of transactions. A row without distinguishing values may repeat another one.
    fn bounds(&self) -> (usize, usize) {
        let least = [self.ids.len(), self.moments.len()].into_iter().find(|count| *count > 0).unwrap_or(1);
        (least, self.ids.len() + self.without_id)
    }
}

#[derive(Default)]
struct Totals {
    most_charged: Decimal,
    least_refunded: Decimal,
    most_refunded: Decimal,
}

impl OrderAccumulator {
    fn unclear(&mut self, why: impl Into<String>) {
        self.unclear.get_or_insert_with(|| why.into());
    }

    fn add(&mut self, row: &RefundRow, said: Result<RowMeaning, String>, cells: &RowCells<'_>) {
        self.evidence.lines.push(row.line);
        self.ordered_at = self.ordered_at.into_iter().chain(row.ordered_at).max_by_key(|when| when.earliest());
        let currency = cells.text(Column::Currency).to_uppercase();
        self.evidence.cells.extend(cells.evidence());
        let said = match said {
            Ok(said) => said,
            Err(why) => return self.unclear(format!("line {}: {why}", row.line)),
        };
        if said == RowMeaning::Nothing {
            return;
        }
        if !currency.is_empty() {
            if !is_currency(&currency) {
                self.unclear(format!("line {}: {currency:?} is no currency", row.line));
            }
            self.currencies.insert(currency);
        }
        self.currencies.append(&mut cells.currencies.borrow_mut());
        self.wants.insert((row.disposition.clone(), row.action_tracker_id.clone()));
        match said {
            RowMeaning::Nothing => {}
            RowMeaning::Listed => {
                self.listed = true;
                self.dates.push(row.refunded_at);
            }
            RowMeaning::Order { status, refunded, total } => {
                self.states.insert((status, refunded, total));
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
                self.totals.extend(total);
                self.money(Decimal::ZERO, refunded, row, cells);
            }
            RowMeaning::KeptInPart { charged } => {
                self.kept_in_part = true;
                self.money(charged, Decimal::ZERO, row, cells);
            }
            RowMeaning::Money { charged, refunded } => self.money(charged, refunded, row, cells),
        }
    }

    fn money(&mut self, charged: Decimal, refunded: Decimal, row: &RefundRow, cells: &RowCells<'_>) {
        if !refunded.is_zero() {
            self.dates.push(row.refunded_at);
        }
        let alike = self.moves.entry((charged, refunded)).or_default();
        let (id, payment) = (cells.text(Column::RowId), cells.text(Column::Payment));
        if !id.is_empty() {
            let id = if payment.is_empty() { id.to_owned() } else { format!("{id} of {payment}") };
            alike.ids.insert(id.clone());
            match self.ids.entry(id.clone()) {
                Entry::Vacant(entry) => drop(entry.insert((row.line, charged, refunded))),
                Entry::Occupied(entry) => {
                    let (line, of_charge, of_refund) = *entry.get();
                    if (of_charge, of_refund) != (charged, refunded) {
                        self.unclear(format!("lines {line} and {} have one ID, {id:?}, and differ", row.line));
                    }
                }
            }
            return;
        }
        alike.without_id += 1;
        let part = cells.text(Column::Part);
        if let Some(when) = row.refunded_at.filter(|_| !part.is_empty() || !cells.has(Column::Part)) {
            alike.moments.insert((when, format!("{part} {payment}")));
        }
    }

    /// Whether one refund, or all of them together, has this amount.
    fn has_refunded(&self, amount: Decimal) -> bool {
        self.moves.keys().any(|(_, refunded)| *refunded == amount) || self.moved().least_refunded == amount
    }

    fn moved(&self) -> Totals {
        let times = |amount: Decimal, count: usize| (0..count).fold(Decimal::ZERO, |sum, _| sum + amount);
        let mut moved = Totals::default();
        for ((charged, refunded), alike) in &self.moves {
            let (least, most) = alike.bounds();
            // A negative refund lowers the sum, so the minimum counts it as often as possible.
            let (fewest, most_often) = if refunded.is_negative() { (most, least) } else { (least, most) };
            moved.most_charged = moved.most_charged + times(*charged, most);
            moved.least_refunded = moved.least_refunded + times(*refunded, fewest);
            moved.most_refunded = moved.most_refunded + times(*refunded, most_often);
        }
        moved
    }

    fn finish(mut self) -> (Decision, Evidence, Option<DateOrTime>) {
        let differ = |one: &String| self.currencies.iter().any(|other| !may_be_same_currency(one, other));
        if self.currencies.iter().any(differ) {
            let list: Vec<&str> = self.currencies.iter().map(String::as_str).collect();
            self.unclear(format!("its rows are in different currencies: {}", list.join(", ")));
        }
        if self.wants.len() > 1 {
            self.unclear("its rows ask for different dispositions or action trackers");
        }
        if self.states.len() > 1 {
            self.unclear("its rows say different things of the whole order");
        }
        if self.new_amounts.len() > 1 {
            self.unclear("its rows give different new amounts");
        }
        let newest = self.dates.iter().flatten().max_by_key(|when| when.latest());
        if let (Some(refunded), Some(ordered)) = (newest, self.ordered_at)
            && ordered.earliest().duration_since(refunded.latest()) > A_DAY
        {
            self.unclear(format!("it was refunded on {refunded}, before it was ordered, on {ordered}"));
        }
        if self.totals.len() > 1 {
            self.unclear("its rows give different totals");
        }
        // Prefers a currency code to a sign.
        let is_code = |name: &&String| name.bytes().all(|b| b.is_ascii_uppercase());
        self.evidence.currency = self.currencies.iter().find(is_code).or(self.currencies.first()).cloned();
        let decided = match self.unclear.take() {
            Some(why) => Err(why),
            None => self.decided(),
        };
        let (decision, why) = match decided {
            Ok(decision) => (decision, None),
            Err(why) => (Decision::Unclear, Some(why)),
        };
        let is_full = matches!(decision, Decision::InFull { .. });
        let notes = self.notes.into_iter().filter(|_| !is_full || self.listed);
        let why: Vec<String> = why.into_iter().chain(notes.take(2)).collect();
        self.evidence.why = (!why.is_empty()).then(|| why.join("; "));
        // If one refund has no date, the latest date is unknown.
        let refunded_at = self.dates.iter().copied().collect::<Option<Vec<DateOrTime>>>();
        let refunded_at = refunded_at.and_then(|dates| dates.into_iter().max_by_key(|when| when.latest()));
        (decision, self.evidence, refunded_at)
    }

    fn decided(&mut self) -> Result<Decision, String> {
        let kinds = [self.listed, !self.states.is_empty(), !self.new_amounts.is_empty()];
        match kinds.iter().filter(|kind| **kind).count() {
            0 => self.by_money(),
            1 if !self.moves.is_empty() && self.states.is_empty() => Err("its rows contradict each other".to_owned()),
            1 => self.by_word(),
            _ => Err("its rows contradict each other".to_owned()),
        }
    }

    fn by_word(&mut self) -> Result<Decision, String> {
        if self.listed {
            self.notes.insert("handed in as refunded".to_owned());
            return Ok(Decision::InFull { refunded: None });
        }
        if let Some(left) = self.new_amounts.iter().next().copied() {
            return Ok(if left.is_zero() {
                Decision::InFull { refunded: None }
            } else {
                Decision::InPart { refunded: None, total: None, left: Some(left) }
            });
        }
        let Some((status, mut refunded, total)) = self.states.iter().next().copied() else {
            return Err("no row says what became of the order".to_owned());
        };
        if !self.moves.is_empty() {
            // Some exports list refunds on lines of their own, beside the line of the order.
            let Totals { least_refunded, most_refunded, .. } = self.moved();
            if least_refunded != most_refunded {
                return Err(WRITTEN_TWICE.to_owned());
            }
            if refunded.is_some_and(|refunded| refunded != least_refunded) {
                return Err("its refunds do not add up to what the order says was refunded".to_owned());
            }
            refunded = Some(least_refunded);
        }
        (self.evidence.refunded, self.evidence.total) = (refunded, total);
        by_status(status, refunded, total)
    }

    fn by_money(&mut self) -> Result<Decision, String> {
        if self.moves.is_empty() {
            return if self.notes.is_empty() {
                Err("no row says what became of the order; the row that does may be missing from the file".to_owned())
            } else {
                Ok(Decision::NotRefunded)
            };
        }
        let Totals { most_charged, least_refunded: least, most_refunded: most } = self.moved();
        if least.is_negative() || most.is_negative() {
            return Err("more refunds of it were undone than made".to_owned());
        }
        let total = match self.totals.iter().next().copied() {
            Some(total) => Some(total),
            // The maximum that may have been charged: a charge that is listed twice may be two charges.
            None => self.moves.keys().any(|(charged, _)| !charged.is_zero()).then_some(most_charged),
        };
        self.evidence.refunded = Some(least);
        self.evidence.total = total;
        let Some(total) = total else {
            return match (least.is_zero(), least == most) {
                (true, true) => Ok(Decision::NotRefunded),
                (false, true) => Ok(Decision::ToCompare { refunded: least }),
                _ => Err(WRITTEN_TWICE.to_owned()),
            };
        };
        if total.is_zero() || total.is_negative() {
            return Err("what the order cost is not more than 0".to_owned());
        }
        if least == total && self.kept_in_part {
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
            return Err(WRITTEN_TWICE.to_owned());
        }
        Ok(if most.is_zero() {
            Decision::NotRefunded
        } else {
            let refunded = (least == most).then_some(least);
            Decision::InPart { refunded, total: Some(total), left: refunded.map(|refunded| total - refunded) }
        })
    }
}

/// Combines a status and two amounts. Each may be missing; a contradiction is an error.
fn by_status(status: OrderStatus, refunded: Option<Decimal>, total: Option<Decimal>) -> Result<Decision, String> {
    let is = |wanted: OrderStatus| status == wanted;
    let says = |text: &str| -> Result<Decision, String> {
        let show = |amount: Option<Decimal>| amount.map_or_else(|| "an unknown amount".to_owned(), |it| it.to_string());
        Err(format!("its status says {text}, its amounts {} of {}", show(refunded), show(total)))
    };
    if total.is_some_and(Decimal::is_negative) {
        return Err("what the order cost is less than 0".to_owned());
    }
    // `Some(true)`: all of it, `Some(false)`: not all of it, `None`: the amounts do not say.
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
            // The file has no total, so the amount of the live action decides.
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
