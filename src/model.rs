//! The words of the domain as types: order ID, ActionId, account, reward, link, coverage.
//!
//! Everything inside recoup speaks in these types; wire shapes stay in `vendor`, SQL in `store`. Nothing here does I/O or
//! waits, and nothing here decides what to do: it only says what things are. Account IDs are often e-mail addresses,
//! so [`AccountId`] and [`UserId`] never print themselves in `Debug`: a person who asked for one gets it by name.

pub mod budget;
pub mod decimal;
pub mod order_text;
pub mod program_rule;
mod referral;
mod reward;
pub mod time_left;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use referral::ReferralState;
pub use reward::{Reward, RewardState, UNREADABLE, VENDOR_TIME_INEXACT_MS};

/// A merchant's order ID. Opaque: compared byte for byte, never folded, trimmed or repaired.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct OrderId(String);

impl OrderId {
    /// Longest order ID that is looked up, in bytes. The vendor stores at most 375 characters (four bytes each).
    pub const MAX_BYTES: usize = 1500;

    /// Takes any text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, unchanged.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which *suggestions* are found: case folded, white space, a leading `#` and leading zeros dropped.
    /// Never used to answer.
    pub fn folded(&self) -> String {
        let compact: String = self.0.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
        let bare = compact.trim_start_matches('#');
        let trimmed = bare.trim_start_matches('0');
        if trimmed.is_empty() { bare.to_owned() } else { trimmed.to_owned() }
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The vendor's ID of one action. Text; three dotted groups in every published sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct ActionId(String);

impl ActionId {
    /// Takes any text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, unchanged.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it looks like every published ActionId: `^\d+\.\d+\.\d+$`.
    pub fn is_familiar(&self) -> bool {
        let mut groups = 0;
        self.0.split('.').all(|group| {
            groups += 1;
            !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit())
        }) && groups == 3
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! personal_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes any text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text. Personal data: print it only where a person asked for it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

personal_id! {
    /// The vendor's account ID: what Get Rewards is asked by. Often an e-mail address.
    AccountId
}
personal_id! {
    /// The vendor's user (participant) ID. Often an e-mail address.
    UserId
}

/// The vendor's ID of one reward.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct RewardId(String);

impl RewardId {
    /// Takes any text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, unchanged.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RewardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A participant as `/users` lists it: only what the crawl needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Participant {
    /// The user's ID.
    pub user_id: UserId,
    /// The account whose rewards Get Rewards lists.
    pub account_id: AccountId,
    /// The e-mail address, for an exact match by a person who typed it. Never stored.
    pub email: Option<String>,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Participant(…)")
    }
}

/// One order ID and one ActionId that a reward offers together; either may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The order ID, where the reward offers one.
    pub order_id: Option<OrderId>,
    /// The ActionId, where the reward offers one.
    pub action_id: Option<ActionId>,
}

/// What a reward offers, seen as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// One order ID and one ActionId.
    Both,
    /// An order ID and no ActionId.
    OrderOnly,
    /// An ActionId and no order ID.
    ActionOnly,
    /// Neither.
    Neither,
    /// Two different order IDs or two different ActionIds: shown, never retracted until a JSONPath is configured.
    Ambiguous,
}

impl LinkKind {
    /// The word for it in JSON and the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::OrderOnly => "order_only",
            Self::ActionOnly => "action_only",
            Self::Neither => "neither",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What a reversal names: unique for the vendor, and so for the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// One action.
    Action(ActionId),
    /// Every action (the guide), or the newest (the help centre), of an order and an action tracker (`docs/vendor/contradictions.md` 1).
    Order {
        /// The order ID.
        order_id: OrderId,
        /// The action tracker (event type) ID.
        action_tracker_id: String,
    },
}

impl Target {
    /// The key under which the ledger allows one dispatch.
    pub fn key(&self) -> String {
        match self {
            Self::Action(action_id) => format!("action:{action_id}"),
            Self::Order { order_id, action_tracker_id } => format!("order:{action_tracker_id}:{order_id}"),
        }
    }

    /// The ActionId, where that is how it is named.
    pub fn action_id(&self) -> Option<&ActionId> {
        match self {
            Self::Action(action_id) => Some(action_id),
            Self::Order { .. } => None,
        }
    }
}

/// Who acts: the user and the machine of the command, or the identity of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// As the operating system knows them, by uid and not by `$USER`; at the page, the user.
    pub person: String,
    /// The machine.
    pub host: String,
    /// The other name of the same person: the user that goes with an operating system's user, and the other way round.
    pub also: Option<String>,
    /// Whether they are a user of recoup: only then another person can be told from them.
    pub known: bool,
}

impl Actor {
    /// Somebody of whom nothing but this is known.
    pub fn new(person: impl Into<String>, host: impl Into<String>) -> Self {
        Self { person: person.into(), host: host.into(), also: None, known: false }
    }

    /// Every name of this person.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.person).chain(&self.also).cloned().collect()
    }
}

/// FNV-1a. What it gives is kept in files, so it must be the same in every build; the standard hasher need not be.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Bytes as hexadecimal digits, in lower case. No crate: two lines are not worth a package in the lock file.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// How much of the tenant an answer rests on. A negative answer without it is worthless.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Coverage {
    /// Whether the last finished crawl read every account that it knew.
    pub complete: bool,
    /// When that crawl began, RFC 3339: everything that existed then is in the index. `None` before the first.
    pub as_of: Option<String>,
    /// The source of that crawl.
    pub source: Option<String>,
    /// Accounts whose rewards were read.
    pub accounts_read: u64,
    /// Accounts known from the list of participants.
    pub accounts_known: u64,
    /// Rewards read.
    pub rewards_read: u64,
    /// Rewards known to exist; the same as `rewards_read` where the source has no total of its own.
    pub rewards_known: u64,
    /// Accounts that were forgotten on purpose: nothing is known of their orders. Said where there are any.
    #[serde(skip_serializing_if = "is_none")]
    pub accounts_forgotten: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_id_shape_is_three_groups_of_digits() {
        for (text, familiar) in [
            ("1000.4636.158133", true),
            ("1.2.3", true),
            ("1000.4636", false),
            ("1000.4636.158133.9", false),
            ("1000..158133", false),
            ("a.b.c", false),
            ("", false),
            (" 1.2.3", false),
            ("1.2.٣", false),
        ] {
            assert_eq!(ActionId::new(text).is_familiar(), familiar, "{text:?}");
        }
    }

    #[test]
    fn folding_is_for_suggestions_only() {
        for (text, folded) in
            [("#1001", "1001"), (" 001001 ", "1001"), ("ABC-1", "abc-1"), ("000", "000"), ("#00", "00"), ("", "")]
        {
            assert_eq!(OrderId::new(text).folded(), folded, "{text:?}");
        }
    }

    #[test]
    fn hexadecimal_has_two_lower_case_digits_a_byte() {
        assert_eq!((hex(&[0x00, 0x0f, 0xa0, 0xff]), hex(&[])), ("000fa0ff".to_owned(), String::new()));
    }

    #[test]
    fn ids_of_people_do_not_print_in_debug() {
        assert_eq!(format!("{:?}", AccountId::new("ann@example.com")), "AccountId(…)");
    }
}
