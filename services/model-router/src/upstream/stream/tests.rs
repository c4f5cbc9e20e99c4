//! A model that is a socket: every byte and every silence of it is chosen.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::chat::Block;
use crate::clearance::{Clearance, Sensitivity, clear};
use crate::limit::models::Told;
use crate::network::LocalNetworks;
use crate::provider::samples::conversation;
use crate::provider::{ADAPTERS, Abilities};
use crate::upstream::{LocalModel, Upstream};

/// Longer than any test needs; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that is to be reached, and long enough for what has to come before it on a machine that is busy.
const SHORT: Duration = Duration::from_secs(5);
/// Long enough to see that nothing comes; too short says less, and nothing wrong.
const GLANCE: Duration = Duration::from_millis(50);

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// The limits of a model: first token, idle, in all.
type Spans = [Duration; 3];

const PATIENT: Spans = [PATIENCE; 3];

struct Place {
    listener: TcpListener,
    upstream: Upstream,
    total: Duration,
}

async fn place(provider: &str, spans: Spans) -> Place {
    able_place(provider, spans, Abilities::default()).await
}

async fn able_place(
    provider: &str,
    [first_token_timeout, idle_timeout, total]: Spans,
    abilities: Abilities,
) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let adapter = ADAPTERS.into_iter().find(|adapter| adapter.name == provider).expect("a provider");
    let base_url: reqwest::Url = format!("http://{address}").parse().expect("a URL");
    let target = Target {
        adapter,
        endpoint: adapter.endpoint(&base_url),
        base_url,
        provider_model: "model-x".into(),
        key: None,
        abilities,
        max_output_tokens_default: 100,
        connect_timeout: PATIENCE,
        first_token_timeout,
        idle_timeout,
    };
    let networks = LocalNetworks::new(["127.0.0.0/8".parse().expect("a network")]);
    let upstream = Upstream::Local(LocalModel::new("m", target, &networks).expect("a model"));
    Place { listener, upstream, total }
}

fn brief(timeout: Duration) -> Brief {
    Brief {
        timeout,
        first_token_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        attempt_id: "a1".into(),
        heard: Told::default(),
    }
}

impl Place {
    async fn open(&self) -> Result<Streaming, Failure> {
        let Target { first_token_timeout, idle_timeout, .. } = *self.upstream.target();
        let brief = Brief {
            timeout: self.total,
            first_token_timeout,
            idle_timeout,
            attempt_id: "a1".into(),
            heard: Told::default(),
        };
        let request = clear(conversation(), &[Sensitivity::Health]);
        self.upstream.stream(&request, brief).await.expect("cleared")
    }

    /// Takes the request, and gives its body and the connection.
    async fn accept(&self) -> (TcpStream, Value) {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("in time");
        let (mut socket, _) = accepted.expect("a connection");
        let mut bytes = Vec::new();
        loop {
            let mut piece = [0; 4_096];
            let count = socket.read(&mut piece).await.expect("reads");
            assert!(count > 0, "the request ended early");
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.and_then(|length| length.parse().ok()) == Some(body.len()) {
                return (socket, serde_json::from_str(body).expect("JSON"));
            }
        }
    }

    /// Answers a request with these bytes and closes the connection.
    async fn answer(&self, bytes: &str) {
        let (mut socket, _) = self.accept().await;
        socket.write_all(bytes.as_bytes()).await.expect("writes");
        socket.shutdown().await.expect("shuts down");
    }
}

fn head(content_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn say(words: &str) -> String {
    chunk(&format!("data: {}\n\n", json!({ "model": "m-1", "choices": [{ "delta": { "content": words } }] })))
}

/// The end of an answer that counted its tokens.
fn end() -> String {
    let finish = json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 5 } });
    chunk(&format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")) + "0\r\n\r\n"
}

fn text(words: &str) -> Piece {
    Piece::Delta(Delta::Text(words.to_owned()))
}

