//! What fuzz targets call, and the tests that go over their seeds: functions that take any bytes and panic where a promise
//! is broken. Built for them alone.
//!
//! Each seed is a file under `fuzz/seeds/TARGET`, and each target is a row of [`TARGETS`].

use std::collections::HashSet;
use std::fmt::Debug;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::chat::{Answer, Delta, StopReason};
use crate::doors::fuzzed;
use crate::failure::{Kind, delay};
use crate::provider::json::Json;
use crate::provider::samples::{PARAMETERS, Told, conversation, listen};
use crate::provider::{ADAPTERS, Adapter, DecodeError, Limits, ndjson, sse};

/// Takes any bytes, and panics if they make it break a promise.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 11] = [
    ("sse", sse),
    ("ndjson", ndjson),
    ("anthropic_answer", anthropic_answer),
    ("openai_answer", openai_answer),
    ("ollama_answer", ollama_answer),
    ("anthropic_stream", anthropic_stream),
    ("openai_stream", openai_stream),
    ("ollama_stream", ollama_stream),
    ("retry_after", retry_after),
    ("openai_request", openai_request),
    ("anthropic_request", anthropic_request),
];

/// Small, so that they are reached.
const LIMITS: Limits = Limits { event_bytes_max: 512, total_bytes_max: 4_096 };

/// Event streams: whatever the pieces are, the events are the same.
///
/// # Panics
/// If they are not.
pub fn sse(bytes: &[u8]) {
    in_any_pieces(bytes, |pieces| {
        let mut decoder = sse::Decoder::new(LIMITS);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            let end = gather(&mut events, || decoder.event());
            if end.is_some() {
                return (events, end);
            }
        }
        (events, None)
    });
}

/// Lines of JSON: whatever the pieces are, the lines are the same.
///
/// # Panics
/// If they are not.
pub fn ndjson(bytes: &[u8]) {
    in_any_pieces(bytes, |pieces| {
        let mut decoder = ndjson::Decoder::new(LIMITS);
        let mut lines = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            let end = gather(&mut lines, || decoder.line());
            if end.is_some() {
                return (lines, end);
            }
        }
        match decoder.rest() {
            Ok(rest) => lines.extend(rest),
            Err(error) => return (lines, Some(error)),
        }
        (lines, None)
    });
}

