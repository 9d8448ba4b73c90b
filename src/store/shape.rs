//! For tests: what a schema comes to, whatever way it was made.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

/// Per table and index, its parts as text.
pub(super) fn shape(path: &Path) -> BTreeMap<String, Vec<String>> {
    let conn = Connection::open(path).expect("opens");
    let texts = |sql: &str, name: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).expect("a question");
        let columns = statement.column_count();
        let rows = statement.query_map([name], |row| {
            (0..columns)
                .map(|n| row.get::<_, Value>(n).map(|value| format!("{value:?}")))
                .collect::<rusqlite::Result<Vec<_>>>()
                .map(|parts| parts.join(" "))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    };
    let mut objects = conn.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_master").expect("a question");
    let rows = objects
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
        .expect("rows");
    rows.map(|row| {
        let (kind, name, sql) = row.expect("a row");
        let mut parts = match kind.as_str() {
            "table" => {
                let columns = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)";
                let keys = "SELECT \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1)";
                let form = "SELECT wr, strict FROM pragma_table_list WHERE name = ?1";
                [texts(columns, &name), texts(keys, &name), texts(form, &name), checks(&sql)].concat()
            }
            "index" => {
                let columns = texts("SELECT seqno, name, \"desc\", coll, key FROM pragma_index_xinfo(?1)", &name);
                let form =
                    "SELECT origin, partial, \"unique\" FROM pragma_index_list((SELECT tbl_name FROM sqlite_master
                     WHERE name = ?1)) WHERE name = ?1";
                let condition = sql.split_once(" WHERE ").map(|(_, condition)| condition.to_owned());
                [columns, texts(form, &name), condition.into_iter().collect()].concat()
            }
            _ => vec![sql],
        };
        parts.sort();
        (format!("{kind} {name}"), parts)
    })
    .collect()
}

/// The CHECK conditions of a table, without what is written differently and means the same.
fn checks(sql: &str) -> Vec<String> {
    let code: String = sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join(" ");
    code.match_indices("CHECK")
        .map(|(at, _)| {
            let mut depth = 0;
            let end = code[at..].find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ')' && depth == 0
            });
            code[at..].chars().take(end.expect("closed")).filter(|c| !c.is_whitespace()).collect()
        })
        .collect()
}
