//! What a provider said about a failure, made fit for others to read.

use bulkhead_outbox::redact_text;

use crate::chat::Prompt;
use crate::secret::Secret;

/// Characters that are kept: enough for one sentence and the names in it.
const CHARS_MAX: usize = 200;
/// A quotation of this length, in characters, is noticed wherever it begins (see [`quotes`]).
const WINDOW: usize = 16;
/// Between the beginnings of two windows.
const STRIDE: usize = 8;
/// Stands in place of a message that repeats the prompt.
const WITHHELD: &str = "the provider's message repeats the prompt and is withheld";

/// The message, cut, in one line, without credentials; withheld whole when it quotes the prompt.
#[must_use]
pub fn presentable(raw: &str, prompt: &Prompt, key: Option<&Secret>) -> String {
    let line: String = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    let key = key.map(Secret::reveal).filter(|key| !key.is_empty());
    let without_key = key.map_or_else(|| line.clone(), |key| line.replace(key, "[redacted]"));
    let message: String = redact_text(&without_key).chars().take(CHARS_MAX).collect();
    if quotes(&message, prompt) { WITHHELD.to_owned() } else { message }
}

/// Whether the message shares at least `WINDOW + STRIDE` characters in a row with the prompt.
fn quotes(message: &str, prompt: &Prompt) -> bool {
    let chars: Vec<char> = message.chars().collect();
    let windows: Vec<String> =
        chars.windows(WINDOW).step_by(STRIDE).map(|window| window.iter().collect()).collect();
    prompt.texts().any(|text| windows.iter().any(|window| text.contains(window.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Block, Role, Turn};

    fn prompt(text: &str) -> Prompt {
        let turns = vec![Turn { role: Role::User, blocks: vec![Block::Text(text.into())] }];
        Prompt { system: String::new(), turns, tools: vec![], max_output_tokens: None, temperature: None }
    }

    #[test]
    fn messages_are_cut_to_one_line_without_keys() {
        let key = Secret::new("plainkey");
        let shown =
            presentable("bad\n  key plainkey and sk-ant-api03-abcdefghijklmnop", &prompt(""), Some(&key));
        assert_eq!(shown, "bad key [redacted] and [redacted]");
        assert_eq!(presentable(&"é".repeat(500), &prompt(""), None).chars().count(), 200);
    }

    #[test]
    fn a_message_that_quotes_the_prompt_is_withheld() {
        let prompt = prompt("the patient in room twelve is called Ada Lovelace");
        let quoting = "invalid: 'patient in room twelve is called Ada'";
        assert_eq!(presentable(quoting, &prompt, None), WITHHELD);
        assert_eq!(presentable("messages: the patient", &prompt, None), "messages: the patient");
    }
}
