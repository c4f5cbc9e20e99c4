//! Limits of callers and of models, through the contract.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Reply, Script, StatusFault, Step};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{Bench, PATIENCE, Plan, bench, metadata, on, reason, request, sensitive, story};

fn retry_after(error: &tonic::Status) -> Option<Duration> {
    error.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// Asks until it is answered, in the end.
async fn in_the_end(bench: &Bench, ask: impl Fn() -> pb::GenerateRequest) {
    let answered = async {
        while bench.generate(ask()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("it is answered");
}

#[tokio::test]
async fn a_caller_in_a_loop_is_told_to_wait_and_no_model_is_called() {
    let settings = "limit = [{ name = \"loops\", scope = \"principal\", requests_per_minute_max = 2 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    for _ in 0..2 {
        bench.generate(request()).await.expect("there is room");
    }
    let error = bench.generate(request()).await.expect_err("no room");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "CALLER_RATE_LIMITED"));
    assert_eq!(metadata(&error, "limit"), "loops");
    let delay = retry_after(&error).expect("waiting helps");
    assert!(delay > Duration::from_secs(30) && delay <= Duration::from_secs(61), "{delay:?}");
    let stream = pb::StreamGenerateRequest {
        request_id: request().request_id,
        generate: Some(pb::GenerateRequest { request_id: String::new(), ..request() }),
    };
    let error = bench.client.clone().stream_generate(stream).await.expect_err("nor for a stream");
    assert_eq!(reason(&error), "CALLER_RATE_LIMITED");
    assert_eq!(bench.counts().await, [2, 0, 0]);
}

#[tokio::test]
async fn a_replayed_answer_and_a_dry_run_take_nothing_of_a_limit() {
    let settings = "limit = [{ name = \"few\", scope = \"tenant\", requests_per_minute_max = 1 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    let mut dry = request();
    dry.context.get_or_insert_default().dry_run = true;
    bench.generate(dry).await.expect("plans");
    let asked = request();
    for _ in 0..3 {
        bench.generate(asked.clone()).await.expect("the same answer");
    }
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn tokens_are_kept_for_a_call_and_given_back_when_its_caller_leaves() {
    let settings = "limit = [{ name = \"tokens\", scope = \"tenant\", tenant = \"default\", tokens_per_minute_max = 5000 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    let error = bench.generate(pb::GenerateRequest { max_output_tokens: 9_000, ..request() }).await;
    let error = error.expect_err("more than a minute has");
    assert_eq!((reason(&error).as_str(), retry_after(&error)), ("CALLER_RATE_LIMITED", None));

    bench.always("primary", Action::Silence.into()).await;
    let mut hanging = Box::pin(bench.generate(on("short")));
    let sent = async {
        while bench.received("primary").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut hanging => panic!("{answer:?}"),
        () = sent => {}
    }
    // It may have an answer of 4,096 tokens, the default.
    let error = bench.generate(on("cloud")).await.expect_err("kept for the other");
    assert_eq!(reason(&error), "CALLER_RATE_LIMITED");
    drop(hanging);
    bench.always("primary", Step::text("here")).await;
    in_the_end(&bench, || on("cloud")).await;
    bench.generate(on("cloud")).await.expect("what was not used was given back");
}

#[tokio::test]
async fn what_leaves_no_record_takes_nothing_of_a_limit_and_what_does_counts() {
    let settings = "outbox_events_max = 1\n\
        limit = [{ name = \"few\", scope = \"tenant\", requests_per_minute_max = 3 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.audit_is_down.store(true, Ordering::Relaxed);
    bench.generate(request()).await.expect("there is room for its event");
    for _ in 0..5 {
        let error = bench.generate(request()).await.expect_err("there is none");
        assert_eq!(reason(&error), "OUTBOX_FULL", "and not for a limit");
    }
    bench.audit_is_down.store(false, Ordering::Relaxed);
    bench.ready().await;
    in_the_end(&bench, request).await;
    let refused = async |ask: fn() -> pb::GenerateRequest| loop {
        // The event of the call before may still be on its way.
        let told = reason(&bench.generate(ask()).await.expect_err("refused"));
        if told != "OUTBOX_FULL" {
            return told;
        }
    };
    assert_eq!(refused(|| sensitive("cloud")).await, "NO_LOCAL_MODEL");
    assert_eq!(refused(request).await, "CALLER_RATE_LIMITED", "three are on record");
    assert_eq!(bench.counts().await, [2, 0, 0]);
}

#[tokio::test]
async fn a_models_own_limit_moves_the_request_on() {
    let bench = bench(Plan { model: "requests_per_minute_max = 1", ..Plan::default() }).await;
    for model in ["primary", "fallback", "local"] {
        assert_eq!(bench.generate(request()).await.expect("answers").model, model);
    }
    let error = bench.generate(request()).await.expect_err("all are full");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "NO_MODEL_ANSWERED"));
    assert!(retry_after(&error).expect("waiting helps") > Duration::from_secs(30));
    let explained = bench.explain("default", None).await;
    for excluded in explained.excluded {
        assert_eq!(excluded.reason, "RATE_LIMITED_HERE");
        assert!(excluded.retry_after.is_some_and(|after| after.seconds > 30), "{excluded:?}");
    }
    assert_eq!(bench.counts().await, [1, 1, 1]);
}

