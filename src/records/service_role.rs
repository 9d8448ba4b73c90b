//! Creates the stores on a server, and gives a database user the rights of the service but not those to alter the ledger.

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::report::Report;
use crate::store::{Identity, Place, service_role};

#[derive(Debug, Serialize)]
pub struct Prepared {
    pub place: String,
    pub role: Option<String>,
    /// Whether the statements were run.
    pub applied: bool,
    pub statements: Vec<String>,
}

/// Creates the stores, and prints the statements for a role, or runs them.
pub fn init(
    place: &Place,
    identity: &Identity,
    actor: &Actor,
    role: Option<&str>,
    apply: bool,
    report: &Report,
) -> Result<Prepared> {
    if role.is_some_and(|role| role.is_empty() || role.len() > 63 || role.contains('\0')) {
        return Err(Error::new(Kind::Usage, "the name of the role is empty or longer than 63 bytes")
            .hint("name a role of the server"));
    }
    service_role::create_stores(place, identity, actor)?;
    report.note(format!("the stores are at {place}"));
    let statements = role.map_or_else(|| Ok(Vec::new()), |role| service_role::statements(place, role))?;
    if apply {
        service_role::apply(place, &statements)?;
        report.note("the statements were run");
    } else if role.is_some() {
        report.note("run these statements as the owner of the tables, or add --apply:");
    }
    Ok(Prepared { place: place.to_string(), role: role.map(str::to_owned), applied: apply, statements })
}

impl Prepared {
    /// Returns the statements as SQL.
    pub fn lines(&self) -> Vec<String> {
        self.statements.iter().map(|statement| format!("{statement};")).collect()
    }
}
