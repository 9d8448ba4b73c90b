//! The file road: reversals that the operator hands in by FTP or e-mail, as lines of the vendor's reversal file.
//!
//! `write` checks every order as a retraction would, writes each line into the ledger as *handed over*, and then the file;
//! `written` says what came of that; `check` reads back what became of the file; `release` is a person's word that a line was
//! not handed in. recoup sends no file: that stays with the operator's own tools (`docs/vendor/brand.md` §5). One order never goes both
//! roads: each asks the ledger for the other's lines, under the one lock. Nothing here may call a line done but for its
//! rewards.

use serde::{Deserialize, Serialize};

use crate::store::ledger::{Retraction, Road, State};

pub mod check;
pub mod orders;
pub mod release;
pub mod write;
pub mod written;

/// The key of a line in the plan that the ledger keeps.
const FILE: &str = "file";

/// How much earlier than it was handed over a file may seem to have arrived: clocks differ.
const CLOCKS_DIFFER: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// A line of a file, as the ledger and the receipt have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Handed {
    /// The name of the file, by which the vendor's list is searched.
    pub name: String,
    /// Where it was written.
    pub path: String,
    /// The event type that names the order.
    pub action_tracker_id: String,
    /// The reason code.
    pub reason_code: String,
}

/// The line that a retraction is; `None` for one that went another road.
pub fn handed_of(retraction: &Retraction) -> Option<Handed> {
    if retraction.road != Road::File {
        return None;
    }
    serde_json::from_value(retraction.plan.get(FILE)?.clone()).ok()
}

/// When it was handed over, RFC 3339.
fn handed_at(retraction: &Retraction) -> Option<jiff::Timestamp> {
    retraction.events.iter().find(|event| event.state == State::HandedOver)?.moment()
}
