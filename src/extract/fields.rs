//! The reward's own fields, read leniently: both APIs, both spellings, numbers as strings, missing keys as nulls.
//!
//! Lenient about form, strict about one thing: a reward without an `id` cannot be kept, and saying so is an error.

use jiff::Timestamp;

use super::json::{Json, Object};
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Reward, RewardId, UserId};

/// Reads the fields that recoup acts on or shows.
pub(super) fn reward(value: &Json<'_>, asked_account: &AccountId) -> Result<Reward> {
    let Json::Object(map) = value else {
        return Err(Error::new(Kind::Vendor, "a reward is not a JSON object"));
    };
    let id = text(map, "id").ok_or_else(|| Error::new(Kind::Vendor, "a reward has no id"))?;
    let user = get(map, "user").and_then(Json::as_object);
    let account_id = text(map, "accountId")
        .or_else(|| user.and_then(|user| text(user, "accountId")))
        .map_or_else(|| asked_account.clone(), AccountId::new);
    let user_id = text(map, "userId").or_else(|| user.and_then(|user| text(user, "id"))).map(UserId::new);
    let assigned =
        ["assignedCredit", "value", "amount", "discountPercent"].iter().find_map(|name| whole(get(map, name)?));
    Ok(Reward {
        reward_id: RewardId::new(id),
        account_id,
        user_id,
        reward_type: text(map, "type"),
        reward_source: text(map, "rewardSource"),
        unit: text(map, "unit"),
        program_id: text(map, "programId")
            .or_else(|| get(map, "program").and_then(Json::as_object).and_then(|program| text(program, "id"))),
        name: text(map, "name"),
        currency: text(map, "currency"),
        assigned,
        redeemed: redeemed(map),
        cancellable: get(map, "cancellable").and_then(truth),
        date_created: date(map, "dateCreated"),
        date_given: date(map, "dateGiven"),
        date_scheduled_for: date(map, "dateScheduledFor"),
        date_expires: date(map, "dateExpires"),
        date_cancelled: date(map, "dateCancelled"),
        date_redeemed: date(map, "dateRedeemed"),
        date_modified: date(map, "dateModified"),
        statuses: statuses(map),
    })
}

/// The value of a key in whatever case and separators it is spelled; null is the same as missing.
fn get<'a, 'j>(map: &'a Object<'j>, name: &str) -> Option<&'a Json<'j>> {
    let exact = map.get(name).filter(|value| !value.is_null());
    exact.or_else(|| map.iter().find(|(key, value)| !value.is_null() && same_name(key, name)).map(|(_, value)| value))
}

fn same_name(key: &str, name: &str) -> bool {
    let mut letters = key.bytes().filter(|b| !matches!(b, b'_' | b'-' | b' ')).map(|b| b.to_ascii_lowercase());
    let mut wanted = name.bytes().map(|b| b.to_ascii_lowercase());
    loop {
        match (letters.next(), wanted.next()) {
            (None, None) => return true,
            (a, b) if a == b => {}
            _ => return false,
        }
    }
}

fn text(map: &Object<'_>, name: &str) -> Option<String> {
    match get(map, name)? {
        Json::Text(text) if !text.trim().is_empty() => Some(text.clone().into_owned()),
        // A float has lost digits already: an ID made of it would be another one.
        Json::Int(number) => Some(number.to_string()),
        Json::Large(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, also written as text or with a decimal point; anything else is none, not a rounded guess.
fn whole(value: &Json<'_>) -> Option<i64> {
    match value {
        Json::Int(number) => Some(*number),
        Json::Float(number) => exact(*number),
        Json::Text(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(exact)),
        _ => None,
    }
}

fn exact(float: f64) -> Option<i64> {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() < SAFE).then_some(float as i64)
}

/// Unix milliseconds, or the same moment written as RFC 3339. Zero and below is how some systems write "never": a reward
/// with `dateCancelled: 0` has not been cancelled in 1970.
fn date(map: &Object<'_>, name: &str) -> Option<i64> {
    let value = get(map, name)?;
    let written = || {
        let moment: Timestamp = value.as_str()?.trim().parse().ok()?;
        Some(moment.as_millisecond())
    };
    whole(value).or_else(written).filter(|ms| *ms > 0)
}

fn truth(value: &Json<'_>) -> Option<bool> {
    match value {
        Json::Bool(truth) => Some(*truth),
        Json::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Json::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// What was redeemed. The published sample has `redeemedCredit: 0` beside a redemption of 2,000: the larger one counts,
/// because a redeemed reward cannot be cancelled and a person should hear of it before, not after.
fn redeemed(map: &Object<'_>) -> Option<i64> {
    let stated = get(map, "redeemedCredit").and_then(whole);
    let listed = get(map, "redemptions").and_then(Json::as_list).map(|list| {
        let quantity = |item: &Json<'_>| whole(get(item.as_object()?, "quantityRedeemed")?);
        list.iter().filter_map(quantity).fold(0_i64, i64::saturating_add)
    });
    stated.max(listed)
}

/// GraphQL's `statuses`, or a single `status`.
fn statuses(map: &Object<'_>) -> Option<String> {
    match get(map, "statuses").or_else(|| get(map, "status"))? {
        Json::Text(status) if !status.is_empty() => Some(status.clone().into_owned()),
        Json::List(list) => {
            let list: Vec<&str> = list.iter().filter_map(Json::as_str).collect();
            (!list.is_empty()).then(|| list.join(","))
        }
        _ => None,
    }
}
