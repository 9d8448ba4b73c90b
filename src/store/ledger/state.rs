//! Where a retraction may stand, and what may follow what. Pure: the safety of a dispatch is in [`State::may_become`].

use serde::Serialize;

/// Where a retraction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
    /// The end of a modification, which no published read proves.
    Processed,
}

impl State {
    pub(super) const ALL: [Self; 9] = [
        Self::Planned,
        Self::Sending,
        Self::Queued,
        Self::Confirmed,
        Self::Partial,
        Self::Unconfirmed,
        Self::Failed,
        Self::Unknown,
        Self::Processed,
    ];

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
            Self::Processed => "processed",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether `next` may be written after this state. The whole safety of a dispatch is in the first two arms.
    pub fn may_become(self, next: Self) -> bool {
        use State::{Confirmed, Failed, Partial, Planned, Processed, Queued, Sending, Unconfirmed, Unknown};
        match self {
            // Only what is known not to have been sent is sent. (Planned again: a later attempt takes its place.)
            Planned => matches!(next, Sending | Planned),
            // Back to planned only from here, when the answer proves that nothing was done.
            Sending => matches!(next, Planned | Queued | Failed | Unknown),
            // Queued again: what else is learnt of it on the way.
            Queued => matches!(next, Queued | Confirmed | Partial | Unconfirmed | Failed | Processed),
            Unconfirmed => matches!(next, Unconfirmed | Confirmed | Partial | Failed | Processed),
            // Without an answer only the rewards can tell, and standing ones prove nothing. A late answer is welcome.
            Unknown => matches!(next, Confirmed | Partial | Queued),
            // A later reading may deny the proof.
            Confirmed | Partial => matches!(next, Unconfirmed),
            Failed | Processed => false,
        }
    }

    /// Whether `verify` has something to do for it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Queued | Self::Unknown | Self::Unconfirmed)
    }

    /// Whether the vendor may have received it: a second dispatch for the same action is then out of the question.
    pub fn may_have_been_sent(self) -> bool {
        !matches!(self, Self::Planned | Self::Failed)
    }
}
