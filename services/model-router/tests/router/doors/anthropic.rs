//! `POST /v1/messages`.

use bulkhead_provider_sim::{Reply, Step, ToolCall};
use serde_json::{Value, json};

use super::{MESSAGES, post, raw};
use crate::bench::{Plan, bench};

fn hello() -> Value {
    let messages = json!([{ "role": "user", "content": "Sum up the minutes." }]);
    json!({ "model": "default", "max_tokens": 99, "messages": messages })
}

#[tokio::test]
async fn a_message_says_what_the_model_said_and_who_it_was() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::text("Three points.")).await;
    let told = post(&bench, MESSAGES, &hello()).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["content"], json!([{ "type": "text", "text": "Three points." }]));
    assert_eq!((&told.body["model"], &told.body["stop_reason"]), (&json!("default"), &json!("end_turn")));
    assert!(told.body["usage"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
    assert_eq!(
        (told.header("x-bulkhead-model"), told.header("x-bulkhead-attempts")),
        (Some("primary"), Some("1"))
    );
    assert_eq!(told.header("request-id"), told.header("x-request-id"));
}

#[tokio::test]
async fn tools_travel_there_and_back() {
    let bench = bench(Plan::default()).await;
    let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
    bench.always("primary", Step::tools([call])).await;
    let mut asked = hello();
    asked["tools"] = json!([{ "name": "fs.read", "input_schema": { "type": "object" } }]);
    let told = post(&bench, MESSAGES, &asked).told().await;
    assert_eq!((told.status, &told.body["stop_reason"]), (200, &json!("tool_use")));
    let wanted = &told.body["content"][0];
    assert_eq!((&wanted["name"], &wanted["input"]), (&json!("fs.read"), &json!({ "path": "a.md" })));

    let result =
        json!({ "type": "tool_result", "tool_use_id": wanted["id"], "content": "Gone.", "is_error": true });
    let messages = asked["messages"].as_array_mut().expect("a list");
    messages.push(json!({ "role": "assistant", "content": told.body["content"] }));
    messages.push(json!({ "role": "user", "content": [result] }));
    let told = post(&bench, MESSAGES, &asked).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    let sent = &bench.received("primary").await[1].body;
    assert_eq!(sent["messages"][2]["content"][0]["is_error"], true);
}

#[tokio::test]
async fn failures_have_the_shape_of_the_api() {
    let bench = bench(Plan::default()).await;
    let mut asked = hello();
    asked["model"] = json!("claude-opus");
    let told = post(&bench, MESSAGES, &asked).told().await;
    let error = &told.body["error"];
    assert_eq!((told.status, &error["type"]), (404, &json!("not_found_error")));
    let message = "`model` must be the name of a configured route: default, cloud, short (ROUTE_NOT_FOUND)";
    assert_eq!(error["message"], message);
    assert_eq!(told.header("request-id"), told.body["request_id"].as_str());
    assert_eq!(told.header("request-id"), told.header("x-request-id"));

    let mut asked = hello();
    asked["top_k"] = json!(7);
    let told = post(&bench, MESSAGES, &asked).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (400, &json!("invalid_request_error")));
    assert_eq!(
        told.body["error"]["message"],
        "top_k: cannot be honoured here; leave it out (INVALID_REQUEST)"
    );
}

