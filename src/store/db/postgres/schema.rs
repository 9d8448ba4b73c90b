//! Creates the schema of a store, and binds it to one tenant.
//!
//! Each store has the tables of its SQL file (`schema.sql`, `ledger.sql`, `access.sql`, `notices.sql`) in PostgreSQL's
//! types. On a PostgreSQL server each store has three further tables: `store_state`, whose row every writer locks,
//! `commits`, and `locks`.

use std::collections::HashMap;

use super::super::open::{other_owner, other_version};
use super::super::{DbError, Identity, Layout, Patience, Tx};
use super::{STATEMENT_LIMIT, Session, WRITE_LIMIT, wait};
use crate::error::{Error, Kind};

/// The oldest version of PostgreSQL with which recoup is tested.
const OLDEST_SERVER: i64 = 140_000;

const OWN_TABLES: &str = "
CREATE TABLE store_state (
    id             BIGINT PRIMARY KEY CHECK (id = 1),
    layout         TEXT NOT NULL,
    schema_version BIGINT NOT NULL,
    version        BIGINT NOT NULL
);
CREATE TABLE commits (
    nonce TEXT PRIMARY KEY,
    at    TIMESTAMPTZ NOT NULL
);
CREATE INDEX commits_by_time ON commits (at);
CREATE TABLE locks (
    name     TEXT PRIMARY KEY,
    holder   TEXT NOT NULL,
    epoch    BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END
$$;
";

/// Returns `true` if the store has its tables. Refuses a store with another schema version, and tables of another
/// program.
pub fn check_version(session: &Session, layout: &Layout) -> Result<bool, DbError> {
    // With the name of the schema, the server refuses a user without the right to use it. Without the name, it would say that
    // there is no table.
    let state = format!("{}.store_state", session.schema);
    session.read(Patience::Usual, |tx| {
        if !tx.one("SELECT to_regclass(?1) IS NOT NULL", &[&state], |row| row.get::<bool>(0))? {
            return Ok(false);
        }
        let state = "SELECT layout, schema_version FROM store_state";
        let (name, version) = tx.one(state, &[], |row| Ok((row.get::<String>(0)?, row.get::<u64>(1)?)))?;
        if name != layout.name {
            return Err(foreign(&session.schema, layout));
        }
        if version != layout.version as u64 {
            return Err(other_version(layout, usize::try_from(version).unwrap_or(usize::MAX)).into());
        }
        Ok(true)
    })
}

fn foreign(schema: &str, layout: &Layout) -> DbError {
    Error::new(Kind::Config, format!("the schema {schema} holds tables that are not a recoup {}", layout.name))
        .hint("name another schema in the address of the server, with ?schema=NAME")
        .into()
}

/// Creates the tables of a store in one transaction.
pub fn create(session: &Session, layout: &Layout) -> Result<(), DbError> {
    let lease = session.pool.take(&session.server, WRITE_LIMIT)?;
    let client = lease.client()?;
    let begin = "BEGIN; SELECT pg_advisory_xact_lock(7234, 1)";
    wait(STATEMENT_LIMIT, client.batch_execute(begin))?;
    let about = "SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('server_encoding'),
             to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.store_state') IS NOT NULL,
             EXISTS (SELECT 1 FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($1))";
    let schema = session.schema.as_str();
    let about = wait(WRITE_LIMIT, client.query_typed(about, &[(&schema, tokio_postgres::types::Type::TEXT)]))?;
    let about = about.first().ok_or_else(|| DbError::Engine("the server does not describe itself".to_owned()))?;
    let (version, encoding, exists, is_made, has_tables): (i64, &str, bool, bool, bool) =
        (about.get(0), about.get(1), about.get(2), about.get(3), about.get(4));
    if version < OLDEST_SERVER || encoding != "UTF8" {
        let message = format!("the server has version {version} and the encoding {encoding}");
        return Err(Error::new(Kind::Config, message)
            .hint("use PostgreSQL 14 or newer, and a database with the encoding UTF8")
            .into());
    }
    if is_made {
        // Another process has created the tables meanwhile.
        return Ok(());
    }
    if has_tables {
        return Err(foreign(schema, layout));
    }
    // `CREATE SCHEMA` needs a right that the user does not need if an administrator has created the schema.
    let create = if exists { String::new() } else { format!("CREATE SCHEMA {schema};") };
    let ddl = format!(
        "{create} SET LOCAL search_path TO {schema}; {OWN_TABLES} {}
         INSERT INTO store_state (id, layout, schema_version, version) VALUES (1, '{}', {}, 1); COMMIT",
        translated(layout.schema),
        layout.name,
        layout.version
    );
    wait(STATEMENT_LIMIT, client.batch_execute(&ddl))?;
    lease.keep();
    Ok(())
}

/// Returns the statements of a store's SQL file, translated for PostgreSQL.
pub fn translated(schema: &str) -> String {
    let bare: Vec<&str> = schema.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end()).collect();
    let (mut statements, mut truncated) = (Vec::new(), Vec::new());
    // The body of a trigger contains a semicolon.
    for statement in bare.join("\n").replace("); END;", ") END;").split(';') {
        let statement = statement.trim();
        if let Some(trigger) = statement.strip_prefix("CREATE TRIGGER ") {
            let event = trigger.split("BEGIN").next().unwrap_or_default().trim();
            let (name, table) =
                (trigger.split(' ').next().unwrap_or_default(), event.rsplit(' ').next().unwrap_or_default());
            statements.push(format!(
                "CREATE TRIGGER {event} FOR EACH ROW EXECUTE FUNCTION append_only();
                 ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
            ));
            if !truncated.contains(&table.to_owned()) {
                truncated.push(table.to_owned());
            }
        } else if !statement.is_empty() {
            statements.push(in_types_of_postgres(statement));
        }
    }
    for table in truncated {
        statements.push(format!(
            "CREATE TRIGGER {table}_not_truncated BEFORE TRUNCATE ON {table} EXECUTE FUNCTION append_only();
             ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_not_truncated"
        ));
    }
    statements.iter().fold(String::new(), |text, statement| text + statement + ";\n")
}

