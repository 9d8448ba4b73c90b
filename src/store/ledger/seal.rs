//! Personal values and the commitments that stand in their place.
//!
//! A hashed row must hold for ever, a person's data must not. So the row holds SHA-256 over a random salt and the value, and
//! the value lies in `personal`, from where `recoup forget` can take it without breaking the chain. One salt per value and
//! retraction: what is left after forgetting does not even say that two retractions concerned one person.

use ring::digest::{Context, SHA256};
use ring::rand::SecureRandom;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::chain::Fault;
use super::hex;

/// The keys of plans and details whose text is personal. A reason is a person's own words, a response the vendor's: either may
/// name anybody.
const PERSONAL: [&str; 4] = ["account_id", "user_id", REASON, RESPONSE];

/// The kind of what a person wrote: shown wherever its retraction is, and gone when a person of that is forgotten.
pub(super) const REASON: &str = "reason";

/// The kind of what the vendor answered, as it came: gone in the same way.
pub(super) const RESPONSE: &str = "response";

/// What is read where a value was forgotten.
pub const FORGOTTEN: &str = "(forgotten)";

/// What a commitment begins with.
const MARK: char = '~';

/// Random bytes. The operating system's generator does not fail once it has started.
pub(super) fn random<const N: usize>() -> rusqlite::Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_cause| rusqlite::Error::ToSqlConversionFailure("the system gives no random bytes".into()))?;
    Ok(bytes)
}

fn commitment(salt: &[u8], kind: &str, value: &str) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"recoup personal 1\n");
    for part in [salt, kind.as_bytes(), value.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    format!("{MARK}{}", hex(context.finish().as_ref()))
}

/// Keeps one value and gives its commitment. The same value of the same retraction has one.
pub(super) fn seal_text(
    conn: &Connection,
    retraction: Option<i64>,
    kind: &str,
    value: &str,
) -> rusqlite::Result<String> {
    // Whatever is read of a forgotten account later does not come back.
    if kind != REASON && kind != RESPONSE && super::forget::is_forgotten(conn, value)? {
        return Ok(FORGOTTEN.to_owned());
    }
    let known = conn
        .prepare_cached("SELECT commitment FROM personal WHERE kind = ?1 AND value = ?2 AND retraction_id IS ?3")?
        .query_row(params![kind, value, retraction], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let salt: [u8; 16] = random()?;
    let commitment = commitment(&salt, kind, value);
    conn.prepare_cached(
        "INSERT INTO personal (commitment, retraction_id, kind, salt, value) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![commitment, retraction, kind, salt, value])?;
    Ok(commitment)
}

/// The same JSON with every personal text replaced by its commitment.
pub(super) fn seal(conn: &Connection, retraction: Option<i64>, json: &Value) -> rusqlite::Result<Value> {
    map(json, &mut |key, text| seal_text(conn, retraction, key, text))
}

/// The same JSON with every commitment replaced by its value, or by [`FORGOTTEN`].
pub(super) fn unseal(conn: &Connection, json: &Value) -> rusqlite::Result<Value> {
    map(json, &mut |_, text| unseal_text(conn, text))
}

/// The same JSON with reasons as they are, and everything else that is personal left as its commitment.
pub(super) fn unseal_reasons(conn: &Connection, json: &Value) -> rusqlite::Result<Value> {
    map(json, &mut |key, text| if key == REASON { unseal_text(conn, text) } else { Ok(text.to_owned()) })
}

/// The value of a commitment. Text that is none stays as it is.
pub(super) fn unseal_text(conn: &Connection, text: &str) -> rusqlite::Result<String> {
    if !is_commitment(text) {
        return Ok(text.to_owned());
    }
    let value = conn
        .prepare_cached("SELECT value FROM personal WHERE commitment = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    Ok(value.unwrap_or_else(|| FORGOTTEN.to_owned()))
}

fn is_commitment(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn map(json: &Value, text_of: &mut impl FnMut(&str, &str) -> rusqlite::Result<String>) -> rusqlite::Result<Value> {
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
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| map(item, text_of)).collect::<rusqlite::Result<_>>()?)
        }
        other => other.clone(),
    })
}

/// Every value that is there must fit its commitment; gives how many there are.
pub(super) fn check(conn: &Connection, faults: &mut Vec<Fault>) -> rusqlite::Result<u64> {
    let mut rows = conn.prepare("SELECT commitment, retraction_id, kind, salt, value FROM personal")?;
    let mut rows = rows.query([])?;
    let mut kept = 0;
    while let Some(row) = rows.next()? {
        kept += 1;
        let (stored, kind, salt, value): (String, String, Vec<u8>, String) =
            (row.get(0)?, row.get(2)?, row.get(3)?, row.get(4)?);
        if commitment(&salt, &kind, &value) != stored {
            let what = format!("a personal value ({kind}) is not the one that was committed to");
            faults.push(Fault { sequence: None, retraction: row.get(1)?, what });
        }
    }
    Ok(kept)
}
