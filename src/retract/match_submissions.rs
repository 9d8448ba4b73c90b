//! Searches the vendor's list of submissions for a request that the vendor did not answer. The search finds that the
//! request was *received* or *not received*, or that the list leaves this *not certain*.
//!
//! `match_submissions` does no I/O. A listed submission matches a request by identifier, disposition code, amount and
//! time. A request is *not received* only if two complete lists, read an hour apart, both lack it. A possible match or
//! a gap in the submissions list makes the result *not certain*. The search is cautious because a person may resend a
//! request that was *not received*.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::decimal::Decimal;
use crate::model::{OrderId, Target};
use crate::store::ledger::{Retraction, State};
use crate::vendor::Submission;

/// Tolerated difference between the vendor's clock and this machine's. A submission may be the request even if its date
/// precedes the send by this time.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(10);

/// When recoup reads the submissions list, and how many pages it reads.
#[derive(Debug, Clone, Copy)]
pub struct ResolverSettings {
    /// Minimum delay after the send, and between two reads of the submissions list.
    pub list_after: Duration,
    /// Minimum time between the two submissions lists that prove an absence, and between the send and the second list.
    /// The gap before the third submissions list is three times as long, and the gap before each later list is six
    /// times as long.
    pub list_gap: Duration,
    /// Maximum number of pages of the submissions list that recoup reads. A submissions list with more pages counts as
    /// incomplete.
    pub list_pages: usize,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self { list_after: Duration::from_mins(5), list_gap: Duration::from_hours(1), list_pages: 100 }
    }
}

/// The request that recoup searches for in the submissions list.
#[derive(Debug, Clone)]
pub struct SentRequest<'a> {
    pub target: &'a Target,
    pub order_id: &'a OrderId,
    pub disposition: &'a str,
    /// The form fields of an adjustment, which must all match the listed submission; `None` for a reversal.
    pub change: Option<&'a [(String, String)]>,
    pub sent_at: Timestamp,
    /// Batch IDs of other requests in the ledger.
    pub others: &'a BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchResult {
    Found {
        batch_id: String,
        /// The link for reading the submission; `None` if the submissions list has no link.
        uri: Option<String>,
    },
    /// A listed submission may be the request. The text says why the match is uncertain.
    Unclear(String),
    /// The submissions list has no submission that can be the request.
    Absent,
}

/// One reading of the submissions list, in the form that the ledger stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReading {
    pub at: Timestamp,
    /// Whether recoup read the list to its end, and the list has every submission that the vendor acknowledged.
    pub whole: bool,
    /// Number of submissions in the vendor's list.
    pub rows: usize,
    /// Whether the submissions list is complete and no listed submission can be the request.
    pub absent: bool,
    /// Why the request may still be in the submissions list.
    #[serde(rename = "doubt")]
    pub unclear: Option<String>,
}

/// Kind of the ledger note that holds a [`ListReading`] under `list`.
pub const LIST_READING: &str = "look";

/// Returns the readings of the submissions list since the last send, oldest first.
pub fn readings_of(retraction: &Retraction) -> Vec<ListReading> {
    let sent = retraction.events.iter().rposition(|event| event.state == State::Sending && event.changes_state());
    let since = sent.map_or(&retraction.events[..], |sent| &retraction.events[sent..]);
    let looks = since.iter().filter(|event| event.kind == LIST_READING);
    looks.filter_map(|event| serde_json::from_value(event.details["list"].clone()).ok()).collect()
}

/// Returns the batch ID of a submission, and the last part of its link. The batch ID and the last part of the link may
/// differ (`docs/vendor/contradictions.md` 12).
pub fn names_of(row: &Submission) -> impl Iterator<Item = String> {
    let linked = link_of(row).and_then(|link| last_part(&link).map(str::to_owned));
    row.batch_id.clone().into_iter().chain(linked)
}

