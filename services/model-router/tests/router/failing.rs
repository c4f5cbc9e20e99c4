//! Failures of models, and what becomes of the request.

use std::time::{Duration, Instant};

use bulkhead_provider_sim::{Action, Malformed, RetryAfter, Script, StatusFault, Step, ToolCall};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{Plan, bench, closed_port, metadata, on, reason, request, story};

/// From the answer to one attempt to the arrival of the next, as the simulator saw it.
async fn gap(bench: &crate::bench::Bench, model: &str) -> Duration {
    let seen = bench.received(model).await;
    let told = seen[0].finished_at.expect("answered");
    Duration::try_from(seen[1].received_at.duration_since(told)).expect("in order")
}

#[tokio::test]
async fn a_servers_delay_is_waited_in_seconds_and_as_a_date() {
    for (retry_after, most) in [(RetryAfter::Seconds(1), 4_000), (RetryAfter::HttpDate(1), 5_000)] {
        let bench = bench(Plan::default()).await;
        let steps = [Step::status_after(429, retry_after.clone()), Step::text("here")];
        bench.script("primary", Script::once(steps)).await;
        let answer = bench.generate(request()).await.expect("answers");
        let expected = [("primary", "RATE_LIMITED", 429), ("primary", "", 200)];
        assert_eq!(story(&answer.attempts), expected, "{retry_after:?}");
        let gap = gap(&bench, "primary").await;
        assert!(gap >= Duration::from_millis(990), "{retry_after:?}: came back after {gap:?}");
        assert!(gap <= Duration::from_millis(most), "{retry_after:?}: came back only after {gap:?}");
        let waited = answer.attempts[1].waited.expect("a wait");
        assert!(waited.seconds >= 1 || waited.nanos >= 990_000_000, "{waited:?}");
        assert_eq!(bench.counts().await, [2, 0, 0]);
    }
}

#[tokio::test]
async fn transient_failures_are_retried_on_the_same_model() {
    for (step, kind, status) in [
        (Step::status(429), "RATE_LIMITED", 429),
        (Step::status(500), "SERVER_ERROR", 500),
        (Step::status(503), "OVERLOADED", 503),
        (Step::status(529), "OVERLOADED", 529),
        (Step::status(408), "TIMEOUT", 408),
        (Action::Reset.into(), "RESET", 0),
        (Action::Cut.into(), "RESET", 200),
        (Action::Malformed(Malformed::Truncated).into(), "MALFORMED", 200),
        (Action::Malformed(Malformed::WrongShape).into(), "MALFORMED", 200),
    ] {
        let bench = bench(Plan::default()).await;
        bench.script("primary", Script::once([step])).await;
        let answer = bench.generate(request()).await.expect("answers");
        assert_eq!(story(&answer.attempts), [("primary", kind, status), ("primary", "", 200)]);
        assert_eq!(answer.model, "primary");
    }
}

#[tokio::test]
async fn a_crowd_retries_no_more_than_the_budget_allows() {
    let settings = "retry_base_ms = 50\ncircuit_failures = 1000";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.always("primary", Step::status(500).after_ms(100)).await;
    let started = Instant::now();
    let calls = 100;
    futures::future::join_all((0..calls).map(|_| bench.generate(on("short")))).await;
    let trickle = usize::try_from(started.elapsed().as_secs()).expect("seconds") / 2 + 1;
    let retries = bench.counts().await[0] - calls;
    let allowed = 10 + calls / 5 + trickle;
    assert!(retries <= allowed, "{retries} retries, where {allowed} are allowed");
}

#[tokio::test]
async fn a_model_that_stays_down_loses_the_request_to_the_next() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::status(500)).await;
    bench.always("fallback", Action::Malformed(Malformed::Html).into()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(answer.model, "local");
    assert_eq!(bench.counts().await, [3, 2, 1], "nonsense is asked for once more, not twice");
}

#[tokio::test]
async fn a_flapping_model_is_caught_between_its_failures() {
    let bench = bench(Plan::default()).await;
    bench.script("primary", Script::cycle([Step::status(503), Step::status(503), Step::text("up")])).await;
    for _ in 0..2 {
        let answer = bench.generate(on("short")).await.expect("answers");
        assert_eq!(answer.attempts.len(), 3);
    }
}

