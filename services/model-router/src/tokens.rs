//! How many tokens a prompt has, about. Pure and cheap: a few looks at each byte.
//!
//! No tokenizer of any provider is asked: each has its own, and most are not public. The weights are rules of
//! thumb, tuned with OpenAI's public vocabularies `o200k_base` and `cl100k_base`: over the documents and sources of
//! this repository they are off by two fifths at most, over Russian, Arabic, Chinese and Japanese they say up to half
//! too much, over base64 a third too little.
//! What is decided by the estimate leaves room for more ([`Size::tokens_min`]).

use serde_json::Value;

use crate::chat::{Block, Delta, Media, Object, Prompt, ResponseFormat, Tool, Turn};

/// Parts of a token that weights are given in.
const PARTS: u64 = 12;

/// Tokens around a turn: its role and its ends.
const TURN_TOKENS: u64 = 4;
/// Tokens around a block that is no text: its kind and its ids.
const BLOCK_TOKENS: u64 = 8;
/// Tokens around a tool: how it is introduced to the model.
const TOOL_TOKENS: u64 = 12;
/// Of a picture: about what providers count for a square one of a thousand pixels.
const IMAGE_TOKENS: u64 = 1_400;

/// Letters and digits in a row that are still a word; beyond it they are a key, a hash or base64, whose pieces
/// stand in no vocabulary.
const WORD_MAX: usize = 20;

/// The same byte in a row, beyond which it adds nothing.
const REPEATS_MAX: usize = 4;

/// Of a letter and of a digit, in parts of a token.
const LETTER_PARTS: u64 = 3;
const DIGIT_PARTS: u64 = 5;

/// Bytes of the longest token in OpenAI's public vocabularies (`cl100k_base` and `o200k_base`: 128 spaces; `r50k_base` and
/// `p50k_base`: as many bytes of garbled text). So no text has fewer tokens than one for so many bytes, whatever of it
/// repeats itself.
const TOKEN_BYTES_MAX: usize = 128;

/// What of a model's window a request takes. The default is a request of which nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// The prompt, by estimate.
    pub prompt_tokens: u64,
    /// The part of it that the provider is asked to keep in its cache, with what comes before that.
    pub cached_tokens: u64,
    /// The longest answer that is asked for; none: the model's default.
    pub answer_tokens_max: Option<u64>,
}

impl Size {
    /// By estimate.
    #[must_use]
    pub fn of(prompt: &Prompt) -> Self {
        let prompt_tokens = of_prompt(prompt);
        let last_hint = prompt.turns.iter().rposition(|turn| !turn.breakpoints.is_empty());
        let after = |at: usize| prompt.turns.iter().skip(at + 1).map(of_turn).sum::<u64>();
        Self {
            prompt_tokens,
            cached_tokens: last_hint.map_or(0, |at| prompt_tokens.saturating_sub(after(at))),
            answer_tokens_max: prompt.max_output_tokens.map(u64::from),
        }
    }

    /// What it surely takes: a third of the estimate, and the answer that is asked for, because providers refuse by
    /// that too.
    #[must_use]
    pub fn tokens_min(&self) -> u64 {
        (self.prompt_tokens / 3).saturating_add(self.answer_tokens_max.unwrap_or(0))
    }
}

/// A prompt with its size, which is estimated once and goes where the prompt goes.
#[derive(Debug, Clone)]
pub struct Measured {
    prompt: Prompt,
    size: Size,
}

impl From<Prompt> for Measured {
    fn from(prompt: Prompt) -> Self {
        Self { size: Size::of(&prompt), prompt }
    }
}

impl Measured {
    /// What was measured.
    #[must_use]
    pub fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// By estimate.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }
}

/// Of everything that is sent.
#[must_use]
pub fn of_prompt(prompt: &Prompt) -> u64 {
    let turns: u64 = prompt.turns.iter().map(of_turn).sum();
    let tools: u64 = prompt.tools.iter().map(of_tool).sum();
    of_text(&prompt.system) + turns + tools + of_format(&prompt.response_format)
}

/// A schema is sent whole, in words or in the provider's own way.
fn of_format(format: &ResponseFormat) -> u64 {
    match format {
        ResponseFormat::Text => 0,
        ResponseFormat::JsonObject => TURN_TOKENS,
        ResponseFormat::JsonSchema { schema, .. } => TURN_TOKENS + of_object(schema),
    }
}

fn of_turn(turn: &Turn) -> u64 {
    TURN_TOKENS + turn.blocks.iter().map(of_block).sum::<u64>()
}