#[tokio::test]
async fn a_model_is_sent_no_more_at_a_time_than_it_may_be() {
    let model = "concurrency_min = 1\nconcurrency_max = 2";
    let bench = bench(Plan { model, ..Plan::default() }).await;
    bench.always("primary", Step::text("here").after_ms(30)).await;
    let answers = futures::future::join_all((0..16).map(|_| bench.generate(on("short")))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let waited = answers.into_iter().filter_map(Result::ok).filter(|answer| {
        answer.attempts[0].waited.is_some_and(|waited| waited.nanos > 20_000_000 || waited.seconds > 0)
    });
    assert!(waited.count() >= 12, "they waited for one another");
    let seen = bench.received("primary").await;
    for one in &seen {
        let open = seen.iter().filter(|other| {
            other.received_at <= one.received_at && other.finished_at.is_none_or(|end| end > one.received_at)
        });
        assert!(open.count() <= 2, "{seen:?}");
    }
}

#[tokio::test]
async fn who_waits_for_a_place_longer_than_is_patient_goes_to_the_next_model() {
    let (model, settings) =
        ("concurrency_min = 1\nconcurrency_max = 1", "patience_ms = 100\nretry_base_ms = 10");
    let bench = bench(Plan { model, settings, ..Plan::default() }).await;
    bench.always("primary", Step::text("here").after_ms(2_000)).await;
    let started = Instant::now();
    let (slow, fast) = tokio::join!(bench.generate(on("cloud")), async {
        while bench.received("primary").await.is_empty() {
            tokio::task::yield_now().await;
        }
        let answer = bench.generate(on("cloud")).await.expect("answers");
        (answer.model, started.elapsed())
    });
    assert_eq!(slow.expect("answers").model, "primary");
    assert_eq!(fast.0, "fallback");
    assert!(fast.1 < Duration::from_secs(2), "{:?}", fast.1);
}

#[tokio::test]
async fn what_a_provider_has_left_is_heeded_before_it_refuses() {
    let bench = bench(Plan { cloud_provider: "openai", ..Plan::default() }).await;
    let headers = BTreeMap::from([
        ("x-ratelimit-remaining-tokens".to_owned(), "2".to_owned()),
        ("x-ratelimit-reset-tokens".to_owned(), "1m0s".to_owned()),
    ]);
    let fault = Action::Status(StatusFault { headers, ..StatusFault::new(500) });
    bench.always("primary", fault.into()).await;
    let asked = request();
    let answer = bench.generate(asked.clone()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "SERVER_ERROR", 500), ("fallback", "", 200)]);
    let generate = Some(pb::GenerateRequest { request_id: request().request_id, ..asked });
    let explained = pb::ExplainRouteRequest { generate, ..pb::ExplainRouteRequest::default() };
    let explained = bench.client.clone().explain_route(explained).await.expect("explains").into_inner();
    let left_out = (explained.excluded[0].model.as_str(), explained.excluded[0].reason.as_str());
    assert_eq!(left_out, ("primary", "RATE_LIMITED_HERE"));
}

