//! A JSON reader that keeps what a lenient one would silently lose.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{CanonicalError, INTEGER_MAGNITUDE_MAX};

/// How many arrays and objects may still be opened inside one another, and which numbers are taken.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    left: u8,
    numbers: Numbers,
}

/// Which numbers are taken.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    /// Those that have one form and one value for every reader.
    Canonical,
    /// Those that JSON has; the largest lose their last digits.
    Any,
}

impl Depth {
    /// Deep enough for any honest document, and well below what would overflow a stack.
    pub const DEFAULT: Self = Self { left: 64, numbers: Numbers::Canonical };

    fn inner<E: Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom("nested deeper than 64 levels"))?;
        Ok(Self { left, ..self })
    }

    fn refuses(self, is_fit: bool) -> bool {
        matches!(self.numbers, Numbers::Canonical) && !is_fit
    }
}

/// Parses one JSON document, refusing duplicate keys, integers beyond 2^53 and nesting beyond 64 levels.
///
/// # Errors
/// [`CanonicalError::Refused`], whose message names the rule, the line and the column.
pub fn parse(text: &str) -> Result<Value, CanonicalError> {
    read(text, Depth::DEFAULT)
}

/// The same with whatever numbers JSON has, for a document that is passed on and never hashed.
///
/// # Errors
/// As of [`parse`], for duplicate keys and nesting.
pub fn parse_any_number(text: &str) -> Result<Value, CanonicalError> {
    read(text, Depth { numbers: Numbers::Any, ..Depth::DEFAULT })
}

fn read(text: &str, depth: Depth) -> Result<Value, CanonicalError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = depth.deserialize(&mut reader).map_err(CanonicalError::Refused)?;
    reader.end().map_err(CanonicalError::Refused)?;
    Ok(value)
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if self.refuses(value <= INTEGER_MAGNITUDE_MAX) {
            return Err(E::custom(format!("integer {value} is beyond 2^53; send it as a string")));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if self.refuses(value.unsigned_abs() <= INTEGER_MAGNITUDE_MAX) {
            return Err(E::custom(format!("integer {value} is beyond 2^53; send it as a string")));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // From 2^53 on doubles stand for more than one integer; 2^53 itself is welcome as an integer.
        if self.refuses(value.abs() < 9_007_199_254_740_992.0) {
            return Err(E::custom(format!("number {value:e} is beyond 2^53; send it as a string")));
        }
        if self.refuses(value != 0.0 || value.is_sign_positive()) {
            return Err(E::custom("-0 has no form of its own; send 0"));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                // Not named: what a caller sends may be a secret, a key too. The position says where.
                return Err(A::Error::custom("a key stands twice in one object"));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
