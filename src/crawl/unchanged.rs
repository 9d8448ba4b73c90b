//! Which rows of a refresh's export say nothing new, so that their accounts need not be asked again.
//!
//! A refresh begins ten minutes before the newest moment seen, so it lists again what the index has already, thousands of
//! rewards where many were modified at once. A row says nothing new where two things hold. First, the copy in the index is
//! of the reward as it was last modified, by the vendor's clock alone (see [`is_of`]). Second, every column of the row that
//! the copy can be held against says the same. Whatever is missing, different or cannot be compared is asked.

use std::collections::HashMap;

use jiff::Timestamp;

use super::rows_of_export::{Columns, Row};
use crate::error::Result;
use crate::extract::{self, Mapping};
use crate::model::{AccountId, Reward, RewardId};
use crate::store::index::{Copied, Index, RunKey, Via};

/// The accounts of those rows that say something which the index does not have.
pub(super) fn worth_asking(
    index: &Index,
    run: RunKey,
    columns: &Columns,
    rows: Vec<Row>,
    mapping: &Mapping,
    late_ms: i64,
    now_ms: i64,
) -> Result<Vec<AccountId>> {
    let listed = |row: Row| {
        let (json, date_modified) = (row.json(&columns.header), row.date_modified);
        let account = row.account?;
        let reward = extract::read(&json, &account, mapping).ok();
        Some((account, reward.map(|extracted| Reward { date_modified, ..extracted.reward })))
    };
    let rows: Vec<(AccountId, Option<Reward>)> = rows.into_iter().filter_map(listed).collect();
    let ids: Vec<RewardId> = rows.iter().filter_map(|(_, reward)| Some(reward.as_ref()?.reward_id.clone())).collect();
    let copies = index.copies(run, &ids)?;
    let copies: HashMap<&RewardId, &Copied> =
        copies.iter().map(|copied| (&copied.indexed.reward.reward_id, copied)).collect();
    let says_news = |account: &AccountId, reward: &Option<Reward>| {
        let Some(row) = reward else { return true };
        let Some(copied) = copies.get(&row.reward_id) else { return true };
        let indexed = &copied.indexed;
        // A row of an earlier export says less than Get Rewards would.
        let is_of_the_account = indexed.listed_by == *account && !indexed.gone && indexed.via != Via::Export;
        let copy = &indexed.reward;
        !(is_of_the_account && is_of(row, copy, copied.began_at, late_ms) && agree(row, copy, columns, now_ms))
    };
    Ok(rows.into_iter().filter(|(account, reward)| says_news(account, reward)).map(|(account, _)| account).collect())
}

/// Whether the copy is of the reward as it was last modified, whatever the columns of the row can tell.
///
/// A reward that is modified after it was read gets a newer moment, and its row must not pass for known. Whether it was
/// modified before or after is decided by the vendor's clock alone, in one of two ways:
/// - The copy bears the very moment of the modification as one of its own dates: the reward was made, redeemed or cancelled
///   then, and the copy shows it. So it was read after that. A date that may have been set ahead does not count.
/// - The modification is older, by more than the overlap, than the run in which the copy was read. An export's run begins no
///   later than its export was asked for, by the server's clock, and Get Rewards was asked after that. The overlap says how
///   long after its moment a modification may become visible, here as where a refresh begins.
///
/// What lies between, modified shortly before it was read and not shown by any date, is asked again.
fn is_of(row: &Reward, copy: &Reward, read_in_run_of: Timestamp, late_ms: i64) -> bool {
    let Some(modified) = row.date_modified else { return false };
    let shown = [copy.date_created, copy.date_redeemed, copy.date_cancelled];
    shown.contains(&Some(modified)) || modified.saturating_add(late_ms) <= read_in_run_of.as_millisecond()
}

