//! The page's English that code chooses: headings, what a state means, what a refusal is called. The rest stands in `templates/`.
//!
//! One word for one thing, as everywhere: order ID, action, reward, retraction, submission.

use axum::http::StatusCode;

use crate::error::Kind;
use crate::store::ledger::State;

/// What a state means, for whoever waits for it.
pub(super) fn of_state(state: State) -> &'static str {
    match state {
        State::Planned => "Written down; nothing was sent yet",
        State::Sending => "The request is on its way",
        State::Queued => "The vendor has it in its queue; not done yet",
        State::Confirmed => "Done: every known reward reads as cancelled",
        State::Partial => "Done in part: what was redeemed before stays lost",
        State::Unconfirmed => "Completed at the vendor, and a reward still stands",
        State::Failed => "The vendor refused it; nothing was done",
        State::Unknown => "No answer came; it is being found out, and never sent again by itself",
        State::NotReceived => "The vendor never received it; nothing was done",
        State::Processed => "The change was processed; no reading proves it",
        State::HandedOver => "Written into a file for the vendor",
        State::Released => "The file was not handed in",
        State::Superseded => "A later attempt took its place",
    }
}

/// How a state looks: done, open, or wanting a person.
pub(super) fn tone_of(state: State) -> &'static str {
    match state {
        State::Confirmed | State::Processed => "good",
        State::Partial | State::Unconfirmed | State::Unknown | State::Failed | State::NotReceived => "bad",
        State::Planned | State::Sending | State::Queued | State::HandedOver => "open",
        State::Released | State::Superseded => "quiet",
    }
}

/// The heading of a failure.
pub(super) fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "That cannot be meant",
        Kind::NotIndexed => "Not found",
        Kind::Ambiguous => "It is not certain what is meant",
        Kind::Refused | Kind::Declined => "Nothing was sent",
        Kind::NeedsApproval => "A second person must approve it",
        Kind::VendorRefused => "The vendor refused",
        Kind::Parked => "The vendor's limit is used up for now",
        Kind::Network | Kind::Vendor => "The vendor could not be asked",
        Kind::Busy => "Somebody else is at it",
        Kind::Interrupted => "The service is ending",
        _ => "That did not work",
    }
}

/// The HTTP status of a failure.
pub(super) fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Usage => StatusCode::BAD_REQUEST,
        Kind::NotIndexed => StatusCode::NOT_FOUND,
        Kind::Ambiguous | Kind::Refused | Kind::Declined | Kind::NeedsApproval | Kind::VendorRefused | Kind::Busy => {
            StatusCode::CONFLICT
        }
        Kind::Parked => StatusCode::TOO_MANY_REQUESTS,
        Kind::Network | Kind::Vendor => StatusCode::BAD_GATEWAY,
        Kind::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