fn of_block(block: &Block) -> u64 {
    match block {
        Block::Text(text) => of_text(text),
        Block::ToolUse(call) => BLOCK_TOKENS + of_text(&call.name) + of_object(&call.input),
        Block::ToolResult(result) => {
            BLOCK_TOKENS + of_text(&result.content) + result.parts.iter().map(of_block).sum::<u64>()
        }
        Block::Thinking(thinking) => BLOCK_TOKENS + of_text(&thinking.text),
        Block::Media(media) => BLOCK_TOKENS + of_media(media),
    }
}

/// What a picture costs depends on its size in pixels and a document on its pages, which nobody here looks at.
fn of_media(media: &Media) -> u64 {
    match media {
        Media::Image { .. } => IMAGE_TOKENS,
        // A page is some 50 KB and some 2,000 tokens.
        Media::Pdf { title, content } => {
            of_text(title) + u64::try_from(content.len() / 25).unwrap_or(u64::MAX)
        }
        Media::PlainText { title, text } => of_text(title) + of_text(text),
    }
}

fn of_tool(tool: &Tool) -> u64 {
    TOOL_TOKENS + of_text(&tool.name) + of_text(&tool.description) + of_object(&tool.input_schema)
}

fn of_object(object: &Object) -> u64 {
    // Braces; then a colon and a comma, which mostly stand in one token with the quotes beside them.
    1 + object.iter().map(|(key, value)| 2 + of_text(key) + of_value(value)).sum::<u64>()
}

fn of_value(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => of_text(&number.to_string()),
        Value::String(text) => 1 + of_text(text),
        Value::Array(items) => 1 + items.iter().map(|item| 1 + of_value(item)).sum::<u64>(),
        Value::Object(object) => of_object(object),
    }
}

/// Of a piece of an answer.
#[must_use]
pub fn of_delta(delta: &Delta) -> u64 {
    match delta {
        Delta::Text(text) => of_text(text),
        Delta::Thinking(thinking) => of_text(&thinking.text),
        Delta::ToolUse(call) => BLOCK_TOKENS + of_text(&call.name) + of_object(&call.input),
    }
}

/// Of a text.
#[must_use]
pub fn of_text(text: &str) -> u64 {
    let (mut rest, mut parts) = (text.as_bytes(), 0);
    while !rest.is_empty() {
        let (word, after) = split(rest, |byte| !byte.is_ascii_alphanumeric());
        let (signs, after) = split(after, u8::is_ascii_alphanumeric);
        parts += of_word(word) + Scan::over(signs);
        rest = after;
    }
    let floor = u64::try_from(text.len().div_ceil(TOKEN_BYTES_MAX)).unwrap_or(u64::MAX);
    parts.div_ceil(PARTS).max(floor)
}

/// What comes before the first such byte, and the rest.
fn split(bytes: &[u8], ends: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(ends).unwrap_or(bytes.len()))
}

/// Parts of a token that letters and digits in a row have. Most of any text is words so short that nothing in them counts
/// otherwise than alone, which is quick to see: what repeats itself too often stands again so many places on.
fn of_word(word: &[u8]) -> u64 {
    let is_common = word.len() <= WORD_MAX
        && word.iter().zip(word.iter().skip(REPEATS_MAX)).all(|(one, other)| one != other);
    if is_common {
        word.iter().map(|byte| if byte.is_ascii_digit() { DIGIT_PARTS } else { LETTER_PARTS }).sum()
    } else {
        Scan::over(word)
    }
}

/// Where the look at a text is.
#[derive(Debug, Default)]
struct Scan {
    parts: u64,
    /// Letters and digits in a row.
    word: usize,
    /// White space in a row.
    space: usize,
    /// The byte before, and how often it stood there in a row.
    repeated: (u8, usize),
}

impl Scan {
    /// Parts of a token that these bytes have. Nothing that counts goes on from letters and digits to other bytes, or back.
    fn over(bytes: &[u8]) -> u64 {
        let mut scan = Self::default();
        bytes.iter().for_each(|byte| scan.byte(*byte));
        scan.parts
    }

