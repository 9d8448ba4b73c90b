//! Sums by which an answer notices that the file is damaged.
//!
//! SQLite keeps no checksums of its pages: a byte that a disk has flipped reads as another order ID, another date, or as no
//! row at all, and the answer "complete, not a referral" would be wrong. So every row that answers are made of has a sum over
//! its values, which SQLite computes when it writes the row; and the keys by which links are found have one for each bucket of
//! neighbouring keys, which proves that a key is not there. A link says how many its reward has. Whatever does not add up is an
//! error, and the index is read again from the vendor.
//!
//! No protection against people: whoever changes the file on purpose can change the sums too.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ffi};

use super::links::led_to;
use crate::model::fnv1a;

/// Low bits of a key that do not tell buckets apart: there are 4,096 buckets. As `schema.sql` has it.
const IN_BUCKET: i64 = 52;

/// The tables whose rows have sums, and what these are over. A test compares the columns with `schema.sql`.
pub(super) const SUMMED: [(&str, &str); 9] = [
    ("runs", RUNS),
    ("accounts", "id, account_id, gone_at"),
    ("findings", "id, kind, order_path, action_path, by_search"),
    ("run_findings", "run, finding, rewards, links"),
    ("descriptors", "id, reward_type, reward_source, unit, program_id, name, currency, statuses, cancellable"),
    ("rewards", REWARDS),
    ("links", "reward, n, count, order_id, action_id"),
    ("program_rules", "program_id, answer, read_at"),
    ("referrals", "referral_id, started_at, converted_at, modified_at, read_at"),
];

const RUNS: &str = "id, source, state, started_at, finished_at, complete, gaps, accounts_known, accounts_read, \
     rewards_unusable, values_unreadable, base, watermark, rewards_known";

const REWARDS: &str = "id, reward_id, account, finding, descriptor, read_run, read_at, gone_at, account_id, user_id, assigned, \
     redeemed, date_created, date_given, date_scheduled_for, date_expires, date_cancelled, date_redeemed, unreadable, via, \
     date_modified";

/// Whether a row of this table adds up, as a literal of SQL; a test compares them with [`adds_up`].
macro_rules! row_adds_up {
    (accounts) => {
        "accounts.sum IS row_sum(accounts.id, accounts.account_id, accounts.gone_at)"
    };
    (findings) => {
        "findings.sum IS row_sum(findings.id, findings.kind, findings.order_path, findings.action_path, \
         findings.by_search)"
    };
    (descriptors) => {
        "descriptors.sum IS row_sum(descriptors.id, descriptors.reward_type, descriptors.reward_source, \
         descriptors.unit, descriptors.program_id, descriptors.name, descriptors.currency, descriptors.statuses, \
         descriptors.cancellable)"
    };
    (rewards) => {
        "rewards.sum IS row_sum(rewards.id, rewards.reward_id, rewards.account, rewards.finding, \
         rewards.descriptor, rewards.read_run, rewards.read_at, rewards.gone_at, rewards.account_id, \
         rewards.user_id, rewards.assigned, rewards.redeemed, rewards.date_created, rewards.date_given, \
         rewards.date_scheduled_for, rewards.date_expires, rewards.date_cancelled, rewards.date_redeemed, \
         rewards.unreadable, rewards.via, rewards.date_modified)"
    };
    (links) => {
        "links.sum IS row_sum(links.reward, links.n, links.count, links.order_id, links.action_id)"
    };
}
pub(super) use row_adds_up;

/// Whether the row that stands under this name of its table adds up, as SQL.
pub(super) fn adds_up(table: &str, name: &str) -> String {
    let columns = SUMMED.iter().find(|(summed, _)| *summed == table).map_or("", |(_, columns)| *columns);
    let columns: Vec<String> = columns.split(", ").map(|column| format!("{name}.{column}")).collect();
    format!("{name}.sum IS row_sum({})", columns.join(", "))
}

/// Gives SQL the sums: `row_sum` of any values, `key_sum` of a bucket after a key came or went, `keys_sum` of all keys of one.
pub(super) fn know_sums(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("row_sum", -1, flags, |context| Ok(row_sum(context)))?;
    conn.create_scalar_function("key_sum", 3, flags, |context| {
        // A key that comes and one that goes change the sum in the same way.
        Ok(context.get::<Option<i64>>(0)?.unwrap_or(0) ^ pair_sum(context.get(1)?, context.get(2)?))
    })?;
    conn.create_aggregate_function("keys_sum", 2, flags, KeysSum)
}

