//! Replaces personal data in hashed rows by commitments.
//!
//! A hashed row must never change, but personal data must be erasable. Therefore a hashed row contains a commitment,
//! which is SHA-256 over a random salt and the value. The table `personal` contains the value itself. `recoup forget`
//! deletes the value behind a commitment without breaking the chain. Each retraction has its own salt for a value, so
//! after the deletion, no commitment reveals that two retractions concerned one person.

use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::chain::Fault;
use super::{hex, random};
use crate::store::db::{DbError, Tx};

/// The JSON keys of plans and details whose text is personal. Reasons and responses are personal too, because they may
/// name a customer.
const PERSONAL: [&str; 4] = ["account_id", "user_id", REASON, RESPONSE];

/// The key of a person's reason. Receipts show the reason. `recoup forget` erases the reason with an account of the
/// retraction.
pub(super) const REASON: &str = "reason";

/// The key of the vendor's unchanged response. `recoup forget` erases the response with an account of the retraction.
pub(super) const RESPONSE: &str = "response";

/// The text that replaces a forgotten value.
pub const FORGOTTEN: &str = "(forgotten)";

/// The first character of a commitment.
const MARK: char = '~';

fn commitment(salt: &[u8], kind: &str, value: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup personal 1\n");
    for part in [salt, kind.as_bytes(), value.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    format!("{MARK}{}", hex(context.finish().as_ref()))
}

/// Stores one personal value and returns its commitment. A retraction has one commitment for each distinct value.
pub(super) fn redact_text(tx: &Tx<'_>, retraction: Option<i64>, kind: &str, value: &str) -> Result<String, DbError> {
    // The IDs of a forgotten account are not stored again.
    if kind != REASON && kind != RESPONSE && super::forget::is_forgotten(tx, value)? {
        return Ok(FORGOTTEN.to_owned());
    }
    let known = tx.opt(
        "SELECT commitment FROM personal WHERE kind = ?1 AND value = ?2 AND retraction_id IS NOT DISTINCT FROM ?3",
        &[&kind, &value, &retraction],
        |row| row.get(0),
    )?;
    if let Some(known) = known {
        return Ok(known);
    }
    let salt: [u8; 16] = random()?;
    let commitment = commitment(&salt, kind, value);
    tx.run(
        "INSERT INTO personal (commitment, retraction_id, kind, salt, value) VALUES (?1, ?2, ?3, ?4, ?5)",
        &[&commitment, &retraction, &kind, &salt, &value],
    )?;
    Ok(commitment)
}

/// Replaces every personal text in the JSON by its commitment.
pub(super) fn redact(tx: &Tx<'_>, retraction: Option<i64>, json: &Value) -> Result<Value, DbError> {
    map(json, &mut |key, text| redact_text(tx, retraction, key, text))
}

/// Replaces every commitment in the JSON by its value, or by [`FORGOTTEN`].
pub(super) fn restore(tx: &Tx<'_>, json: &Value) -> Result<Value, DbError> {
    map(json, &mut |_, text| restore_text(tx, text))
}

/// Replaces the commitments of reasons in the JSON by their values. Leaves the commitments of other personal data in place.
pub(super) fn restore_reasons(tx: &Tx<'_>, json: &Value) -> Result<Value, DbError> {
    map(json, &mut |key, text| if key == REASON { restore_text(tx, text) } else { Ok(text.to_owned()) })
}

/// Returns the value behind a commitment. Returns a text that is no commitment unchanged.
pub(super) fn restore_text(tx: &Tx<'_>, text: &str) -> Result<String, DbError> {
    if !is_commitment(text) {
        return Ok(text.to_owned());
    }
    let value = tx.opt("SELECT value FROM personal WHERE commitment = ?1", &[&text], |row| row.get(0))?;
    Ok(value.unwrap_or_else(|| FORGOTTEN.to_owned()))
}

fn is_commitment(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn map(json: &Value, text_of: &mut impl FnMut(&str, &str) -> Result<String, DbError>) -> Result<Value, DbError> {
    Ok(match json {
        Value::Object(object) => {
            let mut mapped = serde_json::Map::new();
            for (key, value) in object {
                let value = match value {
                    Value::String(text) if PERSONAL.contains(&key.as_str()) => Value::String(text_of(key, text)?),
                    other => map(other, text_of)?,
                };
                mapped.insert(key.clone(), value);
            }
            Value::Object(mapped)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| map(item, text_of)).collect::<Result<_, _>>()?),
        other => other.clone(),
    })
}

/// Compares every stored value with its commitment. Returns the number of compared values.
pub(super) fn check(tx: &Tx<'_>, faults: &mut Vec<Fault>) -> Result<u64, DbError> {
    let mut kept = 0;
    tx.each("SELECT commitment, retraction_id, kind, salt, value FROM personal", &[], |row| {
        kept += 1;
        let kind: &str = row.get(2)?;
        if commitment(row.get(3)?, kind, row.get(4)?) != row.get::<&str>(0)? {
            let what = format!("a personal value ({kind}) is not the one that was committed to");
            faults.push(Fault { sequence: None, retraction: row.get(1)?, what });
        }
        Ok(())
    })?;
    Ok(kept)
}
