//! The MCP tools that an assistant sees: names, descriptions, arguments and hints.
//!
//! The description of each tool states how many requests to the vendor a call needs, because the vendor's quota is
//! small.

use clap::ValueEnum;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::retract::checks::Override;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolName {
    Lookup,
    Preflight,
    RetractionStatus,
    ProposeRetraction,
}

/// The arguments of a proposed retraction other than the order ID.
const CHOICE: [&str; 5] = ["action_id", "all", "disposition", "overrides", "resend"];

impl ToolName {
    pub(super) const ALL: [Self; 4] = [Self::Lookup, Self::Preflight, Self::RetractionStatus, Self::ProposeRetraction];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Preflight => "preflight",
            Self::RetractionStatus => "retraction_status",
            Self::ProposeRetraction => "propose_retraction",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Lookup => "Look up an order",
            Self::Preflight => "Check whether an order can be retracted",
            Self::RetractionStatus => "Read what became of an order's retractions",
            Self::ProposeRetraction => "Propose a retraction to a person",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Lookup => {
                "Reads what recoup's local index knows of an order: its actions, its rewards with states and amounts, and how \
                 complete the index is. Costs no request to impact.com. `verdict` is `found`, `not_a_referral`, \
                 `not_found_yet` or `unclear`; only `not_a_referral` means that the order has no rewards. `candidates` are \
                 other orders that the text may mean: ask the person which one, and never choose one yourself. Participants \
                 are masked."
            }
            Self::Preflight => {
                "Reads the order's rewards at impact.com now and says what a retraction would do: each action with its \
                 rewards, every check (go, warn, stop) and the next step. Sends nothing and changes nothing. Costs about \
                 5 requests to impact.com, 2 or 3 to each of its hosts, and more if the order has several participants or \
                 actions. One host allows 1,000 requests an hour by default, so do not repeat it without a reason. `plan` is the \
                 fingerprint of what would be sent."
            }
            Self::RetractionStatus => {
                "Reads recoup's ledger: every retraction of an order with its state and events, and every request for \
                 approval of one. Costs no request to impact.com. Only the state `confirmed` means that the rewards are \
                 cancelled; `unknown` and `unconfirmed` do not mean that nothing happened."
            }
            Self::ProposeRetraction => {
                "Asks a person to approve a retraction of one order. This never sends anything: a lead reads the proposal at \
                 recoup's page and approves or declines it there, and only then does recoup send it, once. Runs a preflight \
                 first, with the same cost; if a check stops the order, nothing is proposed. Repeating a proposal of the \
                 same plan gives the same request. Needs the order's exact ID and a reason in the person's own words."
            }
        }
    }

    fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Lookup | Self::RetractionStatus => vec!["order_id"],
            Self::Preflight => [&["order_id"][..], &CHOICE].concat(),
            Self::ProposeRetraction => [&["order_id", "reason", "ticket", "plan"][..], &CHOICE].concat(),
        }
    }

    fn required(self) -> &'static [&'static str] {
        if self == Self::ProposeRetraction { &["order_id", "reason"] } else { &["order_id"] }
    }

    /// A proposal only adds an approval request, so the tool is not destructive. Repeating the proposal adds nothing,
    /// so the tool is idempotent.
    fn annotations(self) -> ToolAnnotations {
        let reads_vendor = matches!(self, Self::Preflight | Self::ProposeRetraction);
        let hints = ToolAnnotations::with_title(self.title()).open_world(reads_vendor).idempotent(true);
        hints.read_only(self != Self::ProposeRetraction).destructive(false)
    }

    pub(super) fn describe(self) -> Tool {
        let properties: JsonObject =
            self.arguments().into_iter().map(|name| (name.to_owned(), schema_of(name))).collect();
        let schema = JsonObject::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
            ("required".to_owned(), json!(self.required())),
            ("additionalProperties".to_owned(), json!(false)),
        ]);
        Tool::new(self.as_str(), self.description(), schema)
            .with_title(self.title())
            .with_annotations(self.annotations())
    }

    /// Fails on an unknown or missing argument, because a misspelt argument could change the proposal.
    pub(super) fn check(self, arguments: &JsonObject) -> Result<()> {
        let known = self.arguments();
        let list = || format!("the arguments of {} are {}", self.as_str(), known.join(", "));
        if let Some(name) = arguments.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Error::new(Kind::Usage, format!("there is no argument {name:?}")).hint(list()));
        }
        let is_missing = |name: &&&str| arguments.get(**name).is_none_or(Value::is_null);
        match self.required().iter().find(is_missing) {
            Some(name) => Err(Error::new(Kind::Usage, format!("the argument {name:?} is missing")).hint(list())),
            None => Ok(()),
        }
    }
}

fn schema_of(argument: &str) -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    match argument {
        "order_id" => json!({
            "type": "string", "minLength": 1,
            "description": "The order ID exactly as the shop writes it, as text, also if it is a number; nothing is trimmed or changed",
        }),
        "reason" => json!({
            "type": "string", "minLength": 1,
            "description": "Why the rewards should be taken back, in the person's own words; the ledger keeps it",
        }),
        "ticket" => text("The support ticket; the ledger keeps it"),
        "plan" => {
            text("The plan of a preflight that the person saw; if the plan has changed since, nothing is proposed")
        }
        "action_id" => text("The ActionId, if the order has several actions"),
        "disposition" => text("The disposition code for the vendor; RETRACTION if it is missing"),
        "all" => json!({ "type": "boolean", "description": "Every action of the order" }),
        "resend" => json!({
            "type": "boolean",
            "description": "Send again what the vendor refused, did not receive, or has not confirmed for a day",
        }),
        _ => json!({
            "type": "array", "uniqueItems": true,
            "items": { "type": "string", "enum": Override::value_variants() },
            "description": "Checks to override, by name; only if the person said so, and only a lead may propose it",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_missing_arguments_are_refused() {
        let arguments = |value: Value| value.as_object().cloned().expect("an object");
        for (tool, given, valid) in [
            (ToolName::Lookup, json!({ "order_id": "1" }), true),
            (ToolName::Lookup, json!({}), false),
            (ToolName::Lookup, json!({ "order_id": null }), false),
            (ToolName::Lookup, json!({ "order_id": "1", "reason": "r" }), false),
            (ToolName::Preflight, json!({ "order_id": "1", "overrides": ["stale"] }), true),
            (ToolName::Preflight, json!({ "order_id": "1", "yes": true }), false),
            (ToolName::ProposeRetraction, json!({ "order_id": "1", "reason": "r" }), true),
            (ToolName::ProposeRetraction, json!({ "order_id": "1" }), false),
            (ToolName::ProposeRetraction, json!({ "order_id": "1", "reason": "r", "action_tracker": "7" }), false),
        ] {
            assert_eq!(tool.check(&arguments(given.clone())).is_ok(), valid, "{tool:?} {given}");
        }
    }

    #[test]
    fn only_a_proposal_changes_something_and_it_destroys_nothing() {
        for tool in ToolName::ALL {
            let hints = tool.describe().annotations.expect("hints");
            assert_eq!(hints.read_only_hint, Some(tool != ToolName::ProposeRetraction), "{tool:?}");
            assert_eq!(hints.destructive_hint, Some(false), "{tool:?}");
            assert!(tool.description().to_lowercase().contains("cost"), "{tool:?}");
        }
    }
}