fn row_sum(context: &Context<'_>) -> i64 {
    let mut bytes = Vec::with_capacity(128);
    for n in 0..context.len() {
        match context.get_raw(n) {
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

fn pair_sum(key: i64, reward: i64) -> i64 {
    fnv1a(key.to_le_bytes().into_iter().chain(reward.to_le_bytes())).cast_signed()
}

struct KeysSum;

impl Aggregate<i64, i64> for KeysSum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<i64> {
        Ok(0)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut i64) -> rusqlite::Result<()> {
        *sum ^= pair_sum(context.get(0)?, context.get(1)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<i64>) -> rusqlite::Result<i64> {
        Ok(sum.unwrap_or(0))
    }
}

/// The error for what does not add up.
pub(super) fn damaged(what: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(format!("{what} does not add up")))
}

/// Fails unless the keys around this one, and the links of every reward that it leads to, are as they were written.
pub(super) fn check_key(conn: &Connection, key: i64) -> rusqlite::Result<()> {
    let first = key >> IN_BUCKET << IN_BUCKET;
    let last = first | ((1 << IN_BUCKET) - 1);
    let keys_add_up: bool = conn
        .prepare_cached(
            "SELECT coalesce((SELECT sum FROM key_sums WHERE bucket = ?1), 0) = (SELECT keys_sum(key, reward) FROM (
                 SELECT key, reward FROM link_keys WHERE key BETWEEN ?2 AND ?3
                 UNION ALL SELECT key, reward FROM new_link_keys WHERE key BETWEEN ?2 AND ?3))",
        )?
        .query_row([key >> IN_BUCKET, first, last], |row| row.get(0))?;
    if !keys_add_up {
        return Err(damaged("a bucket of keys"));
    }
    let select = concat!("SELECT DISTINCT reward FROM (", led_to!("?1"), ")");
    let rewards: Vec<i64> =
        conn.prepare_cached(select)?.query_map([key], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let select = concat!("SELECT count(*), max(count), min(", row_adds_up!(links), ") FROM links WHERE reward = ?1");
    let mut links = conn.prepare_cached(select)?;
    for reward in rewards {
        let (found, wanted, add_up): (i64, Option<i64>, Option<bool>) =
            links.query_row([reward], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if wanted != Some(found) || add_up != Some(true) {
            return Err(damaged("the list of links of a reward"));
        }
    }
    Ok(())
}

/// What does not add up anywhere in the file; `None` if everything does. Reads all of it.
pub(in crate::store) fn first_damage(conn: &Connection) -> rusqlite::Result<Option<String>> {
    know_sums(conn)?;
    for (table, _) in SUMMED {
        let select = format!("SELECT count(*) FROM {table} WHERE NOT ({})", adds_up(table, table));
        let rows: i64 = conn.query_row(&select, [], |row| row.get(0))?;
        if rows > 0 {
            return Ok(Some(format!("{rows} rows of {table} do not add up")));
        }
    }
    let links: i64 = conn.query_row(
        "SELECT count(*) FROM (SELECT 1 FROM links GROUP BY reward HAVING count(*) <> max(count))",
        [],
        |row| row.get(0),
    )?;
    let keys: i64 = conn.query_row(
        "SELECT count(*) FROM (
             SELECT bucket, sum FROM key_sums WHERE sum <> 0
             EXCEPT SELECT key >> ?1, keys_sum(key, reward) FROM (
                 SELECT key, reward FROM link_keys UNION ALL SELECT key, reward FROM new_link_keys) GROUP BY key >> ?1)",
        [IN_BUCKET],
        |row| row.get(0),
    )?;
    Ok(match (links, keys) {
        (0, 0) => None,
        (0, keys) => Some(format!("{keys} buckets of keys do not add up")),
        (links, _) => Some(format!("the links of {links} rewards are not all there")),
    })
}

/// An error unless a row adds up.
pub(super) fn must_add_up(adds_up: Option<bool>, what: &str) -> rusqlite::Result<()> {
    if adds_up == Some(true) { Ok(()) } else { Err(damaged(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_over_the_columns_of_the_schema() {
        let schema: String = include_str!("../../../schema.sql").split_whitespace().collect::<Vec<_>>().join(" ");
        for (table, columns) in SUMMED {
            let body = schema.split(&format!("CREATE TABLE {table} (")).nth(1).expect("the table");
            let body = body.split("CREATE TABLE").next().expect("its columns");
            assert!(body.contains(&format!("row_sum({columns})")), "{table}: {columns}");
        }
    }

    #[test]
    fn the_literals_are_over_the_same_columns() {
        for (table, literal) in [
            ("accounts", row_adds_up!(accounts)),
            ("findings", row_adds_up!(findings)),
            ("descriptors", row_adds_up!(descriptors)),
            ("rewards", row_adds_up!(rewards)),
            ("links", row_adds_up!(links)),
        ] {
            assert_eq!(adds_up(table, table), literal);
        }
    }

    #[test]
    fn no_two_rows_have_one_sum_by_where_their_values_end() {
        let conn = Connection::open_in_memory().expect("opens");
        know_sums(&conn).expect("functions");
        let sum = |values: &str| -> i64 {
            conn.query_row(&format!("SELECT row_sum({values})"), [], |row| row.get(0)).expect("a sum")
        };
        let rows = ["'ab', 'c'", "'a', 'bc'", "'abc'", "NULL, 'abc'", "1", "'1'", "1.0", "x'31'", "1, NULL", "0"];
        let sums: std::collections::BTreeSet<i64> = rows.iter().map(|row| sum(row)).collect();
        assert_eq!(sums.len(), rows.len());
    }
}
