//! JSON as a provider sent it, read where it lies.
//!
//! Says what [`serde_json::Value`] would, and costs less: texts are borrowed unless something in them is escaped, and an
//! object is a list of its fields. Of an answer most is looked at once and much is not looked at at all.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Any JSON, as long as the bytes that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'b> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'b, str>),
    List(Vec<Self>),
    /// In the order in which they came. Of two fields with one name the last counts.
    Object(Vec<(Cow<'b, str>, Self)>),
}

impl Json<'_> {
    /// A field of an object; none of anything else.
    pub(crate) fn get(&self, field: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().rev().find(|(name, _)| name == field).map(|(_, value)| value)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(holds) = self { Some(*holds) } else { None }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The same on its own.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(holds) => Value::Bool(*holds),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::List(items) => items.iter().map(Self::to_value).collect(),
            Self::Object(fields) => {
                fields.iter().map(|(name, value)| (name.as_ref(), value.to_value())).collect()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

/// The name of a field. Of its own, because serde borrows a text only where it is told to.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'b>(#[serde(borrow)] Cow<'b, str>);

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, holds: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(holds))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((Name(name), value)) = object.next_entry()? {
            fields.push((name, value));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What both make of a text: the JSON, or where the text is wrong.
    fn check(text: &str) -> Result<(), TestCaseError> {
        let ours = serde_json::from_str::<Json<'_>>(text).map(|json| json.to_value());
        let theirs = serde_json::from_str::<Value>(text);
        prop_assert_eq!(ours.map_err(|error| error.to_string()), theirs.map_err(|error| error.to_string()));
        Ok(())
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,6}|[\u{0}-\u{7f}]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from);
            let object = proptest::collection::vec(("[a-c\"\n]{0,2}", inner), 0..5);
            prop_oneof![list, object.prop_map(|fields| fields.into_iter().collect())]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_would_be_elsewhere(value in any_json(), cut in 0_usize..400) {
            let text = value.to_string();
            check(&text)?;
            let end = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            check(&text[..end])?;
        }

        #[test]
        fn nonsense_is_told_as_it_would_be_elsewhere(text in r#"[\[\]{}:,"\\a0-9.eE+\-tn ]{0,24}"#) {
            check(&text)?;
        }
    }

    #[test]
    fn the_last_of_two_fields_counts_and_depth_is_limited() {
        let text = r#"{"a":1,"b":{"a":[2]},"a":"3"}"#;
        let json: Json<'_> = serde_json::from_str(text).expect("JSON");
        assert_eq!(json.get("a").and_then(Json::as_str), Some("3"));
        assert_eq!(json.to_value(), json!({ "a": "3", "b": { "a": [2] } }));
        let deep = "[".repeat(100_000);
        assert!(serde_json::from_str::<Json<'_>>(&deep).is_err());
    }

    #[test]
    fn texts_are_borrowed_where_they_can_be() {
        let json: Json<'_> = serde_json::from_str(r#"{"a":"b","c":"\n"}"#).expect("JSON");
        let borrowed = |field| matches!(json.get(field), Some(Json::Text(Cow::Borrowed(_))));
        assert_eq!((borrowed("a"), borrowed("c")), (true, false));
    }
}
