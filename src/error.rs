//! The error type for every failure that recoup reports to the user.
//!
//! An [`Error`] has a kind, a message and usually a hint. The kind determines the exit code. Scripts may match on the
//! kind. This module prints nothing, and no error contains a token or an account ID.

use std::fmt;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// The kind of an error. The list of kinds is closed, so scripts may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A failure without a more specific kind.
    Failed,
    /// The vendor's host could not be reached, or every attempt of a request failed.
    Network,
    /// The vendor's response does not fit the request.
    Vendor,
    /// The vendor refused a retraction and did nothing.
    VendorRefused,
    /// A crawl found rewards, but no order ID and no ActionId in them.
    NoLinks,
    /// A database could not be read or written.
    Storage,
    /// Another process is crawling or sending on the same database.
    Busy,
    /// A row of the ledger was altered, removed, added or moved.
    Tampered,
    Usage,
    /// A setting is missing or unusable.
    Config,
    /// The vendor refused the credentials.
    Credentials,
    /// The token lacks a permission at the vendor.
    Scope,
    /// The vendor does not know the tenant.
    Tenant,
    /// The database belongs to another tenant, account or host.
    Identity,
    /// Another version of recoup wrote the database.
    OtherVersion,
    /// The order is not in the index.
    NotIndexed,
    /// The order has several actions, or a reward contains several links.
    Ambiguous,
    /// A check stopped the retraction before the send; nothing was sent.
    Refused,
    /// The user declined the confirmation; nothing was sent.
    Declined,
    /// A second person must approve the retraction first; nothing was sent.
    NeedsApproval,
    SomeFailed,
    /// The retraction was sent, but its effect is not proven.
    NotConfirmed,
    /// The quota stays used up for longer than the allowed wait; the state is saved.
    Parked,
    /// A signal interrupted the command; the state is saved.
    Interrupted,
}

impl Kind {
    /// Every kind of error, in the order of the exit codes.
    pub const ALL: [Self; 24] = [
        Self::Failed,
        Self::Network,
        Self::Vendor,
        Self::VendorRefused,
        Self::NoLinks,
        Self::Storage,
        Self::Busy,
        Self::Tampered,
        Self::Usage,
        Self::Config,
        Self::Credentials,
        Self::Scope,
        Self::Tenant,
        Self::Identity,
        Self::OtherVersion,
        Self::NotIndexed,
        Self::Ambiguous,
        Self::Refused,
        Self::Declined,
        Self::NeedsApproval,
        Self::SomeFailed,
        Self::NotConfirmed,
        Self::Parked,
        Self::Interrupted,
    ];

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

    /// Returns the kind's name in `{"error": {"kind": …}}`.
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

    /// Returns the hint for an error of this kind that has no hint of its own.
    pub fn default_hint(self) -> &'static str {
        match self {
            Self::Failed => "run the same command again with -vv, which logs each step",
            Self::Network => {
                "check this machine's network, and HTTPS_PROXY if it is set; then run the same command again"
            }
            Self::Vendor => "run the same command again later; -vv logs every request",
            Self::VendorRefused => "nothing was done; check the order and its action in impact.com",
            Self::NoLinks => {
                "set [mapping] order_id and action_id in recoup.toml; `recoup doctor` shows a sample's keys"
            }
            Self::Storage => "check the disk, and the owner and mode of the file; `recoup doctor` checks every file",
            Self::Busy => "run the same command again when the other process has ended",
            Self::Tampered => "keep the file as it is; `recoup audit verify` names each fault",
            Self::Usage => "`recoup help COMMAND` shows the flags of a command, with examples",
            Self::Config => "docs/settings.md lists every setting; `recoup doctor` checks them",
            Self::Credentials => "check RECOUP_ACCOUNT_SID and RECOUP_AUTH_TOKEN; `recoup doctor` checks them",
            Self::Scope => "give the token this scope in impact.com, or use another token",
            Self::Tenant => "check RECOUP_TENANT (Settings > Advocate Settings > General > Tenant Details)",
            Self::Identity => {
                "check RECOUP_TENANT and RECOUP_ACCOUNT_SID, or name other files with --database or --profile"
            }
            Self::OtherVersion => "use the version of recoup that wrote the file, or name another file with --database",
            Self::NotIndexed => {
                "check the ID; `recoup lookup ORDER --live` asks the vendor, `recoup crawl` refreshes the index"
            }
            Self::Ambiguous => "`recoup lookup ORDER` lists the actions; name one with --action-id",
            Self::Refused => "nothing was sent; `recoup retract ORDER --dry-run` shows every check",
            Self::Declined => "nothing was changed; run the same command again and answer y",
            Self::NeedsApproval => {
                "nothing was sent; `recoup approval list` shows the request, and a second person decides it"
            }
            Self::SomeFailed => "each item that failed has a message of its own; run the same command again for those",
            Self::NotConfirmed => "run `recoup verify` later; it reads and sends nothing",
            Self::Parked => "the state is saved; run the same command again after that time",
            Self::Interrupted => "run the same command again; what was done is kept",
        }
    }

    /// Ranks the failures of one command. The failure with the lowest rank determines the exit code of the command. The
    /// exit codes in the order of their ranks are 130, 3, 8, 6, 7, 5, 4, 2 and 1.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    /// What failed, as a lower-case sentence without a full stop.
    pub message: String,
    /// What the user should do next. If the hint is `None`, [`Error::remedy`] returns the default hint of the kind.
    pub hint: Option<String>,
    /// The facts for programs; most errors have none.
    pub details: Option<Box<Details>>,
}

/// The facts of an error that programs act on. On the command line, only the message and the hint contain these facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The actions of the order, if the request must name one of these actions.
    pub action_ids: Vec<String>,
    /// The checks that the request must override to be carried out; empty if no override helps.
    pub overrides: Vec<&'static str>,
    /// The number of the request for a second person's approval.
    pub approval: Option<i64>,
    /// The earliest time at which the same request can succeed.
    pub retry_at: Option<Timestamp>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: None }
    }

    /// The error of a use of `what`, which this build leaves out because Cargo's feature `feature` is off.
    pub fn left_out(what: &str, feature: &str) -> Self {
        Self::new(Kind::Config, format!("this build leaves out {what}"))
            .hint(format!("install a build with the feature `{feature}`; `recoup --version` lists those of this build"))
    }

    #[must_use]
    pub fn details(self, details: Details) -> Self {
        Self { details: Some(Box::new(details)), ..self }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns what the user should do next: the hint of the error, or the default hint of its kind.
    pub fn remedy(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.kind.default_hint())
    }

    /// Adds the failed operation in front of the message: `context: message`.
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

/// Serializes the error as `{"kind", "message", "hint"}`, in which the hint is never `null`.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Error", 3)?;
        object.serialize_field("kind", self.kind.name())?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("hint", self.remedy())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_every_kind_says_what_to_do_next() {
        for kind in Kind::ALL {
            let plain = Error::new(kind, "it failed");
            let json = serde_json::to_value(&plain).expect("JSON");
            assert!(json["hint"].as_str().is_some_and(|hint| hint.len() > 20), "{json}");
            assert_eq!(json["hint"], plain.remedy(), "{json}");
            assert_eq!(plain.hint("look there").remedy(), "look there");
        }
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
