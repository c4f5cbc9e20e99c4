//! Reads an object field by field, so that what is left in the end is what nobody knows.

use bulkhead_edge::Violations;
use serde_json::Value;

use crate::chat::Object;

/// Said of a field that the contract has no words for.
const UNSUPPORTED: &str = "cannot be honoured here; leave it out";

/// An object of a request. Each field is taken out; null is the same as absent. A value of the wrong type is a
/// violation and then absent too.
pub(super) struct Fields<'a> {
    path: String,
    object: Object,
    violations: &'a mut Violations,
}

impl<'a> Fields<'a> {
    /// The whole of a request.
    pub(super) fn root(object: Object, violations: &'a mut Violations) -> Self {
        Self { path: String::new(), object, violations }
    }

    /// What has to be an object.
    pub(super) fn of(path: String, value: Value, violations: &'a mut Violations) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self { path, object, violations }),
            _ => {
                violations.add(path, "must be an object");
                None
            }
        }
    }

    /// The path of a field.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where violations go that concern more than one field.
    pub(super) fn violations(&mut self) -> &mut Violations {
        self.violations
    }

    /// Says that a field is wrong.
    pub(super) fn wrong(&mut self, name: &str, description: impl Into<String>) {
        self.violations.add(self.at(name), description);
    }

    /// Says so of a field that is absent.
    pub(super) fn require(&mut self, name: &str) {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "is required");
        }
    }

    /// Any value.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn typed<T>(&mut self, name: &str, right: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let read = read(self.take(name)?);
        if read.is_none() {
            self.wrong(name, format!("must be {right}"));
        }
        read
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.typed(name, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    pub(super) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        self.typed(name, "a list", |value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        })
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.typed(name, "a list of strings", |value| serde_json::from_value(value).ok())
    }

    /// An object whose fields mean nothing here.
    pub(super) fn object(&mut self, name: &str) -> Option<Object> {
        self.typed(name, "an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        })
    }

    /// An object whose fields are read in turn.
    pub(super) fn inner(&mut self, name: &str) -> Option<Fields<'_>> {
        let object = self.object(name)?;
        Some(Fields { path: self.at(name), object, violations: self.violations })
    }

    /// A number of things, at least one.
    pub(super) fn count(&mut self, name: &str) -> Option<u32> {
        let read = |value: Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
        self.typed(name, "1 to 4294967295", |value| read(value).filter(|count| *count > 0))
    }

    pub(super) fn whole(&mut self, name: &str) -> Option<u64> {
        self.typed(name, "0 to 9007199254740992", |value| value.as_u64())
    }

    /// A fraction; through its decimal text, so that 0.7 stays 0.7.
    pub(super) fn decimal(&mut self, name: &str) -> Option<f32> {
        self.typed(name, "a number", |value| {
            value.as_number().and_then(|number| number.to_string().parse().ok())
        })
    }

    /// A content: a text alone, or a list of objects that each say by `type` what they are. None of a reader
    /// says that the object is wrong, which it has told; its other fields say nothing more.
    pub(super) fn parts<T>(
        &mut self,
        name: &str,
        said: impl FnOnce(String) -> Option<T>,
        mut read: impl FnMut(&mut Fields<'_>, &str) -> Option<T>,
    ) -> Vec<T> {
        let parts = match self.take(name) {
            None => return Vec::new(),
            Some(Value::String(text)) => return said(text).into_iter().collect(),
            Some(Value::Array(parts)) => parts,
            Some(_) => {
                self.wrong(name, "must be a string or a list of objects");
                return Vec::new();
            }
        };
        let path = self.at(name);
        let mut all = Vec::new();
        for (place, part) in parts.into_iter().enumerate() {
            let part = Fields::of(format!("{path}[{place}]"), part, self.violations);
            let Some(mut part) = part else { continue };
            let kind = part.kind("type");
            if let Some(value) = read(&mut part, &kind) {
                all.push(value);
                part.finish();
            }
        }
        all
    }

    /// The field that says what sort of object this is.
    pub(super) fn kind(&mut self, name: &str) -> String {
        self.require(name);
        self.text(name).unwrap_or_default()
    }

    /// Refuses a field unless its value is one of those that change nothing.
    pub(super) fn neutral(&mut self, name: &str, values: &[Value]) {
        if self.take(name).is_some_and(|value| !values.contains(&value)) {
            self.wrong(name, UNSUPPORTED);
        }
    }

    /// Takes out what changes no answer.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.object.remove(*name)));
    }

    /// Refuses whatever is left, by name.
    pub(super) fn finish(mut self) {
        let left = std::mem::take(&mut self.object);
        for (name, _value) in left.into_iter().filter(|(_, value)| !value.is_null()) {
            let is_name =
                name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            self.wrong(if is_name { &name } else { "?" }, UNSUPPORTED);
        }
    }
}
