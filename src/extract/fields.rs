//! Reads the fields of a reward from the JSON of either API.
//!
//! recoup accepts a reward's keys in any case and with any separators, numbers as strings, and missing keys as nulls.
//! recoup refuses a reward without an `id`, with two accounts, or with two undocumented spellings of a key that
//! disagree. The documented spelling of a reward's key outranks every other spelling, even if its value is null.

use crate::error::{Error, Kind, Result};
use crate::model::strict_json::{Json, Object};
use crate::model::{AccountId, Reward, RewardId, UNREADABLE, UserId};
use jiff::Timestamp;

pub(super) fn reward(value: &Json<'_>, requested_account: &AccountId) -> Result<Reward> {
    let Json::Object(map) = value else {
        return Err(Error::new(Kind::Vendor, "a reward is not a JSON object"));
    };
    let map = Named::of(map)?;
    let id = map.text(Known::Id).ok_or_else(|| Error::new(Kind::Vendor, "a reward has no id"))?;
    let user = map.get(Known::User).and_then(Json::as_object);
    let of_user = user.and_then(|user| text(get(user, "accountId")?));
    let is_unreadable = |value: Option<&Json<'_>>| value.is_some_and(|value| !is_blank(value) && text(value).is_none());
    if is_unreadable(map.get(Known::AccountId)) || is_unreadable(user.and_then(|user| get(user, "accountId"))) {
        return Err(Error::new(Kind::Vendor, "a reward names its account in a form that cannot be read"));
    }
    let account_id = match (map.text(Known::AccountId), of_user) {
        (Some(own), Some(of_user)) if own != of_user => {
            return Err(Error::new(Kind::Vendor, "a reward names two accounts"));
        }
        (own, of_user) => own.or(of_user).map_or_else(|| requested_account.clone(), AccountId::new),
    };
    if account_id.as_str().contains('\0') {
        return Err(Error::new(Kind::Vendor, "a reward names its account in a form that cannot be read"));
    }
    let user_id = map.text(Known::UserId).or_else(|| user.and_then(|user| text(get(user, "id")?))).map(UserId::new);
    let assigned = [Known::AssignedCredit, Known::Value, Known::Amount, Known::DiscountPercent]
        .iter()
        .find_map(|name| whole(map.get(*name)?));
    let redeemed = redeemed(&map);
    let is_state_readable = redeemed.is_ok() && are_dates_readable(&map) && !map.contradicts(DECIDES_STATE);
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
        redeemed: redeemed.unwrap_or(None),
        cancellable: map.get(Known::Cancellable).and_then(truth),
        date_created: map.date(Known::DateCreated),
        date_given: map.date(Known::DateGiven),
        date_scheduled_for: map.date(Known::DateScheduledFor),
        date_expires: map.date(Known::DateExpires),
        date_cancelled: map.date(Known::DateCancelled),
        date_redeemed: map.date(Known::DateRedeemed),
        date_modified: map.date(Known::DateModified),
        statuses: statuses(&map, is_state_readable),
    })
}

/// Returns the ID of the reward's referral. Accepts only the documented key of the referral ID.
pub(super) fn referral_id(json: &Json<'_>) -> Option<String> {
    text(json.as_object()?.get("referralId")?)
}

