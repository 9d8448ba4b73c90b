//! The states of a retraction and their transitions. This module is pure. [`State::may_become`] makes sending safe.

use serde::Serialize;

use super::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was sent, or the request is known to have done nothing.
    Planned,
    /// The request is on its way, or its process crashed.
    Sending,
    /// The vendor has queued the request, but not completed it.
    Queued,
    /// Every known reward of the action reads as cancelled.
    Confirmed,
    /// Every cancellable reward is cancelled; the others were redeemed earlier.
    Partial,
    /// The submission completed, but a reward is not cancelled.
    Unconfirmed,
    /// The vendor refused the request and changed nothing.
    Failed,
    /// No answer: the vendor may have received it. Never sent again automatically.
    Unknown,
    /// The state was *unknown*, and two complete lists of the vendor's submissions, an hour apart, did not contain the request.
    NotReceived,
    /// The vendor has processed a modification. No documented API can confirm its effect.
    Processed,
    /// Written into a reversal file for the vendor. `recoup file check` finds out whether the file was uploaded.
    HandedOver,
    /// A person said that the reversal file was not uploaded, or not for this order.
    Released,
    /// Replaced by a later attempt on the same action.
    Superseded,
}

impl State {
    pub(super) const ALL: [Self; 13] = [
        Self::Planned,
        Self::Sending,
        Self::Queued,
        Self::Confirmed,
        Self::Partial,
        Self::Unconfirmed,
        Self::Failed,
        Self::Unknown,
        Self::NotReceived,
        Self::Processed,
        Self::HandedOver,
        Self::Released,
        Self::Superseded,
    ];

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sending => "sending",
            Self::Queued => "queued",
            Self::Confirmed => "confirmed",
            Self::Partial => "partial",
            Self::Unconfirmed => "unconfirmed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotReceived => "not_received",
            Self::Processed => "processed",
            Self::HandedOver => "handed_over",
            Self::Released => "released",
            Self::Superseded => "superseded",
        }
    }

    /// Returns whether `next` may follow this state. The first two arms make sending safe.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Confirmed, Failed, HandedOver, NotReceived, Partial, Planned, Processed, Queued, Released, Sending,
            Superseded, Unconfirmed, Unknown,
        };
        match self {
            // Only a planned retraction, which is known to be unsent, may be sent.
            Planned => matches!(next, Sending | HandedOver | Superseded),
            // Only *sending* may return to *planned*, if the response proves that the vendor did nothing.
            Sending => matches!(next, Planned | Queued | Confirmed | Failed | Unknown),
            // *Queued* after *queued* reports progress.
            Queued => matches!(next, Queued | Confirmed | Partial | Unconfirmed | Failed | Processed),
            Unconfirmed => {
                matches!(next, Unconfirmed | Confirmed | Partial | Failed | Processed | Released | Superseded)
            }
            // Without a response, only cancelled rewards are proof. A late response may still arrive.
            Unknown => matches!(next, Confirmed | Partial | Queued | NotReceived),
            // Proof of receipt outranks two lists without the request.
            NotReceived => matches!(next, Confirmed | Partial | Queued | Superseded),
            HandedOver => matches!(next, Confirmed | Partial | Unconfirmed | Failed | Released),
            // A later reading may contradict the proof.
            Confirmed | Partial => matches!(next, Unconfirmed),
            Failed | Released => matches!(next, Superseded),
            Processed | Superseded => false,
        }
    }

    /// Returns whether `verify` must check a retraction in this state.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Queued | Self::Unknown | Self::Unconfirmed | Self::HandedOver)
    }

    /// Returns whether the vendor may have received the request, which prevents a second request for the same action.
    pub fn may_have_been_sent(self) -> bool {
        !matches!(self, Self::Planned | Self::Failed | Self::NotReceived | Self::Released | Self::Superseded)
    }

    /// Returns whether a person may send again after this outcome.
    pub fn may_be_resent(self) -> bool {
        matches!(self, Self::Failed | Self::NotReceived | Self::Unconfirmed)
    }

    /// Returns whether another attempt may be recorded after this state. A person decides whether to send it.
    pub fn may_be_sent_again(self, channel: Channel) -> bool {
        match self {
            // An action may be modified repeatedly.
            Self::Processed => channel == Channel::Modification,
            Self::Unconfirmed => true,
            other => !other.may_have_been_sent(),
        }
    }
}
