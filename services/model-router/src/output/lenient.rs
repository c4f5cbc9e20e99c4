//! JSON as models write it: in a fence, with words around it, with a comma too many.

use serde_json::Value;

/// Values that are looked at.
const PARTS_MAX: usize = 16;

/// The JSON values in a text, first the most likely; each with its own text, cleaned of what JSON does not allow. What is
/// JSON as a whole is nothing else beside. Only outermost values count: a piece of one that was cut is no answer.
///
/// # Errors
/// Why the text as a whole is none, where there is none in it either.
pub(super) fn read(text: &str) -> Result<Vec<(String, Value)>, serde_json::Error> {
    let whole = text.trim_start_matches('\u{feff}').trim();
    let error = match parse(whole) {
        Ok(found) => return Ok(vec![found]),
        Err(error) => error,
    };
    let parts = fenced(whole).into_iter().chain(embedded(whole));
    let found: Vec<_> = parts.map(str::trim).filter_map(|part| parse(part).ok()).collect();
    if found.is_empty() { Err(error) } else { Ok(found) }
}

fn parse(text: &str) -> Result<(String, Value), serde_json::Error> {
    match serde_json::from_str(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(error) => {
            let cleaned = without_trailing_commas(text);
            serde_json::from_str(&cleaned).map(|value| (cleaned, value)).map_err(|_still_none| error)
        }
    }
}

/// What stands in the first fence, without the word for its language.
fn fenced(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("```")?;
    let (_language, body) = after.split_once('\n')?;
    body.split_once("```").map(|(body, _)| body)
}

/// From each outermost bracket to the one that closes it; nothing behind one that stays open.
fn embedded(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(['{', '['])?;
        let part = rest.get(start..).and_then(balanced)?;
        rest = rest.get(start + part.len()..)?;
        Some(part)
    })
    .take(PARTS_MAX)
}

fn balanced(rest: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, byte) in outside_strings(rest) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return rest.get(..=at);
        }
    }
    None
}

fn without_trailing_commas(text: &str) -> String {
    let structure: Vec<(usize, u8)> =
        outside_strings(text).filter(|(_, byte)| !byte.is_ascii_whitespace()).collect();
    let trailing = structure.windows(2).filter_map(|pair| match pair {
        [(at, b','), (_, b'}' | b']')] => Some(*at),
        _ => None,
    });
    let mut cleaned = text.to_owned();
    for at in trailing.collect::<Vec<_>>().into_iter().rev() {
        cleaned.remove(at);
    }
    cleaned
}

/// The bytes that are not inside a JSON string, with their places; of a string, its quotes.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut inside, mut escaped) = (false, false);
    text.bytes().enumerate().filter(move |(_, byte)| {
        let was_inside = inside;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
        !was_inside || !inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_as_models_write_it() {
        let cases = [
            (r#" {"a":1} "#, Some(r#"{"a":1}"#)),
            ("\u{feff}[1]", Some("[1]")),
            ("```json\n{\"a\":1}\n```", Some(r#"{"a":1}"#)),
            ("```\n[1,2,]\n```", Some("[1,2]")),
            ("Sure! {\"a\":[1,{\"b\":2,},],} and that is it {", Some(r#"{"a":[1,{"b":2}]}"#)),
            (r#"{"a":",}","b":"\"]"} trailing"#, Some(r#"{"a":",}","b":"\"]"}"#)),
            (r#"{"a":"é,]"},"#, Some(r#"{"a":"é,]"}"#)),
            ("As [said]: {\"a\":1}", Some(r#"{"a":1}"#)),
            ("7", Some("7")),
            ("\"text\"", Some("\"text\"")),
            (r#"{"users":[{"id":1},{"id":2},{"id":"#, None),
            (r#"It is {"a": None, "b": {"n": 1}} so"#, None),
            ("no JSON at all", None),
            ("{\"a\":1", None),
            ("{'a':1}", None),
            ("```json", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = read(text).ok().and_then(|found| found.into_iter().next());
            assert_eq!(found.map(|(json, _)| json).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_given_is_what_was_parsed() {
        let found = read("x {\"a\": 1, } y [2]").expect("JSON");
        assert_eq!(found.len(), 2);
        for (json, value) in found {
            assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), value);
        }
    }
}
