//! Approvals: the policy, the requests for a second person's approval, and the answers. The ledger stores a policy, a
//! request or an answer as an event that concerns the ledger as a whole.
//!
//! The newest approval policy is in force. The number of an approval is the number of its request's event. Events never
//! change, so an auditor can later see who approved a request. No person can approve their own request, even if they
//! sign in under another name.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::redaction::restore;
use super::{Entry, Ledger, insert_event};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::store::db::{DbError, Tx};

/// The kind of the events that set the approval policy.
const POLICY: &str = "policy";

/// The kind of the events that belong to an approval.
pub(super) const APPROVAL: &str = "approval";

/// A request for approval lapses if it is unanswered for this long.
const ASKED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An approval lapses if it is unused for this long.
const HOLDS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The conditions under which a retraction needs a second person's approval. By default, no retraction needs approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Every retraction and adjustment needs approval.
    pub always: bool,
    /// Overriding a stop needs approval, and so does sending a request again.
    pub overrides: bool,
    /// Sending more than this number of orders at once needs approval.
    pub count: Option<u64>,
    /// Sending more than this total value at once, in any unit of the rewards, needs approval.
    pub value: Option<u64>,
}

/// The stages from the request of an approval to its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Asked,
    Approved,
    Declined,
    /// A person withdrew the approval, or the account of the requester or approver was disabled.
    Withdrawn,
    Used,
    /// The request was not answered in time, or the approval was not used in time.
    Lapsed,
}

impl Stage {
    const ALL: [Self; 6] = [Self::Asked, Self::Approved, Self::Declined, Self::Withdrawn, Self::Used, Self::Lapsed];

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }

    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::as_str)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Used => "used",
            Self::Lapsed => "lapsed",
        }
    }

    /// Returns `true` if an approval may move from this stage to `next`.
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Asked => matches!(next, Self::Approved | Self::Declined | Self::Withdrawn),
            Self::Approved => matches!(next, Self::Used | Self::Withdrawn),
            _ => false,
        }
    }
}

/// A request for approval.
#[derive(Debug, Clone)]
pub struct NewApproval<'a> {
    /// The unique name of the plan.
    pub name: &'a str,
    /// The reason why the plan needs a second person's approval.
    pub why: &'a str,
    /// The plan as JSON, for the code that executes it.
    pub subject: Value,
    /// The reason in the requester's words.
    pub reason: Option<&'a str>,
    pub ticket: Option<&'a str>,
}

/// What a person may no longer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Whether the person may request no retraction.
    pub requests: bool,
    /// Whether the person may approve no request.
    pub approvals: bool,
    /// The reason, for the ledger.
    pub why: &'static str,
}

/// A request for approval and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Approval {
    /// The number of the request's event.
    pub id: i64,
    /// The unique name of the plan.
    pub name: String,
    #[schema(value_type = String)]
    pub stage: Stage,
    /// The time of the request, RFC 3339.
    pub asked_at: String,
    /// The person who requested the approval.
    pub person: String,
    /// The requester's machine.
    pub host: String,
    /// Every name of the requester.
    #[serde(skip)]
    pub names: Vec<String>,
    /// The reason why the plan needs a second person's approval.
    pub why: String,
    /// The requested change.
    #[schema(value_type = Object)]
    pub subject: Value,
    /// The reason in the requester's words.
    pub reason: Option<String>,
    pub ticket: Option<String>,
    /// The time of the answer, RFC 3339; `null` if the request is unanswered.
    pub decided_at: Option<String>,
    /// The person who answered the request.
    pub decided_by: Option<String>,
    /// Every name of the person who answered the request.
    #[serde(skip)]
    pub decider_names: Vec<String>,
    /// The answer's reason in the words of the person who answered.
    pub words: Option<String>,
}

impl Ledger {
    /// Returns the approval policy in force.
    pub fn policy(&self) -> Result<Policy> {
        let policy = "SELECT details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id DESC LIMIT 1";
        let newest = self.conn.read(|tx| tx.opt(policy, &[&POLICY], |row| row.get::<String>(0)))?;
        let Some(text) = newest else { return Ok(Policy::default()) };
        // An approval policy that cannot be parsed must not turn the limits off.
        serde_json::from_str(&text)
            .map_err(|error| Error::new(Kind::Storage, format!("the approval limits cannot be read: {error}")))
    }