/// Whether a row and a copy say the same in every column that can be compared. Whose the reward is, what of it was redeemed,
/// and the dates that its state follows from must be the same, missing ones too. What never changes, such as its type, is
/// compared where the copy has it: Get Rewards leaves some of that out.
fn agree(row: &Reward, copy: &Reward, columns: &Columns, now_ms: i64) -> bool {
    let has_any = |names: &[&str]| names.iter().any(|name| columns.has(name));
    let same = |column: &str, is_same: bool| is_same || !columns.has(column);
    let amounts = ["assignedcredit", "value", "amount", "discountpercent"];
    row.account_id == copy.account_id
        && same("userid", row.user_id == copy.user_id)
        // Nothing redeemed is written as 0 or not at all.
        && same("redeemedcredit", row.redeemed.unwrap_or(0) == copy.redeemed.unwrap_or(0))
        && same("dategiven", row.date_given == copy.date_given)
        && same("datescheduledfor", row.date_scheduled_for == copy.date_scheduled_for)
        && same("dateexpires", row.date_expires == copy.date_expires)
        && same("datecancelled", row.date_cancelled == copy.date_cancelled)
        // What the file says by statuses, the copy says by its dates.
        && row.state(now_ms) == copy.state(now_ms)
        && (copy.assigned.is_none() || row.assigned == copy.assigned || !has_any(&amounts))
        && same("type", copy.reward_type.is_none() || row.reward_type == copy.reward_type)
        && same("unit", copy.unit.is_none() || row.unit == copy.unit)
        && same("rewardsource", copy.reward_source.is_none() || row.reward_source == copy.reward_source)
        && same("programid", copy.program_id.is_none() || row.program_id == copy.program_id)
        && same("datecreated", copy.date_created.is_none() || row.date_created == copy.date_created)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,accountId,userId,type,assignedCredit,redeemedCredit,dateGiven,dateExpires,dateCancelled,\
                          dateModified,statuses";
    const LATE: i64 = 600;

    fn read(json: &str) -> Reward {
        extract::read(json, &AccountId::new("a"), &Mapping::default()).expect("a reward").reward
    }

    fn copy() -> Reward {
        read(
            r#"{"id": "r", "accountId": "a", "userId": "u", "type": "CREDIT", "assignedCredit": 500, "redeemedCredit": 0,
                 "dateGiven": 1000, "dateExpires": null, "dateCancelled": null}"#,
        )
    }

    fn row(changed: &[(&str, &str)]) -> Reward {
        let mut cells = serde_json::json!({
            "id": "r", "accountId": "a", "userId": "u", "type": "CREDIT", "assignedCredit": "500", "redeemedCredit": "0",
            "dateGiven": "1000", "dateModified": "5000", "statuses": "AVAILABLE",
        });
        for (name, cell) in changed {
            cells[name] = (*cell).into();
        }
        read(&cells.to_string())
    }

    fn agrees(row: &Reward, copy: &Reward) -> bool {
        agree(row, copy, &Columns::named(HEADER), 10_000)
    }

    #[test]
    fn any_column_that_differs_is_news() {
        assert!(agrees(&row(&[]), &copy()));
        for changed in [
            ("redeemedCredit", "100"),
            ("dateCancelled", "5000"),
            ("dateExpires", "7000"),
            ("dateGiven", "1001"),
            ("assignedCredit", "600"),
            ("type", "FUELTANK"),
            ("userId", "other"),
            ("accountId", "other"),
            ("statuses", "CANCELLED"),
        ] {
            assert!(!agrees(&row(&[changed]), &copy()), "{changed:?}");
        }
        let cancelled = Reward { date_cancelled: Some(5000), ..copy() };
        assert!(!agrees(&row(&[]), &cancelled), "what the row does not have any more");
        let nameless = Reward { user_id: None, ..copy() };
        assert!(!agrees(&row(&[]), &nameless), "what the copy does not have is not taken for the same");
        let sparse = Reward { reward_type: None, assigned: None, redeemed: None, ..copy() };
        assert!(agrees(&row(&[]), &sparse), "what does not change may be left out");
    }

    #[test]
    fn a_copy_is_of_a_modification_that_it_shows_or_that_was_over_when_its_run_began() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("a moment");
        let of = |copy: &Reward, began: i64| is_of(&row(&[]), copy, at(began), LATE);
        assert!(of(&copy(), 5600));
        assert!(!of(&copy(), 5599), "it may have become visible later than it was read");
        assert!(!of(&copy(), 1), "it was modified after it was read");
        for shown in [
            Reward { date_created: Some(5000), ..copy() },
            Reward { date_redeemed: Some(5000), ..copy() },
            Reward { date_cancelled: Some(5000), ..copy() },
        ] {
            assert!(of(&shown, 1));
        }
        let ahead =
            Reward { date_given: Some(5000), date_expires: Some(5000), date_scheduled_for: Some(5000), ..copy() };
        assert!(!of(&ahead, 1), "dates that may have been set ahead");
        assert!(!is_of(&read(r#"{"id": "r"}"#), &copy(), at(9999), LATE), "no moment");
    }
}
