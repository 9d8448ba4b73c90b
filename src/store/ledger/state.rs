//! The states of a retraction and their transitions, without I/O. [`State::may_become`] prevents a second send.

use serde::Serialize;

use super::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// recoup has sent no request, or the vendor's response proves that the request had no effect.
    Planned,
    /// recoup is sending the request, or the process crashed while it was sending.
    Sending,
    /// The vendor has queued the request, but not completed it.
    Queued,
    /// The reading of every known reward of the action shows a cancellation.
    Confirmed,
    /// Every cancellable reward of the action is cancelled. The other rewards were redeemed earlier.
    Partial,
    /// The vendor has completed the request, but a reward is not cancelled.
    Unconfirmed,
    /// The vendor refused the request and changed nothing.
    Failed,
    /// recoup received no response, but the vendor may have received the request. recoup never sends it again automatically.
    Unknown,
    /// The state was *unknown*, and two complete lists of the vendor's submissions, read an hour apart, did not contain the
    /// request.
    NotReceived,
    /// The vendor has processed a modification. No documented API can confirm its effect.
    Processed,
    /// recoup has written a line into a reversal file. `recoup file check` finds out whether the file was uploaded.
    HandedOver,
    /// A person has confirmed that the reversal file was not uploaded, or not for this order.
    Released,
    /// A later attempt on the same action has replaced this one.
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

    /// Returns `true` if `next` may follow this state. The match arms for *planned* and *sending* prevent a second
    /// send.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Confirmed, Failed, HandedOver, NotReceived, Partial, Planned, Processed, Queued, Released, Sending,
            Superseded, Unconfirmed, Unknown,
        };
        match self {
            // Only a planned retraction may be sent, because its request was certainly not sent before.
            Planned => matches!(next, Sending | HandedOver | Superseded),
            // A *sending* retraction may return to *planned* only if the response proves that the vendor did nothing.
            Sending => matches!(next, Planned | Queued | Confirmed | Failed | Unknown),
            // A second *queued* event reports progress.
            Queued => matches!(next, Queued | Confirmed | Partial | Unconfirmed | Failed | Processed),
            Unconfirmed => {
                matches!(next, Unconfirmed | Confirmed | Partial | Failed | Processed | Released | Superseded)
            }
            // Without a response, only cancelled rewards prove the outcome. A late response to the request may still
            // arrive.
            Unknown => matches!(next, Confirmed | Partial | Queued | NotReceived),
            // A proof that the vendor received the request outranks two lists without it.
            NotReceived => matches!(next, Confirmed | Partial | Queued | Superseded),
            HandedOver => matches!(next, Confirmed | Partial | Unconfirmed | Failed | Released),
            // A later reading of the rewards may contradict the proof.
            Confirmed | Partial => matches!(next, Unconfirmed),
            Failed | Released => matches!(next, Superseded),
            Processed | Superseded => false,
        }
    }

    /// Returns `true` if `recoup verify` must check a retraction in this state.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Queued | Self::Unknown | Self::Unconfirmed | Self::HandedOver)
    }

    /// Returns every state that needs a person's attention: planned and not sent, or not known to be done.
    pub fn needing_attention() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|state| state.is_open() || *state == Self::Planned)
    }

    /// Returns `true` if the vendor may have received the request, which prevents a second request for the same action.
    pub fn may_have_been_sent(self) -> bool {
        !matches!(self, Self::Planned | Self::Failed | Self::NotReceived | Self::Released | Self::Superseded)
    }

    /// Returns `true` if a person may send the request again after this outcome.
    pub fn may_be_resent(self) -> bool {
        matches!(self, Self::Failed | Self::NotReceived | Self::Unconfirmed)
    }

    /// Returns `true` if another attempt may be recorded after this state. A person decides whether to send the
    /// recorded attempt.
    pub fn may_be_sent_again(self, channel: Channel) -> bool {
        match self {
            // A person may send a modification again, because an action can be modified several times.
            Self::Processed => channel == Channel::Modification,
            Self::Unconfirmed => true,
            other => !other.may_have_been_sent(),
        }
    }
}
