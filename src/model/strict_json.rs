//! Reads JSON and refuses an object with a repeated key, because it is unknown which of the two values is meant.
//!
//! serde_json keeps the last value of a repeated key without an error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses a text. The error repeats nothing of the text, because a key can be an e-mail address.
pub fn parse(text: &str) -> Result<Value, &'static str> {
    serde_json::from_str::<Strict>(text).map(|read| read.0).map_err(|error| {
        let error = error.to_string();
        if error.starts_with(REPEATED_KEY) {
            REPEATED_KEY
        } else if error.starts_with("recursion limit") {
            "its JSON is nested too deeply"
        } else {
            "it is not JSON"
        }
    })
}

const REPEATED_KEY: &str = "an object in it has a key twice";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom(REPEATED_KEY));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_key_at_any_depth_is_refused() {
        for text in
            [r#"{"a":1,"a":null}"#, r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"b":{"c":[{"":1,"":2}]}}]"#]
        {
            assert_eq!(parse(text), Err(REPEATED_KEY), "{text}");
        }
        assert_eq!(parse(&"[".repeat(200)), Err("its JSON is nested too deeply"));
        assert_eq!(parse("{\"ann@example.com\""), Err("it is not JSON"));
    }

    proptest! {
        #[test]
        fn every_other_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:, \"a\\\\u01.e-]{0,24}") {
            match (parse(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(strict), Ok(value)) => prop_assert_eq!(strict, value),
                (Err(why), Ok(_)) => prop_assert_eq!(why, REPEATED_KEY),
                (strict, value) => prop_assert!(strict.is_err() && value.is_err(), "{strict:?}"),
            }
        }
    }
}
