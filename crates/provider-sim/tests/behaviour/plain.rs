//! Answers in one piece, and the control protocol.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bulkhead_provider_sim::{Action, Answered, Malformed, Reply, RetryAfter, Script, Step, ToolCall};
use serde_json::{Value, json};

use crate::bench::{Bench, bench, json};

#[tokio::test]
async fn both_formats_answer_and_say_that_they_are_simulated() {
    let bench = bench().await;
    let response = bench.messages("primary").await.expect("an answer");
    assert_eq!(response.headers()["x-simulated"], "true");
    assert!(response.headers().contains_key("request-id"));
    let body: Value = response.json().await.expect("json");
    assert_eq!((&body["type"], &body["stop_reason"]), (&json!("message"), &json!("end_turn")));
    let text = body["content"][0]["text"].as_str().expect("text");
    assert!(text.ends_with("hello there"), "{text}");

    let body = json(bench.chat("local").await).await;
    assert_eq!((&body["done"], &body["done_reason"]), (&json!(true), &json!("stop")));
    assert!(body["message"]["content"].as_str().expect("text").ends_with("hello there"));
}

#[tokio::test]
async fn scripted_steps_come_in_order_with_their_headers() {
    let bench = bench().await;
    let steps = [Step::status_after(429, RetryAfter::Seconds(2)), Step::status(529), Step::text("done")];
    bench.control.script("primary", &Script::once(steps)).await.expect("scripted");

    let first = bench.messages("primary").await.expect("an answer");
    assert_eq!((first.status().as_u16(), &first.headers()["retry-after"]), (429, &"2".parse().expect("v")));
    assert_eq!(json(Ok(first)).await["error"]["type"], "rate_limit_error");
    let second = bench.messages("primary").await.expect("an answer");
    assert_eq!((second.status().as_u16(), second.headers().get("retry-after")), (529, None));
    assert_eq!(json(bench.messages("primary").await).await["content"][0]["text"], "done");
    let expected = [Answered::Status(429), Answered::Status(529), Answered::Status(200)];
    assert_eq!(bench.answered("primary").await, expected);
}

#[tokio::test]
async fn tools_are_called_in_both_formats() {
    let bench = bench().await;
    let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
    for model in ["primary", "local"] {
        bench.control.script(model, &Script::always(Step::tools([call.clone()]))).await.expect("scripted");
    }
    let block = &json(bench.messages("primary").await).await["content"][0];
    assert_eq!((&block["type"], &block["name"]), (&json!("tool_use"), &json!("fs_read")));
    assert_eq!(block["input"]["path"], "a.md");
    let call = &json(bench.chat("local").await).await["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]["path"]), (&json!("fs.read"), &json!("a.md")));
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_cut_ends_inside_the_body() {
    let bench = bench().await;
    let error = bench.messages("sim-reset").await.expect_err("no answer");
    let mut cause = error.source();
    let mut reset = false;
    while let Some(error) = cause {
        reset |=
            error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset);
        cause = error.source();
    }
    assert!(reset, "{error:?}");
    assert_eq!(bench.answered("sim-reset").await, [Answered::Reset]);

    let cut = bench.messages("sim-cut").await.expect("headers");
    assert_eq!(cut.status().as_u16(), 200);
    assert!(cut.bytes().await.is_err());
}

#[tokio::test]
async fn silence_lasts_until_the_client_goes_and_is_recorded_as_abandoned() {
    let bench = bench().await;
    let body = json!({ "model": "sim-silence", "stream": false, "messages": [] });
    let request = bench.http.post(format!("{}/api/chat", bench.simulator.url())).json(&body);
    let error = request.timeout(Duration::from_millis(200)).send().await.expect_err("silence");
    assert!(error.is_timeout());
    let abandoned = async {
        while bench.answered("sim-silence").await != [Answered::Abandoned] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), abandoned).await.expect("noticed");
}

#[tokio::test]
async fn unusable_bodies_come_with_status_200() {
    let bench = bench().await;
    for how in [Malformed::Truncated, Malformed::Html] {
        bench.control.script("m", &Script::always(Action::Malformed(how).into())).await.expect("scripted");
        let response = bench.chat("m").await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.json::<Value>().await.is_err(), "{how:?}");
    }
    assert_eq!(json(bench.chat("sim-shape").await).await, json!({ "unexpected": true }));
}

#[tokio::test]
async fn the_record_shows_everything_but_the_key_and_can_be_reset() {
    let bench = bench().await;
    bench.messages("primary").await.expect("an answer");
    bench.chat("local").await.expect("an answer");
    let shown = bench.control.requests(None).await.expect("requests");
    assert_eq!(shown.requests.iter().map(|r| r.model.as_str()).collect::<Vec<_>>(), ["primary", "local"]);
    assert_eq!(shown.requests[0].headers["x-api-key"], "(present)");
    assert_eq!(shown.requests[0].body["messages"][0]["content"], "hello there");
    assert!(shown.requests[0].received_at <= shown.requests[1].received_at);
    bench.control.clear_requests().await.expect("cleared");
    assert!(bench.control.requests(None).await.expect("requests").requests.is_empty());
}

#[tokio::test]
async fn scripts_are_cleared_and_unknown_keys_refused() {
    let bench = bench().await;
    bench.control.script("a:b/c", &Script::always(Step::status(500))).await.expect("scripted");
    assert_eq!(bench.chat("a:b/c").await.expect("an answer").status().as_u16(), 500);
    bench.control.clear_scripts(Some("a:b/c")).await.expect("cleared");
    assert_eq!(bench.chat("a:b/c").await.expect("an answer").status().as_u16(), 200);

    let url = format!("{}/control/scripts?model=x", bench.simulator.url());
    let typo = bench.http.put(url).json(&json!({ "stepz": [] })).send().await.expect("an answer");
    assert_eq!(typo.status().as_u16(), 422);
}

#[tokio::test]
async fn once_stopped_the_port_refuses() {
    let Bench { simulator, http, .. } = bench().await;
    let url = format!("{}/api/version", simulator.url());
    assert!(http.get(&url).send().await.expect("an answer").status().is_success());
    simulator.stop().await;
    assert!(http.get(&url).send().await.expect_err("refused").is_connect());
}

#[tokio::test]
async fn a_delay_is_waited_before_the_answer() {
    let bench = bench().await;
    let step = Step::from(Reply::default()).after_ms(150);
    bench.control.script("slow", &Script::always(step)).await.expect("scripted");
    let started = std::time::Instant::now();
    bench.chat("slow").await.expect("an answer");
    assert!(started.elapsed() >= Duration::from_millis(150));
}