/// Declares the fields of a reward. Each reward field has its documented spelling, and that spelling in lower case.
macro_rules! names {
    ($($name:ident $exact:literal $folded:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        enum Known {
            $($name),*
        }

        const NAMES: usize = [$(Known::$name),*].len();

        impl Known {
            fn exactly(key: &[u8]) -> Option<Self> {
                match key {
                    $($exact => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn folded(key: &[u8]) -> Option<Self> {
                match key {
                    $($folded => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    Id b"id" b"id",
    AccountId b"accountId" b"accountid",
    User b"user" b"user",
    UserId b"userId" b"userid",
    Type b"type" b"type",
    RewardSource b"rewardSource" b"rewardsource",
    Unit b"unit" b"unit",
    ProgramId b"programId" b"programid",
    Program b"program" b"program",
    Name b"name" b"name",
    Currency b"currency" b"currency",
    AssignedCredit b"assignedCredit" b"assignedcredit",
    Value b"value" b"value",
    Amount b"amount" b"amount",
    DiscountPercent b"discountPercent" b"discountpercent",
    RedeemedCredit b"redeemedCredit" b"redeemedcredit",
    Redemptions b"redemptions" b"redemptions",
    Cancellable b"cancellable" b"cancellable",
    DateCreated b"dateCreated" b"datecreated",
    DateGiven b"dateGiven" b"dategiven",
    DateScheduledFor b"dateScheduledFor" b"datescheduledfor",
    DateExpires b"dateExpires" b"dateexpires",
    DateCancelled b"dateCancelled" b"datecancelled",
    DateRedeemed b"dateRedeemed" b"dateredeemed",
    DateModified b"dateModified" b"datemodified",
    Statuses b"statuses" b"statuses",
    Status b"status" b"status",
}

/// The length of the longest documented spelling of a key.
const LONGEST: usize = 16;

/// The values of a reward for each [`Known`] field, read in one pass over the reward's keys.
struct Named<'a> {
    values: [Option<&'a Json<'a>>; NAMES],
    /// `true` if the documented spelling of the key is present, with a value or null.
    is_exact: [bool; NAMES],
    /// `true` if another spelling of the key has a different value than the documented spelling.
    is_contradicted: [bool; NAMES],
}

/// The fields that decide the state of a reward.
const DECIDES_STATE: &[Known] = &[
    Known::DateCreated,
    Known::DateGiven,
    Known::DateScheduledFor,
    Known::DateExpires,
    Known::DateCancelled,
    Known::DateRedeemed,
    Known::RedeemedCredit,
    Known::Redemptions,
    Known::Statuses,
];

impl<'a> Named<'a> {
    /// # Errors
    /// Fails with [`Kind::Vendor`] if two spellings of a field disagree and neither is the documented spelling.
    fn of(map: &'a Object<'a>) -> Result<Self> {
        let mut named = Self { values: [None; NAMES], is_exact: [false; NAMES], is_contradicted: [false; NAMES] };
        let mut others: [Option<&'a Json<'a>>; NAMES] = [None; NAMES];
        let mut disagreeing = [false; NAMES];
        for (key, value) in map.iter() {
            if let Some(name) = Known::exactly(key.as_bytes()) {
                named.is_exact[name as usize] = true;
                named.values[name as usize] = Some(value).filter(|value| !value.is_null());
            } else if let Some(name) = fold(key).and_then(|(folded, length)| Known::folded(&folded[..length])) {
                let other = others[name as usize].get_or_insert(value);
                disagreeing[name as usize] |= *other != value;
            }
        }
        for at in 0..NAMES {
            let other = others[at].filter(|value| !value.is_null());
            if named.is_exact[at] {
                named.is_contradicted[at] =
                    other.is_some_and(|other| disagreeing[at] || named.values[at] != Some(other));
                continue;
            }
            if disagreeing[at] {
                return Err(Error::new(Kind::Vendor, "a reward says one thing twice, in different ways"));
            }
            named.values[at] = other;
        }
        Ok(named)
    }

    /// Returns `true` if one of these fields has two spellings with different values.
    fn contradicts(&self, names: &[Known]) -> bool {
        names.iter().any(|name| self.is_contradicted[*name as usize])
    }

    fn get(&self, name: Known) -> Option<&'a Json<'a>> {
        self.values[name as usize]
    }

    fn text(&self, name: Known) -> Option<String> {
        text(self.get(name)?)
    }

    fn date(&self, name: Known) -> Option<i64> {
        date(self.get(name)?)
    }
}

/// Returns a key in lower case without separators, and its length. Returns `None` if the key is longer than every
/// documented spelling.
fn fold(key: &str) -> Option<([u8; LONGEST], usize)> {
    let (mut folded, mut length) = ([0; LONGEST], 0);
    for byte in key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')) {
        *folded.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    Some((folded, length))
}

/// Returns the value of a reward's key in any spelling. Prefers the documented spelling of the key, even if its value
/// is null.
fn get<'a>(map: &'a Object<'a>, name: &str) -> Option<&'a Json<'a>> {
    let found = map.get(name).or_else(|| map.iter().find(|(key, _)| same_name(key, name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
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
        // PostgreSQL cannot store NUL, and no ID of a shop or of the vendor has it.
        Json::Text(text) if !text.trim().is_empty() && !text.contains('\0') => Some(text.to_string()),
        // A float may have lost digits, so its text could be a different ID.
        Json::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Returns a whole number, even if the JSON has it as text or with a decimal point. Returns `None` for a fraction,
/// because rounding could give a wrong amount.
fn whole(value: &Json<'_>) -> Option<i64> {
    match value {
        Json::Number(number) => number.as_i64().or_else(|| number.as_f64().filter(|_| number.is_f64()).and_then(exact)),
        Json::Text(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(exact)),
        _ => None,
    }
}

fn exact(float: f64) -> Option<i64> {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() < SAFE).then_some(float as i64)
}

/// Parses a date of a reward to Unix milliseconds. Returns `None` for a date of 0 and below, because some systems write
/// 0 for "never".
fn date(value: &Json<'_>) -> Option<i64> {
    moment(value).filter(|ms| *ms > 0)
}

/// Parses a time from Unix milliseconds or an RFC 3339 text. Returns the time in Unix milliseconds.
fn moment(value: &Json<'_>) -> Option<i64> {
    let written = || {
        let moment: Timestamp = value.as_str()?.trim().parse().ok()?;
        Some(moment.as_millisecond())
    };
    whole(value).or_else(written)
}

fn truth(value: &Json<'_>) -> Option<bool> {
    match value {
        Json::Bool(truth) => Some(*truth),
        Json::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Json::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Returns the redeemed amount of the reward. The published sample has `redeemedCredit: 0` beside a redemption of
/// 2,000. Therefore this function returns the larger of the two redeemed amounts. A redeemed reward cannot be
/// cancelled. A person must know that before a retraction.
fn redeemed(map: &Named<'_>) -> std::result::Result<Option<i64>, Unreadable> {
    let stated = match map.get(Known::RedeemedCredit) {
        Some(value) if !is_blank(value) => Some(whole(value).filter(|amount| *amount >= 0).ok_or(Unreadable)?),
        _ => None,
    };
    let listed = match map.get(Known::Redemptions) {
        Some(value) if !is_blank(value) => {
            let quantity =
                |item: &Json<'_>| whole(get(item.as_object()?, "quantityRedeemed")?).filter(|amount| *amount >= 0);
            let all = value.as_array().ok_or(Unreadable)?.iter();
            let all = all.map(|item| quantity(item).map(i128::from).ok_or(Unreadable));
            Some(all.sum::<std::result::Result<i128, _>>()?)
        }
        _ => None,
    };
    let listed = listed.map(|sum| i64::try_from(sum).unwrap_or(i64::MAX));
    Ok(stated.max(listed))
}

/// The error for a value of a reward that is present but cannot be read.
#[derive(Debug, Clone, Copy)]
struct Unreadable;

/// Returns `true` if every date that decides the reward's state is either absent or readable.
fn are_dates_readable(map: &Named<'_>) -> bool {
    let dates = DECIDES_STATE
        .iter()
        .filter(|name| !matches!(name, Known::RedeemedCredit | Known::Redemptions | Known::Statuses));
    dates.filter_map(|name| map.get(*name)).all(|value| is_blank(value) || moment(value).is_some())
}

fn is_blank(value: &Json<'_>) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Returns the reward's statuses from GraphQL, or else a single `status`, in capitals and joined by commas. The JSON of
/// a reward has statuses as a list, or as the text of an export's cell. If both `statuses` and `status` are present, a
/// `status` other than CANCELLED is added. A second key may contradict a cancellation, but must not add a cancellation.
/// Adds [`UNREADABLE`] for a status without any word, and for an unreadable amount or date.
fn statuses(map: &Named<'_>, is_rest_readable: bool) -> Option<String> {
    let is_stated = map.is_exact[Known::Statuses as usize];
    let stated = map.get(Known::Statuses);
    let said = if is_stated { stated } else { stated.or_else(|| map.get(Known::Status)) };
    let mut words: Vec<String> = Vec::new();
    let mut add = |value: &Json<'_>| {
        let text = value.as_str().unwrap_or("?");
        let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let before = words.len();
        words.extend(parts.map(str::to_uppercase));
        if words.len() == before {
            words.push(UNREADABLE.to_owned());
        }
    };
    match said {
        Some(Json::Array(list)) => list.iter().for_each(&mut add),
        Some(value) if !is_blank(value) => add(value),
        _ => {}
    }
    if (is_stated || stated.is_some())
        && let Some(status) = map.get(Known::Status).filter(|value| !is_blank(value))
    {
        match status.as_str() {
            Some(word) if word.trim().eq_ignore_ascii_case("CANCELLED") => {}
            _ => add(status),
        }
    }
    if !is_rest_readable {
        words.push(UNREADABLE.to_owned());
    }
    words.dedup();
    (!words.is_empty()).then(|| words.join(","))
}