/// Everything until the end.
async fn drain(streaming: &mut Streaming) -> (Vec<Piece>, Result<Answer, Failure>) {
    let mut pieces = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, streaming.next()).await.expect("in time") {
            Ok(Piece::Answer(answer)) => return (pieces, Ok(answer)),
            Ok(piece) => pieces.push(piece),
            Err(failure) => return (pieces, Err(failure)),
        }
    }
}

#[tokio::test]
async fn each_piece_is_there_before_the_next_is_sent() {
    let place = place("openai", PATIENT).await;
    let server = place.accept();
    let (streaming, (mut socket, body)) = tokio::join!(
        async {
            let opened = place.open().await;
            opened.expect("opens")
        },
        async {
            let (mut socket, body) = server.await;
            socket.write_all(head(EVENT_STREAM).as_bytes()).await.expect("writes");
            (socket, body)
        }
    );
    let mut streaming = streaming;
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({ "include_usage": true })));
    for words in ["Gr\u{fc}", "n", " \u{1f33f}"] {
        socket.write_all(say(words).as_bytes()).await.expect("writes");
        let piece = tokio::time::timeout(PATIENCE, streaming.next()).await.expect("in time");
        assert_eq!(piece, Ok(text(words)));
    }
    socket.write_all(end().as_bytes()).await.expect("writes");
    let (pieces, answer) = drain(&mut streaming).await;
    let answer = answer.expect("an answer");
    assert_eq!((pieces, answer.blocks), (vec![], vec![Block::Text("Gr\u{fc}n \u{1f33f}".into())]));
    let usage = Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() };
    assert_eq!((answer.usage, streaming.usage_so_far()), (usage, Some(usage)));
    let after = streaming.next().await.expect_err("it is over");
    assert_eq!(after.kind, Kind::Reset);
}

