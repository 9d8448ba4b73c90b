//! Plan files: the rows of a refund file with a planned action for each row. A person can read a plan file, and recoup
//! detects changes to it.
//!
//! Each row of a plan file ends with a hash of its cells. The last row of a plan file contains the plan's account and
//! the SHA-256 of all rows. The hashes of a plan file cover cells and not bytes. Therefore the plan stays valid if a
//! program saves the file with other quotes, separators or line ends. A changed cell, or a moved, added or removed row,
//! makes the plan file invalid. The hashes of a plan file detect accidents and not forgery, because anyone can write a
//! new plan.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::columns::{Column, Columns, PLAN_MARK};
use super::csv_injection;
use super::csv_table;
use super::input;
use super::outcome_file::{self, CsvBuffer};
use super::read::{FileReading, MAX_ROWS, Refunds};
use super::row::{RawRow, exact_numbers};
use super::syntax::{Dialect, Syntax};
use crate::error::{Error, Kind, Result};
use crate::model::hex;

/// The version of the plan file's layout. recoup refuses a plan file of another version.
const PLAN_VERSION: &str = "recoup plan 3";
/// The maximum number of changed plan rows that an error lists. If more plan rows changed than this, the error states
/// only their number.
const NAMED: usize = 5;

/// The account that a plan file was made for. recoup refuses to apply the plan to another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTarget {
    /// The Advocate tenant that the plan file was made for.
    pub tenant: String,
    pub account_sid: String,
}

/// A plan file that recoup has read and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// The refunds from which recoup made the plan, with the line numbers of the plan file.
    pub refunds: Refunds,
    pub names: Vec<String>,
    /// The cells of the columns that the plan added, one list for each row.
    pub planned: Vec<Vec<String>>,
    pub target: PlanTarget,
    pub made_at: Timestamp,
    /// The SHA-256 of the plan file's content, in hex. The ledger stores the SHA-256 of the plan.
    pub digest: String,
}

impl PlanFile {
    /// Fails if the plan was made for another account.
    pub fn check_target(&self, now: &PlanTarget) -> Result<()> {
        if self.target == *now {
            return Ok(());
        }
        let (made, now) = (&self.target, now);
        Err(Error::new(
            Kind::Identity,
            format!(
                "the plan was made for tenant {:?} and account {:?}, not for {:?} and {:?}",
                made.tenant, made.account_sid, now.tenant, now.account_sid
            ),
        )
        .hint("choose its profile, or plan again"))
    }
}

/// The JSON object in the last row of a plan file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PlanFooter {
    form: String,
    rows: usize,
    made_at: String,
    #[serde(flatten)]
    target: PlanTarget,
    /// The number of columns that the plan copied from the refund file.
    original: usize,
    /// The index of each column of the plan file that recoup knows. If the user named a column, the header of the plan
    /// file alone does not identify it.
    columns: BTreeMap<String, usize>,
    /// The row and column of each cell that is unambiguous only because it was a JSON number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<(usize, usize)>,
    reading: FileReading,
    sha256: String,
}

/// Writes a plan file as CSV. `planned` has one list for each row, with one value for each column in `names`.
pub fn write_plan(
    refunds: &Refunds,
    names: &[&str],
    planned: &[Vec<String>],
    target: &PlanTarget,
    made_at: Timestamp,
) -> Result<Vec<u8>> {
    outcome_file::check(refunds, names, planned)?;
    let original = &refunds.columns.header;
    let names = outcome_file::free_names(original, names);
    let header: Vec<&str> = original.iter().chain(&names).map(String::as_str).chain([PLAN_MARK]).collect();
    let dialect = match refunds.syntax {
        Syntax::Csv(dialect) => dialect,
        Syntax::Ndjson => Dialect::default(),
    };
    let places = Column::ALL.into_iter().filter_map(|column| Some((column.to_string(), refunds.columns.get(column)?)));
    let numbers = refunds
        .rows
        .iter()
        .enumerate()
        .flat_map(|(n, row)| exact_numbers(row).into_iter().map(move |place| (n, place)));
    let mut end = PlanFooter {
        form: PLAN_VERSION.to_owned(),
        rows: refunds.rows.len(),
        made_at: made_at.to_string(),
        target: target.clone(),
        original: original.len(),
        columns: places.collect(),
        numbers: numbers.collect(),
        reading: refunds.reading.clone(),
        sha256: String::new(),
    };
    let mut writer = CsvBuffer::under(dialect, header.iter().copied())?;
    let mut whole = PlanHash::new(&end, &header)?;
    for (n, (row, planned)) in refunds.rows.iter().zip(planned).enumerate() {
        let mut cells: Vec<&str> = (0..original.len()).map(|place| row.cell(place)).collect();
        cells.extend(planned.iter().map(String::as_str));
        whole.row(&cells);
        let mark = mark(n, &cells);
        cells.push(&mark);
        writer.row(cells.into_iter())?;
    }
    end.sha256 = whole.finish();
    let end = to_json(&end)?;
    let mut last = vec![""; header.len()];
    last[header.len() - 1] = &end;
    writer.row(last.into_iter())?;
    writer.finish()
}

