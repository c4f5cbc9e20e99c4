//! The RFC 8785 text of what needs none of its harder rules, which is nearly everything that is written: keys of ASCII,
//! whose order by UTF-16 is that of their bytes, and whole numbers, which ECMAScript writes as anybody does. Strings are
//! written as serde_json writes them, which is the RFC's way.
//!
//! It is written from the fields themselves, with no [`serde_json::Value`] in between. An object whose fields come in the
//! order of their names is written once; one where they do not is put in order when it ends.

mod compound;
mod writer;

use std::fmt::Display;

use serde::{Serialize, ser};

use compound::Entry;
use writer::Writer;

/// Levels that are surely no more than the strict reader takes; what is nested deeper is left to it.
const LEVELS_MAX: usize = 63;
/// Most of what is written is shorter.
const TEXT_BYTES: usize = 1_024;

/// The text; none: the value is not so plain.
pub(crate) fn to_string<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    let mut page = Page { text: String::with_capacity(TEXT_BYTES), entries: Vec::new() };
    value.serialize(Writer { page: &mut page, levels_left: LEVELS_MAX }).ok()?;
    Some(page.text)
}

/// What is written so far.
struct Page {
    text: String,
    /// Of the objects that are open, the outermost first.
    entries: Vec<Entry>,
}

/// The value is not so plain.
#[derive(Debug, thiserror::Error)]
#[error("not plain")]
struct NotPlain;

impl ser::Error for NotPlain {
    /// Whoever writes the value then fails as it does, and tells why.
    fn custom<T: Display>(_why: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::samples::values;

    /// Of every kind that is plain, with fields in the order of their names and in another.
    #[derive(Debug, Clone, Serialize)]
    struct Typed {
        a: Option<i64>,
        sorted: Sorted,
        list: (u8, i16, char, ()),
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
        #[serde(skip_serializing_if = "String::is_empty")]
        b: String,
    }

    #[derive(Debug, Clone, Serialize)]
    struct Sorted {
        kind: Kind,
        #[serde(rename = "kind and more")]
        more: Vec<Value>,
        #[serde(rename = "kind!")]
        most: Option<Box<Typed>>,
    }

    #[derive(Debug, Clone, Serialize)]
    enum Kind {
        Unit,
        Held(u64),
    }

    fn typed(inner: Option<Typed>) -> impl Strategy<Value = Typed> {
        let kind = prop_oneof![4 => Just(Kind::Unit), 1 => any::<u64>().prop_map(Kind::Held)];
        let rest = prop::collection::btree_map("[a-f]{1,2}", values(), 0..4);
        let parts = (any::<Option<i32>>(), kind, prop::collection::vec(values(), 0..3), any::<String>());
        (parts, any::<(u8, i16, char)>(), rest).prop_map(move |((a, kind, more, b), list, rest)| Typed {
            a: a.map(i64::from),
            sorted: Sorted { kind, more, most: inner.clone().map(Box::new) },
            list: (list.0, list.1, list.2, ()),
            rest,
            b,
        })
    }

    proptest! {
        #[test]
        fn what_is_plain_is_written_as_the_rfc_says(value in values()) {
            if let Some(text) = to_string(&value) {
                prop_assert_eq!(text, serde_jcs::to_string(&value).expect("canonical"));
            }
        }

        #[test]
        fn a_type_is_written_as_its_value(typed in typed(None).prop_flat_map(|inner| typed(Some(inner)))) {
            let value = serde_json::to_value(&typed).expect("a value");
            if let Some(text) = to_string(&typed) {
                prop_assert_eq!(&text, &serde_jcs::to_string(&value).expect("canonical"));
            }
            match (crate::of(&typed), crate::of_value(&value)) {
                (Ok(of_type), Ok(of_value)) => prop_assert_eq!(of_type, of_value),
                (of_type, of_value) => prop_assert!(of_type.is_err() && of_value.is_err(), "{:?}", typed),
            }
        }
    }

    #[test]
    fn fields_are_in_order_whatever_order_they_come_in() {
        #[derive(Serialize)]
        struct Unsorted {
            b: u8,
            #[serde(rename = "a b")]
            spaced: [u8; 2],
            a: Option<bool>,
        }
        let two = || Unsorted { b: 1, spaced: [2, 3], a: None };
        let text = to_string(&[two(), two()]).expect("is plain");
        assert_eq!(text, r#"[{"a":null,"a b":[2,3],"b":1},{"a":null,"a b":[2,3],"b":1}]"#);
    }

    #[test]
    fn what_only_a_value_says_is_left_to_it() {
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(rename = "a")]
            again: u8,
        }
        #[derive(Serialize)]
        #[serde(rename = "$serde_json::private::RawValue")]
        struct OfItsOwn {
            a: u8,
        }
        let numbered = BTreeMap::from([(10, "ten"), (9, "nine")]);
        assert_eq!(to_string(&numbered), None);
        assert_eq!(crate::of(&numbered).expect("has one"), r#"{"10":"ten","9":"nine"}"#);
        assert_eq!(to_string(&Twice { a: 1, again: 2 }), None);
        assert_eq!(crate::of(&Twice { a: 1, again: 2 }).expect("has one"), r#"{"a":2}"#);
        assert_eq!(to_string(&OfItsOwn { a: 1 }), None);
        assert_eq!(to_string(&BTreeMap::from([("\"", 1)])), None);
        assert_eq!(to_string(&Kind::Held(1)), None);
    }

    #[test]
    fn what_nests_too_deep_is_left_to_others() {
        let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(to_string(&deep(LEVELS_MAX)).is_some());
        assert!(to_string(&deep(LEVELS_MAX + 1)).is_none());
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        for value in [
            json!(0.5),
            json!(9_007_199_254_740_993_u64),
            json!(-9_007_199_254_740_993_i64),
            json!({ "é": 1 }),
        ] {
            assert_eq!(to_string(&value), None, "{value}");
        }
        assert_eq!(
            to_string(&json!({ "b": [-1, "é\n"], "a": {} })).as_deref(),
            Some("{\"a\":{},\"b\":[-1,\"é\\n\"]}")
        );
    }
}
