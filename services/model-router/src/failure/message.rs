//! What is said about a provider's failure: our own sentence, never the provider's.
//!
//! A provider may quote the prompt in whatever form it likes, so nothing of its text is shown, logged or
//! stored. Of its answer only a word that stands in [`CODES`] is repeated, and that from our list.

use serde_json::Value;

use super::Kind;

/// Error types and codes that are documented by the providers; any other word might be a caller's.
const CODES: [&str; 17] = [
    // Anthropic, https://docs.anthropic.com/en/api/errors
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
    // OpenAI's words, which servers with its interface repeat.
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "rate_limit_exceeded",
    "server_error",
    "service_unavailable",
];

/// The sentence about a response that is a failure.
#[must_use]
pub fn sentence(kind: Kind, http_status: u16, body: &Value) -> String {
    let meaning = meaning(kind);
    match code(body) {
        Some(code) => format!("{meaning} (HTTP {http_status}, {code})"),
        None => format!("{meaning} (HTTP {http_status})"),
    }
}

/// The sentence about a failure that stands in a stream which began well.
#[must_use]
pub fn sentence_in_stream(kind: Kind, body: &Value) -> String {
    let meaning = meaning(kind);
    match code(body) {
        Some(code) => format!("{meaning} (said in the stream, {code})"),
        None => format!("{meaning} (said in the stream)"),
    }
}

/// The provider's code for the failure, else its type, if it is a known word.
fn code(body: &Value) -> Option<&'static str> {
    let said = |field| body.pointer(field).and_then(Value::as_str);
    let known = |word: &str| CODES.into_iter().find(|code| *code == word);
    said("/error/code").and_then(known).or_else(|| said("/error/type").and_then(known))
}

fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::RateLimited => "the provider limits the rate of requests",
        Kind::Overloaded => "the provider is overloaded",
        Kind::ServerError => "the provider failed",
        Kind::ServerTimeout => "the provider gave up waiting",
        Kind::Silence => "no complete answer came in time",
        Kind::Connect => "the provider cannot be connected to",
        Kind::NotLocal => "the model's address is not local",
        Kind::Reset => "the connection ended before the answer",
        Kind::Malformed | Kind::Unfit => "the answer cannot be used",
        Kind::Refusal => "the model declined",
        Kind::Unauthenticated => "the provider does not take the key",
        Kind::Quota => "the provider's quota or credit is used up",
        Kind::Forbidden => "the key may not use this model",
        Kind::NotCleared => "the request is not cleared for this model",
        Kind::ModelNotFound => "the provider has no such model or endpoint",
        Kind::InvalidRequest => "the provider refuses the request as invalid",
        Kind::ContextLength => "the conversation is too long for the model",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_words_are_repeated_and_nothing_else() {
        let cases = [
            (json!({ "error": { "type": "overloaded_error" } }), ", overloaded_error"),
            (
                json!({ "error": { "type": "invalid_request_error", "code": "context_length_exceeded" } }),
                ", context_length_exceeded",
            ),
            (
                json!({ "error": { "type": "invalid_request_error", "code": "Ada Lovelace" } }),
                ", invalid_request_error",
            ),
            (json!({ "error": { "type": "Ada", "message": "room twelve" } }), ""),
            (json!({ "error": "room twelve" }), ""),
            (json!({ "error": { "type": ["api_error"] } }), ""),
            (Value::Null, ""),
        ];
        for (body, code) in cases {
            let expected = format!("the provider is overloaded (HTTP 529{code})");
            assert_eq!(sentence(Kind::Overloaded, 529, &body), expected, "{body}");
        }
    }
}
