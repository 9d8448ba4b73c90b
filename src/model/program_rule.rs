//! Finds the refund rule among a program's rules. If a program has no refund rule, a reversal takes back no reward.
//! `program_rule` does no I/O.
//!
//! The vendor's guide calls the refund rule *Friend refunds a purchase*. In the vendor's schema, the refund rule seems
//! to be an objective with an event trigger of the intent `REFUND` and an action of the type `retraction`. recoup
//! infers this form of the refund rule (`docs/vendor/program-rules.md`). Therefore the result is only supporting
//! evidence, and recoup still reads the rewards. recoup reports *rule found* only if the rule has the trigger and the
//! action. recoup reports *no such rule* only if it understands the whole rule document.

mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A program of the Advocate API with its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledProgram {
    pub id: String,
    /// The name of the program; empty if the vendor's response has no name.
    pub name: String,
    /// The status of the program: `LIVE`, `PAUSED` or `ARCHIVED`.
    pub status: Option<String>,
    pub rules: Rules,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rules", rename_all = "snake_case")]
pub enum Rules {
    Read {
        retractions: Vec<Retraction>,
        /// The event keys of the purchases that the program rewards.
        #[serde(default)]
        purchases: Vec<String>,
        /// A word or part of the rule document that recoup does not know, and that may be a further rule.
        doubt: Option<String>,
    },
    NotReadable {
        /// Why recoup cannot read the rules, as a phrase that follows "rule not readable:".
        why: String,
    },
}

/// The part of a refund rule that takes a reward, a referral, a conversion or an event back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retraction {
    /// The name of the refund rule.
    pub name: String,
    /// The event key of the refund event that triggers the rule.
    pub event_key: String,
    pub takes: Takes,
    /// Why the refund rule does not run on every refund, with each reason as a sentence.
    pub limits: Vec<String>,
}

/// The things that a refund rule takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "takes", rename_all = "snake_case")]
pub enum Takes {
    /// The rule takes back the rewards with one of these keys.
    Rewards {
        keys: Vec<String>,
    },
    Referral,
    /// The rule takes back the conversion of the referral.
    Conversion,
    /// The rule takes back the earlier event with this key.
    Event {
        key: String,
    },
}

/// The fields of a reward that determine whether a rule covers the reward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledReward {
    pub reward_id: String,
    pub key: RewardKey,
    /// The event key of the event that caused the reward; `None` if the vendor's response does not state it.
    pub event_key: Option<String>,
}

/// The key of a reward in its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewardKey {
    Named(String),
    /// The vendor's response says that the reward has no key.
    None,
    /// The vendor's response does not state the key.
    Unknown,
}

/// The result of the search for the refund rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    Found,
    /// The refund rule exists, but does not take every reward back.
    FoundBut,
    /// recoup understands all rules of the program, and none is a refund rule.
    NoSuchRule,
    /// recoup could not read the rules, or does not understand them.
    NotReadable,
}

impl RuleState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "rule found",
            Self::FoundBut => "rule found, but",
            Self::NoSuchRule => "no such rule",
            Self::NotReadable => "rule not readable",
        }
    }
}

/// The refund rule of one program, compared with the rewards of an action. The comparison contains no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProgramRule {
    /// The ID of the program. The program ID is empty if the rewards have no program ID.
    pub program_id: String,
    /// The name of the program. The program name is empty if recoup does not know it.
    pub program: String,
    /// The status of the program: `LIVE`, `PAUSED` or `ARCHIVED`; `null` if recoup does not know it.
    pub status: Option<String>,
    pub state: RuleState,
    /// One sentence for each refund rule, with the rule's name, its event, and the rewards that it takes back.
    pub rules: Vec<String>,
    /// The reasons why the refund rule does not take every reward back, if the state is `found_but`.
    pub reasons: Vec<String>,
    /// The rewards of the action that the refund rule may leave in place.
    pub left_out: Vec<String>,
    /// The parts of the refund rule that recoup could not compare with the rewards, because the vendor's response lacks
    /// the data.
    #[schema(value_type = Vec<String>)]
    pub not_compared: Vec<NotCompared>,
    /// Why recoup cannot read the program's rules, if the state is `not_readable`.
    pub why: Option<String>,
    /// When recoup read the program's rules, RFC 3339.
    pub read_at: String,
}

/// A part of a refund rule that recoup could not compare with the rewards, because the vendor's response lacks the
/// data. In JSON, a part of the rule that recoup could not compare is a phrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum NotCompared {
    ProgramStatus,
    /// Get Rewards does not state the event of a reward.
    PurchaseEvent,
    /// The key of one reward, which the vendor's response lacks. The variant's text is the ID of a reward without a
    /// known key.
    RewardKey(String),
    /// A phrase that another version of recoup wrote.
    Other(String),
}

