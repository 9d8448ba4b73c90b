//! The findings of one retraction's checks, each with evidence and remedy, and the overall verdict.
//!
//! Dry run, real run, batch and page all use this list of findings. Each override applies to exactly one check.
//! `checks` does no I/O and reads no clock.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Details, Error, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Go,
    GoWithWarning,
    /// recoup does not send the action. A person can override a stop only if the check permits an override.
    Stop,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::GoWithWarning => "go with warning",
            Self::Stop => "stop",
        }
    }
}

/// The check that reported a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// A reward has several order IDs or ActionIds.
    Ambiguous,
    /// The rewards at the vendor differ from the index.
    Changed,
    /// A reward has dates, amounts or statuses that are unreadable or contradict each other.
    Unclear,
    /// This machine's clock and the vendor's clock differ too much, or recoup does not know the vendor's clock.
    #[serde(rename = "clock")]
    ClocksApart,
    NoReward,
    Incomplete,
    /// The ledger shows that recoup sent the action, or may have sent it, through another channel.
    HandedOver,
    // The variants of [`Override`] describe the checks from here to `NoRule`, under the same names.
    Redeemed,
    NotCancellable,
    Shared,
    Stale,
    Unfamiliar,
    Locked,
    NoRule,
    /// The program rule exists, but does not take every reward back.
    RuleLimits,
    /// The event is older than two years (`docs/vendor/brand.md` §6).
    OldEvent,
    /// The conversion is older than 30 days (`docs/vendor/brand.md` §6).
    OldConversion,
    /// The action's amount is already 0. For an action of amount 0, the vendor records a modification and reverses
    /// nothing (`docs/vendor/contradictions.md` 4).
    AmountZero,
    /// The action is already reversed, but some of its rewards are not cancelled.
    Reversed,
    ActionUnread,
    NoActionId,
    /// Only one of the vendor's APIs shows the link between reward and action.
    UnseenLink,
    /// The reversal contains an order ID and an action tracker instead of an ActionId.
    ByOrder,
    /// The vendor has deleted a reward.
    Gone,
    /// The action of the reward to cancel was already reversed as a whole.
    Retracted,
    /// The refund is partial, or may be partial.
    PartialRefund,
    /// The dates in the refund file contradict the action's dates. If the dates contradict each other, another order
    /// may have had the same ID.
    Dates,
    NotIndexed,
    ItemsUnread,
    /// Advocate evaluates item-level fields, and the adjustment changes the order's amount (`docs/vendor/refund-guide.md` D1,
    /// D2).
    OrderAmount,
    /// The refund guide requires item prices, and the modification contains none (`docs/vendor/contradictions.md` 9).
    ItemPrice,
    /// recoup added the ledger entry from the vendor's list of submissions.
    Earlier,
}

impl Check {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Changed => "changed",
            Self::Unclear => "unclear",
            Self::ClocksApart => "clock",
            Self::NoReward => "no-reward",
            Self::Incomplete => "incomplete",
            Self::HandedOver => "handed-over",
            Self::Redeemed => "redeemed",
            Self::NotCancellable => "not-cancellable",
            Self::Shared => "shared",
            Self::Stale => "stale",
            Self::Unfamiliar => "unfamiliar",
            Self::Locked => "locked",
            Self::NoRule => "no-rule",
            Self::RuleLimits => "rule-limits",
            Self::OldEvent => "old-event",
            Self::OldConversion => "old-conversion",
            Self::AmountZero => "amount-zero",
            Self::Reversed => "reversed",
            Self::ActionUnread => "action-unread",
            Self::NoActionId => "no-action-id",
            Self::UnseenLink => "unseen-link",
            Self::ByOrder => "by-order",
            Self::Gone => "gone",
            Self::Retracted => "retracted",
            Self::PartialRefund => "partial-refund",
            Self::Dates => "dates",
            Self::NotIndexed => "not-indexed",
            Self::ItemsUnread => "items-unread",
            Self::OrderAmount => "order-amount",
            Self::ItemPrice => "item-price",
            Self::Earlier => "earlier",
        }
    }

    /// Returns the override for this check; `None` if no person may override the check.
    pub fn overridable(self) -> Option<Override> {
        Override::value_variants().iter().copied().find(|name| name.check() == Some(self))
    }
}