fn in_types_of_postgres(statement: &str) -> String {
    let mut text = statement.to_owned();
    for (sqlite, postgres) in [
        (") STRICT, WITHOUT ROWID", ")"),
        (") STRICT", ")"),
        ("INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        (" INTEGER", " BIGINT"),
        (" REAL", " DOUBLE PRECISION"),
        (" BLOB", " BYTEA"),
        // The collation compares bytes, as SQLite does.
        (" TEXT", " TEXT COLLATE \"C\""),
    ] {
        text = text.replace(sqlite, postgres);
    }
    text
}

/// Compares the store's owner with `identity`. Returns whether the store has an owner.
pub fn check_identity(tx: &Tx<'_>, identity: &Identity) -> Result<bool, DbError> {
    let known = tx.rows("SELECT key, value FROM identity", &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let known: HashMap<String, String> = known.into_iter().collect();
    let mut is_bound = true;
    for (key, wanted) in identity.pairs() {
        match known.get(key) {
            // An empty setting counts as missing and is not compared.
            Some(found) if !wanted.is_empty() && found != wanted => return Err(other_owner(key, found, wanted)),
            found => is_bound &= found.is_some(),
        }
    }
    Ok(is_bound)
}

/// Records the store's owner at the first use. Refuses another owner later.
pub fn bind(session: &Session, identity: &Identity) -> Result<(), DbError> {
    if session.read(Patience::Usual, |tx| check_identity(tx, identity))? {
        // Returns without a write, so that opening a store never waits for a writer.
        return Ok(());
    }
    session.write(Patience::Usual, |tx| {
        check_identity(tx, identity)?;
        for (key, value) in identity.pairs() {
            tx.run("INSERT INTO identity (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING", &[&key, &value])?;
        }
        Ok(())
    })
}
