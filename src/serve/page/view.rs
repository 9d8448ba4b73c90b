//! View models: convert answers and receipts for the templates. This module makes no decisions.

use askama::Template;

use super::mask::Masks;
use super::words;
use crate::lookup::Found;
use crate::model::grouped;
use crate::retract::checks::{Finding, Verdict};
use crate::retract::receipt::{Entry, EventLine, RewardLine};
use crate::serve::flag_names::{entry_for, without_flags};
use crate::serve::looking::Look;
use crate::serve::routes::Audience;
use crate::serve::ui_text;
use crate::store::ledger::{Retraction, State};

/// Percent-encodes a value for a link.
pub(super) fn in_link(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(super) struct Reward {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) source: String,
    pub(super) state: String,
    /// When recoup read the reward's state.
    pub(super) as_of: String,
    pub(super) amount: String,
    pub(super) program: String,
    pub(super) given: String,
    pub(super) remark: String,
}

pub(super) struct RetractionLine {
    pub(super) id: i64,
    pub(super) order: String,
    pub(super) order_link: String,
    pub(super) action: String,
    pub(super) state: &'static str,
    pub(super) tone: &'static str,
    pub(super) means: &'static str,
    pub(super) at: String,
    pub(super) person: String,
    pub(super) ticket: String,
}

impl Reward {
    pub(super) fn of(found: &Found, masks: Option<&Masks>) -> Self {
        let account = found.account_id.as_str();
        let in_words = |number| words::amount(number, found.unit.as_deref(), found.currency.as_deref());
        let amount = match (found.assigned, found.redeemed) {
            (Some(_), Some(1..)) => format!("{}, {} redeemed", in_words(found.assigned), in_words(found.redeemed)),
            _ => in_words(found.assigned),
        };
        let given = found.date_given.as_deref().or(found.date_created.as_deref()).unwrap_or_default();
        let mut remarks = Vec::new();
        if found.ambiguous {
            remarks.push("ambiguous");
        }
        if found.gone {
            remarks.push("no longer listed");
        }
        if found.cancellable == Some(false) {
            remarks.push("not cancellable");
        }
        Self {
            id: found.reward_id.to_string(),
            account: masks.map_or_else(|| account.to_owned(), |masks| masks.of_account(account)),
            source: found.reward_source.as_deref().map(words::source).unwrap_or_default(),
            state: words::state(found.state.as_str()).to_owned(),
            as_of: found.read_at.clone(),
            amount,
            program: found.program_id.clone().unwrap_or_default(),
            given: given.chars().take(10).collect(),
            remark: remarks.join(", "),
        }
    }
}

impl RetractionLine {
    pub(super) fn of(retraction: &Retraction) -> Self {
        let order = retraction.order_id.as_str();
        let newest = retraction.events.last().map_or(retraction.created_at.as_str(), |event| event.at.as_str());
        Self {
            id: retraction.id,
            order: order.to_owned(),
            order_link: in_link(order),
            action: retraction.action_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: words::retraction_state(retraction.state),
            tone: ui_text::tone_of(retraction.state),
            means: ui_text::meaning_of(retraction.state),
            at: newest.to_owned(),
            person: retraction.person.clone(),
            ticket: retraction.ticket.clone().unwrap_or_default(),
        }
    }
}

