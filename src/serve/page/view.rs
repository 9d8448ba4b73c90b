//! View models: convert answers and receipts for the templates. They make no decisions.

use askama::Template;

use super::mask::Masks;
use super::words;
use crate::lookup::{Answer, AnswerKind as Answered, Found, KnownReferral, describe_coverage};
use crate::model::order_text::{has_url, invisible_marks, is_email, visible};
use crate::model::{OrderId, grouped};
use crate::retract::checks::{Finding, Verdict};
use crate::retract::receipt::{Entry, RewardLine};
use crate::serve::flag_names::{entry_for, without_flags};
use crate::serve::looking::Look;
use crate::serve::routes::Audience;
use crate::serve::ui_text;
use crate::store::ledger::{Retraction, State};

/// Percent-encodes a value for a link.
pub(super) fn in_link(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(super) struct Order {
    pub(super) id: String,
    pub(super) link: String,
    pub(super) actions: Vec<Action>,
    /// Texts about the referrals of the order's rewards.
    pub(super) referrals: Vec<String>,
    /// The order ID, with visible escapes for invisible characters.
    pub(super) heading: String,
    /// Why the order was not found.
    pub(super) nothing: Option<String>,
    pub(super) basis: String,
    /// Orders that the text may mean: ID, link, and how the ID differs from the text.
    pub(super) candidates: Vec<(String, String, String)>,
    /// The related orders, if the text is the ID of an action, a reward or a participant.
    pub(super) related: Option<Related>,
    pub(super) searched: Option<String>,
    pub(super) retractions: Vec<RetractionLine>,
    /// Whether a retraction of the order is confirmed. The page then reads from the vendor only if the user requests it.
    pub(super) is_proven: bool,
}

/// The orders that belong to an ActionId, a reward ID or a participant.
pub(super) struct Related {
    pub(super) what: &'static str,
    /// Order ID and link.
    pub(super) orders: Vec<(String, String)>,
    pub(super) more: bool,
}

pub(super) struct Action {
    pub(super) id: Option<String>,
    pub(super) rewards: Vec<Reward>,
}

pub(super) struct Reward {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) source: String,
    pub(super) state: String,
    /// When the reward's state was read.
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

impl Order {
    /// Builds the view of an answer. Without `masks`, accounts are shown unmasked.
    pub(super) fn of(answer: &Answer, retractions: &[Retraction], masks: Option<&Masks>) -> Self {
        let mut actions: Vec<Action> = Vec::new();
        for found in &answer.matches {
            let id = found.action_id.as_ref().map(ToString::to_string);
            let reward = Reward::of(found, masks);
            match actions.iter_mut().find(|action| action.id == id) {
                Some(action) => action.rewards.push(reward),
                None => actions.push(Action { id, rewards: vec![reward] }),
            }
        }
        let shown = |order: &OrderId| (visible(order.as_str()).into_owned(), in_link(order.as_str()));
        let candidates = answer.candidates.iter().map(|known| {
            let (id, link) = shown(&known.order_id);
            (id, link, known.because.clone())
        });
        Self {
            id: answer.order_id.as_str().to_owned(),
            heading: visible(answer.order_id.as_str()).into_owned(),
            link: in_link(answer.order_id.as_str()),
            actions,
            referrals: answer.referrals.iter().map(KnownReferral::line).collect(),
            nothing: nothing(answer),
            basis: describe_coverage(&answer.coverage),
            candidates: candidates.collect(),
            related: answer.related.as_ref().map(|related| Related {
                what: related.kind.describe(),
                orders: related.orders.iter().map(shown).collect(),
                more: related.more,
            }),
            searched: answer.searched.as_ref().map(crate::lookup::VendorSearch::describe),
            is_proven: retractions.iter().any(|one| matches!(one.state, State::Confirmed | State::Partial)),
            retractions: retractions.iter().rev().map(RetractionLine::of).collect(),
        }
    }

    /// Returns every ActionId of the order, as text and percent-encoded for a link.
    pub(super) fn action_ids(&self) -> Vec<(String, String)> {
        self.actions.iter().filter_map(|action| action.id.clone()).map(|id| (id.clone(), in_link(&id))).collect()
    }
}

/// Returns why the order was not found; `None` if it was found.
fn nothing(answer: &Answer) -> Option<String> {
    if answer.is_found() {
        return None;
    }
    let text = answer.order_id.as_str();
    let marks = invisible_marks(text).map(|marks| format!("The pasted text has {marks}.")).into_iter();
    let why = match answer.verdict {
        _ if !answer.candidates.is_empty() => "No order is written exactly like this.",
        _ if answer.related.is_some() => "This is not an order ID.",
        Answered::Unclear if has_url(text) => {
            "This is a URL, and no part of it is a known order. Paste the order ID itself."
        }
        Answered::Unclear if is_email(text) => "This is an e-mail address, and the index knows no participant by it.",
        Answered::Unclear => "No order is written like this, with or without that.",
        _ if answer.is_without_index() => "There is no answer: nothing has been crawled yet.",
        Answered::NotAReferral => "This is not a referral order.",
        _ => "It is not in what has been read so far.",
    };
    let unclear = (answer.verdict == Answered::Unclear).then(|| "Unclear.".to_owned());
    Some(unclear.into_iter().chain(marks).chain([why.to_owned()]).collect::<Vec<_>>().join(" "))
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
            state: retraction.state.as_str(),
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

/// A `<time>` element in UTC, to the minute. The script replaces it by the reader's local time and adds how long ago it was.
#[derive(Template)]
#[template(source = r#"<time datetime="{{ rfc3339 }}">{{ text }}</time>"#, ext = "html")]
pub(super) struct Time {
    rfc3339: String,
    text: String,
}

pub(super) fn time(rfc3339: &str) -> Time {
    Time { rfc3339: rfc3339.to_owned(), text: minute(rfc3339) }
}

/// When a reward's state was read. The time of the page, if the page itself has read it.
pub(super) fn as_of(reward: &RewardLine, read_at: &str) -> Time {
    time(reward.as_of.as_deref().unwrap_or(read_at))
}

/// Describes a reward: its recipient, its amount, its newest known state.
pub(super) fn source_of(reward: &RewardLine) -> String {
    reward.reward_source.as_deref().map(words::source).unwrap_or_default()
}

pub(super) fn amount_of(reward: &RewardLine) -> String {
    words::amount(reward.assigned, reward.unit.as_deref(), reward.currency.as_deref())
}

pub(super) fn state_of(code: &str) -> &str {
    words::state(code)
}

pub(super) struct Verdicts {
    pub(super) tone: &'static str,
    pub(super) heading: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) sends: bool,
    /// When the preflight read from the vendor.
    pub(super) read_at: String,
    /// Names of the checks that a lead may override.
    pub(super) overridable: Vec<&'static str>,
    /// Why a second person must approve the retraction.
    pub(super) approval: Option<String>,
    /// The fingerprint of the plan.
    pub(super) plan: String,
}

impl Verdicts {
    pub(super) fn of(look: Look) -> Self {
        let Look { receipt, read_at, .. } = look;
        let entries = &receipt.retractions;
        let stops = entries.iter().any(|entry| entry.verdict == Some(Verdict::Stop));
        let sends = !stops && receipt.error.is_none() && entries.iter().any(|entry| entry.state == "would_send");
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
            approval: receipt.approval.filter(|_| sends),
            plan: receipt.plan.unwrap_or_default(),
            entries: receipt.retractions.into_iter().map(|entry| entry_of(entry, stops)).collect(),
        }
    }
}

/// Prepares a receipt entry for the page: stops come first. The remedy of a warning says how to send the retraction, so it
/// is removed if the retraction is stopped.
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
    without_flags(&finding.line(), Audience::Page)
}

/// Writes a code with spaces: `not_received` becomes `not received`.
pub(super) fn spaced(code: &str) -> String {
    code.replace('_', " ")
}

/// Formats a number with its digits grouped.
pub(super) fn count(number: u64) -> String {
    grouped(number)
}

/// Whether any retraction may still change its state without a user's action.
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
