//! The state of a referral, in the words of the vendor's Referral Feed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a referral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferralState {
    /// The referral is not converted, or no longer converted.
    Started,
    /// A purchase converted the referral.
    Converted,
    /// recoup could not read the referral, or a newer version of recoup stored a state that this version does not know.
    #[serde(other)]
    NotReadable,
}

impl ReferralState {
    pub fn of(converted_at: Option<i64>) -> Self {
        if converted_at.is_some() { Self::Converted } else { Self::Started }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Converted => "converted",
            Self::NotReadable => "not readable",
        }
    }
}

impl fmt::Display for ReferralState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
