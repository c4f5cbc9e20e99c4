//! Models that speak OpenAI Chat Completions, through the contract.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Malformed, Reply, Script, StatusFault, Step, StopReason, ToolCall};
use pb::content_block::Block;
use serde_json::json;

use crate::bench::{Bench, Plan, bench, request, story};

async fn speaking(provider: &'static str) -> Bench {
    bench(Plan { cloud_provider: provider, ..Plan::default() }).await
}

fn turn(role: pb::Role, block: Block) -> pb::Message {
    let content = pb::ContentBlock { block: Some(block), ..pb::ContentBlock::default() };
    pb::Message { role: role.into(), content: vec![content] }
}

#[tokio::test]
async fn tools_travel_there_and_back_under_the_agents_names() {
    for (provider, limit) in [("openai", "max_completion_tokens"), ("openai-compatible", "max_tokens")] {
        let bench = speaking(provider).await;
        let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
        bench.always("primary", Step::tools([call])).await;
        let tool = pb::ToolDefinition {
            name: "fs.read".into(),
            description: "Reads a file.".into(),
            input_schema_json: r#"{"type":"object"}"#.into(),
        };
        let asked = pb::GenerateRequest { tools: vec![tool], max_output_tokens: 77, ..request() };
        let answer = bench.generate(asked.clone()).await.expect("answers");
        assert_eq!((answer.stop_reason(), answer.model.as_str()), (pb::StopReason::ToolUse, "primary"));
        assert!(answer.usage.is_some_and(|usage| usage.input_tokens > 0 && usage.output_tokens > 0));
        let message = answer.message.expect("a message");
        let Some(Block::ToolUse(wanted)) = message.content[0].block.clone() else { panic!("{message:?}") };
        assert_eq!((wanted.name.as_str(), wanted.input_json.as_str()), ("fs.read", r#"{"path":"a.md"}"#));

        let result = pb::ToolResultBlock {
            tool_use_id: wanted.tool_use_id,
            content: "File not found: a.md".into(),
            is_error: true,
            ..pb::ToolResultBlock::default()
        };
        let mut next = asked;
        next.request_id = request().request_id;
        next.messages.extend([message, turn(pb::Role::User, Block::ToolResult(result))]);
        bench.generate(next).await.expect("the conversation goes on");

        let sent = &bench.received("primary").await[1];
        assert_eq!(sent.path, "/v1/chat/completions");
        assert_eq!(sent.body[limit], 77, "{provider}");
        assert_eq!(sent.body["tools"][0]["function"]["name"], "fs_read");
        assert_eq!(sent.body["messages"][2]["content"], "Error: File not found: a.md");
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_other_model_is_asked() {
    let bench = speaking("openai").await;
    let reply =
        Reply { text: Some("No.".into()), stop_reason: Some(StopReason::Refusal), ..Reply::default() };
    bench.always("primary", reply.into()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(answer.stop_reason(), pb::StopReason::Refusal);
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nonsense_once() {
    for (step, kind, status) in [
        (Step::status(429), "RATE_LIMITED", 429),
        (Step::status(500), "SERVER_ERROR", 500),
        (Step::status(503), "OVERLOADED", 503),
        (Action::Reset.into(), "RESET", 0),
        (Action::Cut.into(), "RESET", 200),
        (Action::Malformed(Malformed::Truncated).into(), "MALFORMED", 200),
        (Action::Malformed(Malformed::WrongShape).into(), "MALFORMED", 200),
        (Action::Malformed(Malformed::Html).into(), "MALFORMED", 200),
    ] {
        let bench = speaking("openai").await;
        bench.script("primary", Script::once([step])).await;
        let answer = bench.generate(request()).await.expect("answers");
        assert_eq!(story(&answer.attempts), [("primary", kind, status), ("primary", "", 200)]);
    }
}

#[tokio::test]
async fn what_the_body_says_decides_where_the_status_does_not() {
    let says = |code, message: &str| {
        Step::from(Action::Status(StatusFault { message: Some(message.into()), ..StatusFault::new(code) }))
    };
    for (step, kind, status, is_marked) in [
        (Step::status(401), "UNAUTHENTICATED", 401, true),
        (Step::status(404), "MODEL_NOT_FOUND", 404, true),
        (Step::status(402), "QUOTA", 402, true),
        (says(400, "This model's maximum context length is 8 tokens."), "CONTEXT_LENGTH", 400, false),
    ] {
        let bench = speaking("openai").await;
        bench.always("primary", step).await;
        let answer = bench.generate(request()).await.expect("answers");
        assert_eq!(story(&answer.attempts), [("primary", kind, status), ("fallback", "", 200)]);
        let explained = bench.explain("default", None).await;
        let left_out = explained.excluded.iter().find(|model| model.model == "primary");
        assert_eq!(left_out.is_some(), is_marked, "{kind}: {left_out:?}");
    }
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_left_alone_until_its_reset() {
    let bench = speaking("openai").await;
    let headers = BTreeMap::from([
        ("x-ratelimit-remaining-requests".to_owned(), "0".to_owned()),
        ("x-ratelimit-reset-requests".to_owned(), "1s".to_owned()),
    ]);
    let limited = Action::Status(StatusFault { headers, ..StatusFault::new(429) });
    bench.script("primary", Script::once([limited.into()])).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "RATE_LIMITED", 429), ("primary", "", 200)]);
    let waited = answer.attempts[1].waited.expect("a wait");
    let waited = Duration::try_from(waited).expect("a span");
    assert!(waited >= Duration::from_millis(990), "it came back after {waited:?}");
}