#[tokio::test]
async fn a_delay_beyond_patience_moves_on_and_nobody_touches_the_model() {
    let bench = bench(Plan { settings: "retry_base_ms = 10\npatience_ms = 500", ..Plan::default() }).await;
    let steps = [Step::status_after(429, RetryAfter::Seconds(2))];
    bench.script("primary", Script::once(steps)).await;
    let started = Instant::now();
    let answer = bench.generate(request()).await.expect("answers");
    assert!(started.elapsed() < Duration::from_secs(2), "it waited");
    assert_eq!(story(&answer.attempts), [("primary", "RATE_LIMITED", 429), ("fallback", "", 200)]);

    let explained = bench.explain("default", None).await;
    assert_eq!(explained.excluded[0].reason, "DELAYED_BY_SERVER");
    for _ in 0..3 {
        assert_eq!(bench.generate(request()).await.expect("answers").model, "fallback");
    }
    assert_eq!(bench.counts().await[0], 1);

    let back = async {
        while bench.generate(request()).await.expect("answers").model != "primary" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("it is used again");
    assert!(gap(&bench, "primary").await >= Duration::from_millis(1_500), "before its time");
}

#[tokio::test]
async fn silence_is_cut_short_and_not_repeated() {
    let bench = bench(Plan { model: "request_timeout_ms = 300", ..Plan::default() }).await;
    bench.always("primary", Action::Silence.into()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "TIMEOUT", 0), ("fallback", "", 200)]);
    assert_eq!(answer.attempts[0].outcome(), bulkhead_proto::router::v1::AttemptOutcome::Unknown);
}

#[tokio::test]
async fn a_silent_model_leaves_time_for_the_next_and_is_known_by_then() {
    // Shipped defaults but for the caller, who has less than one attempt may take.
    let bench = bench(Plan { settings: "", ..Plan::default() }).await;
    bench.always("primary", Action::Silence.into()).await;
    let ask = || async {
        let mut timed = tonic::Request::new(on("cloud"));
        timed.set_timeout(Duration::from_secs(12));
        bench.client.clone().generate(timed).await.expect("the next one answers").into_inner()
    };
    let told = [("primary", "TIMEOUT", 0), ("fallback", "", 200)];
    for answer in futures::future::join_all((0..5).map(|_| ask())).await {
        assert_eq!(story(&answer.attempts), told);
    }
    assert_eq!(bench.explain("cloud", None).await.excluded[0].reason, "MARKED_UNUSABLE");
    assert_eq!(story(&ask().await.attempts), [("fallback", "", 200)], "nobody waits for it again");
}

#[tokio::test]
async fn a_refused_port_is_tried_again_and_then_left() {
    let bench = bench(Plan { primary_url: Some(closed_port().await), ..Plan::default() }).await;
    let answer = bench.generate(request()).await.expect("answers");
    let refused = ("primary", "CONNECT", 0);
    assert_eq!(story(&answer.attempts), [refused, refused, refused, ("fallback", "", 200)]);
}

#[tokio::test]
async fn a_bad_request_ends_the_request_at_once() {
    for status in [400, 413, 422] {
        let bench = bench(Plan::default()).await;
        bench.always("primary", Step::status(status)).await;
        let error = bench.generate(request()).await.expect_err("refused");
        assert_eq!(
            (error.code(), reason(&error).as_str()),
            (Code::InvalidArgument, "REQUEST_REJECTED_BY_MODEL")
        );
        assert_eq!(metadata(&error, "attempts"), format!("primary: INVALID_REQUEST ({status})"));
        assert_eq!(bench.counts().await, [1, 0, 0]);
    }
}

#[tokio::test]
async fn a_delay_on_a_bad_request_keeps_nobody_else_out() {
    let bench = bench(Plan::default()).await;
    bench.script("primary", Script::once([Step::status_after(400, RetryAfter::Seconds(86_400))])).await;
    bench.generate(request()).await.expect_err("refused");
    assert_eq!(bench.generate(request()).await.expect("answers").model, "primary");
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_one_model_goes_to_the_next() {
    let bench = bench(Plan::default()).await;
    let message = Some("prompt is too long: 210000 tokens > 200000 maximum".to_owned());
    let step = Step::from(Action::Status(StatusFault { message, ..StatusFault::new(400) }));
    bench.always("primary", step.clone()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "CONTEXT_LENGTH", 400), ("fallback", "", 200)]);
    bench.always("fallback", step).await;
    let error = bench.generate(on("cloud")).await.expect_err("too long for all");
    assert_eq!(reason(&error), "REQUEST_REJECTED_BY_MODEL", "waiting would not help");
}

#[tokio::test]
async fn a_wrong_key_or_model_marks_the_model_for_everybody() {
    for (status, kind) in
        [(401, "UNAUTHENTICATED"), (402, "QUOTA"), (403, "FORBIDDEN"), (404, "MODEL_NOT_FOUND")]
    {
        let bench = bench(Plan::default()).await;
        bench.always("primary", Step::status(status)).await;
        let answer = bench.generate(request()).await.expect("answers");
        assert_eq!(story(&answer.attempts), [("primary", kind, status.into()), ("fallback", "", 200)]);
        assert_eq!(
            story(&bench.generate(request()).await.expect("answers").attempts),
            [("fallback", "", 200)]
        );
        assert_eq!(bench.counts().await[0], 1);
        let error = bench.generate(on("short")).await.expect_err("its only model is marked");
        assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "NO_MODEL_ANSWERED"));
        let retry = error.get_details_retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
        assert!(retry > Duration::from_secs(50) && retry <= Duration::from_secs(60), "{retry:?}");
    }
}

