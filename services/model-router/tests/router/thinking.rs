//! What models think: asked for, counted, and carried back to whom it came from.

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Reply, Script, Step, Usage};
use pb::content_block::Block;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{Plan, attributes, bench, on, reason, request, story};

/// A request that lets the model think, on the models that are not local.
fn thoughtful() -> pb::GenerateRequest {
    pb::GenerateRequest { thinking_tokens_max: 2_000, max_output_tokens: 4_000, ..on("cloud") }
}

#[tokio::test]
async fn thinking_comes_with_the_answer_and_goes_back_as_it_came() {
    let bench = bench(Plan::default()).await;
    let reply = Reply {
        thinking: Some("Hm.".into()),
        text: Some("So.".into()),
        usage: Some(Usage {
            input_tokens: 12,
            output_tokens: 5,
            cache_read_tokens: 500,
            cache_creation_tokens: 30,
            ..Usage::default()
        }),
        ..Reply::default()
    };
    bench.always("primary", reply.into()).await;
    let asked = thoughtful();
    let answer = bench.generate(asked.clone()).await.expect("answers");
    let usage = answer.usage.expect("usage");
    assert_eq!((usage.cache_read_input_tokens, usage.cache_creation_input_tokens), (500, 30));
    let event = attributes(&bench.event(&asked.request_id).await);
    assert_eq!(
        (&event["cache_read_input_tokens"], &event["reasoning_output_tokens"]),
        (&json!(500), &json!(0))
    );

    let message = answer.message.expect("a message");
    let Some(Block::Thinking(thinking)) = &message.content[0].block else { panic!("{message:?}") };
    assert_eq!(thinking.text, "Hm.");
    let mut next = asked;
    next.request_id = request().request_id;
    next.messages.extend([message.clone(), request().messages[0].clone()]);
    bench.generate(next).await.expect("the conversation goes on");
    let sent = &bench.received("primary").await[1].body;
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 2_000 }));
    let back = json!({ "type": "thinking", "thinking": "Hm.", "signature": thinking.signature });
    assert_eq!(sent["messages"][1]["content"][0], back);
}

#[tokio::test]
async fn a_model_that_thinks_without_a_measure_is_told_to_in_its_own_words() {
    for (cloud_model, tokens, told) in [
        ("thinking = \"on-off\"", 2_000, json!(true)),
        ("thinking = \"level\"", 2_000, json!("low")),
        ("thinking = \"level\"", 20_000, json!("high")),
    ] {
        let bench = bench(Plan { cloud_provider: "ollama", cloud_model, ..Plan::default() }).await;
        let asked = || pb::GenerateRequest {
            thinking_tokens_max: tokens,
            max_output_tokens: 2 * tokens,
            ..thoughtful()
        };
        let answer = bench.generate(asked()).await.expect("answers");
        let heard = bench.stream(asked()).await;
        let streamed = heard.answer().clone();
        for message in [answer.message, streamed.message] {
            let message = message.expect("a message");
            let Some(Block::Thinking(thinking)) = &message.content[0].block else { panic!("{message:?}") };
            assert_eq!(thinking.text, "Simulated thinking.", "{cloud_model}");
        }
        assert_eq!(heard.thinking, "Simulated thinking.", "{cloud_model}: piece by piece");
        for received in bench.received("primary").await {
            assert_eq!(
                (&received.body["think"], &received.body["options"]["num_predict"]),
                (&told, &json!(2 * tokens))
            );
        }
        let quiet = pb::GenerateRequest { thinking_tokens_max: 0, ..asked() };
        bench.generate(quiet).await.expect("answers");
        assert_eq!(bench.received("primary").await[2].body["think"], json!(false), "{cloud_model}");
    }
}

#[tokio::test]
async fn who_cannot_be_told_how_much_to_think_is_not_asked() {
    let bench = bench(Plan { cloud_provider: "openai", ..Plan::default() }).await;
    let status = bench.generate(thoughtful()).await.expect_err("nobody can be told");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_NOT_EXPRESSIBLE"));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_model_whose_usual_answer_is_no_longer_than_the_thinking_is_not_asked() {
    let bench = bench(Plan { cloud_model: "max_output_tokens_default = 2000", ..Plan::default() }).await;
    let by_default = || pb::GenerateRequest { max_output_tokens: 0, ..thoughtful() };
    let status = bench.generate(by_default()).await.expect_err("no room for an answer");
    assert_eq!(reason(&status), "REQUEST_NOT_EXPRESSIBLE");
    assert_eq!(bench.counts().await, [0, 0, 0]);
    let less = pb::GenerateRequest { thinking_tokens_max: 1_999, ..by_default() };
    bench.generate(less).await.expect("a token is left");
}

#[tokio::test]
async fn a_wrong_answer_of_nothing_but_thinking_is_asked_for_again_without_it() {
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonObject.into(),
        ..pb::ResponseFormat::default()
    };
    for provider in ["anthropic", "openai", "openai-compatible", "ollama"] {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        let asked = || {
            let asked = if provider == "anthropic" { thoughtful() } else { on("cloud") };
            pb::GenerateRequest { response_format: Some(format.clone()), ..asked }
        };
        for is_streamed in [false, true] {
            bench.control.clear_requests().await.expect("cleared");
            let lost_in_thought =
                Reply { thinking: Some("Hm.".into()), text: Some(String::new()), ..Reply::default() };
            let steps = [lost_in_thought.into(), Step::text("{\"n\":1}")];
            bench.script("primary", Script::once(steps)).await;
            let answer = if is_streamed {
                bench.stream(asked()).await.answer().clone()
            } else {
                bench.generate(asked()).await.expect("answers")
            };
            let expected = [("primary", "MALFORMED", 200), ("primary", "", 200)];
            assert_eq!(story(&answer.attempts), expected, "{provider} streamed: {is_streamed}");
            let sent = &bench.received("primary").await[1].body;
            let turns = sent["messages"].as_array().expect("turns").iter();
            let turns: Vec<&serde_json::Value> = turns.filter(|turn| turn["role"] != "system").collect();
            assert_eq!(turns.len(), 1, "{provider}: speakers take turns");
            assert!(turns[0].to_string().contains("is not what was asked for"), "{provider} {}", turns[0]);
        }
    }
}

#[tokio::test]
async fn thinking_without_room_for_an_answer_or_in_a_users_turn_is_refused() {
    let bench = bench(Plan::default()).await;
    let mut asked = pb::GenerateRequest { max_output_tokens: 2_000, ..thoughtful() };
    let thinking = Block::Thinking(pb::Thinking::default());
    asked.messages[0].content.push(pb::ContentBlock { block: Some(thinking), ..Default::default() });
    let status = bench.generate(asked).await.expect_err("both are wrong");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in ["thinking_tokens_max", "messages[0].content[1].thinking"] {
        assert!(fields.contains(&field), "{fields:?}");
    }
    assert_eq!(bench.counts().await, [0, 0, 0]);
}
