//! Checks the dates and amounts of an action and its rewards against the vendor's deadlines. `deadlines` does no I/O.
//! The caller of a deadline check passes the current time.
//!
//! The vendor's deadlines are from `docs/vendor/brand.md` §6 and §8, `docs/vendor/contradictions.md` 4, 10, 28 and 43,
//! and `docs/vendor/advocate.md` §8. A missed deadline adds a warning, or a stop if the vendor rejects changes after
//! that deadline.

use jiff::{SignedDuration, Timestamp};

use super::checks::{Check, Findings};
use super::options::RefundClaim;
use crate::model::decimal::Decimal;
use crate::model::{ActionId, Reward, RewardState};

/// Maximum age of an event for which the vendor takes rewards back.
const EVENT_UNDER: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);

/// Maximum age of a conversion for which the vendor takes rewards back.
const CONVERSION_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Time before a vendor's deadline at which the check begins to warn.
const SOON: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Day zero of the middle number of an ActionId: 2008-01-01, in Unix seconds (`docs/vendor/brand.md` §8).
const DAY_ZERO: i64 = 1_199_145_600;

/// What the Brand API returns about an action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionFacts {
    /// The state of the action: `PENDING`, `APPROVED`, `REVERSED` …
    pub state: Option<String>,
    pub amount: Option<Decimal>,
    pub amount_now: Option<Decimal>,
    pub event_date: Option<Timestamp>,
    /// The vendor does not change the action after this date.
    pub locking_date: Option<Timestamp>,
    /// The type of the action's program: `Performance`, `Advocate` …; `None` if recoup could not read the program.
    pub program_type: Option<String>,
    pub currency: Option<String>,
    pub action_tracker_id: Option<String>,
}

/// Returns the earliest known date of the action's event. A reward is never older than the event that earned it.
pub fn event_at(
    action_id: Option<&ActionId>,
    rewards: &[&Reward],
    facts: &ActionFacts,
    now: Timestamp,
) -> Option<Timestamp> {
    let created = rewards.iter().filter_map(|reward| Timestamp::from_millisecond(reward.date_created?).ok());
    let hinted = action_id.and_then(day_of).filter(|day| *day <= now);
    created.chain(facts.event_date).chain(hinted).min()
}

pub fn check_age(findings: &mut Findings, event: Timestamp, now: Timestamp) {
    let age = now.duration_since(event);
    let days = age.as_hours() / 24;
    let when = event.strftime("%Y-%m-%d");
    if age > EVENT_UNDER - SOON {
        findings.warn(
            Check::OldEvent,
            format!(
                "the event is of {when}, {days} days ago: the vendor takes rewards back for events under two years old"
            ),
            "send it now or not at all, and look at the rewards afterwards",
        );
    } else if age > CONVERSION_WITHIN - SOON {
        findings.warn(
            Check::OldConversion,
            format!(
                "the conversion is of {when}, {days} days ago: the vendor takes the conversion itself back within 30 days only; its \
                 rewards within two years"
            ),
            "send it; the referral may stay converted though its rewards are cancelled",
        );
    }
}

/// Returns the date in the middle number of an ActionId. The date in an ActionId is only a hint
/// (`docs/vendor/contradictions.md` 28).
fn day_of(action_id: &ActionId) -> Option<Timestamp> {
    if !action_id.is_familiar() {
        return None;
    }
    let days: i64 = action_id.as_str().split('.').nth(1)?.parse().ok()?;
    Timestamp::from_second(DAY_ZERO.checked_add(days.checked_mul(86_400)?)?).ok()
}

pub fn check_action(findings: &mut Findings, facts: &ActionFacts, now: Timestamp) {
    let reversed = facts.state.as_deref() == Some("REVERSED");
    if facts.amount_now.is_some_and(Decimal::is_zero) && !reversed {
        findings.warn(
            Check::AmountZero,
            "the action's amount is 0 already: the vendor records a modification and reverses nothing",
            "send it only if its rewards should go, and look at them afterwards",
        );
    }
    if reversed {
        findings.warn(
            Check::Reversed,
            "the action is reversed already, and a reward of it is not cancelled",
            "look at the program rule (Engage → Program rules): without it a reversal takes no reward back",
        );
    }
    let Some(locked) = facts.locking_date.filter(|locked| *locked <= now) else { return };
    let locked = locked.strftime("%Y-%m-%d %H:%M UTC");
    match facts.program_type.as_deref() {
        // The vendor does not document the effect of the locking date on an Advocate action. Therefore the locking date
        // adds no finding.
        Some("Advocate") => {}
        Some("Performance") => findings.stop(
            Check::Locked,
            format!("this Performance action has been locked since {locked:.0}: the vendor changes it no more"),
            "ask the vendor about a partner funds transfer or a make-good",
        ),
        _ => findings.warn(
            Check::Locked,
            format!("the action's locking date was {locked:.0}, and its program's type could not be read"),
            "if the program is of type Performance, the vendor changes it no more",
        ),
    }
}

