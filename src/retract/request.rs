//! One retraction request, whichever way it arrives: command line, page form, API body, or stored approval.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::overrides::Override;
use super::{FollowSettings, Options};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::{ActionId, OrderId};
use crate::store::ledger::{Approval, Channel};

/// The disposition code of a request that names none.
const DISPOSITION: &str = "RETRACTION";

/// The field of an approval's subject that says what was approved, and its value for a retraction.
const WHAT: &str = "what";
const RETRACTION: &str = "retraction";

/// The error if the plan of a request is not the present one. The page then shows the new plan.
pub const PLAN_CHANGED: &str = "the plan has changed since it was shown; nothing was sent";

/// A request to retract one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetractRequest {
    /// The order ID, byte for byte.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The action, if the order has several.
    #[schema(value_type = Option<String>)]
    pub action_id: Option<ActionId>,
    /// Retract every action of the order.
    #[serde(default)]
    pub all: bool,
    /// Retract by order ID and this action tracker (event type), if the index has no ActionId. Command line only.
    #[schema(ignore)]
    pub action_tracker: Option<String>,
    /// The code for the vendor, sent unchanged; `RETRACTION` if it is missing.
    #[serde(default = "default_disposition", deserialize_with = "disposition_or_default")]
    #[schema(value_type = Option<String>)]
    pub disposition: String,
    /// A person's reason, for the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = true)]
    pub reason: Option<String>,
    /// The ticket, for the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Checks to override, by name; only leads may.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// Send again what failed, was not received, or is unconfirmed for a day.
    #[serde(default)]
    pub resend: bool,
    /// The `plan` of a preflight: if the plan has changed since, nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// How a request is carried out. Not part of what is requested, so an approval does not cover it.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Do everything but send.
    pub dry_run: bool,
    /// Do not ask for confirmation.
    pub yes: bool,
    /// Refuse an order that was last read longer ago.
    pub max_index_age: std::time::Duration,
    pub follows: FollowSettings,
}

impl RetractRequest {
    /// Retract the one action of an order, with the default disposition.
    pub fn new(order_id: OrderId) -> Self {
        Self {
            order_id,
            action_id: None,
            all: false,
            action_tracker: None,
            disposition: default_disposition(),
            reason: None,
            ticket: None,
            overrides: Vec::new(),
            resend: false,
            plan: None,
        }
    }

    /// The request in the body of an API request.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(Kind::Usage, format!("the body is not a valid request: {why}"))
                .hint("/api/v1/openapi.json describes it")
        };
        let request: Self = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
        if request.action_tracker.is_some() {
            return Err(invalid("`action_tracker` is for the command line only".to_owned()));
        }
        request.checked()
    }

    /// Refuses a request without a reason, or for one action and all actions at once.
    pub fn checked(self) -> Result<Self> {
        lookup::order_id(self.order_id.as_str())?;
        if self.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(Error::new(Kind::Usage, "a retraction needs a reason")
                .hint("say in your own words why; the ledger keeps it for later questions"));
        }
        if self.all && self.action_id.is_some() {
            return Err(Error::new(Kind::Usage, "a retraction is for one action or for all, not both"));
        }
        Ok(self)
    }

    /// The request that was approved, if it is a retraction of one order.
    ///
    /// `None` for an action tracker too: such a request comes from the command line, and its person repeats the command there.
    pub fn approved(approval: &Approval) -> Option<Self> {
        let mut subject = approval.subject.clone();
        if subject.as_object_mut()?.remove(WHAT)? != RETRACTION {
            return None;
        }
        let request: Self = serde_json::from_value(subject).ok()?;
        request.action_tracker.is_none().then(|| Self {
            reason: approval.reason.clone(),
            ticket: approval.ticket.clone(),
            // The approval is for exactly this plan.
            plan: Some(approval.name.clone()),
            ..request
        })
    }

    /// The request as an approval stores it. Reason, ticket and plan have columns of their own.
    pub fn subject(&self) -> Value {
        let mut subject = json!(Self { reason: None, ticket: None, plan: None, ..self.clone() });
        subject[WHAT] = RETRACTION.into();
        subject
    }

    /// What the steps of a retraction work with.
    pub fn options(&self, run: &RunOptions) -> Options {
        Options {
            action_id: self.action_id.clone(),
            all: self.all,
            action_tracker: self.action_tracker.clone(),
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            overrides: self.overrides.clone(),
            resend: self.resend,
            seen: self.plan.clone(),
            dry_run: run.dry_run,
            yes: run.yes,
            ..Options::new(Channel::Reversal, self.disposition.clone(), run.max_index_age, run.follows)
        }
    }
}

/// Overrides by their names; fails at an unknown name.
pub fn parse_overrides<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Override>> {
    let parse = |name: &str| {
        Override::named(name).ok_or_else(|| Error::new(Kind::Usage, format!("there is no override {name:?}")))
    };
    names.into_iter().map(parse).collect()
}

fn default_disposition() -> String {
    DISPOSITION.to_owned()
}

/// `null` means the default too.
fn disposition_or_default<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(default_disposition))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_invalid_body_is_refused_before_anything_is_read() {
        for (body, valid) in [
            (r#"{"order_id":"1","reason":"refund"}"#, true),
            (r#"{"order_id":"1","reason":"refund","disposition":null}"#, true),
            (r#"{"order_id":"1","reason":"refund","overrides":["stale"],"all":true}"#, true),
            (r#"{"order_id":"1","reason":" "}"#, false),
            (r#"{"order_id":"","reason":"refund"}"#, false),
            (r#"{"order_id":"1"}"#, false),
            (r#"{"order_id":"1","reason":"r","overrides":["all"]}"#, false),
            (r#"{"order_id":"1","reason":"r","all":true,"action_id":"1.2.3"}"#, false),
            (r#"{"order_id":"1","reason":"r","action_tracker":"7"}"#, false),
            (r#"{"order_id":"1","reason":"r","amount":0}"#, false),
            ("", false),
            ("[]", false),
        ] {
            assert_eq!(RetractRequest::from_json(body.as_bytes()).is_ok(), valid, "{body}");
        }
    }

    #[test]
    fn an_approval_stores_the_fields_that_it_always_has() {
        let request = RetractRequest { reason: Some("r".to_owned()), ..RetractRequest::new(OrderId::new("1")) };
        let stored = json!({
            "what": "retraction", "order_id": "1", "action_id": null, "all": false, "action_tracker": null,
            "disposition": "RETRACTION", "overrides": [], "resend": false,
        });
        assert_eq!(request.subject(), stored);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            prop_assert!(RetractRequest::from_json(&body).is_err() || !body.is_empty());
        }
    }
}
