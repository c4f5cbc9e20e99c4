//! What is written down, and what must not be.

use bulkhead_provider_sim::{Action, Script, StatusFault, Step};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{KEY, Plan, attributes, bench, closed_port, on, reason, request, sensitive};

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
    let stored = std::fs::read_dir(bench.folder.path().join("data")).expect("a folder");
    for file in stored {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY) && !text.contains("meeting in March"));
    }
    assert!(bench.received("primary").await[0].headers.contains_key("x-api-key"), "the key was used");
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
