use bulkhead_proto::router::v1::{ContentBlock, Thinking, Usage};

use super::*;

fn text(text: &str) -> StreamGenerateResponse {
    StreamGenerateResponse { text: text.into(), event: None }
}

fn event(event: Event) -> StreamGenerateResponse {
    StreamGenerateResponse { text: String::new(), event: Some(event) }
}

fn attempt(model: &str, error_kind: &str, http_status: u32) -> Attempt {
    Attempt { model: model.into(), error_kind: error_kind.into(), http_status, ..Attempt::default() }
}

fn asked(model: &str, after: Option<Attempt>, waited_seconds: i64) -> StreamGenerateResponse {
    let waited = Some(prost_types::Duration { seconds: waited_seconds, nanos: 0 });
    event(Event::AttemptStarted(AttemptStarted {
        model: model.into(),
        after,
        waited,
        ..AttemptStarted::default()
    }))
}

fn message(text: &str) -> Message {
    let content = vec![ContentBlock { block: Some(Block::Text(text.into())), ..ContentBlock::default() }];
    Message { content, ..Message::default() }
}

fn completed(text: &str, stop_reason: StopReason) -> StreamGenerateResponse {
    let response = GenerateResponse {
        message: Some(message(text)),
        stop_reason: stop_reason.into(),
        usage: Some(Usage { input_tokens: 12, output_tokens: 30, ..Usage::default() }),
        model: "fallback".into(),
        attempts: vec![attempt("primary", "RATE_LIMITED", 429), attempt("fallback", "", 200)],
        cost_usd_micros: Some(1_000_123),
        ..GenerateResponse::default()
    };
    event(Event::Completed(StreamCompleted { response: Some(response), continued: false }))
}

fn reset(text_bytes_kept: u64) -> StreamGenerateResponse {
    let failed = Some(attempt("primary", "RESET", 200));
    event(Event::AttemptReset(AttemptReset { text_bytes_kept, failed }))
}

/// Both outputs of a stream whose messages come a second apart: the answer's, and what is said beside it.
fn played(is_live: bool, messages: Vec<StreamGenerateResponse>) -> (String, String) {
    let mut screen = Screen::new(is_live);
    let (mut answer, mut aside) = (String::new(), String::new());
    for (second, message) in (1..).zip(messages) {
        for piece in screen.takes(message, Duration::from_secs(second)).expect("can be shown") {
            match piece {
                Shown::Answer(text) => answer += &text,
                Shown::Aside(text) => aside += &text,
            }
        }
    }
    (answer, anstream::adapter::strip_str(&aside).to_string())
}

fn rescued() -> Vec<StreamGenerateResponse> {
    vec![
        asked("primary", None, 0),
        text("Once "),
        text("upon"),
        reset(0),
        asked("fallback", Some(attempt("primary", "RESET", 200)), 1),
        text("All of\nit."),
        completed("All of\nit.", StopReason::EndTurn),
    ]
}

const RESCUED: &str = "\
→ primary
primary: RESET (200); what came is void, it starts again
primary: RESET (200), waited 1.0 s → fallback
fallback · 2 attempts · 12 tokens in, 30 out · $1.000123 · first token after 2.0 s · 7.0 s
";

#[test]
fn a_person_sees_text_as_it_comes_and_what_became_void() {
    let (answer, aside) = played(true, rescued());
    assert_eq!(answer, "Once upon\nAll of\nit.\n");
    assert_eq!(aside, RESCUED);
}

#[test]
fn into_a_pipe_goes_the_answer_and_nothing_that_became_void() {
    let (answer, aside) = played(false, rescued());
    assert_eq!(answer, "All of\nit.\n");
    assert_eq!(aside, RESCUED);
}

#[test]
fn what_holds_after_a_reset_is_shown_again() {
    let (answer, _aside) = played(true, vec![text("Whole. Bro"), reset(6), text(" More.")]);
    assert_eq!(answer, "Whole. Bro\nWhole. More.");
}

#[test]
fn an_offset_within_a_character_breaks_the_contract() {
    let mut screen = Screen::new(true);
    screen.takes(text("é"), Duration::ZERO).expect("text");
    for offset in [1, 3, u64::MAX] {
        assert!(matches!(screen.takes(reset(offset), Duration::ZERO), Err(ClientError::Contract(_))));
    }
}

#[test]
fn thoughts_stand_beside_the_answer() {
    let thought =
        |text: &str| event(Event::Thinking(Thinking { text: text.into(), signature: String::new() }));
    let messages =
        vec![thought("Let "), thought("me see"), text("Yes."), completed("Yes.", StopReason::EndTurn)];
    let (answer, aside) = played(true, messages);
    assert_eq!(answer, "Yes.\n");
    assert!(aside.starts_with("Let me see\nfallback"), "{aside}");
    assert!(aside.contains("first token after 1.0 s"), "{aside}");
}

#[test]
fn a_failed_stream_is_no_answer() {
    let failed = || {
        event(Event::Failed(StreamFailed {
            reason: "STREAM_BROKEN".into(),
            partial: Some(message("Once upon")),
            attempts: vec![attempt("primary", "RESET", 0)],
            ..StreamFailed::default()
        }))
    };
    let (answer, aside) = played(false, vec![text("Once upon"), failed()]);
    assert_eq!(answer, "");
    assert_eq!(aside, "primary: RESET\nwhat came, not to be taken for an answer:\n  Once upon\n");
    let (answer, aside) = played(true, vec![text("Once upon"), failed()]);
    assert_eq!(answer, "Once upon\n");
    assert_eq!(aside, "primary: RESET\nwhat came is not to be taken for an answer\n");
}

#[test]
fn an_answer_that_is_cut_or_declined_says_so() {
    for (stop, word) in [(StopReason::MaxTokens, "is cut"), (StopReason::Refusal, "declined")] {
        let (_answer, aside) = played(false, vec![text("No"), completed("No", stop)]);
        assert!(aside.contains(word), "{aside}");
    }
}

#[test]
fn a_dry_run_names_the_models_in_order() {
    let response = GenerateResponse {
        attempts: vec![attempt("primary", "", 0), attempt("local", "", 0)],
        ..GenerateResponse::default()
    };
    let end = event(Event::Completed(StreamCompleted { response: Some(response), continued: false }));
    let (answer, aside) = played(true, vec![end]);
    assert_eq!(answer, "Would be asked, in order:\n  1. primary\n  2. local\n");
    assert_eq!(aside, "");
}

#[test]
fn nothing_that_a_model_says_reaches_the_terminal_raw() {
    for is_live in [true, false] {
        let messages = vec![
            asked("pri\u{1b}[2J", None, 0),
            text("a\u{1b}[2J\u{202e}"),
            text("b\n"),
            completed("a\u{1b}[2J\u{202e}b\n", StopReason::EndTurn),
        ];
        let (answer, aside) = played(is_live, messages);
        assert_eq!(answer, "a<U+001B>[2J<U+202E>b\n");
        assert!(aside.starts_with("→ pri<U+001B>[2J\n"), "{aside}");
    }
}
