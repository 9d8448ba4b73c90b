//! Returns the referrals of an order's rewards, as recoup last read them for a retraction. A look-up does not request
//! referrals from the vendor.

use jiff::Timestamp;
use serde::Serialize;

use super::rfc3339;
use crate::error::Result;
use crate::model::ReferralState;
use crate::store::index::{IndexReader, IndexedReward};

/// A referral of an order's rewards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownReferral {
    pub referral_id: String,
    /// The state of the referral when recoup last read it; `null` if recoup never read it.
    pub state: Option<ReferralState>,
    /// When recoup last read the referral, RFC 3339; `null` if recoup never read it.
    pub read_at: Option<String>,
    /// When the referral converted; `null` if the referral was not converted when recoup last read it.
    pub converted_at: Option<String>,
    /// The vendor's date of the referral's newest change, from the last reading.
    pub modified_at: Option<String>,
}

/// Returns the referrals that these rewards name, each referral once.
pub fn of<'a>(
    reader: &IndexReader,
    rewards: impl IntoIterator<Item = &'a IndexedReward>,
) -> Result<Vec<KnownReferral>> {
    let mut ids: Vec<String> = Vec::new();
    for reward in rewards {
        ids.extend(reward.referral_id.clone().filter(|id| !ids.contains(id)));
    }
    let known = |id: String| {
        let read = reader.referral(&id)?;
        Ok(KnownReferral {
            referral_id: id,
            state: read.as_ref().map(|read| ReferralState::of(read.converted_at)),
            read_at: read.as_ref().and_then(|read| rfc3339(Some(read.read_at))),
            converted_at: read.as_ref().and_then(|read| rfc3339(read.converted_at)),
            modified_at: read.as_ref().and_then(|read| rfc3339(read.modified_at)),
        })
    };
    ids.into_iter().map(known).collect()
}

impl KnownReferral {
    /// Formats the referral as one line, with its place in the vendor's interface, because the vendor publishes no URL
    /// for a referral.
    pub fn line(&self) -> String {
        let minute = |text: &str| text.parse::<Timestamp>().map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
        let state = match (self.state, self.read_at.as_deref().map(minute)) {
            (Some(state), Some(Ok(read_at))) => format!("{state}, as read {read_at}"),
            _ => "not read yet".to_owned(),
        };
        format!("referral {}: {state}; the vendor shows it under Engage → Reporting → Referral Feed", self.referral_id)
    }
}