/// Reads and verifies a plan file; `-` is standard input.
pub fn read_plan(path: &Path) -> Result<PlanFile> {
    let bytes = input::load(path)?;
    plan_of(&input::name_of(path), &bytes)
}

/// Reads and verifies the content of a plan file. Error messages call the plan file `name`.
pub fn plan_of(name: &str, bytes: &[u8]) -> Result<PlanFile> {
    let score = |cells: &[String]| usize::from(cells.last().is_some_and(|last| last == PLAN_MARK));
    let read = csv_table::read(name, &input::decode(name, bytes)?, MAX_ROWS + 1, &score)?;
    let header: Vec<String> = read.header.iter().map(|cell| csv_injection::unescape(cell).into_owned()).collect();
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(read.rows.len());
    let mut lines = Vec::with_capacity(read.rows.len());
    for (line, cells) in read.rows {
        let mut cells: Vec<String> = cells.iter().map(|cell| csv_injection::unescape(cell).into_owned()).collect();
        // Fills a short row of the plan file with empty cells. If a row of the plan file really is incomplete, its hash
        // check fails.
        cells.resize(header.len(), String::new());
        rows.push(cells);
        lines.push(line);
    }
    if header.last().map(String::as_str) != Some(PLAN_MARK) {
        return Err(Error::new(Kind::Usage, format!("{name} is no plan: its last column is not {PLAN_MARK}"))
            .hint("--apply takes a plan that --plan has written; use --file for a list of refunds"));
    }
    if let Some((line, _)) = read.outside.first() {
        return Err(changed(name, &format!("line {line} was not written by recoup")));
    }
    let end_row = rows.pop().unwrap_or_default();
    let (last, others) = end_row.split_last().map_or(("", [].as_slice()), |(last, others)| (last.as_str(), others));
    let end: PlanFooter = serde_json::from_str(last)
        .ok()
        .filter(|end| to_json(end).is_ok_and(|text| text == last) && others.iter().all(String::is_empty))
        .ok_or_else(|| changed(name, "its last row, which protects it, is not the one that was written"))?;
    if end.form != PLAN_VERSION {
        return Err(
            Error::new(Kind::Usage, format!("{name} is a plan of another version: {:?}", end.form)).hint("plan again")
        );
    }
    check_rows(name, &end, &rows)?;
    let mut whole = PlanHash::new(&end, &header.iter().map(String::as_str).collect::<Vec<_>>())?;
    for row in &rows {
        whole.row(&strs(&row[..row.len() - 1]));
    }
    if whole.finish() != end.sha256 {
        return Err(changed(name, "its header or its last row was changed"));
    }
    assemble(name, end, read.dialect, header, rows.into_iter().zip(lines))
}

