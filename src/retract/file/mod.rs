//! The file channel: reversals that an operator hands in by FTP or e-mail, as lines of the vendor's reversal file.
//!
//! `write` checks every order as a retraction would, writes each line into the ledger as *handed over*, and then writes the
//! file; `written` reports that. `check` reads what became of the file. `release` is a person's word that a line was not handed
//! in. recoup sends no file; the operator's own tools do (`docs/vendor/brand.md` §5). No order uses both channels: each asks
//! the ledger for the other's entries, under the one lock. Only its rewards prove a line.

use serde::{Deserialize, Serialize};

use crate::store::ledger::{Channel, Retraction, State};

pub mod check;
pub mod orders;
pub mod release;
pub mod write;
pub mod written;

/// Key of a file line in the plan that the ledger keeps.
const FILE: &str = "file";

/// Tolerated clock difference: a file may seem to arrive this much before it was handed over.
const CLOCK_TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileLine {
    /// File name; the vendor's list is searched by it.
    pub name: String,
    pub path: String,
    /// The event type, which the file names the order by.
    pub action_tracker_id: String,
    pub reason_code: String,
}

/// `None` if the retraction used another channel.
pub fn file_line_of(retraction: &Retraction) -> Option<FileLine> {
    if retraction.channel != Channel::File {
        return None;
    }
    serde_json::from_value(retraction.plan.get(FILE)?.clone()).ok()
}

fn handed_over_at(retraction: &Retraction) -> Option<jiff::Timestamp> {
    retraction.events.iter().find(|event| event.state == State::HandedOver)?.moment()
}