    fn byte(&mut self, byte: u8) {
        let in_word = byte.is_ascii_alphanumeric();
        self.word = if in_word { self.word.saturating_add(1) } else { 0 };
        self.space = if byte.is_ascii_whitespace() { self.space.saturating_add(1) } else { 0 };
        let times = if byte == self.repeated.0 { self.repeated.1.saturating_add(1) } else { 1 };
        self.repeated = (byte, times);
        self.parts += match byte {
            // Rules and paddings: vocabularies hold long runs of one sign.
            _ if times > REPEATS_MAX => 0,
            _ if self.word > WORD_MAX => 8,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER_PARTS,
            b'0'..=b'9' => DIGIT_PARTS,
            b'\n' => 6,
            // One space belongs to the word after it, and a run of them is one token.
            _ if self.space == 2 => 6,
            _ if self.space > 0 => 0,
            0x00..=0x7f => 8,
            // Of a character beyond ASCII, the first byte tells how many there are.
            0x80..=0xbf => 0,
            0xc0..=0xdf => 5,
            0xe0..=0xef => 10,
            0xf0..=0xff => 24,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::provider::samples;

    #[test]
    fn texts_are_estimated_within_half_of_what_a_tokenizer_says() {
        // Counted with `o200k_base`.
        let cases = [
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("Sum up the minutes of the meeting in March.", 10),
            ("Die Sitzung wurde um zehn Uhr von der Vorsitzenden eröffnet.", 12),
            ("fn main() {\n    println!(\"{}\", 1 + 2);\n}\n", 14),
            ("{\"path\":\"a.md\",\"lines\":[1,2,3]}", 14),
            ("今日は天気がいいですね。", 7),
        ];
        for (text, tokens) in cases {
            let estimate = of_text(text);
            let off = estimate.abs_diff(tokens);
            assert!(off * 2 <= tokens, "{text:?}: {estimate}, where it has {tokens}");
        }
    }

    #[test]
    fn nothing_is_nothing_and_anything_is_something() {
        assert_eq!(of_text(""), 0);
        for text in ["a", "1", ".", "\n", "é", "日", "🦀"] {
            assert!(of_text(text) >= 1, "{text:?}");
        }
    }

    #[test]
    fn what_stands_in_no_vocabulary_counts_double_and_a_rule_next_to_nothing() {
        let words = of_text(&"words and more ".repeat(100));
        let key = of_text(&"QmFzZTY0RGF0YQIzTm9".repeat(79));
        assert!(key > words * 2, "{key}, where as many bytes of words have {words}");
        let rule = of_text(&"=".repeat(1_500));
        assert!(rule < 15, "{rule}");
    }

    #[test]
    fn no_text_has_fewer_tokens_than_its_bytes_need_at_the_least() {
        for sign in [" ", "\n", "\t", "\r\n", "=", " \t"] {
            let text = sign.repeat(100_000);
            let bytes = u64::try_from(text.len()).expect("small");
            let estimate = of_text(&text);
            assert!((bytes / 128..=bytes / 2).contains(&estimate), "{sign:?}: {estimate}");
        }
    }

    proptest! {
        #[test]
        fn words_that_are_looked_at_on_their_own_count_as_in_one_go(
            pieces in proptest::collection::vec(("[a-cX-Z0-29]{0,26}|a{0,9}|[ \n\t.=é日🦀]{0,7}", 1_usize..4), 0..24),
        ) {
            let text: String = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            let floor = u64::try_from(text.len().div_ceil(TOKEN_BYTES_MAX)).expect("small");
            prop_assert_eq!(of_text(&text), Scan::over(text.as_bytes()).div_ceil(PARTS).max(floor), "{:?}", text);
        }
    }

    #[test]
    fn every_part_of_a_prompt_counts() {
        let whole = samples::conversation();
        let mut without = [whole.clone(), whole.clone(), whole.clone(), whole.clone(), whole.clone()];
        without[0].system.clear();
        without[1].tools.clear();
        without[2].turns.remove(0);
        without[3].turns.remove(1);
        without[4].turns.remove(2);
        let asked = Prompt { response_format: samples::a_schema(), ..whole.clone() };
        assert!(of_prompt(&asked) > of_prompt(&whole), "the schema is sent too");
        for less in without {
            assert!(of_prompt(&less) < of_prompt(&whole), "{less:?}");
        }
    }

    #[test]
    fn a_cache_is_to_keep_a_prompt_up_to_the_last_hint() {
        let mut prompt = samples::conversation();
        assert_eq!(Size::of(&prompt).cached_tokens, 0);
        let last = prompt.turns.len() - 1;
        for at in [0, 1, last] {
            prompt.turns[at].breakpoints = vec![0];
            let before = Prompt { turns: prompt.turns[..=at].to_vec(), ..prompt.clone() };
            assert_eq!(Size::of(&prompt).cached_tokens, of_prompt(&before), "{at}");
        }
    }

    #[test]
    fn a_prompt_surely_takes_a_third_of_its_estimate_and_the_answer_that_is_asked_for() {
        let size = Size { prompt_tokens: 1_001, answer_tokens_max: Some(20), ..Size::default() };
        assert_eq!(size.tokens_min(), 353);
        assert_eq!(Size { answer_tokens_max: None, ..size }.tokens_min(), 333);
        assert_eq!(Size::default().tokens_min(), 0);
    }
}
