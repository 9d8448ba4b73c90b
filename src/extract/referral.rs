//! The referral that a reward belongs to.

use serde::Deserialize;
use serde_json::Value;

/// The ID of a reward's referral. `None` if the reward has no referral, as a reward given by hand, or has the key twice.
pub fn referral_id(raw: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default, rename = "referralId")]
        id: Option<Value>,
    }
    let wire: Wire = serde_json::from_str(raw).ok()?;
    match wire.id? {
        Value::String(id) if !id.trim().is_empty() => Some(id),
        Value::Number(id) if !id.is_f64() => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reward_has_at_most_one_referral() {
        for (raw, id) in [
            (r#"{"id":"r","referralId":"f1"}"#, Some("f1")),
            (r#"{"referralId":12345678901234567890}"#, Some("12345678901234567890")),
            (r#"{"referralId":null}"#, None),
            (r#"{"referralId":" "}"#, None),
            (r#"{"referralId":1.5}"#, None),
            (r#"{"referralId":{"id":"f1"}}"#, None),
            (r#"{"referralId":"f1","referralId":"f2"}"#, None),
            (r#"{"id":"r"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(referral_id(raw).as_deref(), id, "{raw}");
        }
    }
}
