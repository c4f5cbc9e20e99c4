//! What is written down, and what must not be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Reply, Script, StatusFault, Step};
use pb::content_block::Block;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{
    KEY, Plan, attributes, bench, child_command, closed_port, on, reason, request, run_child, sensitive,
    write_config,
};

#[tokio::test]
async fn a_call_is_told_with_its_attempts() {
    let bench = bench(Plan::default()).await;
    bench.script("primary", Script::once([Step::status(503)])).await;
    let asked = request();
    let answer = bench.generate(asked.clone()).await.expect("answers");
    let event = bench.event(&asked.request_id).await;
    assert_eq!((event.kind.as_str(), event.outcome.as_str()), ("model.call", "answered"));
    assert_eq!(event.principal.as_ref().map(|p| p.name.as_str()), Some("scribe"));
    let told = attributes(&event);
    assert_eq!(
        (&told["route"], &told["model"], &told["local_only"]),
        (&"default".into(), &"primary".into(), &false.into())
    );
    assert_eq!(told["output_tokens"], answer.usage.expect("usage").output_tokens);
    let attempts = told["attempts"].as_array().expect("attempts");
    assert_eq!(
        (&attempts[0]["outcome"], &attempts[0]["error_kind"]),
        (&"transient".into(), &"OVERLOADED".into())
    );
    assert_eq!((&attempts[1]["outcome"], &attempts[1]["http_status"]), (&"answered".into(), &200.into()));
}

#[tokio::test]
async fn refusals_and_failures_are_told_too() {
    let bench = bench(Plan { model: "attempts_max = 1", ..Plan::default() }).await;
    bench.always("primary", Step::status(500)).await;
    for (asked, outcome, error) in
        [(sensitive("cloud"), "refused", "NO_LOCAL_MODEL"), (on("short"), "failed", "NO_MODEL_ANSWERED")]
    {
        bench.generate(asked.clone()).await.expect_err("fails");
        let event = bench.event(&asked.request_id).await;
        assert_eq!((event.outcome.as_str(), &attributes(&event)["error"]), (outcome, &error.into()));
    }
}

#[tokio::test]
async fn neither_prompts_nor_keys_come_out_again() {
    let bench = bench(Plan::default()).await;
    let prompt = "Sum up the minutes of the meeting in March.";
    let message = Some(format!("bad key {KEY} in: {prompt}"));
    let fault = Step::from(Action::Status(StatusFault { message, ..StatusFault::new(400) }));
    bench.script("primary", Script::once([fault])).await;
    let asked = request();
    let error = bench.generate(asked.clone()).await.expect_err("refused");
    let shown = format!("{error:?} {:?}", error.get_error_details());
    let event = format!("{:?}", bench.event(&asked.request_id).await);
    for text in [shown, event] {
        assert!(!text.contains(KEY), "the key: {text}");
        assert!(!text.contains("meeting in March"), "the prompt: {text}");
    }
    let data = bench.folder.path().join("data");
    let stored =
        [data.clone(), data.join("outbox")].map(|folder| std::fs::read_dir(folder).expect("a folder"));
    for file in
        stored.into_iter().flatten().map(|file| file.expect("a file").path()).filter(|path| path.is_file())
    {
        let bytes = std::fs::read(file).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY) && !text.contains("meeting in March"));
    }
    assert!(bench.received("primary").await[0].headers.contains_key("x-api-key"), "the key was used");
}

/// A conversation with a marked word in each of its parts, and a provider's message that repeats them in
/// pieces and other spellings.
fn quoted() -> (pb::GenerateRequest, String) {
    let block = |block| vec![pb::ContentBlock { block: Some(block), ..pb::ContentBlock::default() }];
    let call = pb::ToolUse {
        tool_use_id: "t1".into(),
        name: "find".into(),
        input_json: r#"{"who":"Lovelace"}"#.into(),
    };
    let result = pb::ToolResultBlock {
        tool_use_id: "t1".into(),
        content: "Mildew\n\tin the\n  Larder".into(),
        is_error: false,
        ..pb::ToolResultBlock::default()
    };
    let mut asked = on("short");
    asked.system = "Be Quixotic".into();
    asked.messages.extend([
        pb::Message { role: pb::Role::Assistant.into(), content: block(Block::ToolUse(call)) },
        pb::Message { role: pb::Role::User.into(), content: block(Block::ToolResult(result)) },
    ]);
    let message = r#"bad: {\"who\":\"Lovelace\"} 'Mildew in the Larder' Quixotic, March"#;
    (asked, message.to_owned())
}

