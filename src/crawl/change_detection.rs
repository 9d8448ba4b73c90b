//! Change detection for a refresh by export: finds the export rows with changes. The crawler must request the accounts
//! of export rows with changes.
//!
//! A refresh begins ten minutes before the newest `dateModified` that the previous run read. Therefore the export of a
//! refresh repeats rewards that the index has. After a mass modification, an export repeats thousands of rewards that
//! the index has. An export row contains no change if the index read the reward after its last modification
//! ([`is_current`]), and every comparable column agrees ([`agree`]). If a value of the export row is missing, different
//! or not comparable, the crawler requests the account.

use std::collections::HashMap;

use jiff::Timestamp;

use super::export_rows::{Columns, Row};
use crate::error::Result;
use crate::extract::{self, Mapping};
use crate::model::{AccountId, Reward, RewardId};
use crate::store::index::{ApiSource, Index, IndexedSnapshot, RunKey};

/// Returns the accounts of the export rows with changes.
pub(super) fn changed_accounts(
    index: &Index,
    run: RunKey,
    columns: &Columns,
    rows: Vec<Row>,
    mapping: &Mapping,
    margin_ms: i64,
    now_ms: i64,
) -> Result<Vec<AccountId>> {
    let parse = |row: Row| {
        let (json, date_modified) = (row.json(&columns.header), row.date_modified);
        let account = row.account?;
        let reward = extract::read(&json, &account, mapping).ok();
        Some((account, reward.map(|extracted| Reward { date_modified, ..extracted.reward })))
    };
    let rows: Vec<(AccountId, Option<Reward>)> = rows.into_iter().filter_map(parse).collect();
    let ids: Vec<RewardId> = rows.iter().filter_map(|(_, reward)| Some(reward.as_ref()?.reward_id.clone())).collect();
    let copies = index.snapshots(run, &ids)?;
    let copies: HashMap<&RewardId, &IndexedSnapshot> =
        copies.iter().map(|copied| (&copied.indexed.reward.reward_id, copied)).collect();
    let is_new = |account: &AccountId, reward: &Option<Reward>| {
        let Some(row) = reward else { return true };
        let Some(copied) = copies.get(&row.reward_id) else { return true };
        let indexed = &copied.indexed;
        // A copy of a reward from an earlier export has less data than Get Rewards returns. Therefore no export row is
        // compared with a copy from an export.
        let is_comparable = indexed.listed_by == *account && !indexed.gone && indexed.via != ApiSource::Export;
        let copy = &indexed.reward;
        !(is_comparable && is_current(row, copy, copied.began_at, margin_ms) && agree(row, copy, columns, now_ms))
    };
    Ok(rows.into_iter().filter(|(account, reward)| is_new(account, reward)).map(|(account, _)| account).collect())
}

/// Returns `true` if the export row proves that the index read the reward after its last modification.
///
/// This function compares only times of the vendor's clock. An export row can prove in two ways that the index is
/// newer:
/// - The index's copy of the reward has the time of the modification as one of its own dates. The reward was created,
///   redeemed or cancelled at the time of the modification, and the copy shows it. Therefore the index's copy of the
///   reward is from a later reading. A date of the reward that may be in the future proves nothing.
/// - The modification precedes the run that read the index's copy by more than the margin. A run by export begins, by
///   the vendor's clock, when it requests its export, and calls Get Rewards after that. The margin is the longest time
///   until a modification becomes visible in an export. A refresh also begins earlier by the margin.
///
/// If a reward was modified shortly before its reading, and its dates do not show the modification, the crawler
/// requests it again.
fn is_current(row: &Reward, copy: &Reward, run_began: Timestamp, margin_ms: i64) -> bool {
    let Some(modified) = row.date_modified else { return false };
    let shown = [copy.date_created, copy.date_redeemed, copy.date_cancelled];
    shown.contains(&Some(modified)) || modified.saturating_add(margin_ms) <= run_began.as_millisecond()
}

/// Returns `true` if an export row and the index's copy agree in every column that can be compared. The owner, the
/// redeemed amount and the dates that decide the state must be equal. Two missing values are equal. Fields that never
/// change, such as the type, are compared only if the copy has them, because Get Rewards omits some of these fields.
fn agree(row: &Reward, copy: &Reward, columns: &Columns, now_ms: i64) -> bool {
    let has_any = |names: &[&str]| names.iter().any(|name| columns.has(name));
    let same = |column: &str, is_same: bool| is_same || !columns.has(column);
    let amounts = ["assignedcredit", "value", "amount", "discountpercent"];
    row.account_id == copy.account_id
        && same("userid", row.user_id == copy.user_id)
        // A reward without redemptions has the redeemed amount 0 or no redeemed amount.
        && same("redeemedcredit", row.redeemed.unwrap_or(0) == copy.redeemed.unwrap_or(0))
        && same("dategiven", row.date_given == copy.date_given)
        && same("datescheduledfor", row.date_scheduled_for == copy.date_scheduled_for)
        && same("dateexpires", row.date_expires == copy.date_expires)
        && same("datecancelled", row.date_cancelled == copy.date_cancelled)
        // The export file has statuses and the index's copy has dates. Therefore the comparison uses the states that
        // the statuses and the dates give.
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
    const MARGIN: i64 = 600;

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
    fn a_difference_in_any_column_is_a_change() {
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
        assert!(!agrees(&row(&[]), &cancelled), "the row has no cancellation");
        let nameless = Reward { user_id: None, ..copy() };
        assert!(!agrees(&row(&[]), &nameless), "a missing user is not taken for an equal one");
        let sparse = Reward { reward_type: None, assigned: None, redeemed: None, ..copy() };
        assert!(agrees(&row(&[]), &sparse), "constant fields may be missing");
    }

    #[test]
    fn a_copy_is_current_if_it_shows_the_modification_or_its_run_began_a_margin_later() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("a time");
        let current = |copy: &Reward, began: i64| is_current(&row(&[]), copy, at(began), MARGIN);
        assert!(current(&copy(), 5600));
        assert!(!current(&copy(), 5599), "the modification may have become visible after the reading");
        assert!(!current(&copy(), 1), "modified after the reading");
        for shown in [
            Reward { date_created: Some(5000), ..copy() },
            Reward { date_redeemed: Some(5000), ..copy() },
            Reward { date_cancelled: Some(5000), ..copy() },
        ] {
            assert!(current(&shown, 1));
        }
        let in_future =
            Reward { date_given: Some(5000), date_expires: Some(5000), date_scheduled_for: Some(5000), ..copy() };
        assert!(!current(&in_future, 1), "dates that may lie in the future");
        assert!(!is_current(&read(r#"{"id": "r"}"#), &copy(), at(9999), MARGIN), "no date of modification");
    }
}
