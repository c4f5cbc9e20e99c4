//! Text that is in RFC 8785 form as it stands, told by one look at it. Pure.

/// Levels that are surely no more than the strict reader takes, wherever the text is put.
const LEVELS_MAX: usize = 32;
/// Digits of a number that is surely no larger than 2^53.
const DIGITS_MAX: usize = 15;

/// Whether text is an object in RFC 8785 form that [`crate::parse`] takes, of those that are told without reading them
/// into a value: keys of ASCII, whole numbers, nothing escaped and few levels. What it says no to may be in that form all
/// the same.
#[must_use]
pub fn is_plain_object(text: &str) -> bool {
    let mut reader = Reader { rest: text.as_bytes() };
    reader.object(LEVELS_MAX).is_some() && reader.rest.is_empty()
}

/// Each method takes what it is named for, or the text is not plain.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, wanted: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn value(&mut self, levels_left: usize) -> Option<()> {
        match self.rest.first()? {
            b'{' => self.object(levels_left),
            b'[' => self.array(levels_left),
            b'"' => self.string().map(|_| ()),
            b'n' => self.take(b"null"),
            b't' => self.take(b"true"),
            b'f' => self.take(b"false"),
            _ => self.integer(),
        }
    }

    /// Keys that rise are in order, and none of them stands twice.
    fn object(&mut self, levels_left: usize) -> Option<()> {
        let levels_left = levels_left.checked_sub(1)?;
        self.take(b"{")?;
        if self.take(b"}").is_some() {
            return Some(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            if !key.is_ascii() || before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
            self.take(b":")?;
            self.value(levels_left)?;
            if self.take(b",").is_none() {
                return self.take(b"}");
            }
        }
    }

    fn array(&mut self, levels_left: usize) -> Option<()> {
        let levels_left = levels_left.checked_sub(1)?;
        self.take(b"[")?;
        if self.take(b"]").is_some() {
            return Some(());
        }
        loop {
            self.value(levels_left)?;
            if self.take(b",").is_none() {
                return self.take(b"]");
            }
        }
    }

    /// What stands between the quotation marks.
    fn string(&mut self) -> Option<&'a [u8]> {
        let inner = self.rest.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
        let (string, rest) = inner.split_at(end);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(string)
    }

    /// A fraction or an exponent is not taken with it, and nothing takes what is left then.
    fn integer(&mut self) -> Option<()> {
        let digits = self.rest.strip_prefix(b"-").unwrap_or(self.rest);
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_zero_first = digits.first() == Some(&b'0');
        if !(1..=DIGITS_MAX).contains(&count) || is_zero_first && (self.rest.starts_with(b"-") || count > 1) {
            return None;
        }
        self.rest = digits.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::samples::values;
    use crate::{parse_canonical, to_string};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// One piece of canonical text is repeated, removed or replaced.
        #[test]
        fn what_is_told_is_in_that_form(
            value in values(),
            at in any::<prop::sample::Index>(),
            length in 0_usize..4,
            piece in r#"[{}\[\]":,\-0-9a-ce.\\ \n]{0,3}"#,
        ) {
            let Ok(text) = to_string(&json!({ "a": value, "b": 1 })) else { return Ok(()) };
            let mut changed: Vec<char> = text.chars().collect();
            let from = at.index(changed.len());
            let to = changed.len().min(from + length);
            changed.splice(from..to, piece.chars());
            for text in [text, changed.into_iter().collect()] {
                if is_plain_object(&text) {
                    prop_assert!(parse_canonical(&text).is_ok(), "{}", text);
                }
            }
        }

        #[test]
        fn no_text_of_such_pieces_is_told_wrongly(
            pieces in prop::collection::vec(r#"[{}\[\]":,]|"[ab]":|-?[0-9]{1,3}|true|null|"\\n""#, 0..12),
        ) {
            let text = format!("{{{}}}", pieces.concat());
            if is_plain_object(&text) {
                prop_assert!(parse_canonical(&text).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn plain_objects_are_told() {
        let deep = "[".repeat(LEVELS_MAX - 1) + &"]".repeat(LEVELS_MAX - 1);
        for text in [
            "{}".to_owned(),
            r#"{"":[],"a":{"b":[1,-2,0,true,false,null,"é"]},"b":999999999999999}"#.to_owned(),
            format!(r#"{{"a":{deep}}}"#),
        ] {
            assert!(is_plain_object(&text), "{text}");
            assert!(parse_canonical(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_reader() {
        let deep = "[".repeat(LEVELS_MAX) + &"]".repeat(LEVELS_MAX);
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{}{}",
            "{} ",
            r#"{"a":1,}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a": 1}"#,
            r#"{"é":1}"#,
            r#"{"a":"\n"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":-0}"#,
            r#"{"a":00}"#,
            r#"{"a":-}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e2}"#,
            r#"{"a":1000000000000000}"#,
            r#"{"a":nul}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":"b}"#,
            &format!(r#"{{"a":{deep}}}"#),
        ] {
            assert!(!is_plain_object(text), "{text}");
        }
    }
}
