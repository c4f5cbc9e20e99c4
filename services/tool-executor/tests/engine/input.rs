//! Bad input is answered, never guessed at.

use bulkhead_edge::peer::reason;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::tools::v1 as pb;
use bulkhead_tool_executor::{Config, NAME};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{World, dry, error_kind, put, take_back};
use pb::ExecutionState as State;

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong_name_every_field() {
    let world = World::start().await;
    let wrong = pb::ExecuteToolCallRequest {
        request_id: "seven".into(),
        call: Some(pb::ToolCall { tool: "no/te".into(), arguments_json: "{}".into() }),
        context: Some(RunContext {
            session_id: "a b".into(),
            sensitivity: vec![99],
            ..RunContext::default()
        }),
        wait_for_approval: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..pb::ExecuteToolCallRequest::default()
    };
    let refused = world.execute(wrong).await.expect_err("refused");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let bad = refused.get_details_bad_request().expect("violations");
    let mut fields: Vec<&str> = bad.field_violations.iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    let expected =
        ["call.tool", "context.sensitivity[0]", "context.session_id", "request_id", "wait_for_approval"];
    assert_eq!(fields, expected);

    let nothing = world.execute(pb::ExecuteToolCallRequest::default()).await.expect_err("refused");
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let nothing = world.undo("scribe", pb::UndoExecutionRequest::default()).await.expect_err("refused");
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let mut client = world.client("scribe");
    let wrong = pb::ListExecutionsRequest {
        state: 77,
        page_size: 5_000,
        page_token: "x".into(),
        ..Default::default()
    };
    let refused = client.list_executions(wrong).await.expect_err("refused");
    assert_eq!(refused.get_details_bad_request().expect("violations").field_violations.len(), 3);
    let wrong = pb::GetExecutionRequest { execution_id: "x".into() };
    assert_eq!(client.get_execution(wrong).await.expect_err("refused").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_got_wrong_is_a_result_it_can_read() {
    let world = World::start().await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    let long = format!(r#"{{"op":"put","name":"a","content":"{}"}}"#, "x".repeat(1 << 20));
    let cases = [
        ("nope", "{}", "UNKNOWN_TOOL", "note"),
        ("note", "", "INVALID_ARGUMENTS", "JSON"),
        ("note", "[]", "INVALID_ARGUMENTS", "object"),
        ("note", "nul", "INVALID_ARGUMENTS", "JSON"),
        ("note", r#"{"op":"put","op":"drop","name":"a"}"#, "INVALID_ARGUMENTS", "twice"),
        ("note", r#"{"op":"put","name":"a","n":9007199254740993}"#, "INVALID_ARGUMENTS", "2^53"),
        ("note", r#"{"op":"put"}"#, "INVALID_ARGUMENTS", "name"),
        ("note", r#"{"op":"put","name":"a","content":7}"#, "INVALID_ARGUMENTS", "string"),
        ("note", r#"{"op":"put","name":"a","path":"x"}"#, "INVALID_ARGUMENTS", "does not have; it has "),
        ("note", deep.as_str(), "INVALID_ARGUMENTS", "nested"),
        ("note", long.as_str(), "TOO_LARGE", "Split"),
        ("note", r#"{"op":"drop","name":"a"}"#, "NOT_FOUND", "No such note"),
    ];
    for (tool, arguments, kind, hint) in cases {
        let mut request = put("a", "x");
        request.call = Some(pb::ToolCall { tool: tool.into(), arguments_json: arguments.into() });
        let failed = world.execute(request).await.expect("answers");
        assert_eq!((failed.state(), error_kind(&failed)), (State::Failed, kind), "{arguments:.80}");
        let error = failed.result.expect("a result").error.expect("an error");
        assert!(error.message.contains(hint), "{}", error.message);
        assert_eq!((error.happened(), error.retryable), (pb::Happened::No, false));
        world.until_told(&failed.execution_id, &["tool.outcome failed"]).await;
    }
    assert_eq!(world.begun(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_nobody_could_read_is_refused() {
    let world = World::start().await;
    // The arguments fit; with the preview the plan does not.
    let failed = world.execute(put("a", &"x".repeat(700_000))).await.expect("answers");
    assert_eq!((failed.state(), error_kind(&failed)), (State::Failed, "TOO_LARGE"));
    assert_eq!(world.read("a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_nowhere_are_not_found() {
    let world = World::start().await;
    let id = uuid::Uuid::now_v7().to_string();
    let unknown = world.undo("scribe", take_back(&id, false)).await.expect_err("refused");
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "EXECUTION_NOT_FOUND"));
    let watch = pb::WatchExecutionRequest { execution_id: id, ..pb::WatchExecutionRequest::default() };
    assert_eq!(
        world.client("scribe").watch_execution(watch).await.expect_err("refused").code(),
        Code::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_with_schemas_for_a_model() {
    let world = World::start().await;
    let request = pb::ListToolsRequest { page_size: 1, page_token: String::new() };
    let listed = world.client("bob").list_tools(request).await.expect("lists").into_inner();
    assert_eq!((listed.tools.len(), listed.next_page_token.as_str()), (1, ""));
    let tool = &listed.tools[0];
    let schema: serde_json::Value = serde_json::from_str(&tool.input_schema_json).expect("json");
    assert_eq!(schema["required"], serde_json::json!(["op", "name"]));
    let canonical = bulkhead_canonical_json::to_string(&schema).expect("canonical");
    assert_eq!(tool.schema_digest, bulkhead_canonical_json::sha256_hex(canonical));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_panics_while_planning_ends_the_call_and_not_the_service() {
    let world = World::start().await;
    for dry_run in [false, true] {
        let request = if dry_run { dry(put("panic", "x")) } else { put("panic", "x") };
        assert_eq!(world.execute(request).await.expect_err("fails").code(), Code::Internal);
    }
    assert_eq!(world.execute(put("a", "x")).await.expect("goes on").state(), State::Succeeded);
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bulkhead.toml");
    let text = r#"
        [tool-executor]
        data = "d"
        grant_keys = []
        outbox_events_max = 1
        pending_max_per_principal = 0
        approval_recheck_ms = 0
        approval_expires_in_ms = 5
        [tool-executor.edge]
        listen = "127.0.0.1:0"
        tokens = "t"
        unary_timeout_ms = 0
        [tool-executor.audit]
        endpoint = "http://127.0.0.1:1"
        token_file = "t"
        [tool-executor.approval]
        endpoint = "http://127.0.0.1:1"
        token_file = "t"
        [[tool-executor.root]]
        name = "NO"
        path = "w"
    "#;
    std::fs::write(&path, text).expect("writes");
    let read = |path| {
        let settings = bulkhead_edge::Settings::load(path, NAME);
        settings.and_then(|settings| settings.read(Config::read))
    };
    let told = read(&path).expect_err("refused").to_string();
    let keys = ["grant_keys", "outbox_events_max", "approval_recheck_ms", "approval_expires_in_ms"];
    for key in keys.into_iter().chain(["pending_max_per_principal", "edge.unary_timeout_ms", "root.NO.name"])
    {
        assert!(told.contains(key), "{key} is not in {told}");
    }
    std::fs::write(&path, text.replace("grant_keys", "grant_kees")).expect("writes");
    assert!(read(&path).expect_err("refused").to_string().contains("grant_kees"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_puts_into_a_name_is_neither_repeated_nor_unbounded() {
    let world = World::start().await;
    let secret = r#"{"op":"read","name":"a","hunter2-my-password":1}"#.to_owned();
    let long = format!(r#"{{"op":"read","name":"a","{}":1}}"#, "hunter2".repeat(20_000));
    let many = format!(
        r#"{{"op":"read","{0}":1,"{0}":2}}"#,
        "é".repeat(10_000) // Twice the same key: refused before the schema is looked at.
    );
    for arguments in [secret, long, many] {
        let mut request = put("a", "x");
        request.call = Some(pb::ToolCall { tool: "note".into(), arguments_json: arguments });
        let failed = world.execute(request).await.expect("answers");
        assert_eq!(error_kind(&failed), "INVALID_ARGUMENTS");
        let message = failed.result.expect("a result").error.expect("an error").message;
        assert!(message.len() <= 1_024 + '…'.len_utf8(), "{} bytes", message.len());
        assert!(!message.contains("hunter2"), "{message}");
        world.until_told(&failed.execution_id, &["tool.outcome failed"]).await;
    }
    let told = format!("{:?}", world.audit.events());
    assert!(!told.contains("hunter2"), "in the log: {told}");
}
