//! `POST /v1/chat/completions`.

use bulkhead_provider_sim::{Step, ToolCall};
use serde_json::{Value, json};

use super::{COMPLETIONS, post};
use crate::bench::{Plan, attributes, bench};

fn hello() -> Value {
    json!({ "model": "default", "messages": [{ "role": "user", "content": "Sum up the minutes." }] })
}

#[tokio::test]
async fn a_completion_says_what_the_model_said_and_who_it_was() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::text("Three points.")).await;
    let told = post(&bench, COMPLETIONS, &hello()).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["choices"][0]["message"]["content"], "Three points.");
    assert_eq!(told.body["choices"][0]["finish_reason"], "stop");
    assert_eq!((&told.body["model"], &told.body["object"]), (&json!("default"), &json!("chat.completion")));
    assert!(told.body["usage"]["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
    assert_eq!(told.header("x-bulkhead-model"), Some("primary"));
    assert_eq!(told.header("x-bulkhead-attempts"), Some("1"));
    assert!(told.header("x-request-id").is_some_and(|id| id.len() == 36));
    assert_eq!(told.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn tools_travel_there_and_back() {
    let bench = bench(Plan::default()).await;
    let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
    bench.always("primary", Step::tools([call])).await;
    let function = json!({ "name": "fs.read", "parameters": { "type": "object" } });
    let mut asked = hello();
    asked["tools"] = json!([{ "type": "function", "function": function }]);
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    let choice = &told.body["choices"][0];
    assert_eq!((told.status, &choice["finish_reason"]), (200, &json!("tool_calls")));
    let function = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(function, &json!({ "name": "fs.read", "arguments": "{\"path\":\"a.md\"}" }));

    let id = &choice["message"]["tool_calls"][0]["id"];
    let result = json!({ "role": "tool", "tool_call_id": id, "content": "Nothing." });
    let messages = asked["messages"].as_array_mut().expect("a list");
    messages.extend([choice["message"].clone(), result]);
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    let sent = &bench.received("primary").await[1].body;
    assert_eq!(sent["messages"][2]["content"][0]["content"], "Nothing.");
}

#[tokio::test]
async fn headers_keep_a_request_local_and_name_it_in_the_record() {
    let bench = bench(Plan::default()).await;
    let id = "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55";
    let told = post(&bench, COMPLETIONS, &hello())
        .with("x-bulkhead-request-id", id)
        .with("x-bulkhead-session-id", "s1")
        .with("x-bulkhead-sensitivity", "health")
        .told()
        .await;
    assert_eq!((told.status, told.header("x-bulkhead-model")), (200, Some("local")));
    assert_eq!(bench.counts().await, [0, 0, 1]);
    let event = bench.event(id).await;
    assert_eq!(event.session_id, "s1");
    assert_eq!(attributes(&event)["local_only"], true);
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_one_call() {
    let bench = bench(Plan::default()).await;
    let first = post(&bench, COMPLETIONS, &hello()).with("idempotency-key", "order 7").told().await;
    let again = post(&bench, COMPLETIONS, &hello()).with("idempotency-key", "order 7").told().await;
    assert_eq!(
        (first.status, &first.body["choices"], &first.body["id"]),
        (200, &again.body["choices"], &again.body["id"])
    );
    assert_eq!(bench.counts().await, [1, 0, 0]);
    let mut other = hello();
    other["max_tokens"] = json!(7);
    let told = post(&bench, COMPLETIONS, &other).with("idempotency-key", "order 7").told().await;
    assert_eq!((told.status, told.header("x-should-retry")), (409, Some("false")));
    assert_eq!(told.body["error"]["code"], "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_dry_run_asks_nobody() {
    let bench = bench(Plan::default()).await;
    let told = post(&bench, COMPLETIONS, &hello()).with("x-bulkhead-dry-run", "true").told().await;
    assert_eq!(told.body["bulkhead"]["planned"], json!(["primary", "fallback", "local"]));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn an_unknown_model_is_told_the_routes() {
    let bench = bench(Plan::default()).await;
    let mut asked = hello();
    asked["model"] = json!("gpt-4o");
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    assert_eq!((told.status, &told.body["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(
        told.body["error"]["message"],
        "`model` must be the name of a configured route: default, cloud, short"
    );
    assert_eq!(
        (told.header("x-bulkhead-reason"), told.header("x-should-retry")),
        (Some("ROUTE_NOT_FOUND"), Some("false"))
    );
}

#[tokio::test]
async fn what_is_wrong_is_called_by_the_callers_names() {
    let bench = bench(Plan::default()).await;
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Hi." },
        { "role": "tool", "tool_call_id": "t9", "content": "1" },
    ]);
    let function = json!({ "name": "no spaces" });
    let asked = json!({ "model": "default", "messages": messages, "max_tokens": 1_000_001,
        "tools": [{ "type": "function", "function": function }] });
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (400, &json!("invalid_request_error")));
    let message = told.body["error"]["message"].as_str().expect("a text");
    let fields =
        ["messages[2].content[0].tool_result.tool_use_id", "tools[0].function.name", "max_completion_tokens"];
    for field in fields {
        assert!(message.contains(&format!("{field}: ")), "{field}: {message}");
    }
    assert_eq!(told.body["error"]["param"], fields[0]);

    let mut asked = hello();
    asked["n"] = json!(2);
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    assert_eq!((told.status, &told.body["error"]["param"]), (400, &json!("n")));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn what_a_request_chooses_reaches_the_model() {
    let bench = bench(Plan { cloud_provider: "openai", ..Plan::default() }).await;
    bench.always("primary", Step::text("{\"sum\": 7}")).await;
    let function = json!({ "name": "now", "parameters": { "type": "object", "properties": {} } });
    let schema = json!({ "type": "object", "properties": { "sum": { "type": "integer" } } });
    let chosen = json!({
        "tools": [{ "type": "function", "function": function }],
        "tool_choice": "none",
        "seed": 7,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.25,
        "max_completion_tokens": 77,
        "response_format": { "type": "json_schema", "json_schema": { "name": "sum", "schema": schema } },
    });
    let mut asked = hello();
    for (name, value) in chosen.as_object().expect("an object") {
        asked[name] = value.clone();
    }
    let told = post(&bench, COMPLETIONS, &asked).told().await;
    assert_eq!((told.status, &told.body["choices"][0]["message"]["content"]), (200, &json!("{\"sum\": 7}")));
    let sent = &bench.received("primary").await[0].body;
    for name in ["tool_choice", "seed", "stop", "temperature", "top_p", "max_completion_tokens"] {
        assert_eq!(sent[name], chosen[name], "{name}");
    }
    assert_eq!(sent["response_format"]["json_schema"]["schema"], schema);
}

#[tokio::test]
async fn pictures_and_documents_reach_a_model_of_either_format() {
    let png = "iVBORw0KGgo=";
    let pdf = "JVBERi0xLjQK";
    let parts = json!([
        { "type": "text", "text": "What is on them?" },
        { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{png}") } },
        { "type": "file", "file": { "file_data": format!("data:application/pdf;base64,{pdf}"), "filename": "b.pdf" } },
    ]);
    for (provider, paths) in [
        ("anthropic", ["/messages/0/content/1/source/data", "/messages/0/content/2/source/data"]),
        ("openai", ["/messages/0/content/1/image_url/url", "/messages/0/content/2/file/file_data"]),
    ] {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        let asked = json!({ "model": "default", "messages": [{ "role": "user", "content": parts }] });
        let told = post(&bench, COMPLETIONS, &asked).told().await;
        assert_eq!(told.status, 200, "{provider}: {}", told.body);
        let sent = &bench.received("primary").await[0].body;
        for (path, data) in paths.iter().zip([png, pdf]) {
            let found = sent.pointer(path).and_then(Value::as_str);
            assert!(found.is_some_and(|found| found.ends_with(data)), "{provider} {path}: {sent}");
        }
    }
}
