//! What a person may allow by naming it, and what the ledger then records.
//!
//! Nothing here may be implied: an override counts only where it was named for this command.

use serde::Serialize;

/// A rule that a person has set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Send again less than 24 hours after the submission completed: its rewards may still cancel
    Early,
}

impl Override {
    /// The word for it, on the command line and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
        }
    }
}
