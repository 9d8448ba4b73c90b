//! A checksum for each row that answers depend on, so that a look-up detects a damaged file.
//!
//! SQLite keeps no checksums of its pages. A flipped byte on the disk could turn an order ID or a date into another
//! one, and recoup would give a wrong answer without any error. Therefore each row that answers depend on has a column
//! `sum`, a hash of its other columns. recoup computes the hash in Rust on every write and compares it on every read.
//! If a row does not match its hash, recoup reports an error, and the user must crawl again. The module `links` adds
//! checksums over buckets of links, and the checksums of links reveal missing rows.
//!
//! The checksums of the index detect only accidents: a person who changes the index on purpose can change its checksums
//! too.

use std::path::Path;
use std::sync::LazyLock;

use super::LAYOUT;
use crate::error::Result;
use crate::store::db::{Bulk, ColumnKind, Conn, DbError, Patience, Row, ToValue, Tx, Value};

/// A table whose rows have checksums.
pub(super) struct SummedTable {
    pub(super) name: &'static str,
    columns: Vec<&'static str>,
    /// The number of leading columns that form the primary key.
    key: usize,
    /// The column list for [`SummedTable::verify`]: `sum`, then the other columns. The table name qualifies each column
    /// of the list.
    pub(super) selected: String,
    /// The INSERT statement for a whole row, without a conflict clause.
    pub(super) insert: String,
    /// The INSERT statement for a whole row that replaces the row with the same primary key.
    pub(super) put: String,
    set_sum: String,
}

pub(super) static RUNS: LazyLock<SummedTable> = LazyLock::new(|| {
    SummedTable::new(
        "runs",
        1,
        1,
        "id, source, state, started_at, finished_at, complete, gaps, accounts_known, accounts_read, \
         rewards_unusable, values_unreadable, base, watermark, rewards_known",
    )
});

pub(super) static ACCOUNTS: LazyLock<SummedTable> =
    LazyLock::new(|| SummedTable::new("accounts", 1, 1, "id, account_id, gone_at"));

pub(super) static LINK_PATTERNS: LazyLock<SummedTable> =
    LazyLock::new(|| SummedTable::new("link_patterns", 1, 1, "id, kind, order_path, action_path, by_search"));

pub(super) static RUN_LINK_PATTERNS: LazyLock<SummedTable> =
    LazyLock::new(|| SummedTable::new("run_link_patterns", 2, 2, "run, pattern, rewards, links"));

pub(super) static DESCRIPTORS: LazyLock<SummedTable> = LazyLock::new(|| {
    SummedTable::new(
        "descriptors",
        1,
        1,
        "id, hash, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable",
    )
});

pub(super) static REWARDS: LazyLock<SummedTable> = LazyLock::new(|| {
    SummedTable::new(
        "rewards",
        1,
        2,
        "id, reward_id, account, pattern, descriptor, read_run, read_at, gone_at, account_id, user_id, \
         referral_id, assigned, redeemed, date_created, date_given, date_scheduled_for, date_expires, \
         date_cancelled, date_redeemed, unreadable, source, date_modified",
    )
});

pub(super) static LINKS: LazyLock<SummedTable> =
    LazyLock::new(|| SummedTable::new("links", 2, 2, "reward, n, count, order_id, order_key, action_id, action_key"));

pub(super) static PROGRAM_RULES: LazyLock<SummedTable> =
    LazyLock::new(|| SummedTable::new("program_rules", 1, 1, "program_id, answer, read_at"));

pub(super) static REFERRALS: LazyLock<SummedTable> = LazyLock::new(|| {
    SummedTable::new("referrals", 1, 1, "referral_id, started_at, converted_at, modified_at, read_at")
});

pub(super) fn summed_tables() -> [&'static SummedTable; 9] {
    [&RUNS, &ACCOUNTS, &LINK_PATTERNS, &RUN_LINK_PATTERNS, &DESCRIPTORS, &REWARDS, &LINKS, &PROGRAM_RULES, &REFERRALS]
}

impl SummedTable {
    /// Creates the SQL statements for a table. `fixed` is the number of leading columns that never change. An update
    /// omits the fixed columns, so that SQLite need not update the SQL indexes of fixed columns.
    fn new(name: &'static str, key: usize, fixed: usize, columns: &'static str) -> Self {
        let columns: Vec<&str> = columns.split(", ").collect();
        let numbers: Vec<String> = (1..=columns.len() + 1).map(|n| format!("?{n}")).collect();
        let changed = columns[fixed..].iter().chain(&["sum"]);
        let changed: Vec<String> = changed.map(|column| format!("{column} = excluded.{column}")).collect();
        let selected = ["sum"].iter().chain(&columns).map(|column| format!("{name}.{column}"));
        let keys: Vec<String> = columns[..key].iter().zip(2..).map(|(column, n)| format!("{column} = ?{n}")).collect();
        let insert = format!("INSERT INTO {name} ({}, sum) VALUES ({})", columns.join(", "), numbers.join(", "));
        Self {
            name,
            key,
            selected: selected.collect::<Vec<_>>().join(", "),
            put: format!("{insert} ON CONFLICT ({}) DO UPDATE SET {}", columns[..key].join(", "), changed.join(", ")),
            insert,
            set_sum: format!("UPDATE {name} SET sum = ?1 WHERE {}", keys.join(" AND ")),
            columns,
        }
    }

