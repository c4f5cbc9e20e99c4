//! What an event says beside its fields.

use std::borrow::Cow;

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// A JSON object. What comes in the form of a line already, as the outboxes send it, is kept as it is and never taken
/// apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// As [`canonical::is_plain_object`] tells it.
    Plain(String),
    Read(Map<String, Value>),
}

impl Attributes {
    /// Reads what a sender sent; nothing is an object without entries. None: it is no object.
    ///
    /// # Errors
    /// [`CanonicalError::Refused`] where it is no strict JSON.
    pub(crate) fn read(text: String) -> Result<Option<Self>, CanonicalError> {
        if text.is_empty() {
            return Ok(Some(Map::new().into()));
        }
        if canonical::is_plain_object(&text) {
            return Ok(Some(Self(Form::Plain(text))));
        }
        match canonical::parse(&text)? {
            Value::Object(object) => Ok(Some(object.into())),
            _ => Ok(None),
        }
    }

    /// The text that a line takes as it is, where it is known.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(text) => Some(text),
            Form::Read(_) => None,
        }
    }

    /// The object. Of a line that was read it stands there already.
    pub(crate) fn object(&self) -> Cow<'_, Map<String, Value>> {
        match &self.0 {
            Form::Plain(text) => match canonical::parse(text) {
                Ok(Value::Object(object)) => Cow::Owned(object),
                // What is plain is an object.
                Ok(_) | Err(_) => Cow::default(),
            },
            Form::Read(object) => Cow::Borrowed(object),
        }
    }

    /// As JSON.
    pub(crate) fn into_text(self) -> String {
        match self.0 {
            Form::Plain(text) => text,
            Form::Read(object) => Value::Object(object).to_string(),
        }
    }
}

impl From<Map<String, Value>> for Attributes {
    fn from(object: Map<String, Value>) -> Self {
        Self(Form::Read(object))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Plain(text) => canonical::parse(text).map_err(S::Error::custom)?.serialize(serializer),
            Form::Read(object) => object.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entry;
    use crate::event::tests::entry;

    fn read(text: &str) -> Option<Attributes> {
        Attributes::read(text.to_owned()).expect("is strict JSON")
    }

    #[test]
    fn text_as_it_came_makes_the_line_that_its_object_makes() {
        for text in
            ["", "{}", r#"{"a":[1,-2],"b":{"c":"é","d":null}}"#, r#"{"b":1.0, "a":"\u0041"}"#, r#"{"a":0.5}"#]
        {
            let mut entry = entry(7, "tool.intent", "2026-05-09T12:00:00Z");
            let sent = read(text).expect("an object");
            entry.event.attributes = sent.object().into_owned().into();
            let (line, fingerprint) =
                (entry.to_line().expect("a line"), entry.event.fingerprint().expect("one"));
            entry.event.attributes = sent;
            assert_eq!(entry.to_line().expect("a line"), line, "{text}");
            assert_eq!(entry.event.fingerprint().expect("one"), fingerprint, "{text}");
            let parsed = Entry::parse(line.as_bytes()).expect("parses");
            assert_eq!(parsed.event.fingerprint().expect("one"), fingerprint, "{text}");
        }
    }

    #[test]
    fn only_objects_are_attributes() {
        for text in ["[]", "1", "null"] {
            assert!(read(text).is_none(), "{text}");
        }
        for text in [r#"{"a":1,"a":2}"#, "{", r#"{"a":9007199254740993}"#] {
            assert!(Attributes::read(text.to_owned()).is_err(), "{text}");
        }
        assert!(read(r#"{"a":1}"#).expect("an object").plain().is_some());
        assert!(read(r#"{"a": 1}"#).expect("an object").plain().is_none());
    }

    #[test]
    fn keys_that_mean_something_to_a_library_mean_nothing_in_a_log() {
        for token in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let mut entry = entry(7, "tool.intent", "2026-05-09T12:00:00Z");
            entry.event.attributes = read(&format!(r#"{{"a":{{"{token}":"1"}}}}"#)).expect("an object");
            let line = entry.to_line().expect("a line");
            assert!(line.contains(token), "{line}");
            let parsed = Entry::parse(line.as_bytes());
            assert!(parsed.is_ok(), "{token}: {parsed:?}");
        }
    }
}
