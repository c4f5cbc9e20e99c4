//! What is told of an attempt in traces.

use tracing::Span;

use super::asking::{Checked, Failed};
use crate::upstream::Target;

/// The client span of the OpenTelemetry GenAI conventions.
pub(super) fn chat_span(target: &Target) -> Span {
    tracing::info_span!(
        "chat",
        otel.name = format!("chat {}", target.provider_model),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = target.adapter.name,
        gen_ai.request.model = target.provider_model,
        gen_ai.response.model = tracing::field::Empty,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

/// What became of it.
pub(super) fn describe(span: &Span, result: &Result<Checked, Failed>) {
    match result {
        Ok(Checked { answer, .. }) => {
            let model = Some(answer.provider_model.as_str()).filter(|model| is_model_name(model));
            tracing::record_all!(
                span,
                gen_ai.response.model = model,
                gen_ai.usage.input_tokens = count(answer.usage.input_tokens),
                gen_ai.usage.output_tokens = count(answer.usage.output_tokens),
            );
        }
        Err(Failed { failure, .. }) => {
            tracing::record_all!(span, error.type = failure.kind.as_str(), otel.status_code = "ERROR");
        }
    }
}

/// OTLP has signed numbers; others would be exported as text.
fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Whether the provider's word can be the name of a model; any other text might be the prompt's.
fn is_model_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_names_models_and_quotes_nothing() {
        for name in ["claude-sonnet-4-5@20250929", "llama3.2:1b", "library/qwen_2.5"] {
            assert!(is_model_name(name), "{name}");
        }
        for text in ["", "Ada Lovelace", "room\ntwelve", &"x".repeat(129)] {
            assert!(!is_model_name(text), "{text}");
        }
    }
}