    /// Sets the approval policy for every user of this ledger.
    pub fn set_policy(&self, policy: &Policy, now: Timestamp) -> Result<()> {
        self.note_ledger(POLICY, &policy.describe(), &json!(policy), now)
    }

    /// Requests approval of a plan. If the same person has already requested approval of the same plan, returns the
    /// open request.
    pub fn ask_approval(&self, new: &NewApproval<'_>, now: Timestamp) -> Result<Approval> {
        let names = self.actor.names();
        let has_words = |one: &Approval| (one.reason.as_deref(), one.ticket.as_deref()) == (new.reason, new.ticket);
        let is_same = |one: &Approval| {
            one.name == new.name && has_words(one) && one.stage == Stage::Asked && shares(&one.names, &names)
        };
        let details = json!({
            "stage": Stage::Asked, "name": new.name, "names": names, "why": new.why, "subject": new.subject,
            "reason": new.reason, "ticket": new.ticket,
        });
        let message = format!("a second person is needed: {}", new.why);
        // The check and the insert share one transaction, so that two processes do not add two requests for one plan.
        let id = self.transact(|tx, actor| match all(tx, now)?.into_iter().find(|one| is_same(one)) {
            Some(open) => Ok(open.id),
            None => insert_event(tx, &Entry::of_ledger(APPROVAL, &message, &details), actor, now),
        })?;
        self.approval(id, now)
    }

    pub fn approval(&self, id: i64, now: Timestamp) -> Result<Approval> {
        self.approvals(now)?.into_iter().find(|one| one.id == id).ok_or_else(|| no_such(id))
    }

    /// Returns every approval, newest first.
    pub fn approvals(&self, now: Timestamp) -> Result<Vec<Approval>> {
        self.conn.read(|tx| all(tx, now))
    }

    /// Moves an approval to its next stage on behalf of the ledger's actor. No person can approve or decline their own
    /// request. Requester and approver may both withdraw an approval.
    pub fn decide(&self, id: i64, next: Stage, words: Option<&str>, now: Timestamp) -> Result<Approval> {
        let names = self.actor.names();
        self.transact(|tx, actor| {
            let one = all(tx, now)?.into_iter().find(|one| one.id == id).ok_or_else(|| no_such(id))?;
            if !one.stage.may_become(next) {
                let hint = match one.stage {
                    Stage::Used => "what it allowed was begun before; the history has what was sent",
                    _ => "`recoup approval list` shows what is open; nothing was sent",
                };
                return Err(Error::new(Kind::Refused, format!("approval {id} is {}", one.stage.as_str()))
                    .hint(hint)
                    .into());
            }
            if shares(&one.names, &names) && matches!(next, Stage::Approved | Stage::Declined) {
                return Err(Error::new(
                    Kind::Refused,
                    format!("approval {id} was asked for by {}: nobody approves their own", one.person),
                )
                .hint("ask another lead; nothing was sent")
                .into());
            }
            let message = format!("approval {id} {} by {}", next.as_str(), actor.person);
            let details = json!({ "approval": id, "stage": next, "names": names, "reason": words });
            insert_event(tx, &Entry::of_ledger(APPROVAL, &message, &details), actor, now)
        })?;
        self.approval(id, now)
    }

    /// Withdraws every open approval that was requested or approved under one of these names, as far as the person has lost the
    /// right to.
    pub fn withdraw_all_of(&self, names: &[String], lost: &Lost, now: Timestamp) -> Result<Vec<i64>> {
        let asked = |one: &Approval| lost.requests && shares(&one.names, names);
        let concerns = |one: &Approval| match one.stage {
            Stage::Asked => asked(one),
            Stage::Approved => asked(one) || (lost.approvals && shares(&one.decider_names, names)),
            _ => false,
        };
        let ids: Vec<i64> = self.approvals(now)?.iter().filter(|one| concerns(one)).map(|one| one.id).collect();
        for id in &ids {
            self.decide(*id, Stage::Withdrawn, Some(lost.why), now)?;
        }
        Ok(ids)
    }
}