    /// Returns the INSERT statement for whole rows, with this conflict clause. `texts` names the columns that are no integers.
    pub(super) fn bulk_insert(&self, order: u8, texts: &[&str], conflict: &str) -> Bulk {
        let kind = |name: &&str| if texts.contains(name) { ColumnKind::Text } else { ColumnKind::Integer };
        let columns: Vec<(&str, ColumnKind)> =
            self.columns.iter().chain(&["sum"]).map(|name| (*name, kind(name))).collect();
        Bulk::insert(order, self.name, self.key, &columns, conflict)
    }

    /// Returns the conflict clause of [`SummedTable::put`].
    pub(super) fn replace_clause(&self) -> &str {
        self.put.strip_prefix(&self.insert).unwrap_or_default()
    }

    /// Returns the number of columns in [`SummedTable::selected`].
    pub(super) fn width(&self) -> usize {
        self.columns.len() + 1
    }

    /// Writes a whole row from the values of its columns, in column order. Replaces the row with the same primary key.
    pub(super) fn put(&self, tx: &Tx<'_>, values: &[&dyn ToValue]) -> Result<(), DbError> {
        run_with_sum(tx, &self.put, values).map(drop)
    }

    /// Runs an INSERT or UPDATE of some columns, then updates the checksums of the written rows. Returns the number of
    /// written rows. The frequent statements of a crawl do not use this function: they write a row together with its
    /// checksum.
    pub(super) fn update(&self, tx: &Tx<'_>, sql: &str, args: &[&dyn ToValue]) -> Result<u64, DbError> {
        let sql = format!("{sql} RETURNING {}", self.columns.join(", "));
        let written = tx.rows(&sql, args, |row| {
            let keys = (0..self.key).map(|n| row.get(n)).collect::<Result<Vec<i64>, DbError>>()?;
            let sum = self.sum_of(row, 0)?.ok_or_else(|| self.damaged())?;
            Ok((keys, sum))
        })?;
        for (keys, sum) in &written {
            let values: Vec<&dyn ToValue> =
                std::iter::once(sum as &dyn ToValue).chain(keys.iter().map(|key| key as &dyn ToValue)).collect();
            tx.run(&self.set_sum, &values)?;
        }
        Ok(written.len() as u64)
    }

    /// Fails if the row does not match its checksum. `at` is the position of the first [`SummedTable::selected`]
    /// column.
    pub(super) fn verify(&self, row: &Row<'_>, at: usize) -> Result<(), DbError> {
        if self.matches(row, at)? { Ok(()) } else { Err(self.damaged()) }
    }

    fn damaged(&self) -> DbError {
        damaged(&format!("a row of {}", self.name))
    }

    pub(super) fn matches(&self, row: &Row<'_>, at: usize) -> Result<bool, DbError> {
        let sum = self.sum_of(row, at + 1)?;
        Ok(sum.is_some() && row.get::<i64>(at).ok() == sum)
    }

    /// Returns the checksum of a row's columns; `None` if a column contains text that is not UTF-8.
    fn sum_of(&self, row: &Row<'_>, at: usize) -> Result<Option<i64>, DbError> {
        let mut sum = RowSum::default();
        for column in at..at + self.columns.len() {
            let Some(value) = row.value(column)? else { return Ok(None) };
            sum.add(value);
        }
        Ok(Some(sum.value()))
    }
}
/// Computes the checksum of a row from the values of its columns, in column order.
pub(super) struct RowSum(u64);

