//! The texts of the page that code selects: the meaning of a state, and the heading of an error. This module also maps
//! errors to HTTP status codes. The other texts of the page are in `templates/`.

use axum::http::StatusCode;
use jiff::Timestamp;

use crate::error::Kind;
use crate::store::ledger::State;

pub(super) fn meaning_of(state: State) -> &'static str {
    match state {
        State::Planned => "Recorded; nothing was sent yet",
        State::Sending => "The request is on its way",
        State::Queued => "The vendor has queued it; not done yet",
        State::Confirmed => "Done: every known reward reads as cancelled",
        State::Partial => "Done in part: what was redeemed before cannot be taken back",
        State::Unconfirmed => "The vendor has processed it, but a reward is not cancelled",
        State::Failed => "The vendor refused it; nothing was done",
        State::Unknown => {
            "The vendor did not answer; recoup is finding out what happened and does not send it again by itself"
        }
        State::NotReceived => "The vendor never received it; nothing was done",
        State::Processed => "The vendor has processed the change; no reading can prove it",
        State::HandedOver => "Written into a file for the vendor",
        State::Released => "The file was not handed in",
        State::Superseded => "Replaced by a later attempt",
    }
}

/// Returns the CSS class of a retraction's state.
pub(super) fn tone_of(state: State) -> &'static str {
    match state {
        State::Confirmed | State::Processed => "good",
        State::Partial | State::Unconfirmed | State::Unknown | State::Failed | State::NotReceived => "bad",
        State::Planned | State::Sending | State::Queued | State::HandedOver => "open",
        State::Released | State::Superseded => "quiet",
    }
}

/// Shortens each RFC 3339 time in a text to the minute: `2026-11-30T22:25:09Z` becomes `2026-11-30 22:25 UTC`.
pub(super) fn with_times(text: &str) -> String {
    let shortened = |word: &str| {
        let time = word.trim_end_matches([',', ';', '.', ':', ')']);
        let at: Timestamp = time.trim_start_matches('(').parse().ok()?;
        let (before, after) = (&word[..time.len() - time.trim_start_matches('(').len()], &word[time.len()..]);
        Some(format!("{before}{}{after}", at.strftime("%Y-%m-%d %H:%M UTC")))
    };
    let words = text.split(' ').map(|word| shortened(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

pub(super) fn heading_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Usage => "Invalid request",
        Kind::NotIndexed => "Not found",
        Kind::Ambiguous => "It is unclear which action is meant",
        Kind::Refused | Kind::Declined => "Nothing was sent",
        Kind::NeedsApproval => "A second person must approve it",
        Kind::VendorRefused => "The vendor refused",
        Kind::Parked => "The vendor's limit is used up for now",
        Kind::Network | Kind::Vendor => "The vendor could not be reached",
        Kind::Busy => "Another process is working on this",
        Kind::Interrupted => "The service is stopping",
        _ => "Something went wrong",
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_text_is_shortened_and_nothing_else_changes() {
        for (text, shown) in [
            ("last read at 2026-11-30T22:25:09Z", "last read at 2026-11-30 22:25 UTC"),
            ("until 2026-11-30T22:25:09.5Z; nothing", "until 2026-11-30 22:25 UTC; nothing"),
            ("(2026-11-30T22:25:09Z).", "(2026-11-30 22:25 UTC)."),
            ("order 2026-11-30 of  1001, ö", "order 2026-11-30 of  1001, ö"),
            ("", ""),
        ] {
            assert_eq!(with_times(text), shown);
        }
    }
}