/// The part of the phrase after the reward's ID.
const WITHOUT_KEY: &str = ", whose answer does not name its key";

impl fmt::Display for NotCompared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProgramStatus => f.write_str("whether the program is live"),
            Self::PurchaseEvent => f.write_str("the purchase event, which these rewards do not name"),
            Self::RewardKey(id) => write!(f, "reward {id}{WITHOUT_KEY}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl From<NotCompared> for String {
    fn from(what: NotCompared) -> Self {
        what.to_string()
    }
}

impl From<String> for NotCompared {
    fn from(text: String) -> Self {
        if let Some(id) = text.strip_prefix("reward ").and_then(|rest| rest.strip_suffix(WITHOUT_KEY)) {
            return Self::RewardKey(id.to_owned());
        }
        let known = [Self::ProgramStatus, Self::PurchaseEvent].into_iter().find(|one| one.to_string() == text);
        known.unwrap_or(Self::Other(text))
    }
}

impl RuledProgram {
    /// Reads a program from the JSON of a `Program` object; `None` if the JSON has no ID.
    pub fn of(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let program = match super::strict_json::parse(text) {
            Ok(program) => Value::from(&program),
            Err(why) => {
                let Named { id } = serde_json::from_str(text).ok()?;
                return Some(Self::unread(id, why));
            }
        };
        let word = |key: &str| program.get(key).and_then(Value::as_str).filter(|word| !word.is_empty());
        Some(Self {
            id: word("id")?.to_owned(),
            name: word("name").unwrap_or_default().to_owned(),
            status: word("status").map(str::to_owned),
            rules: document::read(program.get("rules").unwrap_or(&Value::Null)),
        })
    }

    /// Returns a program without readable rules.
    pub fn unread(id: impl Into<String>, why: impl Into<String>) -> Self {
        Self { id: id.into(), name: String::new(), status: None, rules: Rules::NotReadable { why: why.into() } }
    }

    /// Compares the program's refund rule with these rewards. If the caller passes no rewards, the result is only about
    /// the refund rule.
    pub fn judge(&self, rewards: &[RuledReward], read_at: &str) -> ProgramRule {
        let mut rule = ProgramRule {
            program_id: self.id.clone(),
            program: self.name.clone(),
            status: self.status.clone(),
            state: RuleState::NotReadable,
            rules: Vec::new(),
            reasons: Vec::new(),
            left_out: Vec::new(),
            not_compared: Vec::new(),
            why: None,
            read_at: read_at.to_owned(),
        };
        let (retractions, purchases, doubt) = match &self.rules {
            Rules::Read { retractions, purchases, doubt } => (retractions, purchases, doubt),
            Rules::NotReadable { why } => return ProgramRule { why: Some(why.clone()), ..rule },
        };
        if retractions.is_empty() {
            let state = if doubt.is_some() { RuleState::NotReadable } else { RuleState::NoSuchRule };
            return ProgramRule { state, why: doubt.clone(), ..rule };
        }
        rule.rules = retractions.iter().map(Retraction::sentence).collect();
        let mut reasons = BTreeSet::new();
        for reward in rewards {
            let reaching: Vec<&Retraction> = retractions.iter().filter(|one| one.reaches(reward)).collect();
            if reaching.iter().any(|one| one.limits.is_empty()) {
                continue;
            }
            rule.left_out.push(reward.reward_id.clone());
            reasons.extend(reaching.iter().flat_map(|one| one.limits.clone()));
            if reaching.is_empty() {
                reasons.insert(why_out_of_reach(retractions, reward));
            }
        }
        if rewards.is_empty() && retractions.iter().all(|one| !one.limits.is_empty()) {
            reasons.extend(retractions.iter().flat_map(|one| one.limits.clone()));
        }
        // A reward from the REST API does not state its event. If the event of a reward is unknown, the refund rule
        // must be for an event that the program rewards.
        let is_event_known = !rewards.is_empty() && rewards.iter().all(|reward| reward.event_key.is_some());
        let is_for_a_purchase = |one: &Retraction| purchases.is_empty() || purchases.contains(&one.event_key);
        if !is_event_known && !retractions.iter().any(is_for_a_purchase) {
            reasons.insert(format!(
                "no refund rule is for an event whose purchases the program rewards ({})",
                purchases.iter().map(|event| short(event)).collect::<Vec<_>>().join(", ")
            ));
        }
        if retractions.iter().all(|one| matches!(&one.takes, Takes::Rewards { keys } if keys.is_empty())) {
            reasons.insert("its retractions take no reward back".to_owned());
        }
        match self.status.as_deref() {
            Some("LIVE") => {}
            Some(status) => {
                reasons.insert(format!("the program is {status} and not LIVE"));
            }
            None => rule.not_compared.push(NotCompared::ProgramStatus),
        }
        rule.reasons = reasons.into_iter().collect();
        rule.state = if rule.reasons.is_empty() { RuleState::Found } else { RuleState::FoundBut };
        if rewards.iter().any(|reward| reward.event_key.is_none()) {
            rule.not_compared.push(NotCompared::PurchaseEvent);
        }
        let by_key = retractions.iter().any(|one| matches!(one.takes, Takes::Rewards { .. }));
        let unknown = rewards.iter().filter(|reward| by_key && reward.key == RewardKey::Unknown);
        rule.not_compared.extend(unknown.map(|reward| NotCompared::RewardKey(reward.reward_id.clone())));
        rule
    }
}