#[tokio::test]
async fn a_stream_that_nobody_wants_any_more_closes_the_connection() {
    let place = place("openai", PATIENT).await;
    let (opened, (mut socket, _)) = tokio::join!(place.open(), async {
        let (mut socket, body) = place.accept().await;
        socket.write_all((head(EVENT_STREAM) + &say("Half")).as_bytes()).await.expect("writes");
        (socket, body)
    });
    let mut streaming = opened.expect("opens");
    assert_eq!(streaming.next().await, Ok(text("Half")));
    drop(streaming);
    let seen = tokio::time::timeout(PATIENCE, socket.read(&mut [0; 16])).await.expect("at once");
    // Closed or reset: in both cases the server knows.
    assert!(seen.is_ok_and(|count| count == 0) || socket.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let place = place("openai", PATIENT).await;
    let (opened, (mut socket, _)) = tokio::join!(place.open(), async {
        let (mut socket, body) = place.accept().await;
        let half = say("Half");
        socket.write_all((head(EVENT_STREAM) + &half[..half.len() / 2]).as_bytes()).await.expect("writes");
        (socket, body)
    });
    let mut streaming = opened.expect("opens");
    for _ in 0..3 {
        assert!(tokio::time::timeout(GLANCE, streaming.next()).await.is_err(), "half an event is none");
    }
    let half = say("Half");
    socket.write_all((half[half.len() / 2..].to_owned() + &end()).as_bytes()).await.expect("writes");
    let (pieces, answer) = drain(&mut streaming).await;
    assert_eq!(pieces, [text("Half")]);
    assert_eq!(answer.expect("an answer").usage.output_tokens, 5);
}

#[tokio::test]
async fn whatever_ends_before_the_last_word_is_a_failure() {
    let garbage = "data: {\"choices\": \u{fffd}\n\n";
    let error = json!({ "error": { "code": "rate_limit_exceeded", "message": "Ada Lovelace" } });
    let cases = [
        ("cut", say("Half"), Kind::Reset),
        ("ended", say("Half") + "0\r\n\r\n", Kind::Reset),
        ("ended within an event", say("Half") + &chunk("data: {") + "0\r\n\r\n", Kind::Reset),
        ("garbage", say("Half") + &chunk(garbage), Kind::Malformed),
        ("an error", say("Half") + &chunk(&format!("data: {error}\n\n")), Kind::RateLimited),
        ("no chunk", say("Half") + "garbage\r\n", Kind::Reset),
    ];
    for (what, bytes, kind) in cases {
        let place = place("openai", PATIENT).await;
        let bytes = head(EVENT_STREAM) + &bytes;
        let (opened, ()) = tokio::join!(place.open(), place.answer(&bytes));
        let mut streaming = opened.expect("opens");
        let (pieces, end) = drain(&mut streaming).await;
        let failure = end.expect_err(what);
        assert_eq!((failure.kind, failure.http_status, pieces), (kind, 200, vec![text("Half")]), "{what}");
        assert!(!failure.message.contains("Ada"), "{what}: {}", failure.message);
        assert_eq!(streaming.usage_so_far(), None, "{what}: nothing was counted");
    }
}

#[tokio::test]
async fn an_end_that_a_cut_could_be_is_no_last_word_either() {
    let finish = json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] });
    let finished = say("Half") + &chunk(&format!("data: {finish}\n\n"));
    let said =
        json!({ "model": "m-1", "choices": [{ "delta": { "content": "Half" }, "finish_reason": "stop" }] });
    let said = format!("data: {said}\n\n");
    let bare = format!("HTTP/1.1 200 OK\r\ncontent-type: {EVENT_STREAM}\r\n");
    let cases = [
        ("the last chunk", head(EVENT_STREAM) + &finished + "0\r\n\r\n", true),
        ("no last chunk", head(EVENT_STREAM) + &finished, false),
        ("a length", format!("{bare}content-length: {}\r\n\r\n{said}", said.len()), true),
        ("a length that was not reached", format!("{bare}content-length: 9999\r\n\r\n{said}"), false),
        ("a connection that closes", format!("{bare}\r\n{said}"), false),
    ];
    for (what, bytes, is_answer) in cases {
        let abilities = Abilities { ends_at_finish_reason: true, ..Abilities::default() };
        let place = able_place("openai-compatible", PATIENT, abilities).await;
        let (opened, ()) = tokio::join!(place.open(), place.answer(&bytes));
        let mut streaming = opened.expect("opens");
        let (pieces, end) = drain(&mut streaming).await;
        let told = end.map(drop).map_err(|failure| failure.kind);
        assert_eq!(told, if is_answer { Ok(()) } else { Err(Kind::Reset) }, "{what}");
        assert_eq!(pieces, [text("Half")], "{what}");
    }
}

#[tokio::test]
async fn silence_is_bounded_at_every_moment() {
    let keep_alives = chunk(": keep-alive\n\n").repeat(3);
    let cases = [
        ("no head", [SHORT, PATIENCE, PATIENCE], String::new(), 0, "no token came"),
        ("no token", [SHORT, PATIENCE, PATIENCE], head(EVENT_STREAM) + &keep_alives, 200, "no token came"),
        (
            "no second token",
            [PATIENCE, SHORT, PATIENCE],
            head(EVENT_STREAM) + &say("Half"),
            200,
            "nothing came",
        ),
        ("no end", [PATIENCE, PATIENCE, SHORT], head(EVENT_STREAM) + &say("Half"), 200, "no complete answer"),
        (
            "no token of a whole answer",
            [SHORT, PATIENCE, PATIENCE],
            head("application/json") + &chunk("{"),
            200,
            "no token came",
        ),
        ("no whole answer", [PATIENCE, PATIENCE, SHORT], head("application/json"), 200, "no complete answer"),
    ];
    let cases = cases.map(|(what, spans, bytes, http_status, said)| async move {
        let place = place("openai", spans).await;
        let (end, _socket) = tokio::join!(
            async {
                match place.open().await {
                    Ok(mut streaming) => drain(&mut streaming).await.1,
                    Err(failure) => Err(failure),
                }
            },
            async {
                let (mut socket, _) = place.accept().await;
                socket.write_all(bytes.as_bytes()).await.expect("writes");
                socket
            }
        );
        let failure = end.expect_err(what);
        assert_eq!((failure.kind, failure.http_status), (Kind::Silence, http_status), "{what}");
        assert!(failure.message.starts_with(said), "{what}: {}", failure.message);
    });
    futures::future::join_all(cases).await;
}

