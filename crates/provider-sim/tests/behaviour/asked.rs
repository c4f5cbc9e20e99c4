//! What a request asks for, and what it must not ask for.

use bulkhead_provider_sim::{Answered, Reply, StopReason, Usage};
use serde_json::{Value, json};

use crate::bench::{Bench, FORMATS, Format, bench};

async fn answer(bench: &Bench, format: Format, more: &Value) -> Value {
    let response = bench.ask(format, "m", more).await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("json");
    assert_eq!(status, 200, "{format:?}: {body}");
    body
}

/// The text, or the only piece of content there is.
fn said(format: Format, body: &Value) -> &str {
    let pointer = match format {
        Format::Anthropic => "/content/0/text",
        Format::OpenAi => "/choices/0/message/content",
        Format::Ollama => "/message/content",
    };
    body.pointer(pointer).and_then(Value::as_str).expect("text")
}

#[tokio::test]
async fn a_forced_tool_is_called_with_what_its_schema_requires() {
    let bench = bench().await;
    for choice in [json!({ "type": "any" }), json!({ "type": "tool", "name": "fs_read" })] {
        let body = answer(&bench, Format::Anthropic, &json!({ "tool_choice": choice })).await;
        assert_eq!(
            (&body["stop_reason"], &body["content"][0]["name"]),
            (&json!("tool_use"), &json!("fs_read"))
        );
        assert_eq!(body["content"][0]["input"], json!({ "path": "" }));
    }
    let named = json!({ "type": "function", "function": { "name": "fs_read" } });
    for (choice, finish_reason) in [(json!("required"), "tool_calls"), (named, "stop")] {
        let choice = &answer(&bench, Format::OpenAi, &json!({ "tool_choice": choice })).await["choices"][0];
        assert_eq!(choice["finish_reason"], finish_reason);
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], r#"{"path":""}"#);
    }
}

#[tokio::test]
async fn an_echo_stops_before_a_stop_sequence() {
    let bench = bench().await;
    let stop = json!([" answer"]);
    for (format, more) in [
        (Format::Anthropic, json!({ "stop_sequences": stop })),
        (Format::OpenAi, json!({ "stop": stop })),
        (Format::Ollama, json!({ "options": { "stop": stop } })),
    ] {
        let body = answer(&bench, format, &more).await;
        assert_eq!(said(format, &body), "Simulated");
        if format == Format::Anthropic {
            let expected = (&json!("stop_sequence"), &json!(" answer"));
            assert_eq!((&body["stop_reason"], &body["stop_sequence"]), expected);
        }
    }
    let more = json!({ "stop_sequences": stop, "stream": true });
    let stream = bench.ask(Format::Anthropic, "m", &more).await.text().await.expect("a whole body");
    let events = Format::Anthropic.events(&stream);
    let last = events.iter().find(|event| event["type"] == "message_delta").expect("a delta");
    assert_eq!(last["delta"], json!({ "stop_reason": "stop_sequence", "stop_sequence": " answer" }));
}

#[tokio::test]
async fn an_echo_has_the_shape_that_was_asked_for() {
    let bench = bench().await;
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["city", "days", "sunny"],
        "properties": {
            "city": { "type": "string" }, "days": { "type": "integer" }, "sunny": { "type": "boolean" },
        },
    });
    let wanted = json!({ "name": "weather", "schema": schema, "strict": true });
    let by_schema = json!({ "type": "json_schema", "json_schema": wanted });
    for (format, more) in [
        (
            Format::Anthropic,
            json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } }),
        ),
        (Format::OpenAi, json!({ "response_format": by_schema })),
        (Format::Ollama, json!({ "format": schema })),
    ] {
        let body = answer(&bench, format, &more).await;
        let parsed: Value = serde_json::from_str(said(format, &body)).expect("json");
        assert_eq!(parsed, json!({ "city": "", "days": 0, "sunny": false }));
    }
}

