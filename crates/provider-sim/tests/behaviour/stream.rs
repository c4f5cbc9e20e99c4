//! Answers in many pieces, and what befalls them.

use std::error::Error as _;
use std::io;
use std::time::{Duration, Instant};

use bulkhead_provider_sim::{Action, Answered, Malformed, Reply, StreamBreak, StreamFault, Usage};
use reqwest::Response;
use serde_json::json;

use crate::bench::{Bench, FORMATS, Format, bench};

/// Looks at the record without a change between them, after which a stream counts as at rest.
const RESTS: u32 = 20;

/// What came before the body broke, and why it did.
async fn broken(mut response: Response) -> (String, reqwest::Error) {
    let mut text = Vec::new();
    loop {
        match response.chunk().await {
            Ok(bytes) => text.extend(bytes.expect("the body is not whole")),
            Err(error) => return (String::from_utf8_lossy(&text).into_owned(), error),
        }
    }
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `Hello!`, which every format streams in two pieces.
fn hello(how: StreamBreak) -> StreamFault {
    let reply = Reply { text: Some("Hello!".into()), ..Reply::default() };
    StreamFault { reply, ..StreamFault::new(how) }
}

#[tokio::test]
async fn each_format_streams_when_asked() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}");
        let response = bench.stream(format, &model).await;
        assert_eq!(response.headers()["x-simulated"], "true");
        let expected = if format == Format::Ollama { "application/x-ndjson" } else { "text/event-stream" };
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(kind.starts_with(expected), "{kind}");
        let stream = response.text().await.expect("a whole body");
        assert!(format.is_whole(&stream), "{stream}");
        let text = format.text(&format.events(&stream));
        assert!(text.ends_with("Last heard: hello there"), "{text}");
        let recorded = bench.recorded(&model).await;
        assert_eq!(recorded.answered, Answered::Status(200));
        assert!(recorded.pieces_sent > 5, "{}", recorded.pieces_sent);
    }
}

#[tokio::test]
async fn scripted_pieces_come_one_by_one_at_the_scripted_pace() {
    let bench = bench().await;
    let chunks = ["Good ", "morning, ", "日本"].map(str::to_owned).to_vec();
    let reply = Reply { chunks, first_after_ms: 60, pause_ms: 30, ..Reply::default() };
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, reply.clone()).await;
        let started = Instant::now();
        let stream = bench.stream(format, &model).await.text().await.expect("a whole body");
        assert!(started.elapsed() >= Duration::from_millis(120));
        let events = format.events(&stream);
        let pieces: Vec<String> =
            events.iter().map(|event| format.text(std::slice::from_ref(event))).collect();
        let pieces: Vec<&String> = pieces.iter().filter(|piece| !piece.is_empty()).collect();
        assert_eq!(pieces, ["Good ", "morning, ", "日本"]);
    }
}

#[tokio::test]
async fn a_slow_first_token_comes_after_the_headers() {
    let bench = bench().await;
    for format in FORMATS {
        let started = Instant::now();
        let response = bench.stream(format, "sim-first-400ms").await;
        assert!(started.elapsed() < Duration::from_millis(400), "the headers waited too");
        assert!(format.is_whole(&response.text().await.expect("a whole body")));
        assert!(started.elapsed() >= Duration::from_millis(400));
    }
}

#[tokio::test]
async fn openai_counts_tokens_at_the_end_when_asked() {
    let bench = bench().await;
    let usage = Usage { input_tokens: 30, output_tokens: 9, cache_read_tokens: 20, ..Usage::default() };
    bench.always("m", Reply { usage: Some(usage), ..Reply::default() }).await;
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let stream = bench.ask(Format::OpenAi, "m", &more).await.text().await.expect("a whole body");
    let events = Format::OpenAi.events(&stream);
    let last = events.last().expect("an event");
    assert_eq!((&last["usage"]["prompt_tokens"], &last["choices"]), (&json!(30), &json!([])));
    let stream = bench.stream(Format::OpenAi, "m").await.text().await.expect("a whole body");
    assert!(!stream.contains("usage"), "{stream}");
}

#[tokio::test]
async fn a_cut_stream_ends_in_the_middle_of_an_event() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, hello(StreamBreak::Cut).after(1)).await;
        let (text, error) = broken(bench.stream(format, &model).await).await;
        assert!(!is_reset(&error), "{error:?}");
        let (whole, rest) = text.rsplit_once('\n').expect("a whole line");
        assert_eq!(format.text(&format.events(whole)), "Hel");
        assert!(!rest.is_empty(), "the last event is whole: {text}");
        let recorded = bench.recorded(&model).await;
        assert_eq!((recorded.answered, recorded.pieces_sent), (Answered::Cut, 1));
    }
}

