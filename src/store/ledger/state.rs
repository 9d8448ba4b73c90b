//! Where a retraction may stand, and what may follow what. Pure: the safety of a dispatch is in [`State::may_become`].

use serde::Serialize;

use super::Road;

/// Where a retraction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Written down; nothing was sent, or what was sent is known to have done nothing.
    Planned,
    /// The request is on its way, or a crash left it there.
    Sending,
    /// The vendor took it into its queue. Not done.
    Queued,
    /// Every known reward of the action reads as cancelled.
    Confirmed,
    /// Every cancellable reward is cancelled; others were redeemed before.
    Partial,
    /// The submission completed, and a reward still stands.
    Unconfirmed,
    /// The vendor refused it; nothing was done.
    Failed,
    /// No answer. It may or may not have been received; never sent again by itself.
    Unknown,
    /// It was *unknown*, and two whole lists of the vendor's submissions, an hour apart, did not have it.
    NotReceived,
    /// The end of a modification, which no published read proves.
    Processed,
    /// Written into a reversal file for the vendor. Whether that was handed in, `recoup file check` reads back.
    HandedOver,
    /// A person said that the reversal file was not handed in, or not for this order.
    Released,
    /// A later attempt on the same action took its place.
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

    /// The state of a word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Every word.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str)
    }

    /// The word for it.
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

    /// Whether `next` may be written after this state. The whole safety of a dispatch is in the first two arms.
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
            // Queued again: what else is learnt of it on the way.
            Queued => matches!(next, Queued | Confirmed | Partial | Unconfirmed | Failed | Processed),
            Unconfirmed => {
                matches!(next, Unconfirmed | Confirmed | Partial | Failed | Processed | Released | Superseded)
            }
            // Without an answer only the rewards can tell, and standing ones prove nothing. A late answer is welcome.
            Unknown => matches!(next, Confirmed | Partial | Queued | NotReceived),
            // Proof that it was received after all outranks two lists that did not have it.
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

    /// Whether the vendor may have received it: a second dispatch for the same action is then out of the question.
    pub fn may_have_been_sent(self) -> bool {
        !matches!(self, Self::Planned | Self::Failed | Self::NotReceived | Self::Released | Self::Superseded)
    }

    /// Whether a person may send it again, once this is what it came to.
    pub fn may_be_resent(self) -> bool {
        matches!(self, Self::Failed | Self::NotReceived | Self::Unconfirmed)
    }

    /// Whether another attempt may be written down after one that stands here. Whether it may be sent, a person decides.
    pub fn may_be_sent_again(self, road: Road) -> bool {
        match self {
            // An action may be changed again and again.
            Self::Processed => road == Road::Modification,
            Self::Unconfirmed => true,
            other => !other.may_have_been_sent(),
        }
    }
}
