//! Wrong values for each type of field.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// What to do with a field.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// As if it had not been sent.
    Clear,
    /// Another value.
    Set(Value),
}

/// More than any text of the contract may have, JSON excepted.
const LONG: usize = 70_000;
/// More than any JSON of the contract may have.
const VERY_LONG: usize = (1 << 20) + 1;

/// JSON that two readers could take for two things, or that costs more than it is worth.
const JSON: [(&str, &str); 11] = [
    ("JSON that breaks off", r#"{"path":"#),
    ("JSON followed by more", r#"{"path":"a.txt"} {}"#),
    ("a JSON list", "[]"),
    ("a JSON null", "null"),
    ("a key twice", r#"{"path":"a.txt","path":"b.txt"}"#),
    ("a key twice, once escaped", r#"{"path":"a.txt","p\u0061th":"b.txt"}"#),
    ("an integer beyond 2^53", r#"{"path":9007199254740993}"#),
    ("an integer beyond 64 bits", r#"{"path":123456789012345678901234567890}"#),
    ("a number beyond a double", r#"{"path":1e999}"#),
    ("a lone surrogate", r#"{"path":"\ud800"}"#),
    ("a byte order mark", "\u{feff}{}"),
];

/// Wrong values of a field, each with a name.
pub(crate) fn of(field: &FieldDescriptor) -> Vec<(&'static str, Change)> {
    let mut changes = vec![("left out", Change::Clear)];
    match field.kind() {
        Kind::String => changes.extend(texts(field.name()).into_iter().map(|(what, text)| {
            let value = Value::String(text);
            (what, Change::Set(value))
        })),
        Kind::Enum(_) => {
            for (what, number) in
                [("UNSPECIFIED", 0), ("a number that is no value", 99), ("-1", -1), ("the largest", i32::MAX)]
            {
                changes.push((what, Change::Set(Value::EnumNumber(number))));
            }
        }
        Kind::Uint32 => changes.push(("the largest", Change::Set(Value::U32(u32::MAX)))),
        Kind::Uint64 => changes.push(("the largest", Change::Set(Value::U64(u64::MAX)))),
        Kind::Float => {
            for (what, number) in [
                ("not a number", f32::NAN),
                ("infinite", f32::INFINITY),
                ("negative", -1.0),
                ("the largest", f32::MAX),
            ] {
                changes.push((what, Change::Set(Value::F32(number))));
            }
        }
        Kind::Bool => changes.push(("true", Change::Set(Value::Bool(true)))),
        Kind::Message(message) => {
            changes.push(("empty", Change::Set(Value::Message(DynamicMessage::new(message.clone())))));
            changes.extend(times(&message));
        }
        // Timestamps and durations are changed as a whole.
        Kind::Int32 | Kind::Int64 => changes.clear(),
        other => panic!("{}: say how a {other:?} can be wrong", field.full_name()),
    }
    changes
}

fn texts(name: &str) -> Vec<(&'static str, String)> {
    let mut texts = vec![
        ("a space", " ".to_owned()),
        ("70,000 letters", "x".repeat(LONG)),
        ("a line break and more", "a\n\u{1b}[2J\u{0}b".to_owned()),
        ("letters of other scripts", "ünï\u{202e}cödé😀".to_owned()),
        ("a path out", "../../etc/passwd".to_owned()),
        ("SQL", "' OR 1=1; --".to_owned()),
    ];
    if name.ends_with("_json") {
        texts.extend(JSON.map(|(what, text)| (what, text.to_owned())));
        texts.push(("JSON a hundred levels deep", "[".repeat(100) + &"]".repeat(100)));
        texts.push(("objects a hundred levels deep", r#"{"a":"#.repeat(100) + "1" + &"}".repeat(100)));
        texts.push(("100,000 brackets", "[".repeat(100_000)));
        texts.push(("1 MiB of JSON", format!(r#"{{"path":"{}"}}"#, "x".repeat(VERY_LONG))));
    }
    if name.ends_with("_id") {
        texts.push(("most of a UUID", "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a5".to_owned()));
    }
    texts
}

/// Moments and spans that the contract has no place for.
fn times(message: &MessageDescriptor) -> Vec<(&'static str, Change)> {
    let wrong: &[(&str, i64, i32)] = match message.full_name() {
        "google.protobuf.Timestamp" => &[
            ("nanos below 0", 1_778_000_000, -1),
            ("nanos of a second", 1_778_000_000, 1_000_000_000),
            ("the year 10000", 253_402_300_800, 0),
            ("the year 0", -62_135_596_801, 0),
            ("the first second", i64::MIN, 0),
            ("the last second", i64::MAX, i32::MAX),
        ],
        "google.protobuf.Duration" => &[
            ("negative", -1, 0),
            ("nanos below 0", 0, -1),
            ("of two signs", 1, -1),
            ("nanos of a second", 1, 1_000_000_000),
            ("10,000 years and more", 315_576_000_001, 0),
            ("the longest", i64::MAX, i32::MAX),
        ],
        _ => &[],
    };
    let made = wrong.iter().map(|(what, seconds, nanos)| {
        let mut time = DynamicMessage::new(message.clone());
        time.set_field_by_name("seconds", Value::I64(*seconds));
        time.set_field_by_name("nanos", Value::I32(*nanos));
        (*what, Change::Set(Value::Message(time)))
    });
    made.collect()
}
