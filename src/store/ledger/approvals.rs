//! What needs a second person, who asked, and who said yes: events of the ledger as a whole, in its chain.
//!
//! The policy in force is the newest one; an approval is the events of its number, which is the number of the event that asked for it.
//! Nothing here is ever changed, so that months later it can be told who approved what. It must never let anybody approve what
//! they have asked for themselves, under any of their names.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::seal::unseal;
use super::{Entry, Ledger, insert_event};
use crate::error::{Error, Kind, Result};

/// The kind of an event that sets the policy.
const POLICY: &str = "policy";

/// The kind of an event of an approval.
pub(super) const APPROVAL: &str = "approval";

/// Nobody is asked for longer.
const ASKED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A yes holds this long.
const HOLDS_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What needs a second person. By default nothing does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Everything.
    pub always: bool,
    /// Whatever overrides a stop, or sends again.
    pub overrides: bool,
    /// More orders at once than this.
    pub count: Option<u64>,
    /// More value at once than this, in any unit of the rewards.
    pub value: Option<u64>,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Somebody has asked.
    Asked,
    /// A second person has said yes.
    Approved,
    /// A second person has said no.
    Declined,
    /// It was taken back, or whoever asked or approved may no longer.
    Withdrawn,
    /// It was carried out.
    Used,
    /// Nobody answered, or nobody carried it out, in time.
    Lapsed,
}

impl Stage {
    /// The word for it.
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

    /// Whether `next` may follow.
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Asked => matches!(next, Self::Approved | Self::Declined | Self::Withdrawn),
            Self::Approved => matches!(next, Self::Used | Self::Withdrawn),
            _ => false,
        }
    }
}

/// What is to be approved.
#[derive(Debug, Clone)]
pub struct NewApproval<'a> {
    /// The name of exactly this: another plan has another name.
    pub name: &'a str,
    /// Why it needs a second person.
    pub why: &'a str,
    /// What it is, as whoever carries it out understands it.
    pub subject: Value,
    /// A person's words.
    pub reason: Option<&'a str>,
    /// Their ticket.
    pub ticket: Option<&'a str>,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Approval {
    /// Its number.
    pub id: i64,
    /// The name of exactly what was asked for.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub stage: Stage,
    /// When it was asked for, RFC 3339.
    pub asked_at: String,
    /// Who asked.
    pub person: String,
    /// Where.
    pub host: String,
    /// Every name of who asked.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Why it needs a second person.
    pub why: String,
    /// What it is.
    #[schema(value_type = Object)]
    pub subject: Value,
    /// Why it is to be done, in their words.
    pub reason: Option<String>,
    /// Their ticket.
    pub ticket: Option<String>,
    /// When it got there, RFC 3339; `null` while nobody has answered.
    pub decided_at: Option<String>,
    /// Who has answered.
    pub decided_by: Option<String>,
    /// Every name of who has answered.
    #[serde(skip)]
    pub decider_names: Vec<String>,
    /// Their words.
    pub words: Option<String>,
}

impl Ledger {
    /// The policy in force.
    pub fn policy(&self) -> Result<Policy> {
        let newest = self.read(|conn| {
            let mut events = conn.prepare_cached(
                "SELECT details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id DESC LIMIT 1",
            )?;
            events.query_map([POLICY], |row| row.get::<_, String>(0))?.next().transpose()
        })?;
        let Some(text) = newest else { return Ok(Policy::default()) };
        // A policy that cannot be read is no leave to do without.
        serde_json::from_str(&text)
            .map_err(|error| Error::new(Kind::Storage, format!("the approval limits cannot be read: {error}")))
    }

    /// Sets the policy, for everybody who uses this ledger from now on.
    pub fn set_policy(&self, policy: &Policy, now: Timestamp) -> Result<()> {
        self.note_ledger(POLICY, &policy.describe(), &json!(policy), now)
    }

    /// Asks for a second person. The same question that is open already is not asked twice.
    pub fn ask_approval(&self, new: &NewApproval<'_>, now: Timestamp) -> Result<Approval> {
        let (names, known) = (self.actor.names(), self.approvals(now)?);
        let has_words = |one: &Approval| (one.reason.as_deref(), one.ticket.as_deref()) == (new.reason, new.ticket);
        let is_same = |one: &&Approval| {
            one.name == new.name && has_words(one) && one.stage == Stage::Asked && shares(&one.names, &names)
        };
        if let Some(open) = known.iter().find(is_same) {
            return Ok(open.clone());
        }
        let details = json!({
            "stage": Stage::Asked, "name": new.name, "names": names, "why": new.why, "subject": new.subject,
            "reason": new.reason, "ticket": new.ticket,
        });
        let id = self.transact(|tx, actor| {
            let message = format!("a second person is needed: {}", new.why);
            let entry =
                Entry { retraction_id: None, state: None, kind: APPROVAL, message: &message, details: &details };
            insert_event(tx, &entry, actor, now)?;
            tx.query_row("SELECT max(id) FROM events", [], |row| row.get::<_, i64>(0))
        })?;
        self.approval(id, now)
    }

