//! What each mutant may lead to. The rule: the call is refused with INVALID_ARGUMENT and a violation of that
//! very field. The table holds the exceptions, each with its reason.

use bulkhead_tests::probe::Answer;

use crate::mutations::Mutant;

/// What the answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// INVALID_ARGUMENT, naming the field or what is in it.
    Refused,
    /// INVALID_ARGUMENT, naming what the field is a part of: only together they are wrong.
    RefusedAsPart,
    /// INVALID_ARGUMENT, naming another field: the two do not fit together.
    RefusedFor(&'static str),
    /// INVALID_ARGUMENT (`UNDECODABLE_REQUEST`).
    Undecodable,
    /// A valid message all the same.
    Accepted,
}

/// One exception: of which RPC (`*`: all), at which path (indices may be left out; a leading `*` stands
/// for any beginning), for which mutations (none: all), and what then.
type Exception = (&'static str, &'static str, &'static [&'static str], Expected);

/// How a stream ends that has nothing to say.
const STREAM_ENDS: [&str; 2] = ["STREAM_AGE_LIMIT", "DEADLINE_EXCEEDED"];

const ABSENT: &[&str] = &["left out"];
/// What a free text may be: it goes to a model or into a line of JSON, and is escaped there.
const TEXT: &[&str] =
    &["left out", "a space", "letters of other scripts", "a path out", "SQL", "most of a UUID"];
const ANY_TEXT: &[&str] = &[
    "left out",
    "a space",
    "70,000 letters",
    "a line break and more",
    "letters of other scripts",
    "a path out",
    "SQL",
];

const EXCEPTIONS: &[Exception] = &[
    // Optional, with a default.
    ("*", "page_size", ABSENT, Expected::Accepted),
    ("*", "page_token", ABSENT, Expected::Accepted),
    ("*", "state", &["left out", "UNSPECIFIED"], Expected::Accepted),
    ("*", "route", ABSENT, Expected::Accepted),
    ("*", "session_id", &["left out", "most of a UUID"], Expected::Accepted),
    ("*", "*.session_id", &["left out", "most of a UUID"], Expected::Accepted),
    ("*", "*.run_id", &["left out", "most of a UUID"], Expected::Accepted),
    ("*", "*.owner", ABSENT, Expected::Accepted),
    ("*", "expires_in", ABSENT, Expected::Accepted),
    ("*", "wait_for_approval", &["left out", "empty"], Expected::Accepted),
    ("*", "after_revision", &["left out", "the largest"], Expected::Accepted),
    ("*", "force", &["left out", "true"], Expected::Accepted),
    ("WatchApprovals", "from_now", ABSENT, Expected::Accepted),
    ("QueryEvents", "newest_first", &["left out", "true"], Expected::Accepted),
    // The run context. Its counter is the agent's own, and a category twice is that category.
    ("*", "context", &["left out", "empty"], Expected::Accepted),
    ("*", "*.step", &["left out", "the largest"], Expected::Accepted),
    ("*", "context.dry_run", &["left out", "true"], Expected::Accepted),
    ("*", "context.sensitivity", &["no elements", "every element twice"], Expected::Accepted),
    // A tool's arguments come from a model. What is wrong with them is told to it, by a ToolError.
    ("*", "call.arguments_json", &[], Expected::Accepted),
    // A vote may go without a reason, though not this one: it is a denial.
    ("DecideApproval", "reason", &["letters of other scripts", "a path out", "SQL"], Expected::Accepted),
    // Events say what their sender knows. An event that stands twice in a batch is one event.
    ("AppendEvents", "events", &["every element twice"], Expected::Accepted),
    ("AppendEvents", "events.time", &["empty"], Expected::Accepted),
    ("AppendEvents", "events.tool", TEXT, Expected::Accepted),
    ("AppendEvents", "events.request_id", TEXT, Expected::Accepted),
    ("AppendEvents", "events.subject_id", TEXT, Expected::Accepted),
    ("AppendEvents", "events.outcome", ABSENT, Expected::Accepted),
    ("AppendEvents", "events.traceparent", ABSENT, Expected::Accepted),
    ("AppendEvents", "events.attributes_json", ABSENT, Expected::Accepted),
    ("AppendEvents", "events.attributes_json", &["1 MiB of JSON"], Expected::RefusedAsPart),
    // Filters.
    ("QueryEvents", "start_time", &["left out", "empty"], Expected::Accepted),
    ("QueryEvents", "end_time", ABSENT, Expected::Accepted),
    ("QueryEvents", "kind", ABSENT, Expected::Accepted),
    ("QueryEvents", "principal_name", ABSENT, Expected::Accepted),
    ("QueryEvents", "tool", TEXT, Expected::Accepted),
    ("QueryEvents", "outcome", ABSENT, Expected::Accepted),
    ("QueryEvents", "trace_id", ABSENT, Expected::Accepted),
    ("QueryEvents", "subject_id", TEXT, Expected::Accepted),
    // What a model reads may be any text, and as much as the message has room for.
    ("Generate", "system", ANY_TEXT, Expected::Accepted),
    ("Generate", "messages[0].content", &["every element twice"], Expected::Accepted),
    ("Generate", "messages[2].content", &["every element twice"], Expected::Accepted),
    ("Generate", "messages.content.text", ABSENT, Expected::RefusedAsPart),
    ("Generate", "messages.content.text", ANY_TEXT, Expected::Accepted),
    // A hint may stand anywhere in the conversation, or nowhere.
    ("Generate", "messages.content.cache_breakpoint", &[], Expected::Accepted),
    ("Generate", "messages.content.tool_result.content", ANY_TEXT, Expected::Accepted),
    ("Generate", "messages.content.tool_result.is_error", &[], Expected::Accepted),
    ("Generate", "tools.description", ANY_TEXT, Expected::Accepted),
    ("Generate", "tools", &["no elements"], Expected::Accepted),
    ("Generate", "max_output_tokens", ABSENT, Expected::Accepted),
    ("Generate", "temperature", ABSENT, Expected::Accepted),
    // Choices that need not be made.
    ("Generate", "top_p", ABSENT, Expected::Accepted),
    ("Generate", "seed", ABSENT, Expected::Accepted),
    ("Generate", "thinking_tokens_max", ABSENT, Expected::Accepted),
    ("Generate", "stop_sequences", &["no elements", "every element twice"], Expected::Accepted),
    ("Generate", "tool_choice", &["left out", "empty"], Expected::Accepted),
    ("Generate", "tool_choice.mode", &["left out", "UNSPECIFIED"], Expected::Accepted),
    ("Generate", "tool_choice.name", ABSENT, Expected::Accepted),
    ("Generate", "tool_choice.single_call", ABSENT, Expected::Accepted),
    ("Generate", "response_format", &["left out", "empty"], Expected::Accepted),
    ("Generate", "response_format.kind", &["left out", "UNSPECIFIED"], Expected::Accepted),
    ("Generate", "response_format.name", ABSENT, Expected::Accepted),
    ("Generate", "response_format.schema_json", ABSENT, Expected::Accepted),
    ("Generate", "response_format.repairs_max", ABSENT, Expected::Accepted),
    ("Generate", "limits", &["left out", "empty"], Expected::Accepted),
    ("Generate", "limits.attempts_max", ABSENT, Expected::Accepted),
    ("Generate", "limits.cost_usd_micros_max", ABSENT, Expected::Accepted),
    (
        "Generate",
        "messages.content.tool_result.parts",
        &["no elements", "every element twice"],
        Expected::Accepted,
    ),
    // A block is one of three; without any of them the block is wrong. Of two the last one sent counts.
    ("Generate", "messages.content.tool_use", ABSENT, Expected::RefusedAsPart),
    ("Generate", "messages.content.tool_result", ABSENT, Expected::RefusedAsPart),
    // Another id than the one that its result names.
    (
        "Generate",
        "messages.content.tool_use.tool_use_id",
        &[
            "a space",
            "a line break and more",
            "letters of other scripts",
            "a path out",
            "SQL",
            "most of a UUID",
        ],
        Expected::RefusedFor("messages[2].content[0].tool_result.tool_use_id"),
    ),
    // A model wrote it, and what the router answered must be welcome in the next request.
    (
        "Generate",
        "messages.content.tool_use.input_json",
        &[
            "a key twice",
            "a key twice, once escaped",
            "an integer beyond 2^53",
            "an integer beyond 64 bits",
            "objects a hundred levels deep",
            "1 MiB of JSON",
        ],
        Expected::Accepted,
    ),
    ("Generate", "tools.input_schema_json", &["1 MiB of JSON"], Expected::Accepted),
];

