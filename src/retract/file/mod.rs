//! The file channel: reversals as lines of the vendor's reversal file, which an operator hands in by FTP or e-mail.
//!
//! `write` checks every order as a retraction does, records each line in the ledger as *handed over*, and then writes the file.
//! `written` reports the result. `check` reads how the vendor processed the file. `release` records a person's statement that a
//! line was not handed in. recoup sends no file; the operator's own tools do (`docs/vendor/brand.md` §5). An order uses only one
//! channel: each channel checks the ledger for entries of the other under the same lock. Only the rewards prove a line.

use serde::{Deserialize, Serialize};

use crate::store::ledger::{Channel, Retraction, State};

pub mod check;
pub mod orders;
pub mod release;
pub mod write;
pub mod written;

/// Key of a file line in the plan that the ledger stores.
const FILE: &str = "file";

/// Tolerated clock difference: the vendor's date of a file may precede the ledger's date by this time.
const CLOCK_TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileLine {
    /// Name of the file, by which recoup finds it in the vendor's list.
    pub name: String,
    pub path: String,
    /// The event type (action tracker), which identifies the order in the file together with the order ID.
    pub action_tracker_id: String,
    pub reason_code: String,
}

/// Returns the file line of a retraction; `None` if the retraction used another channel.
pub fn file_line_of(retraction: &Retraction) -> Option<FileLine> {
    if retraction.channel != Channel::File {
        return None;
    }
    serde_json::from_value(retraction.plan.get(FILE)?.clone()).ok()
}

fn handed_over_at(retraction: &Retraction) -> Option<jiff::Timestamp> {
    retraction.events.iter().find(|event| event.state == State::HandedOver)?.moment()
}