/// Formats a time in UTC to the minute.
pub(super) fn minute(rfc3339: &str) -> String {
    let moment: Option<jiff::Timestamp> = rfc3339.parse().ok();
    moment.map_or_else(|| rfc3339.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// A `<time>` element in UTC, to the minute. The page's script replaces the text of the element by the reader's local
/// time and adds the age.
#[derive(Template)]
#[template(source = r#"<time datetime="{{ rfc3339 }}">{{ text }}</time>"#, ext = "html")]
pub(super) struct Time {
    rfc3339: String,
    text: String,
}

pub(super) fn time(rfc3339: &str) -> Time {
    Time { rfc3339: rfc3339.to_owned(), text: minute(rfc3339) }
}

/// Returns when recoup read a reward's state. If the page itself has read the reward's state, returns the time of the
/// page.
pub(super) fn as_of(reward: &RewardLine, read_at: &str) -> Time {
    time(reward.as_of.as_deref().unwrap_or(read_at))
}

/// Describes a reward in words: its recipient, its amount, its newest known state.
pub(super) fn source_of(reward: &RewardLine) -> String {
    reward.reward_source.as_deref().map(words::source).unwrap_or_default()
}

pub(super) fn amount_of(reward: &RewardLine) -> String {
    words::amount(reward.assigned, reward.unit.as_deref(), reward.currency.as_deref())
}

pub(super) fn state_of(code: &str) -> &str {
    words::state(code)
}

/// Returns the name of a ledger event: the new state, or the kind of a note.
pub(super) fn event_of(event: &EventLine) -> &str {
    if event.kind == "state" { words::retraction_state(event.state) } else { &event.kind }
}

pub(super) struct Verdicts {
    pub(super) tone: &'static str,
    pub(super) heading: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) sends: bool,
    /// When the preflight read from the vendor.
    pub(super) read_at: String,
    /// Names of the checks that only a lead may override.
    pub(super) overridable: Vec<&'static str>,
    /// Why a second person must approve the retraction.
    pub(super) approval: Option<String>,
    /// The fingerprint of the plan.
    pub(super) plan: String,
}

impl Verdicts {
    pub(super) fn of(look: Look) -> Self {
        let (sends, stops) = (look.sends(), look.stops());
        let Look { receipt, read_at, .. } = look;
        let entries = &receipt.retractions;
        let warns = entries.iter().any(|entry| entry.verdict == Some(Verdict::GoWithWarning));
        let (tone, heading) = match (stops, sends, warns) {
            (true, ..) => ("bad", "It cannot be retracted: a check stops it"),
            (false, true, true) => ("open", "It can be retracted, with a warning"),
            (false, true, false) => ("good", "It can be retracted"),
            (false, false, _) => ("quiet", "There is nothing to send"),
        };
        let mut overridable: Vec<&'static str> = entries
            .iter()
            .flat_map(|entry| &entry.findings)
            .filter(|finding| finding.stops() || finding.overridden)
            .filter_map(|finding| finding.check.overridable())
            .map(crate::retract::checks::Override::as_str)
            .collect();
        overridable.sort_unstable();
        overridable.dedup();
        Self {
            tone,
            heading,
            sends,
            read_at: read_at.to_string(),
            overridable,
            approval: receipt.approval.filter(|_| sends).map(|why| words::with_units(&why)),
            plan: receipt.plan.unwrap_or_default(),
            entries: receipt.retractions.into_iter().map(|entry| entry_of(entry, stops)).collect(),
        }
    }
}

impl Verdicts {
    /// Returns the stops of a receipt entry, each as one line. If there is no stop, returns the warnings.
    pub(super) fn first_findings(&self) -> Vec<String> {
        let findings = || self.entries.iter().flat_map(|entry| &entry.findings);
        let stops: Vec<String> = findings().filter(|finding| finding.stops()).map(line_of).collect();
        if stops.is_empty() { findings().map(line_of).collect() } else { stops }
    }
}

/// Prepares a receipt entry for the page: stops come first. If a stop forbids the retraction, the page hides the remedy
/// of a warning, because the remedy says how to send the retraction.
fn entry_of(entry: Entry, stops: bool) -> Entry {
    let mut entry = entry_for(entry, Audience::Page);
    arrange(&mut entry.findings, stops);
    entry
}

fn arrange(findings: &mut [Finding], stops: bool) {
    findings.sort_by_key(|finding| !finding.stops());
    for finding in findings.iter_mut().filter(|finding| stops && !finding.stops()) {
        finding.remedy.clear();
    }
}

pub(super) fn line_of(finding: &Finding) -> String {
    ui_text::with_times(&without_flags(&finding.line(), Audience::Page))
}

/// Writes a code with spaces: `not_received` becomes `not received`.
pub(super) fn spaced(code: &str) -> String {
    code.replace('_', " ")
}

/// Formats a number with its digits grouped.
pub(super) fn count(number: u64) -> String {
    grouped(number)
}

/// Returns `true` if any retraction may still change its state without a user's action.
pub(super) fn is_open(retractions: &[Retraction]) -> bool {
    retractions.iter().any(|one| one.state.is_open() && one.state != State::Unconfirmed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retract::checks::{Check, Findings};

    #[test]
    fn no_warning_advises_to_send_under_a_stop() {
        let mut findings = Findings::default();
        findings.warn(Check::OldEvent, "old", "send it now or not at all");
        let arranged = |findings: &Findings, stops: bool| {
            let mut list = findings.list().to_vec();
            arrange(&mut list, stops);
            list.into_iter().map(|finding| (finding.check, finding.remedy)).collect::<Vec<_>>()
        };
        assert_eq!(arranged(&findings, false), [(Check::OldEvent, "send it now or not at all".to_owned())]);
        findings.stop(Check::Redeemed, "too late", "talk to them");
        assert_eq!(
            arranged(&findings, true),
            [(Check::Redeemed, "talk to them".to_owned()), (Check::OldEvent, String::new())]
        );
    }
}