impl Default for RowSum {
    fn default() -> Self {
        // The start value of the hash is not 0, so that a null at the start of a row changes the checksum.
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl RowSum {
    /// Adds a value to the hash: its type, its length if its type has no fixed length, and its bytes.
    pub(super) fn add(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.mix(0),
            Value::Integer(number) => {
                self.mix(1);
                self.mix(number.cast_unsigned());
            }
            Value::Real(number) => {
                self.mix(2);
                self.mix(number.to_bits());
            }
            Value::Text(text) => self.add_bytes(3, text.as_bytes()),
            Value::Blob(bytes) => self.add_bytes(4, bytes),
        }
    }

    pub(super) fn value(self) -> i64 {
        self.0.cast_signed()
    }

    fn add_bytes(&mut self, kind: u64, bytes: &[u8]) {
        self.mix(kind);
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// Mixes eight bytes into the hash. Each step of the hash is reversible, so two rows that differ in one word never
    /// have the same checksum.
    fn mix(&mut self, word: u64) {
        let product = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}

/// Runs a statement whose last parameter is the checksum of all other parameters, which are the columns of one row.
/// Returns the number of rows that the statement changed.
pub(super) fn run_with_sum(tx: &Tx<'_>, sql: &str, values: &[&dyn ToValue]) -> Result<u64, DbError> {
    let sum = sum_of_values(values);
    let all: Vec<&dyn ToValue> = values.iter().copied().chain([&sum as &dyn ToValue]).collect();
    tx.run(sql, &all)
}

/// As [`run_with_sum`], with a statement that may wait for other rows.
pub(super) fn run_later_with_sum(tx: &Tx<'_>, bulk: &'static Bulk, values: &[&dyn ToValue]) -> Result<(), DbError> {
    let sum = sum_of_values(values);
    let all: Vec<&dyn ToValue> = values.iter().copied().chain([&sum as &dyn ToValue]).collect();
    tx.run_later(bulk, &all)
}

pub(super) fn sum_of_values(values: &[&dyn ToValue]) -> i64 {
    let mut sum = RowSum::default();
    for value in values {
        sum.add(value.to_value());
    }
    sum.value()
}

/// Updates the checksums of all rewards, after a test has changed rewards by its own SQL.
#[doc(hidden)]
pub fn renew_reward_sums(index: &Path) -> Result<()> {
    let conn = Conn::open_existing(&index.into(), &LAYOUT, None, Patience::Usual)?;
    let renew = |conn: &Conn| conn.write(|tx| REWARDS.update(tx, "UPDATE rewards SET read_run = read_run", &[]));
    conn.as_ref().map_or(Ok(0), renew).map(drop)
}

/// Returns the `id` for a new row. No other writer uses the same `id`, because the caller's write transaction excludes
/// other writers.
pub(super) fn next_id(tx: &Tx<'_>, table: &SummedTable) -> Result<i64, DbError> {
    tx.one(&format!("SELECT coalesce(max(id), 0) + 1 FROM {}", table.name), &[], |row| row.get(0))
}

/// Returns the error for a part of the index that does not match its checksum.
pub(super) fn damaged(what: &str) -> DbError {
    DbError::Damaged(format!("{what} does not match its checksum"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::db::RawConnection;

    #[test]
    fn every_table_with_a_checksum_is_listed_with_the_columns_of_the_schema() {
        let conn = RawConnection::open_in_memory().expect("opens");
        conn.execute_batch(LAYOUT.schema).expect("the schema");
        let names = |sql: &str| -> Vec<String> {
            let mut select = conn.prepare(sql).expect("prepares");
            select.query_map([], |row| row.get(0)).expect("runs").collect::<Result<_, _>>().expect("rows")
        };
        let mut listed: BTreeSet<String> = summed_tables().iter().map(|table| table.name.to_owned()).collect();
        // `summed_tables` does not list `raw_rewards`: the module `raw_json` computes the checksums of that table.
        listed.insert("raw_rewards".to_owned());
        let with_sum = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'sum'";
        assert_eq!(names(with_sum).into_iter().collect::<BTreeSet<_>>(), listed);
        // Columns without a checksum: counters, positions and failures that do not affect any answer.
        let without = [
            ("runs", vec!["requests", "cursor", "requests_reread"]),
            (
                "accounts",
                vec![
                    "first_seen_at",
                    "seen_pass",
                    "read_run",
                    "read_at",
                    "unusable",
                    "failed_run",
                    "failed_at",
                    "failed_reason",
                    "unknown",
                    "queued_run",
                ],
            ),
        ];
        for table in summed_tables() {
            let skipped = without.iter().find(|(name, _)| *name == table.name).map_or(&[][..], |(_, columns)| columns);
            let mut columns = names(&format!("SELECT name FROM pragma_table_info('{}')", table.name));
            columns.retain(|column| column != "sum" && !skipped.contains(&column.as_str()));
            assert_eq!(columns, table.columns, "{}", table.name);
        }
    }

    #[test]
    fn a_flipped_bit_of_a_text_changes_the_sum() {
        let text = "order 1001 of a@shop.example".repeat(3);
        let sum = sum_of_values(&[&text.as_bytes(), &7_i64]);
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum_of_values(&[&flipped, &7_i64]), sum, "bit {bit}");
        }
    }

    #[test]
    fn values_that_divide_the_same_bytes_differently_have_different_sums() {
        use Value::{Blob, Integer, Null, Real, Text};
        let rows: [&[Value<'_>]; 11] = [
            &[Text("ab"), Text("c")],
            &[Text("a"), Text("bc")],
            &[Text("abc")],
            &[Text("abc\0")],
            &[Null, Text("abc")],
            &[Integer(1)],
            &[Text("1")],
            &[Real(1.0)],
            &[Blob(b"1")],
            &[Integer(1), Null],
            &[Integer(0)],
        ];
        let sum_of = |row: &[Value<'_>]| {
            let mut sum = RowSum::default();
            for value in row {
                sum.add(*value);
            }
            sum.value()
        };
        let sums: BTreeSet<i64> = rows.iter().map(|row| sum_of(row)).collect();
        assert_eq!(sums.len(), rows.len());
    }
}
