//! The checks that a person may override, each only by its name.
//!
//! A name is an argument of `--override`, a word in the ledger, and the name of the check. No other check can be overridden:
//! its override would send something twice, or for the wrong order.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// Every reward was redeemed or has expired, so the vendor can take nothing back
    Redeemed,
    /// The vendor says that the rewards are not cancellable
    NotCancellable,
    /// A reward of the action belongs to another order too
    Shared,
    /// The order was last read too long ago
    Stale,
    /// The ActionId has an unfamiliar shape and was found by searching
    Unfamiliar,
    /// A Performance action past its locking date
    Locked,
    /// The program has no rule that takes rewards back after a refund: the action is reversed, and its rewards stay
    NoRule,
    /// Sent again within 24 hours of the submission's completion
    Early,
}

impl Override {
    pub fn named(word: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redeemed => "redeemed",
            Self::NotCancellable => "not-cancellable",
            Self::Shared => "shared",
            Self::Stale => "stale",
            Self::Unfamiliar => "unfamiliar",
            Self::Locked => "locked",
            Self::NoRule => "no-rule",
            Self::Early => "early",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_the_flag_is_the_word_of_the_ledger() {
        for name in Override::value_variants() {
            let flag = name.to_possible_value().expect("none is hidden");
            assert_eq!(flag.get_name(), name.as_str());
            assert_eq!(serde_json::to_value(name).expect("a word"), name.as_str());
        }
    }
}