#[tokio::test]
async fn what_a_request_says_of_its_time_holds() {
    let place = place("openai", PATIENT).await;
    let request = clear(conversation(), &[Sensitivity::Health]);
    let hurried = Brief { first_token_timeout: GLANCE, ..brief(PATIENCE) };
    let failure = place.upstream.stream(&request, hurried).await.expect("cleared").expect_err("too late");
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Silence, "no token came within 50 ms"));
}

#[tokio::test]
async fn a_server_that_shows_that_it_lives_is_not_silent() {
    let idle = Duration::from_secs(2);
    let place = place("openai", [PATIENCE, idle, PATIENCE]).await;
    let (opened, (mut socket, _)) = tokio::join!(place.open(), async {
        let (mut socket, body) = place.accept().await;
        socket.write_all((head(EVENT_STREAM) + &say("Half")).as_bytes()).await.expect("writes");
        (socket, body)
    });
    let mut streaming = opened.expect("opens");
    let server = async {
        // Longer than it may be silent.
        let mut ticks = tokio::time::interval(idle / 20);
        for _ in 0..25 {
            ticks.tick().await;
            socket.write_all(chunk(": keep-alive\n\n").as_bytes()).await.expect("writes");
        }
        socket.write_all(end().as_bytes()).await.expect("writes");
    };
    let ((pieces, answer), ()) = tokio::join!(drain(&mut streaming), server);
    assert_eq!((pieces, answer.is_ok()), (vec![text("Half")], true));
}

