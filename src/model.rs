//! The types of the domain: order ID, ActionId, account, reward, link, coverage.
//!
//! Every module uses these types. The vendor's JSON stays in `vendor`, and SQL in `store`. Nothing here does I/O or
//! waits. Account IDs are often e-mail addresses, so `Debug` does not print an [`AccountId`] or a [`UserId`].

pub mod budget;
mod count;
pub mod decimal;
pub mod order_text;
pub mod program_rule;
mod referral;
mod reward;
pub mod strict_json;
pub mod time_left;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use count::{counted, grouped};
pub use referral::ReferralState;
pub use reward::{Reward, RewardState, UNREADABLE, VENDOR_TIME_INEXACT_MS};

/// A merchant's order ID. It is opaque: compared byte for byte, and never trimmed or repaired.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct OrderId(String);

impl OrderId {
    /// The longest order ID that can be looked up, in bytes. The vendor stores at most 375 characters of up to four bytes.
    pub const MAX_BYTES: usize = 1500;

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form by which suggestions are found: in lower case, without white space, a leading `#` and leading zeros. A
    /// look-up never uses it for its answer.
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

/// The vendor's ID of an action. Every published sample has three groups of digits with dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct ActionId(String);

impl ActionId {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the ID has the form of the published samples: `^\d+\.\d+\.\d+$`.
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
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text is personal data: print it only if the user asked for it.
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
    /// The vendor's account ID, the parameter of Get Rewards. Often an e-mail address.
    AccountId
}
personal_id! {
    /// The vendor's ID of a user (participant). Often an e-mail address.
    UserId
}

/// The vendor's ID of a reward.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct RewardId(String);

impl RewardId {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RewardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A participant from `/users`, with the fields that recoup needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Participant {
    pub user_id: UserId,
    pub account_id: AccountId,
    /// Compared with an address that a person typed. Never stored.
    pub email: Option<String>,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Participant(…)")
    }
}

/// An order ID and an ActionId from one reward. Either may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    pub order_id: Option<OrderId>,
    pub action_id: Option<ActionId>,
}

/// Which IDs a reward has.
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
    /// Different order IDs or different ActionIds. Such a reward is shown, and not retracted until a JSONPath is configured.
    Ambiguous,
}

impl LinkKind {
    /// The word in JSON and in the index.
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

/// What a reversal names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    Action(ActionId),
    /// The actions of an order and an event type: all of them by the guide, the newest by the help centre
    /// (`docs/vendor/contradictions.md` 1).
    Order {
        order_id: OrderId,
        /// The ID of the event type.
        action_tracker_id: String,
    },
}

impl Target {
    /// The key by which the ledger permits one dispatch.
    pub fn key(&self) -> String {
        match self {
            Self::Action(action_id) => format!("action:{action_id}"),
            Self::Order { order_id, action_tracker_id } => format!("order:{action_tracker_id}:{order_id}"),
        }
    }

    /// The ActionId; `None` for a target by order.
    pub fn action_id(&self) -> Option<&ActionId> {
        match self {
            Self::Action(action_id) => Some(action_id),
            Self::Order { .. } => None,
        }
    }
}

/// The person who acts: the user of a command and its machine, or a user of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The operating system's user by uid and not by `$USER`, or the user of the page.
    pub person: String,
    pub host: String,
    /// The other name of the same person: recoup's user for an operating system's user, or the reverse.
    pub also: Option<String>,
    /// Whether the person is a user of recoup. Only two known users can be told apart as two persons.
    pub known: bool,
}

impl Actor {
    /// A person who is not known as a user of recoup.
    pub fn new(person: impl Into<String>, host: impl Into<String>) -> Self {
        Self { person: person.into(), host: host.into(), also: None, known: false }
    }

    /// Every name of this person.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.person).chain(&self.also).cloned().collect()
    }
}

/// The FNV-1a hash. The standard hasher may change between builds, and these hashes are stored in files.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Bytes as hexadecimal digits in lower case. Two lines are not worth a dependency.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// How much of the tenant an answer is based on. Without it, "not found" has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Coverage {
    /// Whether the last finished crawl read every account that it knew of.
    pub complete: bool,
    /// When that crawl began, RFC 3339: every reward that existed then is in the index. `None` before the first crawl.
    pub as_of: Option<String>,
    /// The source of that crawl.
    pub source: Option<String>,
    /// Accounts whose rewards were read.
    pub accounts_read: u64,
    /// Accounts known from the list of participants.
    pub accounts_known: u64,
    /// Rewards read.
    pub rewards_read: u64,
    /// Rewards known to exist. The same as `rewards_read` if the source states no total.
    pub rewards_known: u64,
    /// Accounts that were deliberately forgotten, so that their orders are unknown. Left out if 0.
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
    fn debug_does_not_print_ids_of_people() {
        assert_eq!(format!("{:?}", AccountId::new("ann@example.com")), "AccountId(…)");
    }
}
