//! The states of a retraction, and which may follow which. Pure: [`State::may_become`] is what makes sending safe.

use serde::Serialize;

use super::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was sent, or the request is known to have done nothing.
    Planned,
    /// The request is on its way, or its process crashed.
    Sending,
    /// The vendor has queued it. Not done.
    Queued,
    /// Every known reward of the action reads as cancelled.
    Confirmed,
    /// Every cancellable reward is cancelled; others were redeemed before.
    Partial,
    /// The submission completed, and a reward is not cancelled.
    Unconfirmed,
    /// The vendor refused it; nothing was done.
    Failed,
    /// No answer: the vendor may have received it. Never sent again automatically.
    Unknown,
    /// It was *unknown*, and two whole lists of the vendor's submissions, an hour apart, did not have it.
    NotReceived,
    /// The end of a modification, which no published read proves.
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

    /// Whether `next` may be written after this state. The first two arms are what makes sending safe.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Confirmed, Failed, HandedOver, NotReceived, Partial, Planned, Processed, Queued, Released, Sending,
            Superseded, Unconfirmed, Unknown,
        };
        match self {
            // Only what is known not to have been sent is sent.
            Planned => matches!(next, Sending | HandedOver | Superseded),
            // Back to planned only from here, when the answer proves that nothing was done.
            Sending => matches!(next, Planned | Queued | Confirmed | Failed | Unknown),
            // Queued again: a report of progress.
            Queued => matches!(next, Queued | Confirmed | Partial | Unconfirmed | Failed | Processed),
            Unconfirmed => {
                matches!(next, Unconfirmed | Confirmed | Partial | Failed | Processed | Released | Superseded)
            }
            // Without an answer only cancelled rewards prove anything. A late answer may still arrive.
            Unknown => matches!(next, Confirmed | Partial | Queued | NotReceived),
            // Proof that it was received outranks two lists without it.
            NotReceived => matches!(next, Confirmed | Partial | Queued | Superseded),
            HandedOver => matches!(next, Confirmed | Partial | Unconfirmed | Failed | Released),
            // A later reading may deny the proof.
            Confirmed | Partial => matches!(next, Unconfirmed),
            Failed | Released => matches!(next, Superseded),
            Processed | Superseded => false,
        }
    }

    /// Whether `verify` has something to do for it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Queued | Self::Unknown | Self::Unconfirmed | Self::HandedOver)
    }

    /// Whether the vendor may have received it, which rules out a second request for the same action.
    pub fn may_have_been_sent(self) -> bool {
        !matches!(self, Self::Planned | Self::Failed | Self::NotReceived | Self::Released | Self::Superseded)
    }

    /// Whether a person may send it again after this outcome.
    pub fn may_be_resent(self) -> bool {
        matches!(self, Self::Failed | Self::NotReceived | Self::Unconfirmed)
    }

    /// Whether another attempt may be recorded after one in this state. A person decides whether it is sent.
    pub fn may_be_sent_again(self, channel: Channel) -> bool {
        match self {
            // An action may be changed again and again.
            Self::Processed => channel == Channel::Modification,
            Self::Unconfirmed => true,
            other => !other.may_have_been_sent(),
        }
    }
}
