//! The types of the domain: order ID, ActionId, account, reward, link and coverage.
//!
//! Every module uses these types. The module `model` contains neither the vendor's JSON nor SQL, does no I/O and never
//! waits. Account IDs are often e-mail addresses, so `Debug` prints neither an [`AccountId`] nor a [`UserId`].

pub mod budget;
mod count;
pub mod decimal;
mod link_template;
pub mod order_text;
pub mod program_rule;
mod referral;
mod reward;
pub mod strict_json;
pub mod time_left;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use count::{counted, grouped};
pub use link_template::LinkTemplate;
pub use referral::ReferralState;
pub use reward::{Reward, RewardState, UNREADABLE, VENDOR_TIME_INEXACT_MS};

/// A merchant's order ID. recoup treats it as opaque: it compares the ID byte for byte, and never trims or repairs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct OrderId(String);

impl OrderId {
    /// The longest order ID that recoup can look up, in bytes. The vendor stores at most 375 characters of up to four bytes.
    pub const MAX_BYTES: usize = 1500;

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the ID in lower case, without white space, a leading `#` and leading zeros. A look-up compares exact
    /// IDs, and uses the returned form only to find suggestions.
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

    /// Returns `true` if the ID has the form of the published samples: `^\d+\.\d+\.\d+$`.
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

            /// Returns the text, which is personal data: print it only if the user asked for it.
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
    /// The vendor's account ID, which is the parameter of Get Rewards and often an e-mail address.
    AccountId
}
personal_id! {
    /// The vendor's ID of a user (participant), which is often an e-mail address.
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

/// A participant from the vendor's list `/users`, with the fields that recoup needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Participant {
    pub user_id: UserId,
    pub account_id: AccountId,
    /// The participant's e-mail address, for comparison with an address that a person typed. recoup never stores this
    /// address.
    pub email: Option<String>,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Participant(…)")
    }
}

/// The order ID and the ActionId that a reward links. One of the two IDs may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    pub order_id: Option<OrderId>,
    pub action_id: Option<ActionId>,
}

/// The IDs that a reward contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// The reward contains one order ID and one ActionId.
    Both,
    /// The reward contains an order ID and no ActionId.
    OrderOnly,
    /// The reward contains an ActionId and no order ID.
    ActionOnly,
    /// The reward contains no order ID and no ActionId.
    Neither,
    /// The reward contains different order IDs or different ActionIds. recoup shows such a reward, but does not retract
    /// it until a JSONPath is configured.
    Ambiguous,
}

impl LinkKind {
    /// Returns the word for this kind in JSON and in the index.
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

/// The action or actions that a reversal request identifies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    Action(ActionId),
    /// The actions of an order that have one event type. The vendor's guide says that a request by order ID reverses
    /// all these actions. The help centre says that it reverses only the newest (`docs/vendor/contradictions.md` 1).
    Order {
        order_id: OrderId,
        /// The ID of the event type (the vendor's action tracker).
        action_tracker_id: String,
    },
}

impl Target {
    /// Returns the key of this target. The ledger permits one open retraction for each key.
    pub fn key(&self) -> String {
        match self {
            Self::Action(action_id) => format!("action:{action_id}"),
            Self::Order { order_id, action_tracker_id } => format!("order:{action_tracker_id}:{order_id}"),
        }
    }

    /// Returns the ActionId; `None` for a target by order.
    pub fn action_id(&self) -> Option<&ActionId> {
        match self {
            Self::Action(action_id) => Some(action_id),
            Self::Order { .. } => None,
        }
    }
}

/// The person who acts: the user of a command with the user's machine, or a user of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The operating system's name for the process's uid (not `$USER`), or the user of the page.
    pub person: String,
    pub host: String,
    /// The person's other user name. recoup links a person's user in the operating system with the person's user of
    /// recoup.
    pub also: Option<String>,
    /// `true` if the person is a user of recoup. recoup can tell two persons apart only if both are its users.
    pub known: bool,
}

impl Actor {
    /// Creates an actor who is not known as a user of recoup.
    pub fn new(person: impl Into<String>, host: impl Into<String>) -> Self {
        Self { person: person.into(), host: host.into(), also: None, known: false }
    }

    /// Returns every user name of this person.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.person).chain(&self.also).cloned().collect()
    }
}

/// Returns the FNV-1a hash. recoup stores these hashes in files, and the standard library's hasher may change between
/// builds.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Returns the bytes as lower-case hexadecimal digits. A dependency would cost more than this short function.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The part of the tenant that an answer is based on. Without the coverage, the answer "not found" has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Coverage {
    /// Whether the last finished crawl read every account that it knew.
    pub complete: bool,
    /// When the last finished crawl began, RFC 3339. The index has every reward that existed at that time. `None` before the
    /// first crawl.
    pub as_of: Option<String>,
    /// The source of the last finished crawl.
    pub source: Option<String>,
    /// The number of accounts whose rewards were read.
    pub accounts_read: u64,
    /// The number of accounts known from the list of participants.
    pub accounts_known: u64,
    /// The number of rewards read.
    pub rewards_read: u64,
    /// The number of rewards according to the vendor. Equal to `rewards_read` if the source gives no total.
    pub rewards_known: u64,
    /// Accounts that a person asked to forget. The orders of forgotten accounts are unknown. Omitted if 0.
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
