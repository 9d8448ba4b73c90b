//! Finds the order of each row of a refund file, and the rows whose order is uncertain.

use std::collections::{HashMap, HashSet};

use super::columns::{Column, Columns};
use super::row::RefundRow;
use crate::model::OrderId;
use crate::model::order_text::ordinary;

/// The references between rows of a refund file, by row ID.
struct References<'a> {
    rows: &'a [RefundRow],
    reference: usize,
    by_id: HashMap<&'a str, usize>,
}

impl<'a> References<'a> {
    /// Returns `None` if the refund file has no column of row IDs or no column of references.
    fn of(rows: &'a [RefundRow], columns: &Columns) -> Option<Self> {
        let (id, reference) = (columns.get(Column::RowId)?, columns.get(Column::Reference)?);
        let by_id = rows.iter().enumerate().filter_map(|(n, row)| Some((filled(row, id)?, n))).collect();
        Some(Self { rows, reference, by_id })
    }

    /// Returns the index of the row that row `n` refers to.
    fn of_row(&self, n: usize) -> Option<usize> {
        self.by_id.get(filled(&self.rows[n], self.reference)?).copied()
    }
}

/// Returns the trimmed cell; `None` if the cell is blank.
fn filled(row: &RefundRow, place: usize) -> Option<&str> {
    Some(row.cell(place).trim()).filter(|cell| !cell.is_empty())
}

/// Returns the order of each row: the order ID in the row's own cell, otherwise the order of its payment, otherwise the
/// order of the row that it refers to.
pub(super) fn orders_of<'a>(rows: &'a [RefundRow], columns: &Columns) -> Vec<Option<&'a OrderId>> {
    let mut orders: Vec<Option<&OrderId>> = rows.iter().map(|row| row.order_id.as_ref()).collect();
    let by_payment = orders_by_payment(rows, columns, &orders);
    let Some(references) = References::of(rows, columns) else { return by_payment };
    for n in 0..rows.len() {
        let mut at = n;
        // A refund's line item refers to the refund, which refers to the order. The limit also ends cycles of
        // references between rows.
        for _ in 0..4 {
            if orders[at].is_some() {
                break;
            }
            let Some(next) = references.of_row(at) else { break };
            at = next;
        }
        orders[n] = orders[at];
    }
    orders
}

/// Gives each row without an order ID the order of its payment, if all other rows of that payment have the same order
/// ID.
fn orders_by_payment<'a>(
    rows: &'a [RefundRow],
    columns: &Columns,
    orders: &[Option<&'a OrderId>],
) -> Vec<Option<&'a OrderId>> {
    let Some(place) = columns.get(Column::Payment) else { return orders.to_vec() };
    let payment = |row: &'a RefundRow| filled(row, place);
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

/// Returns two orders for each row that refers to a row of another order, because the row may mean either.
pub(super) fn conflicting_orders<'a>(
    rows: &'a [RefundRow],
    columns: &Columns,
    orders: &[Option<&'a OrderId>],
) -> HashSet<&'a OrderId> {
    let Some(references) = References::of(rows, columns) else { return HashSet::new() };
    let pair = |n: usize| {
        let (one, other) = (orders[n]?, orders[references.of_row(n)?]?);
        (one != other).then_some([one, other])
    };
    (0..rows.len()).filter_map(pair).flatten().collect()
}

/// Maps each order ID to a different order ID of the file that differs only in invisible characters and blanks.
pub(super) fn lookalikes<'a>(orders: impl Iterator<Item = &'a OrderId>) -> HashMap<&'a OrderId, &'a OrderId> {
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
