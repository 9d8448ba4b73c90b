//! The rights of a database user who runs recoup but cannot alter the ledger, for stores on a server.
//!
//! The user reads and writes rows, and changes no table. In the ledger the user may add rows to the record, and neither change nor
//! delete one. The owner of the tables keeps the rest: `recoup forget`, `recoup ledger accept`, `recoup move`, and new versions.

use super::db::{Conn, DbError, Tx};
use super::ledger::Ledger;
use super::{Identity, Layout, Place, access, batch_parts, index, ledger, notices};
use crate::error::{Error, Kind, Result};
use crate::model::Actor;

/// The tables of the ledger whose rows stay as they were written.
const RECORD: [&str; 4] = ["retractions", "retraction_rewards", "events", "personal"];

const LAYOUTS: [&Layout; 5] =
    [&index::LAYOUT, &ledger::LAYOUT, &access::LAYOUT, &notices::LAYOUT, &batch_parts::LAYOUT];

/// Creates the tables of every store that are missing. The connection must be the owner's.
///
/// # Errors
/// [`Kind::Usage`] if the stores are files.
pub fn create_stores(place: &Place, identity: &Identity, actor: &Actor) -> Result<()> {
    if !place.is_server() {
        return Err(Error::new(Kind::Usage, format!("the stores are files ({place}), which have no roles"))
            .hint("set RECOUP_DATABASE to the address of a PostgreSQL server, with the user who owns the tables"));
    }
    for layout in LAYOUTS {
        Conn::open(place, layout, identity)?;
    }
    Ledger::open(place, identity, actor).map(drop)
}

/// Returns the statements that give a role the rights of the service and take all others away. They can be repeated.
///
/// # Errors
/// [`Kind::Config`] if the role may alter the ledger whatever it is granted: a superuser, or a member of the owner's role.
pub fn statements(place: &Place, role: &str) -> Result<Vec<String>> {
    let conn = ledger_of(place)?;
    let (is_known, is_mighty, database): (bool, bool, String) = conn.read(|tx| {
        let about = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = ?1),
                 coalesce((SELECT rolsuper OR pg_has_role(oid, (SELECT relowner FROM pg_class WHERE oid = to_regclass('events')),
                     'MEMBER') FROM pg_roles WHERE rolname = ?1), FALSE), CAST(current_database() AS TEXT)";
        tx.one(about, &[&role], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    })?;
    if is_mighty {
        let message = format!("the role {role} is a superuser or owns the tables, so it can alter the ledger");
        return Err(Error::new(Kind::Config, message)
            .hint("name another role, which is no superuser and no member of the owner's role"));
    }
    let (role, mut all) = (quoted(role), Vec::new());
    if !is_known {
        all.push(format!("CREATE ROLE {role} LOGIN"));
    }
    all.push(format!("REVOKE CREATE ON DATABASE {} FROM {role}", quoted(&database)));
    for layout in LAYOUTS {
        let Some(schema) = place_schema(place, layout) else { continue };
        all.push(format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {role}"));
        all.push(format!("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {role}"));
        all.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
        let own = |table: &str| format!("{schema}.{table}");
        all.push(format!("GRANT SELECT, UPDATE ON {} TO {role}", own("store_state")));
        all.push(format!("GRANT SELECT, INSERT, DELETE ON {} TO {role}", own("commits")));
        all.push(format!("GRANT SELECT, INSERT, UPDATE ON {} TO {role}", own("locks")));
        all.push(format!("GRANT SELECT, INSERT, UPDATE ON {} TO {role}", own("identity")));
        for table in super::db::tables(layout.schema).iter().filter(|table| table.name != "identity") {
            let rights = match table.name.as_str() {
                name if layout.name == ledger::LAYOUT.name && RECORD.contains(&name) => "SELECT, INSERT",
                "tombstones" if layout.name == ledger::LAYOUT.name => "SELECT",
                _ => "SELECT, INSERT, UPDATE, DELETE",
            };
            all.push(format!("GRANT {rights} ON {} TO {role}", own(&table.name)));
        }
    }
    Ok(all)
}

/// Runs the statements in one transaction, with the owner's connection.
pub fn apply(place: &Place, statements: &[String]) -> Result<()> {
    let run = |tx: &Tx<'_>| -> Result<(), DbError> {
        statements.iter().try_for_each(|statement| tx.run(statement, &[]).map(drop))
    };
    ledger_of(place)?.write(run)
}

fn ledger_of(place: &Place) -> Result<Conn> {
    let conn = Conn::open_read_only(place, &ledger::LAYOUT, None)?;
    conn.ok_or_else(|| Error::new(Kind::Storage, format!("there is no ledger at {place}")))
}

fn place_schema(place: &Place, layout: &Layout) -> Option<String> {
    if let Place::Server(server) = place { Some(server.schema(layout.name)) } else { None }
}

/// Returns a name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
