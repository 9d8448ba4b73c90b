//! A checksum for each row that answers depend on, so that a look-up detects a damaged file.
//!
//! SQLite keeps no checksums of its pages. A flipped byte on the disk could read as another order ID or another date, and the
//! answer would be wrong without any error. So each of these rows has a column `sum`, a hash of its other columns. recoup
//! computes the hash in Rust on every write and compares it on every read. A row that does not match is an error, and the index
//! must be crawled again. The module `links` adds checksums of whole buckets of links, which detect missing rows.
//!
//! The checksums detect only accidents: a person who changes the file on purpose can change the checksums too.

use std::sync::LazyLock;

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Params, Row, ffi};

use crate::model::fnv1a;

/// A table whose rows have checksums.
pub(super) struct SummedTable {
    pub(super) name: &'static str,
    columns: Vec<&'static str>,
    /// The number of leading columns that form the primary key.
    key: usize,
    /// The column list that [`SummedTable::verify`] reads: `sum`, then the other columns, each qualified with the table name.
    pub(super) selected: String,
    put: String,
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
    /// `fixed` is the number of leading columns that never change. Updates omit them, so SQLite need not update their indexes.
    fn new(name: &'static str, key: usize, fixed: usize, columns: &'static str) -> Self {
        let columns: Vec<&str> = columns.split(", ").collect();
        let numbers: Vec<String> = (1..=columns.len() + 1).map(|n| format!("?{n}")).collect();
        let changed = columns[fixed..].iter().chain(&["sum"]);
        let changed: Vec<String> = changed.map(|column| format!("{column} = excluded.{column}")).collect();
        let selected = ["sum"].iter().chain(&columns).map(|column| format!("{name}.{column}"));
        let keys: Vec<String> = columns[..key].iter().zip(2..).map(|(column, n)| format!("{column} = ?{n}")).collect();
        Self {
            name,
            key,
            selected: selected.collect::<Vec<_>>().join(", "),
            put: format!(
                "INSERT INTO {name} ({}, sum) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
                columns.join(", "),
                numbers.join(", "),
                columns[..key].join(", "),
                changed.join(", ")
            ),
            set_sum: format!("UPDATE {name} SET sum = ?1 WHERE {}", keys.join(" AND ")),
            columns,
        }
    }

    /// Returns the number of columns in [`SummedTable::selected`].
    pub(super) fn width(&self) -> usize {
        self.columns.len() + 1
    }

    /// Writes a whole row from the values of its columns, in column order. Replaces the row with the same primary key.
    pub(super) fn put(&self, conn: &Connection, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let sum = sum_of_values(values)?;
        let mut all: Vec<&dyn ToSql> = values.to_vec();
        all.push(&sum);
        conn.prepare_cached(&self.put)?.execute(&all[..]).map(drop)
    }

    /// Runs an INSERT or UPDATE of some columns, then renews the checksums of the rows that it wrote. Returns how many there are.
    pub(super) fn update(&self, conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.write(conn, sql, params).map(|written| written.len())
    }