    /// One approval by its number.
    pub fn approval(&self, id: i64, now: Timestamp) -> Result<Approval> {
        self.approvals(now)?.into_iter().find(|one| one.id == id).ok_or_else(|| no_such(id))
    }

    /// Every approval, the newest first.
    pub fn approvals(&self, now: Timestamp) -> Result<Vec<Approval>> {
        self.read(|conn| all(conn, now))
    }

    /// Takes an approval on, by the actor of this ledger. Nobody approves or declines what they have asked for themselves;
    /// whoever has asked, or has approved, may withdraw.
    pub fn decide(&self, id: i64, next: Stage, words: Option<&str>, now: Timestamp) -> Result<Approval> {
        let names = self.actor.names();
        let refused = self.transact(|tx, actor| {
            let Some(one) = all(tx, now)?.into_iter().find(|one| one.id == id) else { return Ok(Some(no_such(id))) };
            if !one.stage.may_become(next) {
                return Ok(Some(
                    Error::new(Kind::Refused, format!("approval {id} is {}", one.stage.as_str()))
                        .hint("`recoup approval list` shows what is open; nothing was sent"),
                ));
            }
            let is_own = shares(&one.names, &names);
            if is_own && matches!(next, Stage::Approved | Stage::Declined) {
                return Ok(Some(
                    Error::new(
                        Kind::Refused,
                        format!("approval {id} was asked for by {}: nobody approves their own", one.person),
                    )
                    .hint("ask another lead; nothing was sent"),
                ));
            }
            let message = format!("approval {id} {} by {}", next.as_str(), actor.person);
            let details = json!({ "approval": id, "stage": next, "names": names, "reason": words });
            let entry =
                Entry { retraction_id: None, state: None, kind: APPROVAL, message: &message, details: &details };
            insert_event(tx, &entry, actor, now).map(|()| None)
        })?;
        match refused {
            Some(error) => Err(error),
            None => self.approval(id, now),
        }
    }

    /// Takes back everything that is open and was asked for, or approved, under one of these names: they may no longer.
    pub fn withdraw_all_of(&self, names: &[String], now: Timestamp) -> Result<Vec<i64>> {
        let concerns = |one: &Approval| match one.stage {
            Stage::Asked => shares(&one.names, names),
            Stage::Approved => shares(&one.names, names) || shares(&one.decider_names, names),
            _ => false,
        };
        let ids: Vec<i64> = self.approvals(now)?.iter().filter(|one| concerns(one)).map(|one| one.id).collect();
        for id in &ids {
            self.decide(*id, Stage::Withdrawn, Some("their user was disabled"), now)?;
        }
        Ok(ids)
    }
}

impl Policy {
    /// The policy as a sentence.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.always {
            parts.push("everything that is sent".to_owned());
        }
        if self.overrides {
            parts.push("every override and every further attempt".to_owned());
        }
        if let Some(count) = self.count {
            parts.push(format!("more than {count} orders at once"));
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
    /// What it is, in a few words.
    pub fn describe(&self) -> String {
        let text = |key: &str| self.subject[key].as_str().unwrap_or_default();
        match text("what") {
            "batch" | "file" => format!("{} of {} orders", text("what"), self.subject["orders"]),
            "reward" => format!("reward {} of order {}", text("reward_id"), text("order_id")),
            what => format!("{what} of order {}", text("order_id")),
        }
    }

    /// Whether its yes still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        let decided = self.decided_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        decided.is_some_and(|at| now.duration_since(at) <= HOLDS_FOR)
    }

    /// Whether it is one of this person's, whose names these are.
    pub fn is_of(&self, names: &[String]) -> bool {
        shares(&self.names, names)
    }
}

/// Whether two people are one.
fn shares(these: &[String], those: &[String]) -> bool {
    these.iter().any(|name| those.contains(name))
}

fn no_such(id: i64) -> Error {
    Error::new(Kind::Failed, format!("there is no approval {id} in this ledger"))
        .hint("`recoup approval list` shows what is open")
}

/// Every approval, put together from its events.
fn all(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Approval>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, at, person, host, details FROM events WHERE retraction_id IS NULL AND kind = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([APPROVAL])?;
    let mut known: BTreeMap<i64, Approval> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let details: Value = serde_json::from_str(row.get_ref(4)?.as_str()?).unwrap_or_default();
        let details = unseal(conn, &details)?;
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
                    // Carrying it out does not change who has approved it.
                    if stage != Stage::Used {
                        (one.decided_at, one.decided_by, one.decider_names) = (Some(at), Some(person), names);
                        one.words = text("reason");
                    }
                }
            }
        }
    }
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