const MARKED: [&str; 5] = ["Lovelace", "Mildew", "Larder", "Quixotic", "March"];

fn assert_quotes_nothing(text: &str) {
    for word in MARKED {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn a_providers_words_are_never_passed_on() {
    for status in [400, 401, 500] {
        let bench = bench(Plan { model: "attempts_max = 1", ..Plan::default() }).await;
        let (mut asked, message) = quoted();
        asked.route = "cloud".into();
        let fault = StatusFault { message: Some(message), ..StatusFault::new(status) };
        bench.always("primary", Action::Status(fault).into()).await;
        let told = match bench.generate(asked.clone()).await {
            Ok(answer) => format!("{:?}", answer.attempts),
            Err(error) => format!("{error:?} {:?}", error.get_error_details()),
        };
        assert!(told.contains("_error)"), "the provider's code is known and told: {told}");
        assert_quotes_nothing(&told);
        assert_quotes_nothing(&format!("{:?}", bench.event(&asked.request_id).await));
    }
}

#[tokio::test]
async fn the_log_names_failures_in_our_own_words() {
    let bench = bench(Plan::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &bench.simulator.url(), &closed_port().await, &Plan::default());
    let log = folder.path().join("log");
    let mut command = child_command(folder.path());
    command.env("RUST_LOG", "info,bulkhead_model_router=trace");
    command.stderr(std::fs::File::create(&log).expect("created"));
    let (child, mut client) = run_child(command).await;
    let (asked, message) = quoted();
    let fault = StatusFault { message: Some(message), ..StatusFault::new(400) };
    bench.always("primary", Action::Status(fault).into()).await;
    client.generate(asked).await.expect_err("refused");
    drop(child);
    let log = std::fs::read_to_string(log).expect("readable");
    assert!(log.contains("refuses the request as invalid (HTTP 400, invalid_request_error)"), "{log}");
    assert_quotes_nothing(&log);
}

#[tokio::test]
async fn with_a_full_outbox_no_model_is_called() {
    let settings = "retry_base_ms = 10\noutbox_events_max = 2";
    let bench = crate::bench::with_audit(Plan { settings, ..Plan::default() }, &closed_port().await).await;
    for _ in 0..2 {
        bench.generate(request()).await.expect("there is room");
    }
    let error = bench.generate(request()).await.expect_err("full");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "OUTBOX_FULL"));
    assert!(error.get_details_retry_info().is_some());
    assert_eq!(bench.counts().await, [2, 0, 0]);
}

#[tokio::test]
async fn a_full_outbox_is_not_ready_until_there_is_room() {
    let settings = "retry_base_ms = 10\noutbox_events_max = 2";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.audit_is_down.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        bench.generate(request()).await.expect("there is room");
    }
    assert!(bench.readyz().await.starts_with("HTTP/1.1 200"), "waiting events alone are no trouble");
    bench.generate(request()).await.expect_err("full");
    let told = bench.readyz().await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("audit_outbox"), "{told}");

    bench.audit_is_down.store(false, Ordering::Relaxed);
    bench.ready().await;
    bench.generate(request()).await.expect("there is room again");
}

/// How a test takes a store away, and gives it back.
enum Harm {
    /// Somebody else writes the store, without an end.
    Locked,
    /// A file stands where the outbox's folder was.
    Moved,
}

impl Harm {
    async fn done(&self, folder: &Path, intruder: &mut SqliteConnection) {
        match self {
            Self::Locked => drop(intruder.execute("BEGIN IMMEDIATE").await.expect("locked")),
            Self::Moved => {
                std::fs::rename(folder.join("outbox"), folder.join("elsewhere")).expect("renamed");
                std::fs::write(folder.join("outbox"), "").expect("written");
            }
        }
    }

    async fn undone(&self, folder: &Path, intruder: &mut SqliteConnection) {
        match self {
            Self::Locked => drop(intruder.execute("ROLLBACK").await.expect("let go")),
            Self::Moved => {
                std::fs::remove_file(folder.join("outbox")).expect("removed");
                std::fs::rename(folder.join("elsewhere"), folder.join("outbox")).expect("renamed");
            }
        }
    }
}

