//! Parses JSON into a tree that borrows from the JSON text. The parser refuses an object with a repeated key, because
//! either of the two values may be the right one.
//!
//! serde_json's own tree copies each key and each text. For a repeated key, serde_json keeps the last value without an error.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// A JSON number. Like in serde_json, an integer beyond 64 bits becomes a float.
    Number(Number),
    /// A JSON string. The string borrows from the JSON text if it has no escape.
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The entries of a JSON object, sorted by key, because no result may depend on the vendor's order of keys.
#[derive(Debug, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Parses a JSON text. The parse error quotes no part of the JSON text, because a key can be an e-mail address.
pub fn parse(text: &str) -> Result<Json<'_>, &'static str> {
    serde_json::from_str(text).map_err(|error| {
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

impl<'a> Json<'a> {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn as_array(&self) -> Option<&[Json<'a>]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    pub fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

impl<'a> Object<'a> {
    /// Returns the value of exactly this JSON key.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    pub fn values(&self) -> impl Iterator<Item = &Json<'a>> {
        self.0.iter().map(|(_, value)| value)
    }
}

/// Copies the JSON tree into serde_json's type, which other libraries require.
impl From<&Json<'_>> for Value {
    fn from(json: &Json<'_>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number.clone()),
            Json::Text(text) => Self::String(text.to_string()),
            Json::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Json::Object(object) => {
                Self::Object(object.iter().map(|(key, value)| (key.to_owned(), Self::from(value))).collect())
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        // A number in JSON is always finite.
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        /// The key of a JSON object, which serde borrows from the text. serde would copy a plain `Cow`.
        #[derive(serde::Deserialize)]
        #[serde(transparent)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        // A reward has about 25 JSON keys. Therefore a list of this size rarely grows.
        let mut object = Vec::with_capacity(32);
        while let Some(Key(key)) = entries.next_key()? {
            object.push((key, entries.next_value()?));
        }
        object.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if object.is_sorted_by(|(one, _), (other, _)| one < other) {
            Ok(Json::Object(Object(object)))
        } else {
            Err(A::Error::custom(REPEATED_KEY))
        }
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

    #[test]
    fn a_key_is_found_by_its_exact_text() {
        let json = parse(r#"{"b":1,"\u0061":18446744073709551615,"":null,"A":[{"x":"\n"}]}"#).expect("JSON");
        let object = json.as_object().expect("an object");
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["", "A", "a", "b"]);
        assert_eq!(object.get("a"), Some(&Json::Number(u64::MAX.into())));
        assert_eq!((object.get(""), object.get("B")), (Some(&Json::Null), None));
    }

    proptest! {
        #[test]
        fn every_other_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:, \"a\\\\u01.e-]{0,24}") {
            match (parse(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(strict), Ok(value)) => prop_assert_eq!(Value::from(&strict), value),
                (Err(why), Ok(_)) => prop_assert_eq!(why, REPEATED_KEY),
                (strict, value) => prop_assert!(strict.is_err() && value.is_err(), "{strict:?}"),
            }
        }
    }
}