/// Takes everything there is; the error, if that ends it.
fn gather<T>(
    all: &mut Vec<T>,
    mut next: impl FnMut() -> Result<Option<T>, DecodeError>,
) -> Option<DecodeError> {
    loop {
        match next() {
            Ok(Some(one)) => all.push(one),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn in_any_pieces<T: Debug + PartialEq>(bytes: &[u8], read: impl Fn(Vec<&[u8]>) -> T) {
    let whole = read(vec![bytes]);
    for size in [1, 2, 3, 17] {
        assert_eq!(read(bytes.chunks(size).collect()), whole, "in pieces of {size} bytes");
    }
}

/// An answer of Anthropic's format.
///
/// # Panics
/// If what is read breaks a promise of answers.
pub fn anthropic_answer(bytes: &[u8]) {
    answer("anthropic", bytes);
}

/// An answer of OpenAI's format.
///
/// # Panics
/// If what is read breaks a promise of answers.
pub fn openai_answer(bytes: &[u8]) {
    answer("openai", bytes);
}

/// An answer of Ollama's format.
///
/// # Panics
/// If what is read breaks a promise of answers.
pub fn ollama_answer(bytes: &[u8]) {
    answer("ollama", bytes);
}

/// A stream of Anthropic's format.
///
/// # Panics
/// If what is read breaks a promise of answers or streams.
pub fn anthropic_stream(bytes: &[u8]) {
    stream("anthropic", bytes);
}

/// A stream of OpenAI's format.
///
/// # Panics
/// If what is read breaks a promise of answers or streams.
pub fn openai_stream(bytes: &[u8]) {
    stream("openai", bytes);
}

/// A stream of Ollama's format.
///
/// # Panics
/// If what is read breaks a promise of answers or streams.
pub fn ollama_stream(bytes: &[u8]) {
    stream("ollama", bytes);
}

fn each(name: &str) -> impl Iterator<Item = &'static Adapter> {
    ADAPTERS.into_iter().filter(move |adapter| adapter.name == name)
}

/// How keys begin that serde_json keeps for itself.
const PRIVATE_KEY: &[u8] = b"serde_json::private";

fn answer(provider: &str, bytes: &[u8]) {
    // A key to which serde_json gives a meaning of its own, and only where it reads a value.
    if bytes.windows(PRIVATE_KEY.len()).any(|window| window == PRIVATE_KEY) {
        return;
    }
    let (body, json) = (serde_json::from_slice(bytes), serde_json::from_slice::<Json<'_>>(bytes));
    assert_eq!(body.is_ok(), json.is_ok(), "only one of two readers takes it");
    let (Ok(body), Ok(json)) = (body, json) else { return };
    assert_eq!(json.to_value(), body, "read otherwise");
    for adapter in each(provider) {
        if let Ok(answer) = (adapter.answer)(&json, &conversation(), &PARAMETERS) {
            check(&answer);
        }
        // A failure's words are read from the same bytes.
        let said = (adapter.message)(&body).unwrap_or_default();
        let kind = (adapter.failure)(Kind::of_status(400), said);
        assert!(!kind.as_str().is_empty(), "a failure without a word");
    }
}

fn stream(provider: &str, bytes: &[u8]) {
    for adapter in each(provider) {
        let told: Told = listen(adapter, bytes, bytes.len().max(1));
        for size in [1, 5, 64] {
            assert_eq!(listen(adapter, bytes, size), told, "in pieces of {size} bytes");
        }
        if let Ok(answer) = &told.end {
            check(answer);
        }
    }
}

/// What every answer promises.
fn check(answer: &Answer) {
    let prompt = conversation();
    let mut ids = HashSet::new();
    for block in &answer.blocks {
        match Delta::of(block.clone()) {
            Some(Delta::Text(text)) => assert!(!text.is_empty(), "an empty text"),
            Some(Delta::Thinking(thinking)) => {
                assert!(!thinking.text.is_empty() || !thinking.signature.is_empty(), "empty thinking");
            }
            Some(Delta::ToolUse(call)) => {
                assert!(
                    prompt.tools.iter().any(|tool| tool.name == call.name),
                    "a tool that was not offered"
                );
                assert!((1..=128).contains(&call.id.len()), "an id that the contract does not take");
                assert!(prompt.tool_of(&call.id).is_none(), "an id that the conversation has already");
                assert!(ids.insert(call.id), "an id that is there twice");
            }
            None => unreachable!("a block that is no part of answers"),
        }
    }
    let calls = ids.len() + answer.miscalls.len();
    assert!(answer.stop_reason != StopReason::ToolUse || calls > 0, "stopped for tools, called none");
    let most = (1 << 53) - 1;
    for count in [answer.usage.input_tokens, answer.usage.output_tokens] {
        assert!(count <= most, "a count that no audit event can hold");
    }
}

/// Headers that ask for a delay, a line each: `name: value`. The delay is never longer than the longest.
///
/// # Panics
/// If it is.
pub fn retry_after(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let Some((name, value)) = name.zip(value) {
            headers.insert(name, value);
        }
    }
    let read = delay::read(&headers, Timestamp::UNIX_EPOCH);
    assert!(read.is_none_or(|delay| delay <= delay::DELAY_MAX), "{read:?}");
}

/// A request to the door of OpenAI's API.
///
/// # Panics
/// If what is read breaks a promise of the door.
pub fn openai_request(bytes: &[u8]) {
    fuzzed::openai(bytes);
}

/// A request to the door of Anthropic's API.
///
/// # Panics
/// If what is read breaks a promise of the door.
pub fn anthropic_request(bytes: &[u8]) {
    fuzzed::anthropic(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// Damaged copies of each seed.
    const COPIES: u32 = 200;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).expect("reads")).collect()
    }

    /// A copy with a few things wrong: bytes changed, left out, put in, doubled, or taken from another seed.
    fn damaged(seed: &[u8], others: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..=bytes.len());
            let end = (at + random.random_range(0..12)).min(bytes.len());
            match random.random_range(0..6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, random.random()),
                3 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                4 => {
                    let other = others.choose(random).expect("a seed");
                    let from = random.random_range(0..=other.len());
                    bytes.splice(at..end, other[from..].iter().copied().take(64));
                }
                _ => {
                    for byte in &mut bytes[at..end] {
                        *byte = *b"\r\n:{}[]\",0-9\\ue\xff\0".choose(random).expect("a byte");
                    }
                }
            }
        }
        bytes
    }

    #[test]
    fn no_seed_and_no_damaged_copy_of_one_breaks_a_promise() {
        let seed: u64 = rand::random();
        println!("the seed of this run: {seed}");
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name} has no seeds");
            let mut random = StdRng::seed_from_u64(seed);
            for bytes in &seeds {
                target(bytes);
                for _ in 0..COPIES {
                    let bytes = damaged(bytes, &seeds, &mut random);
                    let ran = std::panic::catch_unwind(|| target(&bytes));
                    assert!(ran.is_ok(), "{name}, seed {seed}: {}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn every_target_is_one_of_the_fuzzers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/targets");
        for (name, _) in TARGETS {
            let file = folder.join(format!("{name}.rs"));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains(&format!("fuzzing::{name}(")), "{} does not call it", file.display());
        }
    }
}
