//! Where a referral stands, in the words of the vendor's Referral Feed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a referral stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferralState {
    /// Not converted, or not any more.
    Started,
    /// Converted by a purchase.
    Converted,
    /// It could not be read, or a newer recoup has another word for it.
    #[serde(other)]
    NotReadable,
}

impl ReferralState {
    /// The state that a date of conversion stands for.
    pub fn of(converted_at: Option<i64>) -> Self {
        if converted_at.is_some() { Self::Converted } else { Self::Started }
    }

    /// The words for it.
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
