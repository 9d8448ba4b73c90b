//! Answers and receipts as the templates show them: words, no decisions.

use super::masked::masked;
use crate::lookup::{Answer, AnswerKind as Answered, Found, KnownReferral, describe_coverage};
use crate::model::OrderId;
use crate::model::order_text::{has_url, invisible_marks, is_email, visible};
use crate::report::grouped;
use crate::retract::PreviousAttempt;
use crate::retract::checks::{Finding, Verdict};
use crate::retract::receipt::{Entry, Receipt};
use crate::retract::referral::ReferralLine;
use crate::serve::wording::{Surface, fitted};
use crate::serve::words;
use crate::store::ledger::{Retraction, State};

/// A percent-encoded value for a link.
pub(super) fn in_link(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// One order of an answer.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) link: String,
    pub(super) actions: Vec<Action>,
    /// Lines about the referrals of the rewards.
    pub(super) referrals: Vec<String>,
    /// The ID as a heading: marks that nobody sees are written out.
    pub(super) heading: String,
    /// Why there is none, in a sentence or two.
    pub(super) nothing: Option<String>,
    pub(super) basis: String,
    /// Orders that the text may mean: ID, link and difference.
    pub(super) candidates: Vec<(String, String, String)>,
    /// What the text is, if it is another ID than an order's.
    pub(super) related: Option<Related>,
    pub(super) searched: Option<String>,
    /// What the ledger has of it.
    pub(super) retractions: Vec<Line>,
}

/// The orders of what the text is: an ActionId, a reward ID, a participant.
pub(super) struct Related {
    pub(super) what: &'static str,
    /// ID and link of each.
    pub(super) orders: Vec<(String, String)>,
    pub(super) more: bool,
}

/// One action of an order, with its rewards.
pub(super) struct Action {
    pub(super) id: Option<String>,
    pub(super) rewards: Vec<Reward>,
}

/// One reward.
pub(super) struct Reward {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) source: String,
    pub(super) state: String,
    pub(super) amount: String,
    pub(super) program: String,
    pub(super) given: String,
    pub(super) remark: String,
}

/// One retraction of the ledger, in a line.
pub(super) struct Line {
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
    /// An order as the index and the ledger know it; accounts in clear where somebody asked for them and may see them.
    pub(super) fn of(answer: &Answer, retractions: &[Retraction], accounts: bool) -> Self {
        let mut actions: Vec<Action> = Vec::new();
        for found in &answer.matches {
            let id = found.action_id.as_ref().map(ToString::to_string);
            let reward = Reward::of(found, accounts);
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
            retractions: retractions.iter().rev().map(Line::of).collect(),
        }
    }

    /// Every ActionId of the order, each with its form in a link.
    pub(super) fn action_ids(&self) -> Vec<(String, String)> {
        self.actions.iter().filter_map(|action| action.id.clone()).map(|id| (id.clone(), in_link(&id))).collect()
    }
}

/// Why an order is not found.
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
    fn of(found: &Found, accounts: bool) -> Self {
        let account = found.account_id.as_str();
        let unit = found.unit.as_deref().unwrap_or_default();
        let amount = match (found.assigned, found.redeemed.unwrap_or(0)) {
            (None, _) => String::new(),
            (Some(assigned), 0) => format!("{assigned} {unit}"),
            (Some(assigned), redeemed) => format!("{assigned} {unit}, {redeemed} redeemed"),
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
            account: if accounts { account.to_owned() } else { masked(account) },
            source: found.reward_source.clone().unwrap_or_default(),
            state: found.state.to_string(),
            amount,
            program: found.program_id.clone().unwrap_or_default(),
            given: given.chars().take(10).collect(),
            remark: remarks.join(", "),
        }
    }
}

impl Line {
    pub(super) fn of(retraction: &Retraction) -> Self {
        let order = retraction.order_id.as_str();
        let newest = retraction.events.last().map_or(retraction.created_at.as_str(), |event| event.at.as_str());
        Self {
            id: retraction.id,
            order: order.to_owned(),
            order_link: in_link(order),
            action: retraction.action_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: retraction.state.as_str(),
            tone: words::tone_of(retraction.state),
            means: words::of_state(retraction.state),
            at: minute(newest),
            person: retraction.person.clone(),
            ticket: retraction.ticket.clone().unwrap_or_default(),
        }
    }
}