/// A model server that answers one request with a head, the first piece of a stream and then nothing.
async fn begins_and_stays(headers: &'static str, running: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    running.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a request");
        let mut asked = [0; 1_024];
        assert!(stream.read(&mut asked).await.expect("readable") > 0);
        let piece = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Once\"}}]}\n\n";
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}\r\n{piece}");
        stream.write_all(head.as_bytes()).await.expect("sent");
        // Until the router leaves.
        while stream.read(&mut asked).await.is_ok_and(|bytes| bytes > 0) {}
    });
    url
}

#[tokio::test]
async fn what_a_stream_says_is_left_holds_while_it_goes_on() {
    let headers = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\n";
    let mut running = JoinSet::new();
    let primary_url = Some(begins_and_stays(headers, &mut running).await);
    let bench = bench(Plan { cloud_provider: "openai", primary_url, ..Plan::default() }).await;
    let mut stream = bench.open_stream(on("short")).await.expect("begins");
    loop {
        let message = stream.message().await.expect("goes on").expect("goes on");
        if message.text == "Once" {
            break;
        }
    }
    let explained = bench.explain("default", None).await;
    let left_out = (explained.excluded[0].model.as_str(), explained.excluded[0].reason.as_str());
    assert_eq!(left_out, ("primary", "RATE_LIMITED_HERE"));
    assert_eq!(bench.generate(request()).await.expect("answers").model, "fallback");
    drop(stream);
}

#[tokio::test]
async fn a_request_makes_no_more_attempts_than_it_allows() {
    let bench = bench(Plan { route: "attempts_max = 4", ..Plan::default() }).await;
    for model in ["primary", "fallback", "local"] {
        bench.always(model, Step::status(503)).await;
    }
    for (attempts_max, expected) in [(1, 1), (2, 2), (0, 4)] {
        let limits = Some(pb::GenerateLimits { attempts_max, ..pb::GenerateLimits::default() });
        let before: usize = bench.counts().await.into_iter().sum();
        let error = bench.generate(pb::GenerateRequest { limits, ..request() }).await.expect_err("all fail");
        assert_eq!(reason(&error), "NO_MODEL_ANSWERED");
        let made = bench.counts().await.into_iter().sum::<usize>() - before;
        assert_eq!(made, expected, "attempts_max = {attempts_max}");
    }
}