#[tokio::test]
async fn a_reset_stream_is_a_reset() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, hello(StreamBreak::Reset).after(1)).await;
        let (_, error) = broken(bench.stream(format, &model).await).await;
        assert!(is_reset(&error), "{error:?}");
        assert_eq!(bench.recorded(&model).await.answered, Answered::Reset);
    }
}

#[tokio::test]
async fn garbage_comes_in_place_of_a_piece_and_the_stream_goes_on() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, hello(StreamBreak::Garbage).after(1)).await;
        let bytes = bench.stream(format, &model).await.bytes().await.expect("a whole body");
        assert!(std::str::from_utf8(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("Hel") && !text.contains("lo!") && format.is_whole(&text), "{text}");
        assert_eq!(bench.recorded(&model).await.answered, Answered::Malformed);
    }
}

#[tokio::test]
async fn a_stream_may_lack_its_last_word_or_more_and_end_properly() {
    let bench = bench().await;
    for format in FORMATS {
        let reason =
            if format == Format::OpenAi { "\"finish_reason\":\"stop\"" } else { "stop_reason\":\"end" };
        for (how, text, has_reason) in
            [(StreamBreak::Unterminated, "Hello!", true), (StreamBreak::Ended, "Hel", false)]
        {
            let model = format!("{format:?}-{how:?}");
            bench.always(&model, hello(how)).await;
            let stream = bench.stream(format, &model).await.text().await.expect("a whole body");
            assert!(!format.is_whole(&stream), "{stream}");
            assert_eq!(format.text(&format.events(&stream)), text);
            // Ollama gives the reason with its last word.
            assert_eq!(stream.contains(reason), has_reason && format != Format::Ollama, "{stream}");
            assert_eq!(bench.recorded(&model).await.answered, Answered::Malformed);
        }
    }
}

#[tokio::test]
async fn an_error_event_is_worded_by_the_provider() {
    let bench = bench().await;
    for (format, overloaded, server_error) in [
        (Format::Anthropic, "overloaded_error", "api_error"),
        (Format::OpenAi, "service_unavailable", "server_error"),
        (Format::Ollama, "server busy", "llama runner process"),
    ] {
        for (how, expected) in
            [(StreamBreak::Overloaded, overloaded), (StreamBreak::Error(500), server_error)]
        {
            let model = format!("{format:?}-{expected}").replace(' ', "-");
            bench.always(&model, hello(how)).await;
            let stream = bench.stream(format, &model).await.text().await.expect("a whole body");
            let events = format.events(&stream);
            let last = events.last().expect("an event");
            assert!(last["error"].to_string().contains(expected), "{stream}");
            assert_eq!(format.text(&events), "Hel");
            assert_eq!(bench.recorded(&model).await.answered, Answered::Failed);
        }
    }
}

async fn first_piece(response: &mut Response) {
    let mut text = String::new();
    while !text.contains("Hel") {
        let bytes = response.chunk().await.expect("a chunk").expect("more");
        text.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
}

async fn leaves(bench: &Bench, format: Format, model: &str) {
    let mut response = bench.stream(format, model).await;
    first_piece(&mut response).await;
    let recorded = bench.recorded(model).await;
    assert_eq!((recorded.answered, recorded.pieces_sent), (Answered::Pending, 1));
    drop(response);
    bench.until(model, |request| request.answered == Answered::Abandoned).await;
    assert_eq!(bench.recorded(model).await.pieces_sent, 1);
}

#[tokio::test]
async fn a_stream_whose_client_leaves_is_abandoned_at_once() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}-stall");
        bench.always(&model, hello(StreamBreak::Stall)).await;
        leaves(&bench, format, &model).await;

        let model = format!("{format:?}-paused");
        let reply = Reply { text: Some("Hello!".into()), pause_ms: 60_000, ..Reply::default() };
        bench.always(&model, reply).await;
        leaves(&bench, format, &model).await;
    }
}

