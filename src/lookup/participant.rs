//! Reads the rewards of one participant from the vendor. recoup can read one participant even before the first crawl.
//!
//! The vendor's search may return every participant. Therefore recoup reads a bounded number of pages and compares each
//! participant exactly. The index stores the rewards of the participant, and marks no reward as gone.

use std::collections::BTreeSet;

use crate::clock::Clock;
use crate::error::Result;
use crate::extract::Mapping;
use crate::model::{Participant, counted};
use crate::store::index::{Index, ReadReward};
use crate::vendor::advocate::{Advocate, Rewards};

/// Maximum number of pages of participants that recoup reads.
const MAX_PAGES: u32 = 10;
/// Number of participants that two consecutive pages share.
const OVERLAP: u64 = 5;
/// Number of participants on a page of the vendor's search.
const PAGE_SIZE: u32 = 100;

/// The result of reading one participant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantRead {
    /// Number of participants that the vendor returned and recoup compared.
    pub participants_seen: u64,
    /// `true` if the vendor's search had more pages than recoup reads.
    pub cut_short: bool,
    /// Number of accounts whose rewards recoup requested.
    pub accounts: u64,
    /// Number of accounts that the vendor lists but Get Rewards does not know.
    pub unknown: u64,
    /// Number of rewards in the participant's accounts.
    pub rewards: u64,
    /// Number of matching accounts that a person asked recoup to forget. recoup did not request the rewards of
    /// forgotten accounts.
    pub forgotten: u64,
}

impl ParticipantRead {
    /// Formats the result of reading a participant as text.
    pub fn describe(&self) -> String {
        let cut = if self.cut_short { ", and there were more than are read" } else { "" };
        let compared = format!("{} compared{cut}", counted(self.participants_seen, "participant"));
        if self.forgotten > 0 {
            let left = counted(self.forgotten, "account");
            return format!("{compared}; {left} matched and was forgotten, so nothing was read");
        }
        if self.accounts == 0 {
            return format!("{compared}; no participant matched, so nothing was read");
        }
        let verb = if self.accounts == 1 { "was" } else { "were" };
        let unknown = match self.unknown {
            0 => String::new(),
            unknown => format!("; {} listed but unknown to Get Rewards", counted(unknown, "account")),
        };
        format!(
            "{compared}; {} matched and {verb} read live, {}{unknown}",
            counted(self.accounts, "account"),
            counted(self.rewards, "reward")
        )
    }
}

/// Reads the rewards of a participant from the vendor into the index. `who` is a user ID, an account ID or an e-mail
/// address. After the read of a participant, the caller gets the answer from [`super::run`].
pub async fn read_participant(
    advocate: &Advocate,
    index: &mut Index,
    mapping: &Mapping,
    clock: &Clock,
    who: &str,
) -> Result<ParticipantRead> {
    let mut result = ParticipantRead::default();
    let mut accounts = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut offset = 0;
    for page_number in 1..=MAX_PAGES {
        let page = advocate.users(Some(who), PAGE_SIZE, offset).await?;
        let reached = offset + page.rows;
        let before = seen.len();
        for user in page.users {
            if matches(&user, who) {
                accounts.insert(user.account_id.clone());
            }
            seen.insert((user.user_id, user.account_id));
        }
        let is_end = page.total.map_or(seen.len() == before, |total| reached >= total);
        if page.rows == 0 || is_end {
            break;
        }
        result.cut_short = page_number == MAX_PAGES;
        // Consecutive pages share participants, because recoup must miss none if another participant disappears during
        // the read.
        offset = if page.rows > OVERLAP { reached - OVERLAP } else { reached };
    }
    result.participants_seen = seen.len() as u64;
    for account in accounts {
        if index.is_forgotten(&account)? {
            result.forgotten += 1;
            continue;
        }
        let asked_at = clock.now();
        result.accounts += 1;
        match advocate.rewards(&account, None).await? {
            // The vendor listed the account a moment ago. Therefore a 404 for an account that was just listed does not
            // prove that the account is gone.
            Rewards::NoSuchAccount => result.unknown += 1,
            Rewards::Listed(raw) => {
                let (rewards, unusable) = ReadReward::all(raw, &account, mapping)?;
                result.rewards += rewards.len() as u64;
                index.record_live(&account, rewards, unusable, asked_at)?;
            }
        }
    }
    Ok(result)
}

/// Compares a participant's IDs byte for byte, and the e-mail address without regard to case.
fn matches(user: &Participant, who: &str) -> bool {
    user.user_id.as_str() == who
        || user.account_id.as_str() == who
        || user.email.as_deref().is_some_and(|email| email.trim().eq_ignore_ascii_case(who.trim()))
}