/// Returns the link of a submission. Without a link, returns the documented path if the batch ID is valid in a path.
pub fn uri_of(row: &Submission) -> Option<String> {
    let is_plain = |id: &&String| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    link_of(row).or_else(|| row.batch_id.as_ref().filter(is_plain).map(|id| format!("APISubmissions/{id}")))
}

fn link_of(row: &Submission) -> Option<String> {
    let raw: Value = serde_json::from_str(&row.raw).ok()?;
    raw["Uri"].as_str().filter(|link| !link.trim().is_empty()).map(str::to_owned)
}

/// Returns the last part of a submission's link, which identifies the submission.
pub fn last_part(link: &str) -> Option<&str> {
    link.rsplit('/').find(|part| !part.is_empty())
}

pub fn search(request: &SentRequest<'_>, rows: &[Submission]) -> SearchResult {
    let earliest = request.sent_at.checked_sub(CLOCK_TOLERANCE).unwrap_or(Timestamp::MIN);
    let mut unclear = None;
    let mut found: Option<(SignedDuration, SearchResult)> = None;
    let mut alike = 0;
    for row in rows.iter().filter(|row| !names_of(row).any(|name| request.others.contains(&name))) {
        let Some(likeness) = compare(request, row) else { continue };
        let at = row.submitted_at();
        if at.is_some_and(|at| at < earliest) {
            continue;
        }
        match (likeness, at) {
            (Ok(()), Some(at)) => {
                alike += 1;
                let apart = at.duration_since(request.sent_at).abs();
                match names_of(row).next() {
                    // If several submissions match, recoup takes the submission dated closest to the send.
                    Some(batch_id) if found.as_ref().is_none_or(|(least, _)| apart < *least) => {
                        found = Some((apart, SearchResult::Found { batch_id, uri: uri_of(row) }));
                    }
                    Some(_) => {}
                    None => unclear = Some("a submission like it has neither a batch ID nor a link".to_owned()),
                }
            }
            (Ok(()), None) => unclear = Some("a submission like it has no date that can be read".to_owned()),
            (Err(why), _) => unclear = Some(why.to_owned()),
        }
    }
    if request.change.is_some() && alike > 1 {
        // Another person may have sent the same change. Therefore either submission may be this request.
        return SearchResult::Unclear("several submissions ask for the same change".to_owned());
    }
    match (found, unclear) {
        (Some((_, found)), _) => found,
        (None, Some(why)) => SearchResult::Unclear(why),
        (None, None) => SearchResult::Absent,
    }
}