#[tokio::test]
async fn a_circuit_opens_and_lets_a_probe_through() {
    let settings = "retry_base_ms = 1\ncircuit_failures = 2\ncircuit_open_ms = 1500";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.script("primary", Script::once([Step::status(500), Step::status(500)])).await;
    assert_eq!(bench.generate(request()).await.expect("answers").model, "fallback");
    assert_eq!(bench.explain("default", None).await.excluded[0].reason, "MARKED_UNUSABLE");
    assert_eq!(bench.generate(request()).await.expect("answers").model, "fallback");
    assert_eq!(bench.counts().await[0], 2);
    let back = async {
        while bench.generate(request()).await.expect("answers").model != "primary" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("it is probed");
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_keep_the_probe() {
    let settings = "retry_base_ms = 1\ncircuit_failures = 1\ncircuit_open_ms = 3000";
    let bench = bench(Plan { settings, model: "attempts_max = 1", ..Plan::default() }).await;
    bench.script("primary", Script::once([Step::status(500), Action::Silence.into()])).await;
    bench.generate(on("short")).await.expect_err("opens the circuit");
    let is_planned = async || !bench.explain("short", None).await.planned.is_empty();
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !is_planned().await {
        looks.tick().await;
    }
    let gone = tokio::time::timeout(Duration::from_millis(300), bench.generate(on("short"))).await;
    assert!(gone.is_err(), "it waited for the probe");
    let left = Instant::now();
    while !is_planned().await {
        looks.tick().await;
    }
    assert!(left.elapsed() < Duration::from_secs(2), "the probe was kept");
    assert_eq!(bench.generate(on("short")).await.expect("the next one probes").model, "primary");
}

#[tokio::test]
async fn the_callers_deadline_bounds_everything() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Action::Silence.into()).await;
    let mut timed = tonic::Request::new(on("short"));
    // A tenth of it is the router's margin: enough for its answer to come before the client's own timer ends.
    timed.set_timeout(Duration::from_secs(3));
    let started = Instant::now();
    let error = bench.client.clone().generate(timed).await.expect_err("no time");
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(metadata(&error, "attempts"), "primary: TIMEOUT");
    let explained = bench.explain("default", None).await;
    assert_eq!(explained.planned.len(), 3, "a caller in a hurry says nothing about the model");
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let bench = bench(Plan::default()).await;
    bench.script("primary", Script::once([Step::status_after(429, RetryAfter::Seconds(3))])).await;
    let mut timed = tonic::Request::new(request());
    timed.set_timeout(Duration::from_secs(2));
    let answer = bench.client.clone().generate(timed).await.expect("answers").into_inner();
    assert_eq!(answer.model, "fallback");
    let error = {
        let mut timed = tonic::Request::new(on("short"));
        timed.set_timeout(Duration::from_secs(1));
        bench.client.clone().generate(timed).await.expect_err("still delayed")
    };
    assert_eq!(reason(&error), "NO_MODEL_ANSWERED");
    assert_eq!(bench.counts().await[0], 1, "touched before its time");
}

#[tokio::test]
async fn a_call_of_a_tool_that_was_not_offered_is_no_answer() {
    let bench = bench(Plan::default()).await;
    let unknown = Step::tools([ToolCall { name: "rm".into(), input: json!({}) }]);
    bench.always("primary", unknown).await;
    let answer = bench.generate(request()).await.expect("answers");
    let malformed = ("primary", "MALFORMED", 200);
    assert_eq!(story(&answer.attempts), [malformed, malformed, malformed, ("fallback", "", 200)]);
}

#[tokio::test]
async fn one_agents_prompts_do_not_take_the_model_from_all() {
    let settings = "retry_base_ms = 1\ncircuit_failures = 2";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    let unknown = Step::tools([ToolCall { name: "rm".into(), input: json!({}) }]);
    bench.script("primary", Script::once(vec![unknown; 9])).await;
    for _ in 0..3 {
        assert_eq!(bench.generate(request()).await.expect("answers").model, "fallback");
    }
    assert_eq!(bench.generate(request()).await.expect("answers").model, "primary");
}

#[tokio::test]
async fn when_no_model_answers_each_attempt_is_told() {
    let bench = bench(Plan { model: "attempts_max = 1", ..Plan::default() }).await;
    for model in ["primary", "fallback", "local"] {
        bench.always(model, Step::status(503)).await;
    }
    let error = bench.generate(request()).await.expect_err("none answers");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "NO_MODEL_ANSWERED"));
    let told = "primary: OVERLOADED (503); fallback: OVERLOADED (503); local: OVERLOADED (503)";
    assert_eq!(metadata(&error, "attempts"), told);
    assert!(error.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
}
