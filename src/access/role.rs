//! Defines roles, rights, and the table that assigns rights to roles, without I/O.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May look orders up
    Viewer,
    /// Has all rights of a viewer, and may retract one order
    Agent,
    /// Has all rights of an agent, and may retract batches, override checks and approve
    Lead,
    /// Has all rights of a lead, and may manage users
    Admin,
}

/// A right that a role gives to a user. The scopes of a token are rights, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Right {
    /// Look orders up, and see past retractions
    #[value(name = "lookup")]
    #[serde(rename = "lookup")]
    LookUp,
    /// Check with the vendor whether an order can be retracted
    Preflight,
    /// See the age of the index and the health of the service
    #[value(name = "status")]
    #[serde(rename = "status")]
    SeeHealth,
    /// Read the metrics of the service
    Metrics,
    /// See the account IDs of participants unmasked
    #[value(name = "accounts")]
    #[serde(rename = "accounts")]
    SeeAccount,
    /// Propose the retraction of one order, for another person to approve
    Propose,
    /// Retract one order
    Retract,
    /// Retract many orders from a file
    Batch,
    /// Override a check that stops a send
    Override,
    /// Approve another person's request
    Approve,
    /// Manage users and the approval policy
    Administer,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Agent => "agent",
            Self::Lead => "lead",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|role| role.as_str() == word)
    }

    pub fn may(self, right: Right) -> bool {
        let least = match right {
            Right::LookUp | Right::Preflight | Right::SeeHealth | Right::Metrics => Self::Viewer,
            Right::SeeAccount | Right::Propose | Right::Retract => Self::Agent,
            Right::Batch | Right::Override | Right::Approve => Self::Lead,
            Right::Administer => Self::Admin,
        };
        self >= least
    }
}

impl Right {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LookUp => "lookup",
            Self::Preflight => "preflight",
            Self::SeeHealth => "status",
            Self::Metrics => "metrics",
            Self::SeeAccount => "accounts",
            Self::Propose => "propose",
            Self::Retract => "retract",
            Self::Batch => "batch",
            Self::Override => "override",
            Self::Approve => "approve",
            Self::Administer => "administer",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|right| right.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_the_flag_is_the_word_of_the_file() {
        for right in Right::value_variants() {
            assert_eq!(right.to_possible_value().expect("none is hidden").get_name(), right.as_str());
            assert_eq!(serde_json::to_value(right).expect("a word"), right.as_str());
        }
        for role in Role::value_variants() {
            assert_eq!(role.to_possible_value().expect("none is hidden").get_name(), role.as_str());
        }
    }

    #[test]
    fn each_role_may_what_the_one_below_may_and_more() {
        let rights = |role: Role| Right::value_variants().iter().filter(|right| role.may(**right)).count();
        let counts: Vec<usize> = Role::value_variants().iter().map(|role| rights(*role)).collect();
        assert_eq!(counts, [4, 7, 10, 11]);
        assert!(
            !Role::Viewer.may(Right::Retract)
                && !Role::Agent.may(Right::Override)
                && !Role::Lead.may(Right::Administer)
        );
    }
}
