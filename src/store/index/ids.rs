//! IDs on their way into the database and out of it, each as what it is, so that one kind cannot be read as another.
//!
//! Order IDs and ActionIds are kept as their exact text: answers compare them. A reward's ID, which the vendor writes as 24
//! digits, is kept as the twelve bytes that these stand for; whatever else it is, in upper case for example, is kept as text,
//! so that every ID comes back as it went in.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};

use crate::model::{AccountId, ActionId, OrderId, RewardId, UserId};

macro_rules! text_columns {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Ok(Self::new(value.as_str()?))
            }
        }
    )*};
}

text_columns!(OrderId, ActionId, AccountId, UserId);

/// Digits of an ID that is kept as bytes.
const DIGITS: usize = 24;

impl ToSql for RewardId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match to_bytes(self.as_str()) {
            Some(bytes) => ToSqlOutput::Owned(Value::Blob(bytes)),
            None => self.as_str().into(),
        })
    }
}

impl FromSql for RewardId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Blob(bytes) => Ok(Self::new(to_text(bytes))),
            ValueRef::Text(text) => {
                std::str::from_utf8(text).map(Self::new).map_err(|error| FromSqlError::Other(error.into()))
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// The bytes of exactly 24 digits of 0-9 and a-f; `None` for anything else.
fn to_bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != DIGITS {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn to_text(bytes: &[u8]) -> String {
    const DIGIT: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(DIGIT[usize::from(half)])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    fn there_and_back(id: &str) -> (String, RewardId) {
        let conn = Connection::open_in_memory().expect("a database");
        conn.query_row("SELECT typeof(?1), ?1", [RewardId::new(id)], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("a row")
    }

    #[test]
    fn only_what_comes_back_the_same_is_kept_as_bytes() {
        for (id, kept_as) in [
            ("6aab88c5188a3b9e28bc59eb", "blob"),
            ("000000000000000000000000", "blob"),
            ("6AAB88C5188A3B9E28BC59EB", "text"),
            ("6aab88c5188a3b9e28bc59e", "text"),
            ("6aab88c5188a3b9e28bc59ebb", "text"),
            ("6aab88c5188a3b9e28bc59eg", "text"),
            ("6aab88c5 88a3b9e28bc59eb", "text"),
            ("ääääääääääää", "text"),
            ("7", "text"),
        ] {
            assert_eq!(there_and_back(id), (kept_as.to_owned(), RewardId::new(id)));
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back(id in "[0-9a-fA-F]{22,25}|\\PC{0,30}") {
            prop_assert_eq!(there_and_back(&id).1, RewardId::new(id.as_str()));
        }
    }
}
