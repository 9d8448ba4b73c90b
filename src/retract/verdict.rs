//! What speaks for and against one retraction: findings, each with its evidence and its remedy, and the verdict of them all.
//!
//! The same findings serve the dry run, the real run, a batch and the page. Pure: no I/O, no clock. A *stop* must never become
//! *go* but by the one name that overrides it.

use serde::{Deserialize, Serialize};

use super::overrides::Override;
use crate::error::{Error, Kind};

/// How one finding, or all of them together, decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against it.
    Go,
    /// It goes, and a person should know something first.
    GoWithWarning,
    /// It does not go, unless a person overrides it by name where that is possible.
    Stop,
}

impl Verdict {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::GoWithWarning => "go with warning",
            Self::Stop => "stop",
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Links are not certain: several order IDs or ActionIds in one reward.
    Ambiguous,
    /// What is live is not what the index says.
    Changed,
    /// A reward whose dates, amounts or statuses cannot be read or contradict each other.
    Unclear,
    /// This machine's clock and the vendor's are far apart, or the vendor's is not known.
    #[serde(rename = "clock")]
    ClocksApart,
    /// No reward of the action is in the index.
    NoReward,
    /// Every known reward is cancelled, and the index is not complete.
    Incomplete,
    /// By the ledger it went out, or may have gone out, by another road.
    HandedOver,
    /// See [`Override::Redeemed`].
    Redeemed,
    /// See [`Override::NotCancellable`].
    NotCancellable,
    /// See [`Override::Shared`].
    Shared,
    /// See [`Override::Stale`].
    Stale,
    /// See [`Override::Unfamiliar`].
    Unfamiliar,
    /// See [`Override::Locked`].
    Locked,
    /// See [`Override::NoRule`].
    NoRule,
    /// The program rule is there, and something keeps it from taking every reward back.
    RuleLimits,
    /// The event is older than two years (`docs/vendor/brand.md` §6).
    OldEvent,
    /// The conversion is older than 30 days (`docs/vendor/brand.md` §6).
    OldConversion,
    /// The action's amount is 0 already: the vendor records a modification and reverses nothing (`docs/vendor/contradictions.md` 4).
    AmountZero,
    /// The action reads as reversed, and its rewards do not read as cancelled.
    Reversed,
    /// The action could not be read where it should be readable.
    ActionUnread,
    /// A reward of the same order has no ActionId.
    NoActionId,
    /// A link that can be seen by one API only.
    UnseenLink,
    /// The fallback to order ID and action tracker.
    ByOrder,
    /// A reward is gone at the vendor.
    Gone,
    /// The action of this reward went out as a whole.
    Retracted,
    /// Less than the whole order was refunded, or that is not certain.
    PartialRefund,
    /// The dates of the file do not fit those of the action: another order may have had the same ID.
    Dates,
    /// The index does not have the order, and the ledger has.
    NotIndexed,
    /// What an adjustment changes could not be read before it.
    ItemsUnread,
    /// Advocate evaluates item-level fields, and the order's amount is changed (`docs/vendor/refund-guide.md` D1, D2).
    OrderAmount,
    /// The guide asks for item prices, and the call carries none (`docs/vendor/contradictions.md` 9).
    ItemPrice,
    /// A warning that recoup 0.1 wrote down.
    Earlier,
}

impl Check {
    /// The word for it.
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