/// Fails if a row of the plan file was changed, moved, added or removed.
fn check_rows(name: &str, end: &PlanFooter, rows: &[Vec<String>]) -> Result<()> {
    let is_as_written = |n: usize, row: &Vec<String>| {
        let (mark_cell, cells) = row.split_last().map_or(("", [].as_slice()), |(last, cells)| (last.as_str(), cells));
        mark_cell == mark(n, &strs(cells))
    };
    let wrong: Vec<usize> =
        rows.iter().enumerate().filter(|(n, row)| !is_as_written(*n, row)).map(|(n, _)| n).collect();
    // The error shows row numbers of a spreadsheet: from 1, including the header.
    let number = |n: usize| n + 2;
    match (wrong.as_slice(), rows.len().cmp(&end.rows)) {
        ([], std::cmp::Ordering::Equal) => Ok(()),
        ([], std::cmp::Ordering::Less) => {
            Err(changed(name, &format!("row {} and what followed it are gone", number(rows.len()))))
        }
        (wrong, std::cmp::Ordering::Equal) if wrong.len() <= NAMED => {
            let list: Vec<String> = wrong.iter().map(|n| number(*n).to_string()).collect();
            let noun = if list.len() == 1 { "row" } else { "rows" };
            Err(changed(name, &format!("{noun} {}", list.join(", "))))
        }
        (wrong, _) => {
            let first = wrong.first().copied().unwrap_or(end.rows);
            let says = format!("from row {} on rows were changed, moved, added or removed", number(first));
            Err(changed(name, &says))
        }
    }
}

fn assemble(
    name: &str,
    end: PlanFooter,
    dialect: Dialect,
    mut header: Vec<String>,
    rows: impl Iterator<Item = (Vec<String>, u64)>,
) -> Result<PlanFile> {
    // If a plan file passes the hash check but contradicts itself, another program wrote it.
    let broken = || Error::new(Kind::Usage, format!("{name} is a plan that contradicts itself")).hint("plan again");
    header.pop();
    if end.original > header.len() {
        return Err(broken());
    }
    let names = header.split_off(end.original);
    let places: Option<Vec<(Column, usize)>> =
        end.columns.iter().map(|(name, place)| Some((Column::by_str(name)?, *place))).collect();
    let columns = Columns::at(header, places.ok_or_else(broken)?.into_iter()).ok_or_else(broken)?;
    let (mut raws, mut planned) = (Vec::new(), Vec::new());
    let mut numbers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, place) in end.numbers {
        numbers.entry(row).or_default().push(place);
    }
    for (n, (mut cells, line)) in rows.enumerate() {
        cells.pop();
        planned.push(cells.split_off(end.original));
        raws.push(RawRow { line, cells, numbers: numbers.remove(&n).unwrap_or_default(), ..RawRow::default() });
    }
    Ok(PlanFile {
        refunds: Refunds::of(columns, Syntax::Csv(dialect), end.reading, raws, Vec::new()),
        names,
        planned,
        made_at: end.made_at.parse().map_err(|_not_a_time: jiff::Error| broken())?,
        target: end.target,
        digest: end.sha256,
    })
}

fn changed(name: &str, what: &str) -> Error {
    Error::new(Kind::Refused, format!("{name} has changed since it was written: {what}"))
        .hint("a plan is applied unchanged or not at all: change the refunds and plan again")
}

fn to_json(end: &PlanFooter) -> Result<String> {
    serde_json::to_string(end).map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))
}

fn strs(cells: &[String]) -> Vec<&str> {
    cells.iter().map(String::as_str).collect()
}

/// Hashes the cells and the position of a plan row, to 64 bits of SHA-256. The hash starts with a letter, because a
/// spreadsheet would read `12e45` as a number.
fn mark(n: usize, cells: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    feed(&mut context, &[PLAN_VERSION, "row", &n.to_string()]);
    feed(&mut context, cells);
    format!("m{}", hex(&context.finish().as_ref()[..8]))
}

struct PlanHash(Context);

impl PlanHash {
    fn new(end: &PlanFooter, header: &[&str]) -> Result<Self> {
        let mut context = Context::new(&SHA256);
        let unsealed = to_json(&PlanFooter { sha256: String::new(), ..end.clone() })?;
        feed(&mut context, &[PLAN_VERSION, "whole", &unsealed]);
        feed(&mut context, header);
        Ok(Self(context))
    }

    fn row(&mut self, cells: &[&str]) {
        feed(&mut self.0, cells);
    }

    fn finish(self) -> String {
        hex(self.0.finish().as_ref())
    }
}

/// Hashes a list of cells with the lengths of the list and its cells. Therefore two different lists never feed the same
/// bytes.
fn feed(context: &mut Context, cells: &[&str]) {
    context.update(&(cells.len() as u64).to_le_bytes());
    for cell in cells {
        context.update(&(cell.len() as u64).to_le_bytes());
        context.update(cell.as_bytes());
    }
}
