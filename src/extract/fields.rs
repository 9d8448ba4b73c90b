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
    let map = Named::of(map);
    let id = map.text(Known::Id).ok_or_else(|| Error::new(Kind::Vendor, "a reward has no id"))?;
    let user = map.get(Known::User).and_then(Json::as_object);
    let account_id = map
        .text(Known::AccountId)
        .or_else(|| user.and_then(|user| text(get(user, "accountId")?)))
        .map_or_else(|| asked_account.clone(), AccountId::new);
    let user_id = map.text(Known::UserId).or_else(|| user.and_then(|user| text(get(user, "id")?))).map(UserId::new);
    let assigned = [Known::AssignedCredit, Known::Value, Known::Amount, Known::DiscountPercent]
        .iter()
        .find_map(|name| whole(map.get(*name)?));
    Ok(Reward {
        reward_id: RewardId::new(id),
        account_id,
        user_id,
        reward_type: map.text(Known::Type),
        reward_source: map.text(Known::RewardSource),
        unit: map.text(Known::Unit),
        program_id: map.text(Known::ProgramId).or_else(|| text(get(map.get(Known::Program)?.as_object()?, "id")?)),
        name: map.text(Known::Name),
        currency: map.text(Known::Currency),
        assigned,
        redeemed: redeemed(&map),
        cancellable: map.get(Known::Cancellable).and_then(truth),
        date_created: map.date(Known::DateCreated),
        date_given: map.date(Known::DateGiven),
        date_scheduled_for: map.date(Known::DateScheduledFor),
        date_expires: map.date(Known::DateExpires),
        date_cancelled: map.date(Known::DateCancelled),
        date_redeemed: map.date(Known::DateRedeemed),
        date_modified: map.date(Known::DateModified),
        statuses: statuses(&map),
    })
}

/// What is read of a reward. Each has its exact spelling and what is left of it without case and separators.
macro_rules! names {
    ($($name:ident $exact:literal $folded:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        enum Known {
            $($name),*
        }

        /// How many there are.
        const NAMES: usize = [$($exact),*].len();

        impl Known {
            fn exactly(key: &str) -> Option<Self> {
                match key {
                    $($exact => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn folded(key: &[u8]) -> Option<Self> {
                $(if key == $folded {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

names! {
    Id "id" b"id",
    AccountId "accountId" b"accountid",
    User "user" b"user",
    UserId "userId" b"userid",
    Type "type" b"type",
    RewardSource "rewardSource" b"rewardsource",
    Unit "unit" b"unit",
    ProgramId "programId" b"programid",
    Program "program" b"program",
    Name "name" b"name",
    Currency "currency" b"currency",
    AssignedCredit "assignedCredit" b"assignedcredit",
    Value "value" b"value",
    Amount "amount" b"amount",
    DiscountPercent "discountPercent" b"discountpercent",
    RedeemedCredit "redeemedCredit" b"redeemedcredit",
    Redemptions "redemptions" b"redemptions",
    Cancellable "cancellable" b"cancellable",
    DateCreated "dateCreated" b"datecreated",
    DateGiven "dateGiven" b"dategiven",
    DateScheduledFor "dateScheduledFor" b"datescheduledfor",
    DateExpires "dateExpires" b"dateexpires",
    DateCancelled "dateCancelled" b"datecancelled",
    DateRedeemed "dateRedeemed" b"dateredeemed",
    DateModified "dateModified" b"datemodified",
    Statuses "statuses" b"statuses",
    Status "status" b"status",
}

/// The longest name.
const LONGEST: usize = 16;

/// The values of one object by [`Known`], found in one pass over its keys: a reward has about as many keys as there are names,
/// and most of either are not there or null.
struct Named<'a, 'j>([Option<&'a Json<'j>>; NAMES]);

impl<'a, 'j> Named<'a, 'j> {
    /// A key may be in whatever case and separators; the exact spelling wins, and null is the same as missing.
    fn of(map: &'a Object<'j>) -> Self {
        let (mut values, mut is_exact) = ([None; NAMES], [false; NAMES]);
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            if let Some(name) = Known::exactly(key) {
                values[name as usize] = Some(value);
                is_exact[name as usize] = true;
            } else if let Some(name) = fold(key).and_then(|(folded, length)| Known::folded(&folded[..length]))
                && !is_exact[name as usize]
            {
                values[name as usize].get_or_insert(value);
            }
        }
        Self(values)
    }

    fn get(&self, name: Known) -> Option<&'a Json<'j>> {
        self.0[name as usize]
    }

    fn text(&self, name: Known) -> Option<String> {
        text(self.get(name)?)
    }

    fn date(&self, name: Known) -> Option<i64> {
        date(self.get(name)?)
    }
}

/// A key without case and separators, and its length; `None` for one that is longer than every name.
fn fold(key: &str) -> Option<([u8; LONGEST], usize)> {
    let (mut folded, mut length) = ([0; LONGEST], 0);
    for byte in key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')) {
        *folded.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    Some((folded, length))
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

fn text(value: &Json<'_>) -> Option<String> {
    match value {
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
fn date(value: &Json<'_>) -> Option<i64> {
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
fn redeemed(map: &Named<'_, '_>) -> Option<i64> {
    let stated = map.get(Known::RedeemedCredit).and_then(whole);
    let listed = map.get(Known::Redemptions).and_then(Json::as_list).map(|list| {
        let quantity = |item: &Json<'_>| whole(get(item.as_object()?, "quantityRedeemed")?);
        list.iter().filter_map(quantity).fold(0_i64, i64::saturating_add)
    });
    stated.max(listed)
}

/// GraphQL's `statuses`, or a single `status`.
fn statuses(map: &Named<'_, '_>) -> Option<String> {
    match map.get(Known::Statuses).or_else(|| map.get(Known::Status))? {
        Json::Text(status) if !status.is_empty() => Some(status.clone().into_owned()),
        Json::List(list) => {
            let list: Vec<&str> = list.iter().filter_map(Json::as_str).collect();
            (!list.is_empty()).then(|| list.join(","))
        }
        _ => None,
    }
}
