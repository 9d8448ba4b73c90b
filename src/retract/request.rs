//! A request to retract one order: from the command line, a page form, an API body or a stored approval.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::checks::Override;
use super::{FollowSettings, Options};
use crate::error::{Error, Kind, Result};
use crate::lookup;
use crate::model::{ActionId, OrderId};
use crate::store::ledger::{Approval, Channel};

/// The default disposition code.
const DISPOSITION: &str = "RETRACTION";

/// The field of an approval that contains the kind of request, and the field's value for a retraction.
const WHAT: &str = "what";
const RETRACTION: &str = "retraction";

/// The message of the error if the plan has changed since the person saw it. The page of `recoup serve` shows the new
/// plan after the error *the plan has changed*.
pub const PLAN_CHANGED: &str = "the plan has changed since it was shown; nothing was sent";

/// A request to retract one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetractRequest {
    /// The order ID to retract, byte for byte.
    #[schema(value_type = String)]
    pub order_id: OrderId,
    /// The ActionId to retract. The ActionId is needed if the order has several actions.
    #[schema(value_type = Option<String>)]
    pub action_id: Option<ActionId>,
    /// Whether recoup retracts every action of the order.
    #[serde(default)]
    pub all: bool,
    /// The action tracker (event type) to send with the order ID, if the index lacks an ActionId. Only the command line
    /// accepts an action tracker.
    #[schema(ignore)]
    pub action_tracker: Option<String>,
    /// The disposition code of the reversal. The vendor receives the disposition code unchanged. The default
    /// disposition code is `RETRACTION`.
    #[serde(default = "default_disposition", deserialize_with = "disposition_or_default")]
    #[schema(value_type = Option<String>)]
    pub disposition: String,
    /// The person's reason, which the ledger stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = true)]
    pub reason: Option<String>,
    /// The ticket, which the ledger stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The names of the checks that the person overrides. Only a user with the role *lead* may override checks.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// Whether recoup sends the request again after *failed* or *not received*, or after a day of *unconfirmed*.
    #[serde(default)]
    pub resend: bool,
    /// The fingerprint of the plan, from the field `plan` of a preflight. If the plan has changed since the preflight,
    /// recoup sends nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// Options for carrying out a retraction request. An approval does not cover the options for carrying out the request.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Whether recoup does everything except the send.
    pub dry_run: bool,
    /// Whether recoup skips the confirmation.
    pub yes: bool,
    /// Maximum age of the newest reading of the order. If the newest reading of the order is older, recoup refuses the
    /// order.
    pub max_index_age: std::time::Duration,
    pub follows: FollowSettings,
}

impl RetractRequest {
    /// Creates a request to retract one order with the default disposition code.
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

    /// Parses the body of an API request to retract an order.
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

    /// Returns an error for a retraction request that has no reason, or that contains one ActionId and also asks for
    /// all actions.
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

    /// Returns the approved request, if it is a request to retract one order.
    ///
    /// This function also returns `None` for a request by action tracker. A request by action tracker comes from the
    /// command line, where the person repeats the command.
    pub fn approved(approval: &Approval) -> Option<Self> {
        let mut subject = approval.subject.clone();
        if subject.as_object_mut()?.remove(WHAT)? != RETRACTION {
            return None;
        }
        let request: Self = serde_json::from_value(subject).ok()?;
        request.action_tracker.is_none().then(|| Self {
            reason: approval.reason.clone(),
            ticket: approval.ticket.clone(),
            // The approval covers exactly the plan that the approver saw.
            plan: Some(approval.name.clone()),
            ..request
        })
    }

    /// Returns the retraction request in the form that an approval stores. The approval has separate columns for
    /// reason, ticket and plan.
    pub fn subject(&self) -> Value {
        let mut subject = json!(Self { reason: None, ticket: None, plan: None, ..self.clone() });
        subject[WHAT] = RETRACTION.into();
        subject
    }

    /// Converts the request into the options of a retraction.
    pub fn options(&self, run: &RunOptions) -> Options {
        Options {
            action_id: self.action_id.clone(),
            all: self.all,
            action_tracker: self.action_tracker.clone(),
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
            overrides: self.overrides.clone(),
            resend: self.resend,
            expected_plan: self.plan.clone(),
            dry_run: run.dry_run,
            yes: run.yes,
            ..Options::new(Channel::Reversal, self.disposition.clone(), run.max_index_age, run.follows)
        }
    }
}

/// Parses overrides by name, and fails on an unknown name.
pub fn parse_overrides<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Override>> {
    let parse = |name: &str| {
        Override::named(name).ok_or_else(|| Error::new(Kind::Usage, format!("there is no override {name:?}")))
    };
    names.into_iter().map(parse).collect()
}

fn default_disposition() -> String {
    DISPOSITION.to_owned()
}

/// Treats a disposition of `null` like a missing disposition.
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