/// What must come of a mutant.
pub(crate) fn of(method: &str, mutant: &Mutant) -> Expected {
    if mutant.undecodable {
        return Expected::Undecodable;
    }
    if mutant.what == "a field that nobody knows" {
        return Expected::Accepted;
    }
    // A stream is asked for as an answer is, but for its id.
    let within = (method == "StreamGenerate").then(|| mutant.field.strip_prefix("generate.")).flatten();
    let (method, path) = match within {
        Some("request_id") if mutant.what == "left out" => return Expected::Accepted,
        Some(within) => ("Generate", within),
        None => (method, mutant.field.as_str()),
    };
    let field = without_indices(path);
    let applies = |(of, at, whats, _): &&Exception| {
        let there = at.strip_prefix('*').map_or(field == *at || path == *at, |end| field.ends_with(end));
        (*of == "*" || *of == method) && there && (whats.is_empty() || whats.contains(&mutant.what))
    };
    EXCEPTIONS.iter().find(applies).map_or(Expected::Refused, |(.., expected)| *expected)
}

impl Expected {
    /// Whether the answer is that.
    pub(crate) fn is(self, mutant: &Mutant, answer: &Answer) -> bool {
        let names = |field: &str| {
            let inside = |named: &String| {
                named == field || named.strip_prefix(field).is_some_and(|rest| rest.starts_with(['.', '[']))
            };
            answer.code == 3 && answer.fields.iter().any(inside)
        };
        let beside = |field: &str| names(field) || names(&format!("generate.{field}"));
        match self {
            // What is larger than any message is not read at all.
            Self::Refused if mutant.what == "100,000 elements" && answer.code == 8 => {
                answer.reason == "MESSAGE_TOO_LARGE"
            }
            Self::Refused => names(&mutant.field),
            Self::RefusedFor(field) => beside(field),
            Self::RefusedAsPart => {
                let part = |named: &String| mutant.field.starts_with(&format!("{named}."));
                answer.code == 3 && answer.fields.iter().any(part)
            }
            Self::Undecodable => answer.code == 3 && answer.reason == "UNDECODABLE_REQUEST",
            // A stream that has nothing to say ends at its deadline.
            Self::Accepted => {
                answer.code == 0 || answer.code == 4 && STREAM_ENDS.contains(&answer.reason.as_str())
            }
        }
    }
}

/// `events[0].kind` is `events.kind`.
fn without_indices(path: &str) -> String {
    let mut parts = path.split(['[', ']']);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| if part.parse::<u32>().is_ok() { whole } else { whole + part })
}
