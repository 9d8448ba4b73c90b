//! What the server of the stores says about itself, for `doctor`, `status` and metrics.

use super::{Layout, Place, access, batch_parts, index, ledger, notices};
use crate::clock::Clock;
use crate::error::Result;

pub use super::db::{ServerFacts, TableSize};

const LAYOUTS: [&Layout; 5] =
    [&index::LAYOUT, &ledger::LAYOUT, &access::LAYOUT, &notices::LAYOUT, &batch_parts::LAYOUT];

/// Asks the server; returns `None` if the stores are files.
pub fn server_facts(place: &Place, clock: &Clock) -> Result<Option<ServerFacts>> {
    let Place::Server(server) = place else { return Ok(None) };
    server.facts(&LAYOUTS, clock).map(Some).map_err(|error| error.of(&index::LAYOUT, place))
}