/// Adds a stop if the refund file does not prove a full refund.
pub fn check_refund(findings: &mut Findings, claim: &RefundClaim, facts: &ActionFacts) {
    let (_, Some(why)) = claim.against(facts) else { return };
    let remedy =
        "use `recoup adjust` for a part; if all of it was refunded, name the order itself: `recoup retract ORDER`";
    findings.stop(Check::PartialRefund, why, remedy);
}

/// Tolerated difference between the dates of the refund file and of the vendor, for time zones and late bookings.
const DATES_WITHIN: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Adds a stop if the file dates the refund before the action's event, and a warning if the file dates the order after
/// that event. If the dates contradict each other, another order may have had the same ID. `event` is the result of
/// [`event_day`].
pub fn check_dates(findings: &mut Findings, claim: &RefundClaim, event: Timestamp) {
    let day = event.strftime("%Y-%m-%d");
    if let Some(refunded_at) = claim.refunded_at.filter(|when| event.duration_since(when.latest()) > DATES_WITHIN) {
        findings.stop(
            Check::Dates,
            format!("the file says that it was refunded on {refunded_at}, and its action is of {day}, later than that"),
            "another order may have had this ID before: look at it in the shop, and name it by itself if all of it was refunded: \
             `recoup retract ORDER`",
        );
    }
    if let Some(ordered_at) = claim.ordered_at.filter(|when| when.earliest().duration_since(event) > DATES_WITHIN) {
        findings.warn(
            Check::Dates,
            format!("the file says that it was ordered on {ordered_at}, and its action is of {day}, before that"),
            "another order may have had this ID before: compare its amount and participant with the order in the shop",
        );
    }
}

/// Returns the date of an action's event: the action's own date, or else the date in its ActionId.
pub fn event_day(action_id: Option<&ActionId>, facts: &ActionFacts, now: Timestamp) -> Option<Timestamp> {
    facts.event_date.or_else(|| action_id.and_then(day_of).filter(|day| *day <= now))
}