/// A check that a person may override. Most checks have no override, because an override would send something twice or
/// for the wrong order.
///
/// The name of a variant is the argument of `--override`, the value in the ledger, and the name of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// Every reward was redeemed or has expired, so the vendor can take nothing back
    Redeemed,
    /// The vendor says that the rewards are not cancellable
    NotCancellable,
    /// A reward of the action also belongs to another order
    Shared,
    /// The newest reading of the order is too old
    Stale,
    /// The ActionId has an unfamiliar shape, and recoup found it by a search
    Unfamiliar,
    /// The action is a Performance action past its locking date
    Locked,
    /// The program has no rule that takes rewards back after a refund. The vendor reverses the action, and its rewards
    /// stay
    NoRule,
    /// The person sends again within 24 hours of the submission's completion
    Early,
}

impl Override {
    pub fn named(word: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.as_str() == word)
    }

    /// Returns the check that this override applies to; `None` for a resend within a day, which no check reports.
    fn check(self) -> Option<Check> {
        match self {
            Self::Redeemed => Some(Check::Redeemed),
            Self::NotCancellable => Some(Check::NotCancellable),
            Self::Shared => Some(Check::Shared),
            Self::Stale => Some(Check::Stale),
            Self::Unfamiliar => Some(Check::Unfamiliar),
            Self::Locked => Some(Check::Locked),
            Self::NoRule => Some(Check::NoRule),
            Self::Early => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        self.check().map_or("early", Check::as_str)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    pub check: Check,
    pub verdict: Verdict,
    pub evidence: String,
    pub remedy: String,
    /// Whether the person has overridden this finding. An overridden stop becomes a warning. The ledger stores the
    /// override.
    #[serde(default)]
    pub overridden: bool,
}

impl Finding {
    pub fn stops(&self) -> bool {
        self.verdict == Verdict::Stop && !self.overridden
    }

    pub fn line(&self) -> String {
        let how = match (self.verdict, self.overridden) {
            (Verdict::Stop, true) => "overridden",
            (Verdict::Stop, false) => "stop",
            _ => "warning",
        };
        format!("{how} ({}): {}", self.check.as_str(), self.evidence)
    }

    /// Returns the finding's remedy, and the name of the override if the check has one.
    pub fn remedy_line(&self) -> String {
        match self.check.overridable() {
            Some(name) => format!("{}; or override it with --override {}", self.remedy, name.as_str()),
            None => self.remedy.clone(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Findings {
    list: Vec<Finding>,
    overrides: Vec<Override>,
}

impl Findings {
    /// Creates an empty list of findings. Stops that are added later count as overridden if `overrides` names their
    /// check.
    pub fn new(overrides: &[Override]) -> Self {
        Self { list: Vec::new(), overrides: overrides.to_vec() }
    }

    pub fn warn(&mut self, check: Check, evidence: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::GoWithWarning, evidence.into(), remedy.into());
    }

    pub fn stop(&mut self, check: Check, evidence: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::Stop, evidence.into(), remedy.into());
    }

    fn push(&mut self, check: Check, verdict: Verdict, evidence: String, remedy: String) {
        let overridden =
            verdict == Verdict::Stop && check.overridable().is_some_and(|name| self.overrides.contains(&name));
        self.list.push(Finding { check, verdict, evidence, remedy, overridden });
    }

    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    pub fn overridden(&self) -> Vec<Override> {
        let mut names: Vec<Override> =
            self.list.iter().filter(|finding| finding.overridden).filter_map(|f| f.check.overridable()).collect();
        names.sort();
        names.dedup();
        names
    }

    pub fn verdict(&self) -> Verdict {
        if self.list.iter().any(Finding::stops) {
            Verdict::Stop
        } else if self.list.is_empty() {
            Verdict::Go
        } else {
            Verdict::GoWithWarning
        }
    }

    /// Combines all stops of the findings into one error; `None` without a stop.
    pub fn error(&self) -> Option<Error> {
        let stops: Vec<&Finding> = self.list.iter().filter(|finding| finding.stops()).collect();
        let first = stops.first()?;
        let kind = if first.check == Check::Ambiguous { Kind::Ambiguous } else { Kind::Refused };
        let evidence: Vec<&str> = stops.iter().map(|finding| finding.evidence.as_str()).collect();
        // If a person cannot override one of the stops, the error offers no override, because overriding the other
        // stops does not help.
        let overrides: Option<Vec<&str>> =
            stops.iter().map(|finding| Some(finding.check.overridable()?.as_str())).collect();
        let details = Details { overrides: overrides.unwrap_or_default(), ..Details::default() };
        let error = Error::new(kind, evidence.join("; ")).details(details);
        Some(error.hint(format!("{}; nothing was sent", first.remedy_line())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_goes_only_by_its_own_name() {
        for (check, name) in [
            (Check::Redeemed, Some(Override::Redeemed)),
            (Check::Shared, Some(Override::Shared)),
            (Check::NoRule, Some(Override::NoRule)),
            (Check::RuleLimits, None),
            (Check::Changed, None),
            (Check::Ambiguous, None),
            (Check::Incomplete, None),
        ] {
            assert_eq!(check.overridable(), name);
            for given in [Override::Redeemed, Override::Shared, Override::NoRule, Override::Early] {
                let mut findings = Findings::new(&[given]);
                findings.stop(check, "seen", "do");
                let goes = Some(given) == name;
                assert_eq!(findings.verdict() != Verdict::Stop, goes, "{check:?} {given:?}");
                assert_eq!(findings.error().is_none(), goes);
                assert_eq!(findings.overridden().len(), usize::from(goes));
            }
        }
    }

    #[test]
    fn the_worst_finding_decides() {
        let mut findings = Findings::new(&[]);
        assert_eq!(findings.verdict(), Verdict::Go);
        findings.warn(Check::OldEvent, "old", "hurry");
        assert_eq!(findings.verdict(), Verdict::GoWithWarning);
        findings.stop(Check::Redeemed, "too late", "talk to them");
        findings.warn(Check::Gone, "gone", "look");
        assert_eq!(findings.verdict(), Verdict::Stop);
        let error = findings.error().expect("it stops");
        assert_eq!((error.kind, error.message.as_str()), (Kind::Refused, "too late"));
        assert_eq!(
            error.hint.as_deref(),
            Some("talk to them; or override it with --override redeemed; nothing was sent")
        );
    }

    #[test]
    fn overrides_are_offered_only_if_they_help() {
        let mut findings = Findings::new(&[]);
        let offered = |findings: &Findings| findings.error().and_then(|error| Some(error.details?.overrides));
        findings.stop(Check::Redeemed, "too late", "talk to them");
        findings.stop(Check::Stale, "old", "crawl");
        assert_eq!(offered(&findings), Some(vec!["redeemed", "stale"]));
        findings.stop(Check::Changed, "changed", "look");
        assert_eq!(offered(&findings), Some(Vec::new()));
    }

    #[test]
    fn a_word_is_one_word_everywhere() {
        for check in Check::value_variants() {
            assert_eq!(serde_json::to_value(check).expect("a word"), check.as_str());
        }
    }

    #[test]
    fn the_word_of_the_flag_is_the_word_of_the_ledger() {
        for name in Override::value_variants() {
            let flag = name.to_possible_value().expect("none is hidden");
            assert_eq!(flag.get_name(), name.as_str());
            assert_eq!(serde_json::to_value(name).expect("a word"), name.as_str());
        }
    }
}
