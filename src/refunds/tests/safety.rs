//! Property tests: if an order was not refunded in full, no damage to its file makes it *refunded in full*.
//!
//! The damage shuffles, drops and duplicates rows, drops and blanks columns and column names, blanks and replaces
//! cells, and removes or replaces JSON values at any depth. An order is safe if recoup refuses the damaged file, or if
//! the order's decision after the comparison with its real price is not *refunded in full*.
//!
//! The tests exclude the two kinds of damage that turn a file into another valid file: [`lost_its_undoing`] and
//! [`is_bare_list`].

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::samples::{self, Sample, Truth};
use super::*;
use crate::refunds::Decimal;
use crate::refunds::columns::LIST_COLUMNS;
use crate::refunds::decision::Decision;
use crate::refunds::formats;

/// One kind of damage to the table of a refund file. Each index of a damage selects a row or a column.
#[derive(Debug, Clone)]
enum Damage {
    Shuffle(Vec<Index>),
    DropRow(Index),
    KeepOneOrder(Index),
    DoubleRow(Index),
    EndRowEarly(Index, Index),
    DropColumn(Index),
    BlankColumn(Index),
    BlankName(Index),
    Replace(Index, Index, &'static str),
    ReplaceColumn(Index, &'static str),
}

/// Replacements for cells of a damaged file: nothing, unreadable amounts, unknown words. The damage only blanks a row
/// ID, because a copied refund with a different ID is a second refund.
const GARBAGE: [&str; 9] = ["", " ", "x", "#REF!", "1,234", "1e3", "NaN", "frobnicated", "weder noch"];

fn any_damage() -> impl Strategy<Value = Damage> {
    let i = any::<Index>;
    let garbage = || prop::sample::select(GARBAGE.as_slice());
    prop_oneof![
        2 => prop::collection::vec(i(), 40).prop_map(Damage::Shuffle),
        4 => i().prop_map(Damage::DropRow),
        1 => i().prop_map(Damage::KeepOneOrder),
        4 => i().prop_map(Damage::DoubleRow),
        1 => (i(), i()).prop_map(|(row, width)| Damage::EndRowEarly(row, width)),
        3 => i().prop_map(Damage::DropColumn),
        2 => i().prop_map(Damage::BlankColumn),
        2 => i().prop_map(Damage::BlankName),
        6 => (i(), i(), garbage()).prop_map(|(row, column, by)| Damage::Replace(row, column, by)),
        1 => (i(), garbage()).prop_map(|(column, by)| Damage::ReplaceColumn(column, by)),
    ]
}

/// A table that keeps the original positions of its rows and columns.
#[derive(Clone)]
struct Grid {
    separator: u8,
    header: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
    /// The original index of each column of the damaged table.
    origin: Vec<usize>,
    original: Vec<Vec<String>>,
    original_header: Vec<String>,
    /// The original indexes of the columns with row IDs.
    ids: Vec<usize>,
}

impl Grid {
    fn of(sample: &Sample) -> Self {
        let text = crate::refunds::input::decode(&sample.name, &sample.bytes).expect("text");
        let options = Options { mapping: sample.mapping.clone(), ..Options::default() };
        let columns = from_bytes(&sample.name, &sample.bytes, &options).expect("a sample").columns;
        let is_header = |cells: &[String]| usize::from(*cells == *columns.header);
        let (table, _) =
            crate::refunds::csv_table::read_section(&sample.name, &text, 1000, &is_header).expect("a table");
        let width = table.header.len();
        let wide = |mut cells: Vec<String>| {
            cells.resize(width, String::new());
            cells
        };
        let original: Vec<Vec<String>> = table.rows.into_iter().map(|(_, cells)| wide(cells)).collect();
        let rows = original.iter().cloned().enumerate().collect();
        let ids = [Column::RowId, Column::Part].into_iter().filter_map(|column| columns.get(column)).collect();
        let (header, separator) = (table.header, table.dialect.separator);
        Self { separator, original_header: header.clone(), ids, header, rows, origin: (0..width).collect(), original }
    }

    fn suffer(&mut self, damage: &Damage) {
        let width = self.header.len();
        if self.rows.is_empty() || width == 0 {
            return;
        }
        let count = self.rows.len();
        match damage {
            Damage::Shuffle(order) => {
                for (n, other) in order.iter().enumerate().take(count) {
                    self.rows.swap(n, other.index(count));
                }
            }
            Damage::DropRow(row) => drop(self.rows.remove(row.index(count))),
            Damage::KeepOneOrder(row) => {
                let kept = self.rows[row.index(count)].1.clone();
                self.rows.retain(|(_, cells)| cells.first() == kept.first() || cells.get(1) == kept.get(1));
            }
            Damage::DoubleRow(row) => {
                let row = self.rows[row.index(count)].clone();
                self.rows.push(row);
            }
            Damage::EndRowEarly(row, end) => {
                for cell in &mut self.rows[row.index(count)].1[end.index(width)..] {
                    cell.clear();
                }
            }
            Damage::DropColumn(column) => {
                let column = column.index(width);
                self.header.remove(column);
                self.origin.remove(column);
                for (_, cells) in &mut self.rows {
                    cells.remove(column);
                }
            }
            Damage::BlankColumn(column) => self.replace(column.index(width), ""),
            Damage::ReplaceColumn(column, by) => self.replace(column.index(width), by),
            Damage::BlankName(column) => self.header[column.index(width)].clear(),
            Damage::Replace(row, column, by) => {
                let (row, column) = (row.index(count), column.index(width));
                let by = if self.ids.contains(&self.origin[column]) { "" } else { by };
                by.clone_into(&mut self.rows[row].1[column]);
            }
        }
    }

    fn replace(&mut self, column: usize, by: &str) {
        for (_, cells) in &mut self.rows {
            by.clone_into(&mut cells[column]);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let rows = self.rows.iter().map(|(_, cells)| cells.clone());
        ungrid(&std::iter::once(self.header.clone()).chain(rows).collect::<Vec<_>>(), self.separator)
    }
}

/// Returns `true` if the damage removed the row that undoes a refund, or that row's order ID. Without the row that
/// undoes a refund, the file equals a file with a valid refund.
fn lost_its_undoing(grid: &Grid, truth: &Truth) -> bool {
    let Some(word) = &truth.undone_by else { return false };
    let is_undoing = |cells: &[String]| cells.iter().any(|cell| cell == word) && cells.contains(&truth.order);
    let place = grid.original.iter().position(|cells| is_undoing(cells)).expect("the row that undoes");
    !grid.rows.iter().any(|(origin, cells)| *origin == place && cells.contains(&truth.order))
}

/// Returns `true` if the damage removed every column with evidence. Without evidence, the damaged file is a plain list
/// of order IDs that the user submits as refunded.
fn is_bare_list(grid: &Grid, refunds: &Refunds, sample: &Sample) -> bool {
    use Column::{OrderId, OrderedAt, Reason, RefundedAt, RowId};
    let columns = formats::by_name(sample.format()).map_or(LIST_COLUMNS, |format| format.columns);
    let is_evidence = |name: &str| {
        let of = |column: &Column| !matches!(column, OrderId | Reason | OrderedAt | RefundedAt | RowId);
        columns
            .iter()
            .any(|(column, names)| of(column) && names.iter().any(|known| known.eq_ignore_ascii_case(name.trim())))
    };
    refunds.reading.format == LIST_FORMAT
        && (0..grid.header.len())
            .filter(|column| is_evidence(&grid.original_header[grid.origin[*column]]))
            .all(|column| grid.rows.iter().all(|(_, cells)| GARBAGE.contains(&cells[column].as_str())))
}

/// Fails if a decision is *refunded in full* and the order was not refunded in full.
fn check(refunds: &Refunds, truths: &[Truth], is_excused: &dyn Fn(&Truth) -> bool) -> Result<(), String> {
    for order in &refunds.orders {
        let Some(truth) = truths.iter().find(|truth| truth.order == order.order_id.as_str()) else { continue };
        if truth.is_full || is_excused(truth) {
            continue;
        }
        let cost = Decimal::parse(&truth.total).expect("an amount");
        let held = order.decision.check_against_action(Some(cost), true).0;
        // A missing payment lowers the price of an order only in a format that adds up payments.
        let sums_payments = formats::by_name(&refunds.reading.format).is_some_and(|format| format.sums_payments);
        let alone = !sums_payments && matches!(order.decision, Decision::InFull { .. });
        if held.kind() == DecisionKind::RefundedInFull || alone {
            return Err(format!(
                "{} of {}: {:?}; {}",
                truth.order,
                refunds.reading.format,
                order.decision,
                order.evidence.sentence()
            ));
        }
    }
    Ok(())
}

fn all_samples() -> Vec<Sample> {
    samples::all().into_iter().chain(samples::with_mappings()).collect()
}

fn is_json(sample: &Sample) -> bool {
    matches!(sample.bytes.first(), Some(b'{' | b'['))
}

fn objects(sample: &Sample) -> Vec<Value> {
    let values: Vec<Value> =
        serde_json::Deserializer::from_slice(&sample.bytes).into_iter().map(|value| value.expect("JSON")).collect();
    match values.as_slice() {
        [Value::Array(list)] => list.clone(),
        [Value::Object(one)] => one["orders"].as_array().expect("orders").clone(),
        _ => values,
    }
}

/// One kind of damage to a JSON value. The indexes of a JSON damage form a path from the outer array to the value.
#[derive(Debug, Clone)]
enum JsonDamage {
    Shuffle(Vec<Index>),
    Remove(Vec<Index>),
    Double(Index),
    Replace(Vec<Index>, Value),
    /// Removes one key from all JSON objects.
    RemoveKey(Index, Index),
}

fn any_json_damage() -> impl Strategy<Value = JsonDamage> {
    let path = || prop::collection::vec(any::<Index>(), 1..6);
    let by = vec![
        Value::Null,
        "".into(),
        "x".into(),
        "1,234".into(),
        "1e3".into(),
        "frobnicated".into(),
        Value::Array(Vec::new()),
    ];
    prop_oneof![
        prop::collection::vec(any::<Index>(), 20).prop_map(JsonDamage::Shuffle),
        path().prop_map(JsonDamage::Remove),
        any::<Index>().prop_map(JsonDamage::Double),
        (path(), prop::sample::select(by)).prop_map(|(path, by)| JsonDamage::Replace(path, by)),
        (any::<Index>(), any::<Index>()).prop_map(|(row, key)| JsonDamage::RemoveKey(row, key)),
    ]
}

fn suffer(list: &mut Vec<Value>, damage: &JsonDamage) {
    let count = list.len();
    if count == 0 {
        return;
    }
    match damage {
        JsonDamage::Shuffle(order) => {
            for (n, other) in order.iter().enumerate().take(count) {
                list.swap(n, other.index(count));
            }
        }
        JsonDamage::Double(row) => list.push(list[row.index(count)].clone()),
        JsonDamage::Remove(path) => {
            let mut whole = Value::Array(std::mem::take(list));
            change(&mut whole, path, &|_| None);
            *list = whole.as_array().cloned().unwrap_or_default();
        }
        JsonDamage::Replace(path, by) => {
            for_each_leaf(list, path, by);
        }
        JsonDamage::RemoveKey(row, key) => {
            let Some(object) = list[row.index(count)].as_object().filter(|object| !object.is_empty()) else { return };
            let key = object.keys().nth(key.index(object.len())).expect("a key").clone();
            for object in list.iter_mut().filter_map(Value::as_object_mut) {
                object.remove(&key);
            }
        }
    }
}

fn for_each_leaf(list: &mut Vec<Value>, path: &[Index], by: &Value) {
    // Never replaces a whole JSON row, because recoup refuses an array with anything but objects.
    if path.len() > 1 {
        let mut whole = Value::Array(std::mem::take(list));
        change(&mut whole, path, &|_| Some(by.clone()));
        *list = whole.as_array().cloned().unwrap_or_default();
    }
}

/// Replaces or removes the JSON value at a path. The path stops early at a JSON value without children.
fn change(value: &mut Value, path: &[Index], by: &dyn Fn(&Value) -> Option<Value>) {
    let Some((first, rest)) = path.split_first() else { return };
    let is_last = |value: &Value| rest.is_empty() || !(value.is_array() || value.is_object());
    match value {
        Value::Array(list) if !list.is_empty() => {
            let at = first.index(list.len());
            if is_last(&list[at]) {
                match by(&list[at]) {
                    Some(new) => list[at] = new,
                    None => drop(list.remove(at)),
                }
            } else {
                change(&mut list[at], rest, by);
            }
        }
        Value::Object(object) if !object.is_empty() => {
            let key = object.keys().nth(first.index(object.len())).expect("a key").clone();
            if is_last(&object[&key]) {
                match by(&object[&key]) {
                    Some(_) if key == "id" => drop(object.insert(key, Value::Null)),
                    Some(new) => drop(object.insert(key, new)),
                    None => drop(object.remove(&key)),
                }
            } else if let Some(inner) = object.get_mut(&key) {
                change(inner, rest, by);
            }
        }
        _ => {}
    }
}

/// Runs a quarter of the usual number of cases, because the tests run for many samples.
fn cases() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.div_ceil(4);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn no_damage_to_a_table_makes_a_full_refund_of_another_order() {
    for sample in all_samples().into_iter().filter(|sample| !is_json(sample)) {
        let truths = sample.truths();
        let options = Options { mapping: sample.mapping.clone(), ..Options::default() };
        let whole = Grid::of(&sample);
        proptest!(cases(), |(damages in prop::collection::vec(any_damage(), 0..7))| {
            let mut grid = whole.clone();
            for damage in &damages {
                grid.suffer(damage);
            }
            if let Ok(refunds) = from_bytes(&sample.name, &grid.bytes(), &options)
                && !is_bare_list(&grid, &refunds, &sample)
            {
                let checked = check(&refunds, &truths, &|truth| lost_its_undoing(&grid, truth));
                prop_assert!(checked.is_ok(), "{}: {}\n{}", sample.name, checked.unwrap_err(), String::from_utf8_lossy(&grid.bytes()));
            }
        });
    }
}

#[test]
fn no_damage_to_json_makes_a_full_refund_of_another_order() {
    for sample in all_samples().into_iter().filter(is_json) {
        let truths = sample.truths();
        proptest!(cases(), |(damages in prop::collection::vec(any_json_damage(), 0..7), lines in any::<bool>())| {
            let mut list = objects(&sample);
            for damage in &damages {
                suffer(&mut list, damage);
            }
            let text = if lines {
                list.iter().flat_map(|object| [object.to_string(), "\n".to_owned()]).collect()
            } else {
                Value::Array(list).to_string()
            };
            if let Ok(refunds) = read(&text) {
                let checked = check(&refunds, &truths, &|_| false);
                prop_assert!(checked.is_ok(), "{}: {}\n{text}", sample.name, checked.unwrap_err());
            }
        });
    }
}

#[test]
fn a_truncated_file_makes_no_full_refund_of_another_order() {
    for sample in all_samples() {
        let truths = sample.truths();
        let options = Options { mapping: sample.mapping.clone(), ..Options::default() };
        proptest!(cases(), |(end in 0..sample.bytes.len())| {
            let Ok(refunds) = from_bytes(&sample.name, &sample.bytes[..end], &options) else { return Ok(()) };
            for order in &refunds.orders {
                let Some(truth) = truths.iter().find(|truth| truth.order == order.order_id.as_str()) else { continue };
                let cost = Decimal::parse(&truth.total).expect("an amount");
                let kind = order.decision.check_against_action(Some(cost), true).0.kind();
                let is_safe = truth.is_full || truth.undone_by.is_some() || kind != DecisionKind::RefundedInFull;
                prop_assert!(is_safe, "{} cut at {end}: {} {:?}", sample.name, truth.order, order.decision);
            }
        });
    }
}