/// Returns why the vendor would not cancel this reward; `None` if recoup knows no reason.
pub fn not_cancellable(reward: &Reward, state: RewardState) -> Option<&'static str> {
    let says = |text: &Option<String>| text.as_deref().is_some_and(|text| text.to_lowercase().contains("gift card"));
    if reward.cancellable == Some(false) {
        Some("the vendor says that it is not cancellable")
    } else if says(&reward.name) || says(&reward.unit) {
        Some("it is a gift card by its name, and those are not cancelled")
    } else if reward.reward_source.as_deref() == Some("MANUAL")
        && reward.currency.is_some()
        && state != RewardState::Pending
    {
        Some("it is cash that was given by hand, which the vendor cancels only while it is pending")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refunds::Decision;

    fn reward() -> Reward {
        Reward {
            reward_source: Some("REFERRED".into()),
            currency: Some("USD".into()),
            cancellable: Some(true),
            ..Reward::of_a_test()
        }
    }

    fn money(text: &str) -> Option<Decimal> {
        Decimal::parse(text)
    }

    fn now() -> Timestamp {
        "2026-11-01T00:00:00Z".parse().expect("a moment")
    }

    fn checks(findings: &Findings) -> Vec<(Check, bool)> {
        findings.list().iter().map(|finding| (finding.check, finding.stops())).collect()
    }

    #[test]
    fn the_oldest_of_all_dates_counts() {
        let days = |n: i64| now() - SignedDuration::from_hours(24 * n);
        // Columns: days since the reward was created, days since the event according to the action, and the expected
        // check.
        let table: &[(Option<i64>, Option<i64>, Option<Check>)] = &[
            (None, None, None),
            (Some(1), None, None),
            (Some(26), None, None),
            (Some(28), None, Some(Check::OldConversion)),
            (Some(1), Some(31), Some(Check::OldConversion)),
            (Some(400), None, Some(Check::OldConversion)),
            (Some(729), None, Some(Check::OldEvent)),
            (Some(2), Some(3000), Some(Check::OldEvent)),
        ];
        for (created, event, expected) in table {
            let mut findings = Findings::new(&[]);
            let reward = Reward { date_created: created.map(|n| days(n).as_millisecond()), ..reward() };
            let facts = ActionFacts { event_date: event.map(days), ..ActionFacts::default() };
            if let Some(event) = event_at(None, &[&reward], &facts, now()) {
                check_age(&mut findings, event, now());
            }
            assert_eq!(findings.list().first().map(|f| f.check), *expected, "{created:?} {event:?}");
            assert!(findings.error().is_none(), "the windows warn");
        }
    }

    #[test]
    fn the_day_in_an_action_id_is_a_hint() {
        for (id, day) in [
            ("1000.4636.158133", Some("2020-09-10T00:00:00Z")),
            ("1000.3299.1", Some("2017-01-12T00:00:00Z")),
            ("1.99999999999999999999.1", None),
            ("order-7", None),
        ] {
            let day: Option<Timestamp> = day.map(|day| day.parse().expect("a moment"));
            assert_eq!(day_of(&ActionId::new(id)), day, "{id}");
        }
        // `event_at` ignores a date in the future.
        assert_eq!(event_at(Some(&ActionId::new("1.9000.1")), &[], &ActionFacts::default(), now()), None);
    }

    #[test]
    fn an_action_says_what_speaks_against_it() {
        let past = Some("2026-10-01T00:00:00Z".parse().expect("a moment"));
        let text = |text: &str| Some(text.to_owned());
        let table = [
            (ActionFacts::default(), vec![]),
            (ActionFacts { amount_now: money("0.00"), ..ActionFacts::default() }, vec![(Check::AmountZero, false)]),
            (ActionFacts { amount_now: money("10.00"), ..ActionFacts::default() }, vec![]),
            (
                ActionFacts { amount_now: money("0"), state: text("REVERSED"), ..ActionFacts::default() },
                vec![(Check::Reversed, false)],
            ),
            (ActionFacts { locking_date: past, ..ActionFacts::default() }, vec![(Check::Locked, false)]),
            (
                ActionFacts { locking_date: past, program_type: text("Performance"), ..ActionFacts::default() },
                vec![(Check::Locked, true)],
            ),
            (ActionFacts { locking_date: past, program_type: text("Advocate"), ..ActionFacts::default() }, vec![]),
        ];
        for (facts, expected) in table {
            let mut findings = Findings::new(&[]);
            check_action(&mut findings, &facts, now());
            assert_eq!(checks(&findings), expected, "{facts:?}");
        }
    }

    fn claim(decision: Decision) -> RefundClaim {
        RefundClaim { decision, currency: None, evidence: String::new(), refunded_at: None, ordered_at: None }
    }

    #[test]
    fn dates_of_another_order_with_the_same_id_are_seen() {
        let event: Timestamp = "2026-04-13T10:00:00Z".parse().expect("a time");
        let day = |text: &str| crate::refunds::dates::parse(text).expect("a date");
        for (refunded_at, ordered_at, stops, warns) in [
            (Some("2026-04-20"), Some("2026-04-13"), false, false),
            (Some("2026-04-11"), Some("2026-04-15"), false, false),
            (Some("2019-11-01"), None, true, false),
            (None, Some("2026-11-01"), false, true),
            (None, Some("2026-01-01"), false, false),
            (None, None, false, false),
        ] {
            let claim = RefundClaim {
                refunded_at: refunded_at.and_then(day),
                ordered_at: ordered_at.and_then(day),
                ..claim(Decision::InFull { refunded: None })
            };
            let mut findings = Findings::new(&[]);
            check_dates(&mut findings, &claim, event);
            assert_eq!(
                (findings.error().is_some(), findings.list().len()),
                (stops, usize::from(stops || warns)),
                "{claim:?}"
            );
        }
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let compare = |text: &str| Decision::ToCompare { refunded: money(text).expect("an amount") };
        let in_full = |refunded: Option<&str>| Decision::InFull { refunded: refunded.and_then(money) };
        for (decision, full, stops) in [
            (compare("49.9"), Some("49.90"), false),
            (compare("10.00"), Some("49.90"), true),
            (compare("49.90"), None, true),
            (in_full(Some("49.90")), Some("49.90"), false),
            (in_full(Some("49.90")), Some("60.00"), true),
            (in_full(None), Some("60.00"), false),
        ] {
            let mut findings = Findings::new(&[]);
            let facts = ActionFacts { amount: full.and_then(money), ..ActionFacts::default() };
            let claim = claim(decision);
            check_refund(&mut findings, &claim, &facts);
            assert_eq!(findings.error().is_some(), stops, "{claim:?} {full:?}");
        }
    }

    #[test]
    fn what_the_vendor_does_not_cancel_is_known_before() {
        let pending = RewardState::Pending;
        let text = |text: &str| Some(text.to_owned());
        for (reward, state, is_known) in [
            (reward(), RewardState::Available, false),
            (Reward { cancellable: Some(false), ..reward() }, RewardState::Available, true),
            (Reward { cancellable: None, ..reward() }, RewardState::Available, false),
            (Reward { name: text("Visa Gift Card"), ..reward() }, RewardState::Available, true),
            (Reward { reward_source: text("MANUAL"), ..reward() }, RewardState::Available, true),
            (Reward { reward_source: text("MANUAL"), ..reward() }, pending, false),
            (Reward { reward_source: text("MANUAL"), currency: None, ..reward() }, RewardState::Available, false),
        ] {
            assert_eq!(not_cancellable(&reward, state).is_some(), is_known, "{reward:?} {state:?}");
        }
    }
}