/// A moment to the minute, as people write it.
pub(super) fn minute(rfc3339: &str) -> String {
    let moment: Option<jiff::Timestamp> = rfc3339.parse().ok();
    moment.map_or_else(|| rfc3339.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// What would happen to an order.
pub(super) struct Verdicts {
    pub(super) tone: &'static str,
    pub(super) words: &'static str,
    pub(super) entries: Vec<Planned>,
    /// Whether there is something to send.
    pub(super) sends: bool,
    /// Stops that a lead may override, by name.
    pub(super) overridable: Vec<&'static str>,
    /// Why a second person would have to approve it.
    pub(super) approval: Option<String>,
    /// The name of this plan.
    pub(super) plan: String,
}

/// What would happen to one action.
pub(super) struct Planned {
    pub(super) what: String,
    pub(super) message: String,
    pub(super) findings: Vec<(&'static str, String, String)>,
    pub(super) rewards: Vec<[String; 4]>,
    /// Lines about the referrals of the rewards.
    pub(super) referrals: Vec<String>,
    pub(super) before: Vec<String>,
    /// What was seen of the program rule.
    pub(super) rules: Vec<String>,
}

impl Verdicts {
    /// The verdict of a dry run.
    pub(super) fn of(receipt: &Receipt) -> Self {
        let entries: Vec<&Entry> = receipt.retractions.iter().collect();
        let stops = entries.iter().any(|entry| entry.verdict == Some(Verdict::Stop));
        let sends = !stops && receipt.error.is_none() && entries.iter().any(|entry| entry.state == "would_send");
        let warns = entries.iter().any(|entry| entry.verdict == Some(Verdict::GoWithWarning));
        let (tone, words) = match (stops, sends, warns) {
            (true, ..) => ("bad", "Stop: it cannot be retracted as it is"),
            (false, true, true) => ("open", "It can be retracted, and there is something to know first"),
            (false, true, false) => ("good", "It can be retracted"),
            (false, false, _) => ("quiet", "There is nothing to send"),
        };
        let mut overridable: Vec<&'static str> = entries
            .iter()
            .flat_map(|entry| &entry.findings)
            .filter(|finding| finding.stops() || finding.overridden)
            .filter_map(|finding| finding.check.overridable())
            .map(crate::retract::overrides::Override::as_str)
            .collect();
        overridable.sort_unstable();
        overridable.dedup();
        Self {
            tone,
            words,
            sends,
            overridable,
            approval: receipt.approval.clone().filter(|_| sends),
            entries: entries.into_iter().map(Planned::of).collect(),
            plan: receipt.plan.clone().unwrap_or_default(),
        }
    }
}

impl Planned {
    fn of(entry: &Entry) -> Self {
        let what = match (&entry.action_id, &entry.action_tracker_id) {
            (Some(id), _) => format!("Action {id}"),
            (None, Some(tracker)) => format!("Every action under action tracker {tracker}"),
            (None, None) => "Action unknown".to_owned(),
        };
        let finding = |finding: &Finding| {
            let tone = if finding.stops() { "bad" } else { "open" };
            (tone, fitted(&finding.line(), Surface::Page), fitted(&finding.remedy, Surface::Page))
        };
        let rewards = entry.rewards.iter().map(|reward| {
            [
                reward.reward_id.clone(),
                reward.reward_source.clone().unwrap_or_default(),
                reward.amount(),
                reward.before.clone(),
            ]
        });
        // The command line speaks of its dry run; here the next step is a button.
        let message = match entry.state.as_str() {
            "would_send" => "Nothing has been sent yet. This action would be reversed, with Amount=0.".to_owned(),
            _ => fitted(&entry.message, Surface::Page),
        };
        Self {
            what,
            message,
            findings: entry.findings.iter().map(finding).collect(),
            rewards: rewards.collect(),
            referrals: entry.referrals.iter().flat_map(ReferralLine::lines).collect(),
            before: entry.attempts_before.iter().map(PreviousAttempt::line).collect(),
            rules: entry.rule_lines(),
        }
    }
}

/// A number as people read it.
pub(super) fn count(number: u64) -> String {
    grouped(number)
}

/// Whether anything of these is still on its way.
pub(super) fn is_open(retractions: &[Retraction]) -> bool {
    retractions.iter().any(|one| one.state.is_open() && one.state != State::Unconfirmed)
}
