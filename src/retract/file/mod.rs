//! The file channel: reversals as lines of the vendor's reversal file. An operator submits that file by FTP or e-mail.
//!
//! `write` checks every order as a retraction does, records each line of the reversal file in the ledger as *handed
//! over*, and then writes the file. `written` reports which orders the reversal file contains. `check` reads how the
//! vendor processed the reversal file. `release` records a person's statement that a line of the file was not
//! submitted. recoup submits no reversal file; the operator does, with other tools (`docs/vendor/brand.md` §5). An
//! order uses only one channel. Each channel checks the ledger for entries of the other channels, under the same lock.
//! Only the rewards prove that a line of a reversal file took effect.

use serde::{Deserialize, Serialize};

use crate::store::ledger::{Channel, Retraction, State};

pub mod check;
pub mod orders;
pub mod release;
pub mod write;
pub mod written;

/// Key of the reversal file's line in the plan that the ledger stores.
const FILE: &str = "file";

/// Tolerated clock difference: the vendor's date of a reversal file may precede the ledger's date by this time.
const CLOCK_TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileLine {
    /// Name of the reversal file, by which recoup finds the file in the vendor's list.
    pub name: String,
    pub path: String,
    /// The event type (action tracker). In the reversal file, the event type and the order ID together identify the
    /// order.
    pub action_tracker_id: String,
    pub reason_code: String,
}

/// Returns the reversal file's line of a retraction; `None` if the retraction used another channel.
pub fn file_line_of(retraction: &Retraction) -> Option<FileLine> {
    if retraction.channel != Channel::File {
        return None;
    }
    serde_json::from_value(retraction.plan.get(FILE)?.clone()).ok()
}

fn handed_over_at(retraction: &Retraction) -> Option<jiff::Timestamp> {
    retraction.events.iter().find(|event| event.state == State::HandedOver)?.moment()
}