    /// The name by which a person overrides a stop of this check; `None` where nobody may.
    pub fn overridable(self) -> Option<Override> {
        match self {
            Self::Redeemed => Some(Override::Redeemed),
            Self::NotCancellable => Some(Override::NotCancellable),
            Self::Shared => Some(Override::Shared),
            Self::Stale => Some(Override::Stale),
            Self::Unfamiliar => Some(Override::Unfamiliar),
            Self::Locked => Some(Override::Locked),
            Self::NoRule => Some(Override::NoRule),
            _ => None,
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it decides, by itself.
    pub verdict: Verdict,
    /// What was seen: a sentence.
    pub evidence: String,
    /// What to do about it: a sentence.
    pub remedy: String,
    /// A stop that a person has overridden by its name: it warns, and the ledger has it.
    #[serde(default)]
    pub overridden: bool,
}

impl Finding {
    /// Whether it keeps the retraction from being sent.
    pub fn stops(&self) -> bool {
        self.verdict == Verdict::Stop && !self.overridden
    }

    /// The finding as a line for a person.
    pub fn line(&self) -> String {
        let how = match (self.verdict, self.overridden) {
            (Verdict::Stop, true) => "overridden",
            (Verdict::Stop, false) => "stop",
            _ => "warning",
        };
        format!("{how} ({}): {}", self.check.as_str(), self.evidence)
    }

    /// What a person can do: the remedy, and the override where there is one.
    pub fn way_out(&self) -> String {
        match self.check.overridable() {
            Some(name) => format!("{}; or override it with --override {}", self.remedy, name.as_str()),
            None => self.remedy.clone(),
        }
    }
}

/// Everything that was found about one action.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    list: Vec<Finding>,
    overrides: Vec<Override>,
}

impl Findings {
    /// None yet; the stops of these names will be overridden.
    pub fn new(overrides: &[Override]) -> Self {
        Self { list: Vec::new(), overrides: overrides.to_vec() }
    }

    /// Something that a person should know.
    pub fn warn(&mut self, check: Check, evidence: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::GoWithWarning, evidence.into(), remedy.into());
    }

    /// Something that keeps it from being sent.
    pub fn stop(&mut self, check: Check, evidence: impl Into<String>, remedy: impl Into<String>) {
        self.push(check, Verdict::Stop, evidence.into(), remedy.into());
    }

    fn push(&mut self, check: Check, verdict: Verdict, evidence: String, remedy: String) {
        let overridden =
            verdict == Verdict::Stop && check.overridable().is_some_and(|name| self.overrides.contains(&name));
        self.list.push(Finding { check, verdict, evidence, remedy, overridden });
    }

    /// All of them, as they were found.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// The names of the stops that were overridden, each once.
    pub fn overridden(&self) -> Vec<Override> {
        let mut names: Vec<Override> =
            self.list.iter().filter(|finding| finding.overridden).filter_map(|f| f.check.overridable()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What they come to.
    pub fn verdict(&self) -> Verdict {
        if self.list.iter().any(Finding::stops) {
            Verdict::Stop
        } else if self.list.is_empty() {
            Verdict::Go
        } else {
            Verdict::GoWithWarning
        }
    }

    /// The first stop as an error, with all others in it; `None` where nothing stops.
    pub fn error(&self) -> Option<Error> {
        let stops: Vec<&Finding> = self.list.iter().filter(|finding| finding.stops()).collect();
        let first = stops.first()?;
        let kind = if first.check == Check::Ambiguous { Kind::Ambiguous } else { Kind::Refused };
        let evidence: Vec<&str> = stops.iter().map(|finding| finding.evidence.as_str()).collect();
        Some(Error::new(kind, evidence.join("; ")).hint(format!("{}; nothing was sent", first.way_out())))
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
    fn a_word_is_one_word_everywhere() {
        for check in [
            Check::Redeemed,
            Check::NotCancellable,
            Check::OldEvent,
            Check::ByOrder,
            Check::ClocksApart,
            Check::Unclear,
            Check::NoRule,
            Check::RuleLimits,
        ] {
            assert_eq!(serde_json::to_value(check).expect("a word"), check.as_str());
        }
        for check in [
            Check::Redeemed,
            Check::NotCancellable,
            Check::Shared,
            Check::Stale,
            Check::Unfamiliar,
            Check::Locked,
            Check::NoRule,
        ] {
            assert_eq!(check.overridable().expect("one").as_str(), check.as_str());
        }
    }
}