const PAID: &str = "input_price_usd_micros = 1000000\noutput_price_usd_micros = 1000000";
const BUDGET: &str = "retry_base_ms = 10\n[[model-router.budget]]\nname = \"all\"\nscope = \"tenant\"\nperiod = \"day\"\nstop_usd_micros = 900000000";

#[tokio::test]
async fn a_store_that_is_gone_or_locked_is_not_ready_until_it_is_back() {
    let bench = bench(Plan { settings: BUDGET, model: PAID, ..Plan::default() }).await;
    let folder = bench.folder.path().join("data");
    let options = SqliteConnectOptions::new().filename(folder.join("router.db"));
    let mut intruder = SqliteConnection::connect_with(&options).await.expect("opens");
    bench.generate(request()).await.expect("answers");
    // What was spent cannot be written once the model has answered; what is found of the outbox is found before.
    for (harm, told, calls) in [(Harm::Locked, "ANSWER_WITHHELD", 1), (Harm::Moved, "STORE_UNAVAILABLE", 0)] {
        let before = bench.counts().await[0];
        assert!(bench.readyz().await.starts_with("HTTP/1.1 200"));
        harm.done(&folder, &mut intruder).await;
        if calls == 0 {
            bench.unready("store").await;
        }
        let asked = request();
        let error = bench.generate(asked.clone()).await.expect_err("cannot be recorded");
        assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, told));
        assert_eq!(bench.counts().await[0] - before, calls, "{told}");
        // Once the trouble is known, no model is called for an answer that could not be given.
        let error = bench.generate(request()).await.expect_err("cannot be recorded");
        assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
        assert_eq!(bench.counts().await[0] - before, calls, "{told}");
        bench.unready("store").await;
        if calls == 1 {
            let event = bench.event(&asked.request_id).await;
            assert_eq!((event.outcome.as_str(), &attributes(&event)["error"]), ("failed", &told.into()));
        }
        harm.undone(&folder, &mut intruder).await;
        bench.ready().await;
        bench.generate(request()).await.expect("answers again");
    }
}

#[tokio::test]
async fn a_call_that_a_killed_router_had_open_is_on_record_after_the_next_start() {
    let bench = bench(Plan { settings: "data_slots = 2", ..Plan::default() }).await;
    let (child, client) = run_child(child_command(bench.folder.path())).await;
    let endless = Reply { pause_ms: 20, chunks: vec!["word ".into(); 5_000], ..Reply::default() };
    bench.script("primary", Script::once([Step::text("Done."), endless.into()])).await;
    let (whole, cut) = (request(), request());
    client.clone().generate(whole.clone()).await.expect("answers");
    let (request_id, generate) =
        (cut.request_id.clone(), pb::GenerateRequest { request_id: String::new(), ..cut });
    let asked = pb::StreamGenerateRequest { request_id: request_id.clone(), generate: Some(generate) };
    let mut messages = client.clone().stream_generate(asked).await.expect("opens").into_inner();
    while messages.message().await.expect("goes on").is_some_and(|message| message.text.is_empty()) {}
    // Killed, with SIGKILL.
    drop(child);
    let (_heir, _) = run_child(child_command(bench.folder.path())).await;
    let event = bench.event(&request_id).await;
    let told = attributes(&event);
    assert_eq!((event.kind.as_str(), event.outcome.as_str()), ("model.call", "unknown"));
    assert_eq!((&told["error"], &told["attempts"][0]["model"]), (&json!("ROUTER_GONE"), &json!("primary")));
    assert_eq!(event.principal.map(|principal| principal.name), Some("scribe".to_owned()));
    let outcomes = |id: &str| {
        let events = bench.events.lock().expect("not poisoned");
        let of_call = events.iter().filter(|event| event.subject_id == id);
        // An event may arrive twice, as itself.
        let told: BTreeMap<_, _> = of_call.map(|event| (&event.event_id, event.outcome.clone())).collect();
        told.into_values().collect::<Vec<_>>()
    };
    assert_eq!(
        (outcomes(&whole.request_id), outcomes(&request_id)),
        (vec!["answered".into()], vec!["unknown".into()])
    );
}