#[tokio::test]
async fn thinking_is_shown_where_it_was_asked_for() {
    let bench = bench().await;
    let enabled = json!({ "type": "enabled", "budget_tokens": 1_024 });
    let body = answer(&bench, Format::Anthropic, &json!({ "thinking": enabled, "max_tokens": 2_048 })).await;
    assert_eq!(
        (&body["content"][0]["type"], &body["content"][1]["type"]),
        (&json!("thinking"), &json!("text"))
    );

    // What was thought is taken back as it came, and in no other way.
    let messages = |thought: &Value| {
        let hi = json!({ "role": "user", "content": "hi" });
        let said = json!({ "type": "text", "text": "so" });
        json!([hi, { "role": "assistant", "content": [thought, said] }, hi])
    };
    let thought = &body["content"][0];
    answer(&bench, Format::Anthropic, &json!({ "messages": messages(thought) })).await;
    let mut forged = thought.clone();
    forged["signature"] = json!("forged");
    let response = bench.ask(Format::Anthropic, "m", &json!({ "messages": messages(&forged) })).await;
    assert_eq!(response.status().as_u16(), 400);

    let body = answer(&bench, Format::Ollama, &json!({ "think": true })).await;
    assert_eq!(body["message"]["thinking"], "Simulated thinking.");
    assert!(answer(&bench, Format::Ollama, &json!({})).await["message"].get("thinking").is_none());
}

#[tokio::test]
async fn images_and_documents_are_taken() {
    let bench = bench().await;
    let text = json!({ "type": "text", "text": "what is this" });
    let png = json!({ "type": "base64", "media_type": "image/png", "data": "aGk=" });
    let pdf = json!({ "type": "base64", "media_type": "application/pdf", "data": "aGk=" });
    let blocks = json!([text, { "type": "image", "source": png }, { "type": "document", "source": pdf }]);
    let url = json!({ "url": "data:image/png;base64,aGk=" });
    for (format, message) in [
        (Format::Anthropic, json!({ "role": "user", "content": blocks })),
        (
            Format::OpenAi,
            json!({ "role": "user", "content": [text, { "type": "image_url", "image_url": url }] }),
        ),
        (Format::Ollama, json!({ "role": "user", "content": "what is this", "images": ["aGk="] })),
    ] {
        let body = answer(&bench, format, &json!({ "messages": [message] })).await;
        assert!(said(format, &body).trim_end().ends_with("what is this"), "{body}");
    }
}

#[tokio::test]
async fn what_a_provider_does_not_take_is_refused_in_its_own_shape() {
    let bench = bench().await;
    for (format, more, pointer) in [
        (Format::Anthropic, json!({ "seed": 7 }), "/error/message"),
        (Format::OpenAi, json!({ "stop": ["a", "b", "c", "d", "e"] }), "/error/message"),
        (Format::Ollama, json!({ "format": "xml" }), "/error"),
    ] {
        let response = bench.ask(format, "m", &more).await;
        assert_eq!(response.status().as_u16(), 400);
        let body: Value = response.json().await.expect("json");
        assert!(body.pointer(pointer).is_some_and(Value::is_string), "{body}");
    }
    let shown = bench.control.requests(None).await.expect("requests").requests;
    assert!(shown.iter().all(|request| request.answered == Answered::Status(400)));
}

#[tokio::test]
async fn scripted_usage_is_reported_as_each_provider_counts() {
    let bench = bench().await;
    let usage = Usage {
        input_tokens: 100,
        output_tokens: 20,
        cache_read_tokens: 60,
        cache_creation_tokens: 10,
        reasoning_tokens: 5,
    };
    bench.always("m", Reply { usage: Some(usage), ..Reply::default() }).await;
    let expected = json!({
        "input_tokens": 30, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 60, "output_tokens": 20,
    });
    assert_eq!(answer(&bench, Format::Anthropic, &json!({})).await["usage"], expected);
    let expected = json!({
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": { "cached_tokens": 60 },
        "completion_tokens_details": { "reasoning_tokens": 5 },
    });
    assert_eq!(answer(&bench, Format::OpenAi, &json!({})).await["usage"], expected);
    let body = answer(&bench, Format::Ollama, &json!({})).await;
    assert_eq!((&body["prompt_eval_count"], &body["eval_count"]), (&json!(100), &json!(20)));
}

#[tokio::test]
async fn a_refusal_and_a_filter_are_told_plain_and_streamed() {
    let bench = bench().await;
    for (model, anthropic, openai) in
        [("sim-refusal", "refusal", "\"refusal\":\"I"), ("sim-filter", "refusal", "\"content_filter\"")]
    {
        for streams in [false, true] {
            for (format, word) in [(Format::Anthropic, anthropic), (Format::OpenAi, openai)] {
                let response = bench.ask(format, model, &json!({ "stream": streams })).await;
                assert_eq!(response.status().as_u16(), 200);
                let body = response.text().await.expect("a whole body");
                assert!(body.contains(word), "{body}");
            }
        }
    }
    let reply = Reply { stop_reason: Some(StopReason::Refusal), ..Reply::default() };
    bench.always("m", reply).await;
    for format in FORMATS {
        answer(&bench, format, &json!({})).await;
    }
}