#[tokio::test]
async fn pings_come_until_the_client_leaves() {
    let bench = bench().await;
    for (format, streams, ping) in [
        (Format::Anthropic, true, "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        (Format::OpenAi, true, ": keep-alive\n\n"),
        (Format::Ollama, true, "\n"),
        (Format::OpenAi, false, " "),
    ] {
        let model = format!("{format:?}-{streams}");
        bench.always(&model, hello(StreamBreak::Pings)).await;
        let mut response = bench.ask(format, &model, &json!({ "stream": streams })).await;
        let mut text = String::new();
        while !text.ends_with(&ping.repeat(2)) {
            let bytes = response.chunk().await.expect("a chunk").expect("more");
            text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
        assert_eq!(bench.recorded(&model).await.pieces_sent, 1);
        drop(response);
        bench.until(&model, |request| request.answered == Answered::Abandoned).await;
    }
}

/// Reads until what was read is enough.
async fn read_until(response: &mut Response, is_enough: impl Fn(&str) -> bool) {
    let mut text = String::new();
    while !is_enough(&text) {
        let bytes = response.chunk().await.expect("a chunk").expect("more");
        text.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
}

#[tokio::test]
async fn an_endless_stream_comes_no_faster_than_it_is_read() {
    let bench = bench().await;
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, hello(StreamBreak::Endless)).await;
        let mut response = bench.stream(format, &model).await;
        read_until(&mut response, |text| text.matches("Hel").count() > 100).await;
        // What fits into the buffers of two sockets is sent; the rest waits until somebody reads.
        let full = async {
            let (mut before, mut rests) = (0, 0);
            while rests < RESTS {
                let sent = bench.recorded(&model).await.pieces_sent;
                rests = if sent == before { rests + 1 } else { 0 };
                before = sent;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), full).await.expect("it waits for its reader");
        drop(response);
        bench.until(&model, |request| request.answered == Answered::Abandoned).await;
    }
}

#[tokio::test]
async fn a_bloated_event_never_ends() {
    let bench = bench().await;
    let much = "x".repeat(100_000);
    for format in FORMATS {
        let model = format!("{format:?}");
        bench.always(&model, hello(StreamBreak::Bloated)).await;
        let mut response = bench.stream(format, &model).await;
        read_until(&mut response, |text| text.ends_with(&much)).await;
        drop(response);
        bench.until(&model, |request| request.answered == Answered::Abandoned).await;
    }
}

#[tokio::test]
async fn a_stream_may_be_answered_in_one_piece() {
    let bench = bench().await;
    for format in FORMATS {
        let response = bench.stream(format, "sim-unstreamed").await;
        assert_eq!(response.headers()["content-type"], "application/json");
        let body: serde_json::Value = response.json().await.expect("json");
        assert!(body.is_object(), "{body}");
    }
}

#[tokio::test]
async fn streams_take_the_faults_of_plain_answers() {
    let bench = bench().await;
    for format in FORMATS {
        let (text, _) = broken(bench.stream(format, "sim-cut").await).await;
        assert!(text.contains("Sim"), "{text}");
        let stream = bench.stream(format, "sim-truncated").await.text().await.expect("a whole body");
        assert!(!format.is_whole(&stream), "{stream}");
        let stream = bench.stream(format, "sim-shape").await.text().await.expect("a whole body");
        assert_eq!(format.events(&stream), [json!({ "unexpected": true })]);
        bench.always("m", Action::Malformed(Malformed::Html)).await;
        assert!(bench.stream(format, "m").await.text().await.expect("a whole body").starts_with("<html>"));
        assert_eq!(bench.stream(format, "sim-429-2s").await.status().as_u16(), 429);
    }
}

#[tokio::test]
async fn plain_answers_take_the_faults_of_streams() {
    let bench = bench().await;
    for format in FORMATS {
        let plain = json!({});
        let (text, error) = broken(bench.ask(format, "sim-stream-cut", &plain).await).await;
        assert!(!is_reset(&error) && text.starts_with('{'), "{text}");
        let (_, error) = broken(bench.ask(format, "sim-stream-reset", &plain).await).await;
        assert!(is_reset(&error), "{error:?}");
        for name in ["garbage", "ended", "unterminated"] {
            let response = bench.ask(format, &format!("sim-stream-{name}"), &plain).await;
            assert_eq!(response.status().as_u16(), 200);
            let bytes = response.bytes().await.expect("a whole body");
            assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_err(), "{name}");
        }
        let overloaded = if format == Format::Anthropic { 529 } else { 503 };
        let response = bench.ask(format, "sim-stream-error", &plain).await;
        assert_eq!(response.status().as_u16(), overloaded);

        let model = format!("{format:?}-stall");
        bench.always(&model, StreamFault::new(StreamBreak::Stall)).await;
        let mut response = bench.ask(format, &model, &plain).await;
        assert!(response.chunk().await.expect("a chunk").is_some());
        drop(response);
        bench.until(&model, |request| request.answered == Answered::Abandoned).await;
    }
}

#[tokio::test]
async fn a_stop_ends_streams_that_stall() {
    let bench = bench().await;
    let mut response = bench.stream(Format::OpenAi, "sim-stream-stall").await;
    assert!(response.chunk().await.expect("a chunk").is_some());
    let Bench { simulator, .. } = bench;
    simulator.stop().await;
    broken(response).await;
}

#[tokio::test]
async fn a_text_is_given_once() {
    let bench = bench().await;
    let reply = json!({ "text": "Hello!", "chunks": ["Hel", "lo!"] });
    let url = format!("{}/control/scripts?model=x", bench.simulator.url());
    let script = json!({ "steps": [{ "action": { "reply": reply } }] });
    let response = bench.http.put(url).json(&script).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 422);
}