#[tokio::test]
async fn thinking_comes_with_the_answer_and_goes_back_as_it_came() {
    let bench = bench(Plan::default()).await;
    let reply = Reply { thinking: Some("Hm.".into()), text: Some("So.".into()), ..Reply::default() };
    bench.always("primary", reply.into()).await;
    let mut asked = hello();
    asked["model"] = json!("cloud");
    asked["max_tokens"] = json!(4_000);
    asked["thinking"] = json!({ "type": "enabled", "budget_tokens": 2_000 });
    let told = post(&bench, MESSAGES, &asked).told().await;
    assert_eq!((told.status, &told.body["content"][0]["thinking"]), (200, &json!("Hm.")), "{}", told.body);

    let messages = asked["messages"].as_array_mut().expect("a list");
    messages.push(json!({ "role": "assistant", "content": told.body["content"] }));
    messages.push(json!({ "role": "user", "content": "And?" }));
    asked["stream"] = json!(true);
    let (status, _headers, text) = post(&bench, MESSAGES, &asked).text().await;
    assert_eq!(status, 200, "{text}");
    let sent = &bench.received("primary").await[1].body;
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 2_000 }));
    assert_eq!(sent["messages"][1]["content"], told.body["content"]);
    let (thinking, signature) = (text.find("thinking_delta"), text.find("signature_delta"));
    assert!(thinking.is_some() && thinking < signature && signature < text.find("text_delta"), "{text}");
}

#[tokio::test]
async fn what_no_model_of_the_route_can_be_told_is_named_in_the_words_of_the_api() {
    let bench = bench(Plan { cloud_provider: "openai", ..Plan::default() }).await;
    let mut asked = hello();
    asked["model"] = json!("cloud");
    asked["max_tokens"] = json!(4_000);
    asked["thinking"] = json!({ "type": "enabled", "budget_tokens": 2_000 });
    for stream in [false, true] {
        asked["stream"] = json!(stream);
        let told = post(&bench, MESSAGES, &asked).told().await;
        assert_eq!((told.status, told.header("x-bulkhead-reason")), (400, Some("REQUEST_NOT_EXPRESSIBLE")));
        let message = told.body["error"]["message"].as_str().expect("a text");
        assert!(message.starts_with("thinking.budget_tokens: "), "{message}");
    }
}

#[tokio::test]
async fn a_tool_may_answer_with_a_picture() {
    let bench = bench(Plan::default()).await;
    let png = json!({ "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" });
    let picture = json!({ "type": "image", "source": png });
    let mut asked = hello();
    asked["tools"] = json!([{ "name": "fs.read", "input_schema": { "type": "object" } }]);
    let call = json!({ "type": "tool_use", "id": "t1", "name": "fs.read", "input": { "path": "a.png" } });
    let seen = json!([{ "type": "text", "text": "Seen:" }, picture]);
    let result = json!({ "type": "tool_result", "tool_use_id": "t1", "content": seen });
    let messages = asked["messages"].as_array_mut().expect("a list");
    messages.push(json!({ "role": "assistant", "content": [call] }));
    messages.push(json!({ "role": "user", "content": [result] }));
    let told = post(&bench, MESSAGES, &asked).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    let sent = &bench.received("primary").await[0].body;
    let parts = sent["messages"][2]["content"][0]["content"].as_array().expect("parts");
    assert_eq!(parts.last(), Some(&picture), "{sent}");
}

#[tokio::test]
async fn the_tokens_of_a_request_are_told_without_asking_a_model() {
    let bench = bench(Plan::default()).await;
    let count = "/v1/messages/count_tokens";
    let asked = |text: &str| json!({ "model": "default", "system": "Be brief.", "messages": [{ "role": "user", "content": text }] });
    let told = post(&bench, count, &asked("Sum up the minutes.")).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    let tokens = told.body["input_tokens"].as_u64().expect("a number");
    assert!((5..40).contains(&tokens), "{tokens}");
    let longer = post(&bench, count, &asked(&"Sum up the minutes. ".repeat(10))).told().await;
    assert!(
        longer.body["input_tokens"].as_u64().is_some_and(|longer| longer > 3 * tokens),
        "{}",
        longer.body
    );

    let mut unknown = asked("Hi.");
    unknown["model"] = json!("claude-opus");
    let told = post(&bench, count, &unknown).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (404, &json!("not_found_error")));
    let told = post(&bench, count, &hello()).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (400, &json!("invalid_request_error")));
    let told = raw(&bench, count, asked("Hi.").to_string()).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}