/// Compares a listed submission with the request, but not their times. Returns `Some(Err(reason))` for an uncertain
/// match, and `None` if the submission is another request.
fn compare(request: &SentRequest<'_>, row: &Submission) -> Option<Result<(), &'static str>> {
    let kind = row.submission_type.as_deref().unwrap_or_default();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if is("Conversion") {
        return None;
    }
    if !row.is_about(request.target) {
        let silent = match request.target {
            // A submission without an ActionId may refer to this action.
            Target::Action(_) => row.sent("ActionId").is_none(),
            Target::Order { .. } => row.payload.is_empty(),
        };
        let order = row.sent("OrderId").or_else(|| row.sent("Oid")).or(row.order_id.as_ref().map(OrderId::as_str));
        let same_order = order == Some(request.order_id.as_str());
        return match (silent, same_order, order.is_none()) {
            (true, true, _) => Some(Err("a submission for the same order does not say which action it is about")),
            (true, false, true) => Some(Err("a submission does not say what it is about")),
            _ => None,
        };
    }
    if let Some(form) = request.change {
        return compare_change(form, row);
    }
    // The vendor's newest schema has no `Amount` for a reversal (`docs/vendor/contradictions.md` 3). Therefore the
    // submissions list may omit the amount of a reversal.
    let zero = row.sent("Amount").is_none_or(|amount| amount.trim().parse::<f64>().is_ok_and(|amount| amount == 0.0));
    let same_code =
        row.sent("DispositionCode").map(|code| code.trim().eq_ignore_ascii_case(request.disposition.trim()));
    match (same_code, zero) {
        (Some(true), true) => Some(Ok(())),
        // A reversal has amount 0. Therefore a submission with another amount is an adjustment.
        (_, false) => None,
        (None, true) => Some(Err("a submission for the same action does not say its disposition code")),
        // The vendor lists a reversal as a modification if the original amount is 0 (`docs/vendor/contradictions.md`
        // 4), and keeps the reversal's disposition code. A modification with a different disposition code is a
        // different request.
        (Some(false), true) if is("Modification") => None,
        (Some(false), true) => Some(Err("the same action was reversed with another disposition code")),
    }
}

/// Returns `true` if every field of a listed submission matches this adjustment.
pub fn is_this_change(form: &[(String, String)], row: &Submission) -> bool {
    compare_change(form, row) == Some(Ok(()))
}

/// Returns the form fields of the sent request.
pub fn form_of(retraction: &Retraction) -> Vec<(String, String)> {
    let sent = retraction.detail("request").and_then(|request| request["parameters"].as_object());
    let fields = sent.into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Compares a listed submission with an adjustment: every field of the form must match.
fn compare_change(form: &[(String, String)], row: &Submission) -> Option<Result<(), &'static str>> {
    if row.submission_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Reversal")) {
        return None;
    }
    let number = |text: &str| Decimal::parse(text);
    let same = |one: &str, other: &str| {
        one.trim() == other.trim() || number(one).is_some_and(|one| Some(one) == number(other))
    };
    let differs = form.iter().any(|(key, value)| row.sent(key).is_some_and(|sent| !same(sent, value)));
    let items = |names: &mut dyn Iterator<Item = &String>| names.filter(|name| is_of_an_item(name)).count();
    let more = items(&mut row.payload.iter().map(|(key, _)| key)) > items(&mut form.iter().map(|(key, _)| key));
    if differs || more {
        return None;
    }
    let whole = form.iter().all(|(key, _)| row.sent(key).is_some());
    Some(if whole { Ok(()) } else { Err("a submission for the same action does not show all of what was sent") })
}

/// Returns `true` if a form field of an adjustment describes an item or the amount.
fn is_of_an_item(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
    matches!(name.as_str(), "sku" | "quantity" | "amount" | "itemsubtotaldelta")
}

/// Returns `true` if two readings of the submissions list prove that the vendor did not receive the request.
pub fn is_not_received(sent_at: Timestamp, looks: &[ListReading], settings: &ResolverSettings) -> bool {
    let Some(last) = looks.last().filter(|look| look.absent) else { return false };
    let apart = |from: Timestamp, time: Duration| has_passed(from, time, last.at);
    // If the newest reading of the submissions list is uncertain, an earlier absence does not count.
    let first = looks.iter().find(|look| look.absent && has_passed(sent_at, settings.list_after, look.at));
    apart(sent_at, settings.list_gap) && first.is_some_and(|first| apart(first.at, settings.list_gap))
}

pub fn next_list_at(sent_at: Timestamp, looks: &[ListReading], settings: &ResolverSettings) -> Timestamp {
    let (from, pause) = match (looks.last(), looks.len()) {
        (None, _) => (sent_at, settings.list_after),
        (Some(last), 1) => (last.at, settings.list_gap),
        (Some(last), 2) => (last.at, settings.list_gap.saturating_mul(3)),
        (Some(last), _) => (last.at, settings.list_gap.saturating_mul(6)),
    };
    SignedDuration::try_from(pause).ok().and_then(|pause| from.checked_add(pause).ok()).unwrap_or(Timestamp::MAX)
}

pub fn has_passed(from: Timestamp, time: Duration, to: Timestamp) -> bool {
    Duration::try_from(to.duration_since(from)).is_ok_and(|passed| passed >= time)
}

#[cfg(test)]
mod tests;
