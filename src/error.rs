//! One error type for everything a user can cause or meet.
//!
//! An [`Error`] has a kind, a sentence and, where there is something to do, a hint. The kind decides the exit code and is
//! what scripts match on. Nothing here prints, and no error may carry a token or an account ID.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What went wrong, as a closed list that scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a more specific kind.
    Failed,
    /// The host could not be reached, or kept failing.
    Network,
    /// The vendor answered something that is no answer to the question.
    Vendor,
    /// The vendor refused a retraction; nothing was done.
    VendorRefused,
    /// A crawl over rewards found no order ID and no ActionId at all.
    NoLinks,
    /// The database could not be read or written.
    Storage,
    /// Another process is crawling, or sending, on the same database.
    Busy,
    /// The ledger is not what was written: a row was altered, removed, added or moved.
    Tampered,
    /// Wrong usage.
    Usage,
    /// A setting is missing or unusable.
    Config,
    /// The vendor refused the credentials.
    Credentials,
    /// The token may not do this.
    Scope,
    /// The vendor does not know this tenant.
    Tenant,
    /// The database belongs to another tenant, account or host.
    Identity,
    /// The database was written by another version of recoup.
    OtherVersion,
    /// The order is not in the index.
    NotIndexed,
    /// The order leads to several actions, or a reward offers several links.
    Ambiguous,
    /// A check before sending said stop; nothing was sent.
    Refused,
    /// A person said no at the prompt; nothing was sent.
    Declined,
    /// A second person must approve it first; nothing was sent.
    NeedsApproval,
    /// Some items failed.
    SomeFailed,
    /// Sent, and not confirmed.
    NotConfirmed,
    /// The quota is used up for longer than the allowed wait; the state is saved.
    Parked,
    /// Interrupted by a signal; the state is saved.
    Interrupted,
}

impl Kind {
    /// The exit code of the contract.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed
            | Self::Network
            | Self::Vendor
            | Self::VendorRefused
            | Self::NoLinks
            | Self::Storage
            | Self::Busy
            | Self::Tampered => 1,
            Self::Usage => 2,
            Self::Config | Self::Credentials | Self::Scope | Self::Tenant | Self::Identity | Self::OtherVersion => 3,
            Self::NotIndexed => 4,
            Self::Ambiguous | Self::Refused | Self::Declined | Self::NeedsApproval => 5,
            Self::SomeFailed => 6,
            Self::NotConfirmed => 7,
            Self::Parked => 8,
            Self::Interrupted => 130,
        }
    }

    /// The name in `{"error": {"kind": …}}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Network => "network",
            Self::Vendor => "vendor",
            Self::VendorRefused => "vendor_refused",
            Self::NoLinks => "no_links",
            Self::Storage => "storage",
            Self::Busy => "busy",
            Self::Tampered => "tampered",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::Scope => "scope",
            Self::Tenant => "tenant",
            Self::Identity => "identity",
            Self::OtherVersion => "other_version",
            Self::NotIndexed => "not_indexed",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::Declined => "declined",
            Self::NeedsApproval => "needs_approval",
            Self::SomeFailed => "some_failed",
            Self::NotConfirmed => "not_confirmed",
            Self::Parked => "parked",
            Self::Interrupted => "interrupted",
        }
    }

    /// Where several outcomes apply to one command, the one that decides its exit code: 130, 3, 8, 6, 7, 5, 4, then 1.
    pub fn rank(self) -> u8 {
        match self.exit_code() {
            130 => 0,
            3 => 1,
            8 => 2,
            6 => 3,
            7 => 4,
            5 => 5,
            4 => 6,
            2 => 7,
            _ => 8,
        }
    }
}

/// A failure as data: kind, sentence, hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What sort of failure.
    pub kind: Kind,
    /// A lower-case sentence without a full stop.
    pub message: String,
    /// What to do about it, where there is something to do.
    pub hint: Option<String>,
}

/// The result of nearly everything.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same error with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error, saying what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `{"kind", "message", "hint"}`, as the contract has it.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Error", 3)?;
        object.serialize_field("kind", self.kind.name())?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("hint", &self.hint)?;
        object.end()
    }
}
