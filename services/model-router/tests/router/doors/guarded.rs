//! What stands in front of the doors, as in front of every RPC.

use std::fs::File;
use std::time::Duration;

use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_provider_sim::{Action, Answered, Reply, RetryAfter, Step};
use serde_json::{Value, json};

use super::{COMPLETIONS, MESSAGES, MODELS, get, millis, post, raw};
use crate::bench::{
    PATIENCE, Plan, TOKEN, bench, child_command, closed_port, on, serving_child, write_config,
};

fn hello(model: &str) -> Value {
    let messages = json!([{ "role": "user", "content": "Sum up the minutes of the meeting in March." }]);
    json!({ "model": model, "max_tokens": 99, "messages": messages })
}

#[tokio::test]
async fn nobody_comes_in_without_a_credential() {
    let bench = bench(Plan::default()).await;
    for path in [COMPLETIONS, MESSAGES] {
        for token in [None, Some("another-token")] {
            let ask = raw(&bench, path, "not even JSON".to_owned());
            let ask = if let Some(token) = token { ask.with("x-api-key", token) } else { ask };
            let told = ask.told().await;
            assert_eq!((told.status, &told.body["error"]["type"]), (401, &json!("authentication_error")));
            assert_eq!(told.header("x-bulkhead-reason"), Some("CREDENTIAL_REQUIRED"));
            assert_eq!(told.header("x-should-retry"), Some("false"));
        }
        let told = post(&bench, path, &hello("default")).with("x-api-key", TOKEN).told().await;
        assert_eq!(told.status, 401, "two credentials are none");
    }
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn an_api_key_is_as_good_as_a_bearer_token() {
    let bench = bench(Plan::default()).await;
    for path in [COMPLETIONS, MESSAGES] {
        let told = raw(&bench, path, hello("default").to_string()).with("x-api-key", TOKEN).told().await;
        assert_eq!(told.status, 200, "{}", told.body);
    }
}

#[tokio::test]
async fn the_roles_are_those_of_the_rpc() {
    let bench = bench(Plan { role: "auditor", ..Plan::default() }).await;
    for path in [COMPLETIONS, MESSAGES] {
        let told = post(&bench, path, &hello("default")).told().await;
        assert_eq!((told.status, &told.body["error"]["type"]), (403, &json!("permission_error")));
        assert_eq!(told.header("x-bulkhead-reason"), Some("ROLE_REQUIRED"));
    }
    // An auditor may list models, by RPC and so by HTTP.
    assert_eq!(get(&bench, MODELS).told().await.status, 200);
}

#[tokio::test]
async fn routes_are_listed_as_models_in_the_shape_that_the_client_knows() {
    let bench = bench(Plan::default()).await;
    let anthropic = ("anthropic-version", "2023-06-01");
    let told = get(&bench, MODELS).told().await;
    let model = |name: &str| json!({ "id": name, "object": "model", "created": 0, "owned_by": "bulkhead" });
    let listed = json!({ "object": "list", "data": [model("cloud"), model("default"), model("short")] });
    assert_eq!((told.status, told.body), (200, listed));
    let told = get(&bench, MODELS).with(anthropic.0, anthropic.1).told().await;
    assert_eq!((&told.body["first_id"], &told.body["has_more"]), (&json!("cloud"), &json!(false)));

    assert_eq!(get(&bench, "/v1/models/short").told().await.body, model("short"));
    let told = get(&bench, "/v1/models/gpt-4o").told().await;
    assert_eq!((told.status, &told.body["error"]["code"]), (404, &json!("model_not_found")));
    let told = get(&bench, "/v1/models/gpt-4o").with(anthropic.0, anthropic.1).told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn a_body_is_bounded_and_read_strictly() {
    let bench = bench(Plan::default()).await;
    let sent = |body: String| raw(&bench, COMPLETIONS, body).with("x-api-key", TOKEN);
    let too_large = sent(" ".repeat(MESSAGE_BYTES_MAX + 1)).told().await;
    assert_eq!((too_large.status, too_large.header("x-bulkhead-reason")), (413, Some("MESSAGE_TOO_LARGE")));
    let deep = format!(r#"{{"model":"default","messages":{}{}}}"#, "[".repeat(70), "]".repeat(70));
    let twice = r#"{"model":"default","model":"cloud","messages":[]}"#.to_owned();
    for body in [deep, twice, "{".to_owned(), String::new(), "[]".to_owned()] {
        let told = sent(body).told().await;
        assert_eq!((told.status, &told.body["error"]["param"]), (400, &json!("body")), "{}", told.body);
    }
    let zipped = sent("{}".to_owned()).with("content-encoding", "gzip").told().await;
    assert_eq!((zipped.status, zipped.header("x-bulkhead-reason")), (415, Some("COMPRESSION_UNSUPPORTED")));
    assert_eq!(get(&bench, COMPLETIONS).text().await.0, 405);
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_delay_that_a_provider_asked_for_is_passed_on() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::status_after(429, RetryAfter::Seconds(30))).await;
    for path in [COMPLETIONS, MESSAGES] {
        let told = post(&bench, path, &hello("short")).told().await;
        assert_eq!((told.status, told.header("x-bulkhead-reason")), (503, Some("NO_MODEL_ANSWERED")));
        assert_eq!((told.header("retry-after"), told.header("x-should-retry")), (Some("30"), None));
        let exactly = millis(&told, "retry-after-ms");
        assert!((Duration::from_secs(20)..=Duration::from_secs(30)).contains(&exactly), "{exactly:?}");
    }
}

#[tokio::test]
async fn what_only_a_local_model_may_see_goes_nowhere_else() {
    let bench = bench(Plan::default()).await;
    let told = post(&bench, MESSAGES, &hello("cloud")).with("x-bulkhead-sensitivity", "health").told().await;
    assert_eq!((told.status, told.header("x-bulkhead-reason")), (400, Some("NO_LOCAL_MODEL")));
    assert_eq!(told.header("x-should-retry"), Some("false"));
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_call_ends_with_its_deadline() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Action::Silence.into()).await;
    let told = post(&bench, MESSAGES, &hello("short")).with("grpc-timeout", "300m").told().await;
    assert_eq!((told.status, &told.body["error"]["type"]), (504, &json!("timeout_error")));
    assert_eq!(told.header("x-bulkhead-reason"), Some("DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn a_caller_who_names_no_deadline_has_the_patience_of_an_sdk() {
    let mut bench = bench(Plan::default()).await;
    bench.configure(|text| text.replace("drain_timeout_ms", "unary_timeout_ms = 200\ndrain_timeout_ms"));
    bench.restart().await;
    bench.always("primary", Reply { first_after_ms: 700, ..Reply::default() }.into()).await;
    let status = bench.generate(on("short")).await.expect_err("it takes longer");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    for path in [COMPLETIONS, MESSAGES] {
        let told = post(&bench, path, &hello("short")).told().await;
        assert_eq!(told.status, 200, "{}", told.body);
        let told = post(&bench, path, &hello("short")).with("grpc-timeout", "200m").told().await;
        assert_eq!((told.status, told.header("x-bulkhead-reason")), (504, Some("DEADLINE_EXCEEDED")));
    }
}

#[tokio::test]
async fn what_there_is_no_place_for_is_told_to_come_again() {
    let limits = "[model-router.edge.limits]\ncalls_max = 1\nqueue_max = 0";
    let bench = bench(Plan { settings: limits, ..Plan::default() }).await;
    bench.always("primary", Action::Silence.into()).await;
    let hello = hello("short");
    let holder = post(&bench, COMPLETIONS, &hello).with("grpc-timeout", "10S").told();
    let others = async {
        while bench.received("primary").await.is_empty() {
            tokio::task::yield_now().await;
        }
        for (path, status) in [(COMPLETIONS, 503), (MESSAGES, 529)] {
            let told = post(&bench, path, &hello).told().await;
            assert_eq!((told.status, told.header("x-bulkhead-reason")), (status, Some("OVERLOADED")));
            assert!(millis(&told, "retry-after-ms") >= Duration::from_millis(125));
        }
    };
    tokio::select! {
        told = holder => panic!("{} before the others came", told.status),
        () = others => {}
    }
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_call_again() {
    let settings = "limit = [{ name = \"loops\", scope = \"principal\", requests_per_minute_max = 1 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    assert_eq!(post(&bench, COMPLETIONS, &hello("default")).told().await.status, 200);
    for path in [COMPLETIONS, MESSAGES] {
        for stream in [false, true] {
            let mut asked = hello("default");
            asked["stream"] = json!(stream);
            let told = post(&bench, path, &asked).told().await;
            assert_eq!((told.status, &told.body["error"]["type"]), (429, &json!("rate_limit_error")));
            assert_eq!(told.header("x-bulkhead-reason"), Some("CALLER_RATE_LIMITED"));
            assert!(millis(&told, "retry-after-ms") > Duration::ZERO);
        }
    }
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn what_no_waiting_helps_is_not_to_be_tried_again() {
    let settings = "limit = [{ name = \"tokens\", scope = \"tenant\", tokens_per_minute_max = 10 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    let told = post(&bench, MESSAGES, &hello("default")).told().await;
    assert_eq!((told.status, told.header("x-bulkhead-reason")), (429, Some("CALLER_RATE_LIMITED")));
    assert_eq!((told.header("retry-after"), told.header("x-should-retry")), (None, Some("false")));
}

#[tokio::test]
async fn the_cost_is_told_where_there_is_a_price() {
    let prices = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000";
    let bench = bench(Plan { model: prices, ..Plan::default() }).await;
    for path in [COMPLETIONS, MESSAGES] {
        let told = post(&bench, path, &hello("default")).told().await;
        let cost = told.header("x-bulkhead-cost-usd-micros").expect("a cost");
        assert!(cost.parse::<u64>().is_ok_and(|cost| cost > 0), "{cost}");
    }
}

#[tokio::test]
async fn who_fails_too_often_is_told_to_wait() {
    let bench = bench(Plan::default()).await;
    let asked = async {
        loop {
            // Many at a time: on a busy machine one after the other are not too often.
            let guesses = (0..32).map(|_| async {
                raw(&bench, MESSAGES, "{}".to_owned()).with("x-api-key", "a guess").told().await
            });
            let told = futures::future::join_all(guesses).await;
            if let Some(told) = told.into_iter().find(|told| told.status != 401) {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, asked).await.expect("in time");
    assert_eq!((told.status, &told.body["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(told.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn when_the_caller_goes_away_so_does_the_call_to_the_model() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Action::Silence.into()).await;
    let asked = hello("default");
    let gone =
        tokio::time::timeout(Duration::from_millis(300), post(&bench, COMPLETIONS, &asked).told()).await;
    assert!(gone.is_err());
    let dropped = async {
        while bench.received("primary").await.iter().any(|request| request.answered != Answered::Abandoned) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the model's connection is closed");
}

/// In a process of its own, whose metrics and log no other test writes.
#[tokio::test]
async fn a_call_is_counted_as_one_of_its_rpc_and_nothing_of_it_is_logged() {
    let bench = bench(Plan::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &bench.simulator.url(), &closed_port().await, &Plan::default());
    let log = folder.path().join("log");
    let mut command = child_command(folder.path());
    command.env("BULKHEAD_LOG", "trace").stderr(File::create(&log).expect("a file"));
    let (_child, address) = serving_child(command).await;

    let marker = "marker-of-a-prompt-7f3a";
    let mut asked = hello("default");
    asked["messages"][0]["content"] = json!(marker);
    let told = post(&bench, COMPLETIONS, &asked).to(&address, COMPLETIONS).told().await;
    assert_eq!(told.status, 200, "{}", told.body);
    asked["stream"] = json!(true);
    let streaming = raw(&bench, MESSAGES, asked.to_string()).with("x-api-key", TOKEN);
    let (status, _headers, text) = streaming.to(&address, MESSAGES).text().await;
    assert_eq!((status, text.contains("message_stop")), (200, true), "{text}");
    asked[marker] = json!(marker);
    let told = post(&bench, MESSAGES, &asked).to(&address, MESSAGES).told().await;
    assert_eq!(told.status, 400, "{}", told.body);

    let (_status, _headers, metrics) = get(&bench, MODELS).to(&address, "/metrics").text().await;
    let counted = |rpc: &str, status: &str| -> Vec<bool> {
        let (rpc, status) = (format!("ModelRouterService/{rpc}\""), format!("\"{status}\""));
        let counts =
            metrics.lines().filter(|line| line.starts_with("rpc_server_call_duration_seconds_count"));
        counts
            .filter(|line| line.contains(&rpc) && line.contains(&status))
            .map(|line| line.ends_with(" 1"))
            .collect()
    };
    assert_eq!(counted("Generate", "OK"), [true]);
    assert_eq!(counted("StreamGenerate", "OK"), [true]);
    assert_eq!(counted("StreamGenerate", "INVALID_ARGUMENT"), [true]);
    assert_eq!((counted("Generate", "CANCELLED"), counted("StreamGenerate", "CANCELLED")), (vec![], vec![]));
    let open = |line: &&str| line.starts_with("bulkhead_rpc_server_open") && !line.ends_with(" 0");
    assert_eq!(metrics.lines().find(open), None);
    assert!(!metrics.contains("_OTHER"));

    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(log.contains("ModelRouterService/StreamGenerate") && log.contains("\"level\":\"TRACE\""));
    for secret in [marker, TOKEN] {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None);
    }
}
