//! JSON as a tree that borrows its text: what a reward is read into, a million times over.
//!
//! The same as a tree that owns everything, without a copy of each key and each text. Objects are sorted by key, so that what
//! is found does not depend on the order in which the vendor writes. An object that has a key twice is an error: nobody can say
//! which of the two values is meant.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// One value.
#[derive(Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// A whole number that only fits without a sign.
    Large(u64),
    /// Anything else that is a number: it may have lost digits.
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// What is wrong with an object that has a key twice. It names no key: a key can be an e-mail address.
pub(super) const REPEATED_KEY: &str = "an object has a key twice";

/// Keys and values, sorted by key.
#[derive(Debug, PartialEq)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    /// Reads the text of one value.
    pub(super) fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    pub(super) fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

impl<'a> Object<'a> {
    /// The value of exactly this key.
    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All of them, in order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
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
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Large(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        // Most objects are rewards, with about thirty keys.
        let mut list: Vec<(Cow<'de, str>, Json<'de>)> = Vec::with_capacity(32);
        while let Some((Key(key), value)) = entries.next_entry()? {
            list.push((key, value));
        }
        list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if list.is_sorted_by(|(one, _), (other, _)| one < other) {
            Ok(Json::Object(Object(list)))
        } else {
            Err(A::Error::custom(REPEATED_KEY))
        }
    }
}

struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(value)))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The same tree, by the library.
    fn same(json: &Json<'_>, value: &Value) -> bool {
        match (json, value) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(json), Value::Bool(value)) => json == value,
            (Json::Int(json), Value::Number(value)) => value.as_i64() == Some(*json),
            (Json::Large(json), Value::Number(value)) => value.as_i64().is_none() && value.as_u64() == Some(*json),
            (Json::Float(json), Value::Number(value)) => value.is_f64() && value.as_f64() == Some(*json),
            (Json::Text(json), Value::String(value)) => json == value,
            (Json::List(json), Value::Array(value)) => {
                json.len() == value.len() && json.iter().zip(value).all(|(json, value)| same(json, value))
            }
            (Json::Object(json), Value::Object(value)) => {
                json.0.len() == value.len()
                    && json.iter().zip(value).all(|((key, json), (name, value))| key == name && same(json, value))
                    && value.iter().all(|(name, value)| json.get(name).is_some_and(|json| same(json, value)))
            }
            _ => false,
        }
    }

    #[test]
    fn it_reads_what_the_library_reads() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in [
            "null",
            "18446744073709551615",
            "-9223372036854775808",
            "9223372036854775808",
            "1e3",
            "1.0",
            "-0",
            "123456789012345678901234567890",
            r#""a\u00e4\n\"b""#,
            r#"{"b":1,"\u0061":4,"":null}"#,
            r#"[{"x":[]},{}]"#,
            "",
            "{",
            r#"{"a":1,}"#,
            "[1] 2",
            "nul",
            deep.as_str(),
        ] {
            match (Json::parse(text), serde_json::from_str::<Value>(text)) {
                (Ok(json), Ok(value)) => assert!(same(&json, &value), "{text}: {json:?}"),
                (Err(_), Err(_)) => {}
                (json, value) => panic!("{text}: {json:?}, {value:?}"),
            }
        }
    }

    #[test]
    fn a_repeated_key_makes_an_object_unreadable() {
        for text in
            [r#"{"a":1,"a":null}"#, r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"b":{"c":[{"":1,"":2}]}}]"#]
        {
            let error = Json::parse(text).expect_err(text);
            assert!(error.to_string().starts_with(REPEATED_KEY), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_alike(text in "[\\[\\]{}:, \"a\\\\u01.e-]{0,24}") {
            let (json, value) = (Json::parse(&text), serde_json::from_str::<Value>(&text));
            let repeats = json.as_ref().is_err_and(|error| error.to_string().starts_with(REPEATED_KEY));
            prop_assert_eq!(json.is_ok() || repeats, value.is_ok());
            if let (Ok(json), Ok(value)) = (json, value) {
                prop_assert!(same(&json, &value));
            }
        }
    }
}