/// Returns the reason why no refund rule covers the reward.
fn why_out_of_reach(retractions: &[Retraction], reward: &RuledReward) -> String {
    let id = &reward.reward_id;
    if let Some(event) =
        reward.event_key.as_ref().filter(|event| retractions.iter().all(|one| one.event_key != **event))
    {
        let events: BTreeSet<&str> = retractions.iter().map(|one| one.event_key.as_str()).collect();
        let events: Vec<String> = events.into_iter().map(short).collect();
        return format!(
            "the rule is for the event {}, and reward {id} was given for {}",
            events.join(", "),
            short(event)
        );
    }
    match &reward.key {
        RewardKey::Named(key) => format!("the retraction leaves out reward {id}, whose key is {}", short(key)),
        _ => format!("the retraction goes by reward keys, and reward {id} has none"),
    }
}

impl Retraction {
    /// Returns `true` if the refund rule covers the reward, even if the rule has limits. A reward counts as covered if
    /// its key or event is unknown.
    fn reaches(&self, reward: &RuledReward) -> bool {
        let is_event = |key: &str| reward.event_key.as_deref().is_none_or(|event| event == key);
        is_event(&self.event_key)
            && match &self.takes {
                Takes::Rewards { keys } => match &reward.key {
                    RewardKey::Named(key) => keys.contains(key),
                    RewardKey::None => false,
                    RewardKey::Unknown => !keys.is_empty(),
                },
                Takes::Referral | Takes::Conversion => true,
                Takes::Event { key } => is_event(key),
            }
    }

    fn sentence(&self) -> String {
        let takes = match &self.takes {
            Takes::Rewards { keys } if keys.is_empty() => "no reward".to_owned(),
            Takes::Rewards { keys } => {
                let keys: Vec<String> = keys.iter().map(|key| short(key)).collect();
                format!("the rewards with the keys {}", keys.join(", "))
            }
            Takes::Referral => "the referral".to_owned(),
            Takes::Conversion => "the conversion".to_owned(),
            Takes::Event { key } => format!("the event {}", short(key)),
        };
        format!("{:?}: a refund of the event {} retracts {takes}", short(&self.name), short(&self.event_key))
    }
}

/// Shortens a text of the vendor for a receipt. Hides a text of the vendor if the text may contain a person's address.
fn short(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.contains('@') {
        return "(not shown: it may hold an address)".to_owned();
    }
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl ProgramRule {
    pub fn title(&self) -> String {
        match (self.program_id.as_str(), self.program.as_str()) {
            ("", _) => "program of no name".to_owned(),
            (id, "") => format!("program {id}"),
            (id, name) => format!("program {id} ({})", short(name)),
        }
    }

    /// Describes the result of the rule check without the program's name.
    pub fn words(&self) -> String {
        let state = self.state.as_str();
        let mut words = match self.state {
            RuleState::Found => format!("{state}: {}", self.rules.join("; ")),
            RuleState::FoundBut => format!("{state} {}; seen: {}", self.reasons.join("; "), self.rules.join("; ")),
            RuleState::NoSuchRule => {
                format!("{state}: its rules were read whole, and no refund in them has a retraction")
            }
            RuleState::NotReadable => format!("{state}: {}", self.why.as_deref().unwrap_or("for no known reason")),
        };
        if !self.not_compared.is_empty() {
            words.push_str("; not compared: ");
            let not_compared: Vec<String> = self.not_compared.iter().map(ToString::to_string).collect();
            words.push_str(&not_compared.join(", "));
        }
        words
    }

    /// Describes the result of the rule check with the program's name.
    pub fn line(&self) -> String {
        format!("{}: {}", self.title(), self.words())
    }

    /// Describes the result of the rule check with the program's name and the time of reading.
    pub fn dated_line(&self) -> String {
        format!("{} (read {})", self.line(), self.read_at)
    }
}
