//! The program rule without which a reversal takes nothing back, as far as a program's rules show it. Pure: no I/O, no clock.
//!
//! The vendor's guide calls the rule *Friend refunds a purchase*. That it is an objective with an event trigger of the intent
//! `REFUND` and an action of the type `retraction` is inferred from the published schema (`docs/vendor/program-rules.md`), so an answer
//! supports a retraction and never replaces what its rewards read as. It must never say *rule found* without both, nor *no such
//! rule* of a document that it does not know whole.

mod document;
mod json;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A program of the Advocate API and its rules, as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledProgram {
    /// Its ID.
    pub id: String,
    /// Its name; empty if the answer has none.
    pub name: String,
    /// `LIVE`, `PAUSED` or `ARCHIVED`; `None` if the answer has none.
    pub status: Option<String>,
    /// Its rules.
    pub rules: Rules,
}

/// The rules of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rules", rename_all = "snake_case")]
pub enum Rules {
    /// They were read.
    Read {
        /// What they retract after a refund.
        retractions: Vec<Retraction>,
        /// The events of the purchases that they reward.
        #[serde(default)]
        purchases: Vec<String>,
        /// A word or a part that recoup does not know, and that may be a further rule.
        doubt: Option<String>,
    },
    /// They were not.
    NotReadable {
        /// Why: a fragment of a sentence.
        why: String,
    },
}

/// One retraction after a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retraction {
    /// The name of the rule.
    pub name: String,
    /// The event that it belongs to.
    pub event_key: String,
    /// What it takes back.
    pub takes: Takes,
    /// What keeps it from running with every refund: sentences.
    pub limits: Vec<String>,
}

/// What a retraction takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "takes", rename_all = "snake_case")]
pub enum Takes {
    /// The rewards with these keys.
    Rewards {
        /// The keys.
        keys: Vec<String>,
    },
    /// The referral.
    Referral,
    /// The referral's conversion.
    Conversion,
    /// An earlier event.
    Event {
        /// The key of that event.
        key: String,
    },
}

/// A reward that a rule is held against, with what its answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledReward {
    /// The reward.
    pub reward_id: String,
    /// Its key in the program.
    pub key: RewardKey,
    /// The key of the event that it was given for; `None` if the answer does not say.
    pub event_key: Option<String>,
}

/// A reward's key in its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewardKey {
    /// It has this one.
    Named(String),
    /// The answer says that it has none.
    None,
    /// The answer does not say.
    Unknown,
}

/// What is known of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// The rule is there.
    Found,
    /// It is there, and something keeps it from taking every reward back.
    FoundBut,
    /// The rules were read whole, and it is not among them.
    NoSuchRule,
    /// The rules could not be read.
    NotReadable,
}

impl RuleState {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "rule found",
            Self::FoundBut => "rule found, but",
            Self::NoSuchRule => "no such rule",
            Self::NotReadable => "rule not readable",
        }
    }
}

/// The rule of one program, held against the rewards of an action. Names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProgramRule {
    /// The program; empty if the rewards name none.
    pub program_id: String,
    /// Its name; empty if it is not known.
    pub program: String,
    /// `LIVE`, `PAUSED` or `ARCHIVED`; `null` if it is not known.
    pub status: Option<String>,
    /// What is known of the rule.
    pub state: RuleState,
    /// The rules that were seen: name, event, and what each takes back.
    pub rules: Vec<String>,
    /// *Found, but*: what keeps the rule from taking every reward back.
    pub reasons: Vec<String>,
    /// The rewards of this action that the rule is not known to take back.
    pub left_out: Vec<String>,
    #[schema(value_type = Vec<String>)]
    pub not_compared: Vec<NotCompared>,
    /// *Not readable*: why.
    pub why: Option<String>,
    /// When the rules were read, RFC 3339.
    pub read_at: String,
}

/// A part of the rule that could not be compared, because the vendor's answer lacks it. JSON has it as a fragment of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum NotCompared {
    ProgramStatus,
    /// Get Rewards names no event.
    PurchaseEvent,
    /// The key of the reward with this ID.
    RewardKey(String),
    /// A fragment that another version of recoup wrote.
    Other(String),
}

/// The text after the reward's ID.
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
    /// A program by the text of one `Program` object; `None` if it has no ID.
    pub fn of(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let program = match json::strict(text) {
            Ok(program) => program,
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

    /// A program whose rules could not be read.
    pub fn unread(id: impl Into<String>, why: impl Into<String>) -> Self {
        Self { id: id.into(), name: String::new(), status: None, rules: Rules::NotReadable { why: why.into() } }
    }

    /// The rule of this program, held against these rewards; against none, what it is by itself.
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
        // Rewards by REST do not name their event: then it must be one for which the program gives rewards.
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

/// Why no retraction reaches a reward.
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
    /// Whether it would take this reward back, without its limits. What the answer does not say speaks against nothing.
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

/// The vendor's words as a receipt repeats them: not without end, and no address, which may be a person's.
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
    /// The program, as it is called.
    pub fn title(&self) -> String {
        match (self.program_id.as_str(), self.program.as_str()) {
            ("", _) => "program of no name".to_owned(),
            (id, "") => format!("program {id}"),
            (id, name) => format!("program {id} ({})", short(name)),
        }
    }

    /// What is known of the rule, without its program.
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

    /// The whole as a line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.title(), self.words())
    }

    /// The same, with when it was read.
    pub fn dated_line(&self) -> String {
        format!("{} (read {})", self.line(), self.read_at)
    }
}