#[tokio::test]
async fn a_failure_before_the_stream_is_told_as_without_one() {
    let place = place("openai", PATIENT).await;
    let body = json!({ "error": { "code": "insufficient_quota", "message": "m" } }).to_string();
    let bytes = format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (opened, ()) = tokio::join!(place.open(), place.answer(&bytes));
    let failure = opened.expect_err("no stream");
    assert_eq!((failure.kind, failure.http_status), (Kind::Quota, 429));
    assert_eq!(failure.server_delay, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn an_answer_that_comes_whole_is_an_answer() {
    let openai = json!({
        "model": "m-1", "usage": { "prompt_tokens": 12, "completion_tokens": 5 },
        "choices": [{ "finish_reason": "stop", "message": { "role": "assistant", "content": "All" } }],
    });
    let ollama = json!({
        "model": "m-1", "message": { "role": "assistant", "content": "All" }, "done": true,
        "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 5,
    });
    for (provider, body) in [("openai", openai), ("ollama", ollama)] {
        let place = place(provider, PATIENT).await;
        let bytes = head("application/json; charset=utf-8") + &chunk(&body.to_string()) + "0\r\n\r\n";
        let (opened, ()) = tokio::join!(place.open(), place.answer(&bytes));
        let mut streaming = opened.expect("opens");
        let (pieces, answer) = drain(&mut streaming).await;
        let answer = answer.expect(provider);
        assert_eq!((pieces, answer.usage.output_tokens), (vec![text("All")], 5), "{provider}");
    }
}

#[tokio::test]
async fn an_error_with_the_status_of_a_success_is_the_error_that_it_is() {
    let limited = json!({ "error": { "code": "rate_limit_exceeded", "message": "Ada, try again in 7s." } });
    let busy = json!({ "object": "error", "message": "busy", "code": 503 });
    let in_stream = |error: &serde_json::Value| say("Half") + &chunk(&format!("data: {error}\n\n"));
    let as_body = |error: &serde_json::Value| chunk(&error.to_string()) + "0\r\n\r\n";
    let cases = [
        ("a body", "", "application/json", as_body(&limited), Kind::RateLimited, Some(7)),
        ("a body, a header", "retry-after: 3", "application/json", as_body(&busy), Kind::Overloaded, Some(3)),
        ("a body alone", "", "application/json", as_body(&busy), Kind::Overloaded, None),
        ("an event", "", EVENT_STREAM, in_stream(&limited), Kind::RateLimited, Some(7)),
        (
            "an event, a header",
            "retry-after: 3",
            EVENT_STREAM,
            in_stream(&limited),
            Kind::RateLimited,
            Some(3),
        ),
    ];
    for (what, header, content_type, bytes, kind, delay) in cases {
        let place = place("openai-compatible", PATIENT).await;
        let head = head(content_type);
        let (status, rest) = head.split_once("\r\n").expect("a head");
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let bytes = format!("{status}\r\n{header}{rest}{bytes}");
        let (opened, ()) = tokio::join!(place.open(), place.answer(&bytes));
        let failure = match opened {
            Ok(mut streaming) => drain(&mut streaming).await.1.expect_err(what),
            Err(failure) => failure,
        };
        assert_eq!((failure.kind, failure.http_status), (kind, 200), "{what}");
        assert_eq!(failure.server_delay, delay.map(Duration::from_secs), "{what}");
        assert!(!failure.message.contains("Ada"), "{what}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_plain_answer_that_is_an_error_is_one_too() {
    let limited = json!({ "error": { "code": "rate_limit_exceeded", "message": "Ada, try again in 7s." } });
    let limited = chunk(&limited.to_string()) + "0\r\n\r\n";
    let other = chunk("{}") + "0\r\n\r\n";
    let beside = json!({
        "model": "m-1", "error": { "code": 503, "message": "busy" },
        "choices": [{ "finish_reason": "stop", "message": { "role": "assistant", "content": "Half" } }],
    });
    let beside = chunk(&beside.to_string()) + "0\r\n\r\n";
    let plain = || head("application/json");
    let refused = plain().replace("200 OK", "429 Too Many Requests");
    let delayed = plain().replace("200 OK\r\n", "200 OK\r\nretry-after: 3\r\n");
    let cases = [
        ("with the status of a success", plain(), &limited, Kind::RateLimited, 200, Some(7)),
        ("and a header", delayed, &limited, Kind::RateLimited, 200, Some(3)),
        ("with its own", refused, &limited, Kind::RateLimited, 429, Some(7)),
        ("beside an answer", plain(), &beside, Kind::Overloaded, 200, None),
        ("no error and no answer", plain(), &other, Kind::Malformed, 200, None),
    ];
    let request = clear(conversation(), &[Sensitivity::Health]);
    for (what, head, body, kind, http_status, delay) in cases {
        let place = place("openai", PATIENT).await;
        let bytes = head + body;
        let (called, ()) = tokio::join!(place.upstream.call(&request, brief(PATIENCE)), place.answer(&bytes));
        let failure = called.expect("cleared").expect_err(what);
        assert_eq!((failure.kind, failure.http_status), (kind, http_status), "{what}");
        assert_eq!(failure.server_delay, delay.map(Duration::from_secs), "{what}");
        assert!(!failure.message.contains("Ada"), "{what}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_cloud_model_is_sent_nothing_that_must_stay_local() {
    let place = place("openai", PATIENT).await;
    let target = place.upstream.target().clone();
    let cloud = Upstream::Cloud(crate::upstream::CloudModel::new("m", target, None).expect("a model"));
    let request = clear(conversation(), &[Sensitivity::Health]);
    assert!(matches!(request, Clearance::LocalOnly(_)));
    assert!(cloud.stream(&request, brief(PATIENCE)).await.is_none());
    let connection = tokio::time::timeout(GLANCE, place.listener.accept()).await;
    assert!(connection.is_err(), "somebody connected");
}
