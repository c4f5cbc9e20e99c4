//! Behaviour asked for by a model's name.

use crate::control::{
    Action, Malformed, Reply, RetryAfter, Script, StatusFault, Step, StopReason, StreamBreak, StreamFault,
    ToolFault,
};

/// Steps in a flapping cycle at most.
const FLAP_FAILURES_MAX: usize = 1_000;

/// The script that a model's name stands for; a name outside the grammar echoes.
pub(crate) fn script(model: &str) -> Script {
    let words: Vec<&str> = model.split('-').collect();
    let step = match words.as_slice() {
        ["sim", "flap", failures] => return flapping(failures),
        ["sim", "reset"] => Action::Reset.into(),
        ["sim", "silence"] => Action::Silence.into(),
        ["sim", "cut"] => Action::Cut.into(),
        ["sim", "truncated"] => Action::Malformed(Malformed::Truncated).into(),
        ["sim", "shape"] => Action::Malformed(Malformed::WrongShape).into(),
        ["sim", "html"] => Action::Malformed(Malformed::Html).into(),
        ["sim", "refusal"] => stopped_by(StopReason::Refusal),
        ["sim", "stream", fault] => broken(fault, None),
        ["sim", "stream", fault, pieces] => broken(fault, pieces.parse().ok()),
        ["sim", "first", delay] => {
            Reply { first_after_ms: millis(delay).unwrap_or(0), ..Reply::default() }.into()
        }
        ["sim", "tool", fault] => miscalled(fault),
        ["sim", "unstreamed"] => Action::Unstreamed(Reply::default()).into(),
        ["sim", "context"] => Action::ContextLength.into(),
        ["sim", "filter"] => stopped_by(StopReason::ContentFilter),
        ["sim", "slow", delay] => Step::default().after_ms(millis(delay).unwrap_or(0)),
        ["sim", code] => status(code, RetryAfter::None),
        ["sim", code, "date", delay] => {
            status(code, seconds(delay).map_or(RetryAfter::None, RetryAfter::HttpDate))
        }
        ["sim", code, delay] => status(code, seconds(delay).map_or(RetryAfter::None, RetryAfter::Seconds)),
        _ => Step::default(),
    };
    Script::always(step)
}

fn status(code: &str, retry_after: RetryAfter) -> Step {
    match code.parse() {
        Ok(code @ 400..=599) => Action::Status(StatusFault { retry_after, ..StatusFault::new(code) }).into(),
        _ => Step::default(),
    }
}

fn stopped_by(reason: StopReason) -> Step {
    let text = Some("I decline (simulated).".to_owned());
    Reply { text, stop_reason: Some(reason), ..Reply::default() }.into()
}

fn broken(fault: &str, after_pieces: Option<usize>) -> Step {
    let how = match fault {
        "cut" => StreamBreak::Cut,
        "reset" => StreamBreak::Reset,
        "stall" => StreamBreak::Stall,
        "pings" => StreamBreak::Pings,
        "endless" => StreamBreak::Endless,
        "bloated" => StreamBreak::Bloated,
        "garbage" => StreamBreak::Garbage,
        "ended" => StreamBreak::Ended,
        "unterminated" => StreamBreak::Unterminated,
        "error" => StreamBreak::Overloaded,
        _ => return Step::default(),
    };
    StreamFault { after_pieces, ..StreamFault::new(how) }.into()
}

fn miscalled(fault: &str) -> Step {
    let fault = match fault {
        "badjson" => ToolFault::BadJson,
        "wrong" => ToolFault::WrongInput,
        "unoffered" => ToolFault::Unoffered,
        "sameid" => ToolFault::SameId,
        _ => return Step::default(),
    };
    Action::ToolFault(fault).into()
}

fn flapping(failures: &str) -> Script {
    let failures = failures.parse().unwrap_or(0).min(FLAP_FAILURES_MAX);
    let fails = std::iter::repeat_with(|| Step::status(503)).take(failures);
    Script::cycle(fails.chain([Step::default()]))
}

fn seconds(text: &str) -> Option<u64> {
    text.strip_suffix('s')?.parse().ok()
}

fn millis(text: &str) -> Option<u64> {
    text.strip_suffix("ms")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ask_for_what_the_documentation_says() {
        let first = Reply { first_after_ms: 250, ..Reply::default() };
        let cases: [(&str, Step); 21] = [
            ("sim-429", Step::status(429)),
            ("sim-529", Step::status(529)),
            ("sim-429-2s", Step::status_after(429, RetryAfter::Seconds(2))),
            ("sim-503-date-3s", Step::status_after(503, RetryAfter::HttpDate(3))),
            ("sim-reset", Action::Reset.into()),
            ("sim-silence", Action::Silence.into()),
            ("sim-cut", Action::Cut.into()),
            ("sim-truncated", Action::Malformed(Malformed::Truncated).into()),
            ("sim-slow-250ms", Step::default().after_ms(250)),
            ("sim-first-250ms", first.into()),
            ("sim-stream-cut", StreamFault::new(StreamBreak::Cut).into()),
            ("sim-stream-stall-3", StreamFault::new(StreamBreak::Stall).after(3).into()),
            ("sim-stream-error-0", StreamFault::new(StreamBreak::Overloaded).after(0).into()),
            ("sim-stream-unterminated", StreamFault::new(StreamBreak::Unterminated).into()),
            ("sim-tool-badjson", Action::ToolFault(ToolFault::BadJson).into()),
            ("sim-tool-box", Step::default()),
            ("sim-context", Action::ContextLength.into()),
            ("sim-stream-of-thought", Step::default()),
            ("sim-echo", Step::default()),
            ("sim-200", Step::default()),
            ("claude-sonnet-4-5", Step::default()),
        ];
        for (name, expected) in cases {
            assert_eq!(script(name), Script::always(expected), "{name}");
        }
    }

    #[test]
    fn a_flapping_name_fails_so_often_and_answers_once() {
        let script = script("sim-flap-2");
        assert_eq!(script.steps, [Step::status(503), Step::status(503), Step::default()]);
        assert!(script.repeat);
    }
}