/// Twelve rounds of what can become of a call: answered, refused by its provider, cut off, cancelled, streamed to its end,
/// and a stream whose reader leaves.
#[tokio::test]
async fn however_calls_end_nothing_stays_reserved() {
    let settings = "retry_base_ms = 1\ncircuit_failures = 1000\nunusable_ms = 1\n\
        limit = [{ name = \"all\", scope = \"tenant\", tokens_per_minute_max = 100000000 }]\n\
        budget = [{ name = \"all\", scope = \"tenant\", period = \"none\", stop_usd_micros = 1000000000 }]";
    let model = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000\n\
        concurrency_min = 3\nconcurrency_max = 3\ntokens_per_minute_max = 100000000";
    let bench = bench(Plan { settings, model, ..Plan::default() }).await;
    let steps = [
        Step::text("here"),
        Step::status(429),
        Step::text("a little later").after_ms(40),
        Action::Cut.into(),
        Step::status(503),
        Action::Reset.into(),
        Step::text("once more"),
    ];
    bench.script("primary", Script::cycle(steps)).await;
    let leaving = Duration::from_millis(20);
    let calls = (0..72).map(|at| {
        let bench = &bench;
        async move {
            match at % 4 {
                0 | 1 => drop(bench.generate(request()).await),
                2 => drop(tokio::time::timeout(leaving, bench.generate(request())).await),
                _ => {
                    let generate = Some(pb::GenerateRequest { request_id: String::new(), ..request() });
                    let stream = pb::StreamGenerateRequest { request_id: request().request_id, generate };
                    let mut stream = bench.client.clone().stream_generate(stream).await.expect("begins");
                    let read = async { while let Ok(Some(_)) = stream.get_mut().message().await {} };
                    let bound = if at % 8 == 3 { leaving } else { PATIENCE };
                    drop(tokio::time::timeout(bound, read).await);
                }
            }
        }
    });
    futures::future::join_all(calls).await;
    let settled = async {
        while bench.budgets("").await[0].reserved_usd_micros > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("everything is given back");
    assert!(bench.budgets("").await[0].spent_usd_micros > 0);

    // All three places are free: three calls are with the model at a time, and it answers none before all have come.
    bench.always("primary", Action::Silence.into()).await;
    let before = bench.received("primary").await.len();
    let together = futures::future::join_all((0..3).map(|_| bench.generate(on("short"))));
    let arrived = async {
        while bench.received("primary").await.len() < before + 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = together => panic!("silence was answered"),
        arrived = tokio::time::timeout(PATIENCE, arrived) => arrived.expect("all three are there"),
    }
}

#[tokio::test]
async fn what_an_aborted_stream_gave_is_paid_for() {
    let settings =
        "budget = [{ name = \"all\", scope = \"tenant\", period = \"none\", stop_usd_micros = 1000000000 }]";
    let model = "input_price_usd_micros = 0\noutput_price_usd_micros = 1000000";
    let bench = bench(Plan { settings, model, ..Plan::default() }).await;
    let chunks = vec!["word ".repeat(400), "never read".to_owned()];
    let reply = Reply { chunks, pause_ms: 60_000, ..Reply::default() };
    bench.always("primary", reply.into()).await;
    let generate = Some(pb::GenerateRequest { request_id: String::new(), ..on("short") });
    let stream = pb::StreamGenerateRequest { request_id: request().request_id, generate };
    let mut stream = bench.client.clone().stream_generate(stream).await.expect("begins").into_inner();
    loop {
        let message = stream.message().await.expect("goes on").expect("goes on");
        if !message.text.is_empty() {
            break;
        }
    }
    drop(stream);
    let paid = async {
        while bench.budgets("").await[0].spent_usd_micros == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, paid).await.expect("it is settled");
    let budget = bench.budgets("").await.remove(0);
    // A token of the answer costs a millionth of a dollar; the text has about 400.
    assert!((300..700).contains(&budget.spent_usd_micros), "{budget:?}");
    assert_eq!(budget.reserved_usd_micros, 0);
}

#[tokio::test]
async fn a_request_that_is_more_than_a_models_minute_is_left_to_another() {
    let bench = bench(Plan { model: "tokens_per_minute_max = 2000", ..Plan::default() }).await;
    let explained = bench.explain("default", None).await;
    assert_eq!(
        (explained.planned.len(), explained.excluded.len()),
        (3, 0),
        "of a route alone nothing is too much"
    );
    let long = pb::GenerateRequest { max_output_tokens: 3_000, ..request() };
    let error = bench.generate(long).await.expect_err("more than any has");
    assert_eq!((reason(&error).as_str(), retry_after(&error)), ("REQUEST_REJECTED_BY_MODEL", None));
    assert_eq!(bench.counts().await, [0, 0, 0]);
    let short = pb::GenerateRequest { max_output_tokens: 1_000, ..request() };
    bench.generate(short).await.expect("it fits");
}

#[tokio::test]
async fn sixty_four_callers_of_a_flapping_model_exceed_no_limit() {
    let settings = "retry_base_ms = 5\npatience_ms = 50\n\
        limit = [{ name = \"all\", scope = \"tenant\", requests_per_minute_max = 40 }]";
    let model = "requests_per_minute_max = 25\nconcurrency_min = 1\nconcurrency_max = 8";
    let bench = bench(Plan { settings, model, ..Plan::default() }).await;
    let flapping = [Step::status(503), Step::text("up").after_ms(5), Step::status(429)];
    bench.script("primary", Script::cycle(flapping)).await;
    let calls = (0..64).map(|_| async { bench.generate(request()).await.map_err(|error| reason(&error)) });
    let ends = futures::future::join_all(calls).await;
    let limited = ends.iter().filter(|end| **end == Err("CALLER_RATE_LIMITED".to_owned())).count();
    assert_eq!(limited, 24, "{ends:?}");
    let counts = bench.counts().await;
    assert!(counts.iter().all(|count| *count <= 25), "{counts:?}");
    let answered = ends.iter().filter(|end| end.is_ok()).count();
    assert!(answered > 0, "{ends:?}");
    for model in ["primary", "fallback", "local"] {
        let seen = bench.received(model).await;
        for one in &seen {
            let open = seen.iter().filter(|other| {
                let is_over = other.finished_at.is_some_and(|end| end <= one.received_at);
                other.received_at <= one.received_at && !is_over
            });
            assert!(open.count() <= 8, "{model}: {seen:?}");
        }
    }
}