    /// Runs an INSERT of one row with its checksum. Returns the row's `id`.
    pub(super) fn insert(&self, conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<i64> {
        match self.write(conn, sql, params)?.pop().map(|mut key| key.swap_remove(0)) {
            Some(Value::Integer(id)) => Ok(id),
            _ => Err(rusqlite::Error::QueryReturnedNoRows),
        }
    }

    fn write(&self, conn: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Vec<Value>>> {
        let sql = format!("{sql} RETURNING {}", self.columns.join(", "));
        let written: Vec<(Vec<Value>, i64)> = conn
            .prepare_cached(&sql)?
            .query_map(params, |row| {
                let key = (0..self.key).map(|n| row.get(n)).collect::<rusqlite::Result<_>>()?;
                Ok((key, self.sum_of(row, 0)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut set_sum = conn.prepare_cached(&self.set_sum)?;
        for (key, sum) in &written {
            let values = std::iter::once(sum as &dyn ToSql).chain(key.iter().map(|value| value as &dyn ToSql));
            set_sum.execute(rusqlite::params_from_iter(values))?;
        }
        Ok(written.into_iter().map(|(key, _)| key).collect())
    }

    /// Fails unless the row matches its checksum. `at` is the position of the first [`SummedTable::selected`] column.
    pub(super) fn verify(&self, row: &Row<'_>, at: usize) -> rusqlite::Result<()> {
        if self.matches(row, at)? { Ok(()) } else { Err(damaged(&format!("a row of {}", self.name))) }
    }

    pub(super) fn matches(&self, row: &Row<'_>, at: usize) -> rusqlite::Result<bool> {
        Ok(row.get::<_, i64>(at).ok() == Some(self.sum_of(row, at + 1)?))
    }

    fn sum_of(&self, row: &Row<'_>, at: usize) -> rusqlite::Result<i64> {
        let values = (at..at + self.columns.len()).map(|n| row.get_ref(n)).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(row_sum(values))
    }
}

/// Returns a hash of the values. It covers each value's type, its length if the length varies, and its bytes.
pub(super) fn row_sum<'a>(values: impl IntoIterator<Item = ValueRef<'a>>) -> i64 {
    let mut bytes = Vec::with_capacity(256);
    for value in values {
        match value {
            ValueRef::Null => bytes.push(0),
            ValueRef::Integer(number) => {
                bytes.push(1);
                bytes.extend(number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                bytes.push(2);
                bytes.extend(number.to_le_bytes());
            }
            ValueRef::Text(text) => {
                bytes.push(3);
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text);
            }
            ValueRef::Blob(blob) => {
                bytes.push(4);
                bytes.extend((blob.len() as u64).to_le_bytes());
                bytes.extend(blob);
            }
        }
    }
    fnv1a(bytes).cast_signed()
}

pub(super) fn sum_of_values(values: &[&dyn ToSql]) -> rusqlite::Result<i64> {
    let converted = values.iter().map(rusqlite::ToSql::to_sql).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(row_sum(converted.iter().map(value_ref)))
}

fn value_ref<'a>(value: &'a ToSqlOutput<'_>) -> ValueRef<'a> {
    match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => ValueRef::from(value),
        // The other variants of rusqlite are zero-filled blobs and arrays, which no table here stores.
        _ => ValueRef::Null,
    }
}

/// Renews the checksums of all rewards after a test has changed rewards with its own SQL.
#[doc(hidden)]
pub fn renew_reward_sums(conn: &Connection) -> rusqlite::Result<()> {
    REWARDS.update(conn, "UPDATE rewards SET read_run = read_run", []).map(drop)
}

/// Returns the `id` for a new row. A write transaction excludes other writers, so no other writer takes the same `id`.
pub(super) fn next_id(conn: &Connection, table: &SummedTable) -> rusqlite::Result<i64> {
    let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {}", table.name);
    conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

/// Returns the error for a part of the file that does not match its checksum.
pub(super) fn damaged(what: &str) -> rusqlite::Error {
    let message = format!("{what} does not match its checksum");
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::index::LAYOUT;

    #[test]
    fn every_table_with_a_checksum_is_listed_with_the_columns_of_the_schema() {
        let conn = Connection::open_in_memory().expect("opens");
        conn.execute_batch(LAYOUT.schema).expect("the schema");
        let names = |sql: &str| -> Vec<String> {
            let mut select = conn.prepare(sql).expect("prepares");
            select.query_map([], |row| row.get(0)).expect("runs").collect::<rusqlite::Result<_>>().expect("rows")
        };
        let mut listed: BTreeSet<String> = summed_tables().iter().map(|table| table.name.to_owned()).collect();
        // `raw_json` computes this table's checksums, over the uncompressed JSON.
        listed.insert("raw_rewards".to_owned());
        let with_sum = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'sum'";
        assert_eq!(names(with_sum).into_iter().collect::<BTreeSet<_>>(), listed);
        // Counters, positions and failures that do not affect any answer.
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
    fn values_that_divide_the_same_bytes_differently_have_different_sums() {
        use ValueRef::{Blob, Integer, Null, Real, Text};
        let rows: [&[ValueRef<'_>]; 10] = [
            &[Text(b"ab"), Text(b"c")],
            &[Text(b"a"), Text(b"bc")],
            &[Text(b"abc")],
            &[Null, Text(b"abc")],
            &[Integer(1)],
            &[Text(b"1")],
            &[Real(1.0)],
            &[Blob(b"1")],
            &[Integer(1), Null],
            &[Integer(0)],
        ];
        let sums: BTreeSet<i64> = rows.iter().map(|row| row_sum(row.iter().copied())).collect();
        assert_eq!(sums.len(), rows.len());
    }
}