impl Policy {
    /// Describes the approval policy in one sentence.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.always {
            parts.push("everything that is sent".to_owned());
        }
        if self.overrides {
            parts.push("every override and every further attempt".to_owned());
        }
        if let Some(count) = self.count {
            parts.push(format!("more than {} at once", counted(count, "order")));
        }
        if let Some(value) = self.value {
            parts.push(format!("more than {value} at once in any unit"));
        }
        if parts.is_empty() {
            "nothing needs a second person".to_owned()
        } else {
            format!("a second person must approve {}", parts.join(", "))
        }
    }
}

impl Approval {
    /// Describes the requested change in a few words.
    pub fn describe(&self) -> String {
        let text = |key: &str| self.subject[key].as_str().unwrap_or_default();
        match text("what") {
            "batch" | "file" => {
                let orders = self.subject["orders"].as_u64().unwrap_or_default();
                format!("{} of {}", text("what"), counted(orders, "order"))
            }
            "reward" => format!("reward {} of order {}", text("reward_id"), text("order_id")),
            what => format!("{what} of order {}", text("order_id")),
        }
    }

    /// Returns `true` if the approval is approved and has not lapsed.
    pub fn holds(&self, now: Timestamp) -> bool {
        let decided = self.decided_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        decided.is_some_and(|at| now.duration_since(at) <= HOLDS_FOR)
    }

    /// Returns `true` if the approval was requested under one of these names.
    pub fn is_of(&self, names: &[String]) -> bool {
        shares(&self.names, names)
    }
}

/// Returns `true` if two lists of names have a name in common, which means that both belong to one person.
fn shares(these: &[String], those: &[String]) -> bool {
    these.iter().any(|name| those.contains(name))
}

fn no_such(id: i64) -> Error {
    Error::new(Kind::Failed, format!("there is no approval {id} in this ledger"))
        .hint("`recoup approval list` shows what is open")
}

/// Builds every approval from its events, the newest first.
fn all(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Approval>, DbError> {
    let events =
        "SELECT id, at, person, host, details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id";
    let mut known: BTreeMap<i64, Approval> = BTreeMap::new();
    tx.each(events, &[&APPROVAL], |row| {
        let details: Value = serde_json::from_str(row.get(4)?).unwrap_or_default();
        let details = restore(tx, &details)?;
        let text = |key: &str| details[key].as_str().map(str::to_owned);
        let names = serde_json::from_value(details["names"].clone()).unwrap_or_default();
        let stage = serde_json::from_value(details["stage"].clone()).unwrap_or(Stage::Withdrawn);
        let (id, at, person): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        match details["approval"].as_i64() {
            None => {
                let one = Approval {
                    id,
                    name: text("name").unwrap_or_default(),
                    stage,
                    asked_at: at,
                    person,
                    host: row.get(3)?,
                    names,
                    why: text("why").unwrap_or_default(),
                    subject: details["subject"].clone(),
                    reason: text("reason"),
                    ticket: text("ticket"),
                    decided_at: None,
                    decided_by: None,
                    decider_names: Vec::new(),
                    words: None,
                };
                known.insert(id, one);
            }
            Some(of) => {
                if let Some(one) = known.get_mut(&of) {
                    one.stage = stage;
                    // The event `used` records the use of an approval, not a decision. The approver stays the same.
                    if stage != Stage::Used {
                        (one.decided_at, one.decided_by, one.decider_names) = (Some(at), Some(person), names);
                        one.words = text("reason");
                    }
                }
            }
        }
        Ok(())
    })?;
    let mut list: Vec<Approval> = known.into_values().rev().collect();
    for one in &mut list {
        let since = match one.stage {
            Stage::Asked => Some((one.asked_at.as_str(), ASKED_FOR)),
            Stage::Approved => one.decided_at.as_deref().map(|at| (at, HOLDS_FOR)),
            _ => None,
        };
        let has_lapsed =
            since.is_some_and(|(at, limit)| at.parse::<Timestamp>().is_ok_and(|at| now.duration_since(at) > limit));
        if has_lapsed {
            one.stage = Stage::Lapsed;
        }
    }
    Ok(list)
}
