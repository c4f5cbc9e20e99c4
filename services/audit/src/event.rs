//! One event, and the line that it becomes.
//!
//! Promises that a line has exactly one form: whoever parses a line and writes it again gets the same
//! bytes, and a line in any other form is refused.

mod attributes;
mod line;

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use bulkhead_edge::Principal;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tlog_tiles::{Hash, record_hash};
use uuid::Uuid;

pub use attributes::Attributes;
use line::Line;

/// Longest line in bytes, without its newline: entry bundles of C2SP tlog-tiles carry 16-bit lengths.
pub const LINE_BYTES_MAX: usize = 65_535;

/// Something that happened, as its sender tells it. Empty fields are left out of the line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The rest, by kind (docs/audit-events.md).
    pub attributes: Attributes,
    /// Chosen by the sender; the key of deduplication.
    pub event_id: Uuid,
    /// What happened, dotted.
    pub kind: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Who acted; its tenant is the event's.
    pub principal: Principal,
    /// The call that caused it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The job run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub run_id: String,
    /// The agent's session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session_id: String,
    /// The agent loop's counter; 0: not counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject_id: String,
    /// When it happened, by the sender's clock.
    pub time: Timestamp,
    /// The tool.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// The W3C trace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_id: String,
    /// The span in it; lines of earlier versions have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceparent: String,
}

/// An event in its place: what one line says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    /// As it was sent.
    #[serde(flatten)]
    pub event: Event,
    /// When it was appended; never before the previous line's.
    pub logged_time: Timestamp,
    /// Index of the leaf, from 0, without gaps.
    pub sequence: u64,
    /// Who sent it, from the credential.
    pub source: Principal,
}

/// Why a line is none.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Bytes that are no text.
    #[error("the line is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Not JSON, duplicate keys, or numbers that have no canonical form.
    #[error("the line is not strict JSON")]
    NotJson(#[from] CanonicalError),
    /// JSON in another form than RFC 8785.
    #[error("the line is not in RFC 8785 form")]
    NotCanonical,
    /// JSON that is no entry.
    #[error("the line is not an entry of the log")]
    NotAnEntry(#[source] serde_json::Error),
    /// An entry with fields or spellings that the service never writes.
    #[error("the line holds fields or spellings that the service never writes")]
    Altered,
    /// More than [`LINE_BYTES_MAX`].
    #[error("the line has {bytes} bytes; 65535 are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(step: &u32) -> bool {
    *step == 0
}

impl Event {
    /// A hash over all that the sender determines, in the form that a line keeps: the same before the event
    /// is written and after it is read back, however its numbers were spelt.
    ///
    /// # Errors
    /// [`LineError::NotJson`].
    pub fn fingerprint(&self) -> Result<Hash, LineError> {
        Ok(record_hash(canonical::of(self)?.as_bytes()))
    }

    /// Whether the event fits into a line wherever in the log it lands: measured with the longest sequence
    /// number and the longest time there can be.
    ///
    /// # Errors
    /// [`LineError::TooLong`] or [`LineError::NotJson`].
    pub fn check_line(&self, source: &Principal) -> Result<(), LineError> {
        let longest_time = Timestamp::UNIX_EPOCH + 1.nanosecond();
        let entry = Entry {
            event: self.clone(),
            logged_time: longest_time,
            sequence: canonical::INTEGER_MAGNITUDE_MAX,
            source: source.clone(),
        };
        entry.to_line().map(drop)
    }
}

impl Entry {
    /// The line, without its newline.
    ///
    /// # Errors
    /// [`LineError::TooLong`] or [`LineError::NotJson`].
    pub fn to_line(&self) -> Result<String, LineError> {
        let mut line = canonical::of(&Line::of(self))?;
        if let Some(attributes) = self.event.attributes.plain() {
            line.insert_str(1, &format!("\"attributes\":{attributes},"));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong { bytes: line.len() });
        }
        Ok(line)
    }

    /// Reads a line, taking only what [`Entry::to_line`] writes.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong { bytes: line.len() });
        }
        let text = std::str::from_utf8(line)?;
        let mut value = canonical::parse(text)?;
        if canonical::to_string(&value)? != text {
            return Err(LineError::NotCanonical);
        }
        // serde_json gives a meaning of its own to some keys when it turns a value into another.
        let attributes = value.get_mut("attributes").and_then(Value::as_object_mut).map(std::mem::take);
        let mut entry: Self = serde_json::from_value(value).map_err(LineError::NotAnEntry)?;
        entry.event.attributes = attributes.unwrap_or_default().into();
        if entry.to_line()? == text { Ok(entry) } else { Err(LineError::Altered) }
    }

    /// The day whose file holds the line.
    #[must_use]
    pub fn day(&self) -> Date {
        day_of(self.logged_time)
    }
}

/// The time that the next line carries: now, or the previous line's time if the clock stepped back.
#[must_use]
pub fn logged_time(now: Timestamp, previous: Option<Timestamp>) -> Timestamp {
    previous.map_or(now, |previous| previous.max(now))
}

/// The UTC day of a time.
#[must_use]
pub fn day_of(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// Whether `kind` is dotted lower case: 3 to 64 characters of `[a-z_]` in two or more parts.
#[must_use]
pub fn is_kind(kind: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (3..=64).contains(&kind.len()) && kind.contains('.') && kind.split('.').all(part)
}

#[cfg(test)]
pub(crate) mod tests {
    use bulkhead_edge::PrincipalKind;
    use serde_json::{Map, json};

    use super::*;

    fn object(value: &Value) -> Attributes {
        value.as_object().expect("an object").clone().into()
    }

    pub(crate) fn principal(kind: PrincipalKind, name: &str) -> Principal {
        Principal { tenant: "acme".into(), kind, name: name.into(), owner: None }
    }

    pub(crate) fn event(number: u128, kind: &str) -> Event {
        Event {
            attributes: Map::new().into(),
            event_id: Uuid::from_u128(number),
            kind: kind.into(),
            outcome: String::new(),
            principal: principal(PrincipalKind::Agent, "scribe"),
            request_id: String::new(),
            run_id: String::new(),
            session_id: String::new(),
            step: 0,
            subject_id: String::new(),
            time: "2026-05-09T11:59:59Z".parse().expect("a time"),
            tool: String::new(),
            trace_id: String::new(),
            traceparent: String::new(),
        }
    }

    pub(crate) fn entry(sequence: u64, kind: &str, logged: &str) -> Entry {
        Entry {
            event: event(u128::from(sequence) + 1, kind),
            logged_time: logged.parse().expect("a time"),
            sequence,
            source: principal(PrincipalKind::Service, "executor"),
        }
    }

    #[test]
    fn a_line_is_sorted_json_without_empty_fields() {
        let mut entry = entry(7, "tool.intent", "2026-05-09T12:00:00.25Z");
        entry.event.step = 3;
        entry.event.attributes = object(&json!({ "path": "notes/é.md" }));
        let expected = concat!(
            r#"{"attributes":{"path":"notes/é.md"},"event_id":"00000000-0000-0000-0000-000000000008","#,
            r#""kind":"tool.intent","logged_time":"2026-05-09T12:00:00.25Z","#,
            r#""principal":{"kind":"agent","name":"scribe","tenant":"acme"},"sequence":7,"#,
            r#""source":{"kind":"service","name":"executor","tenant":"acme"},"step":3,"#,
            r#""time":"2026-05-09T11:59:59Z"}"#,
        );
        assert_eq!(entry.to_line().expect("a line"), expected);
        assert_eq!(Entry::parse(expected.as_bytes()).expect("parses"), entry);
    }

    #[test]
    fn a_line_of_a_version_without_traceparents_is_still_one() {
        let mut entry = entry(7, "tool.intent", "2026-05-09T12:00:00Z");
        entry.event.trace_id = "0af7651916cd43dd8448eb211c80319c".into();
        let earlier = concat!(
            r#"{"attributes":{},"event_id":"00000000-0000-0000-0000-000000000008","kind":"tool.intent","#,
            r#""logged_time":"2026-05-09T12:00:00Z","principal":{"kind":"agent","name":"scribe","tenant":"acme"},"#,
            r#""sequence":7,"source":{"kind":"service","name":"executor","tenant":"acme"},"#,
            r#""time":"2026-05-09T11:59:59Z","trace_id":"0af7651916cd43dd8448eb211c80319c"}"#,
        );
        assert_eq!(Entry::parse(earlier.as_bytes()).expect("parses"), entry);
        entry.event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into();
        let line = entry.to_line().expect("a line");
        assert!(
            line.ends_with(r#","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#),
            "{line}"
        );
        assert_eq!(Entry::parse(line.as_bytes()).expect("parses"), entry);
    }

    #[test]
    fn only_the_form_that_is_written_is_read() {
        let line = entry(7, "tool.intent", "2026-05-09T12:00:00Z").to_line().expect("a line");
        let altered = [
            line.replace(r#""sequence":7"#, r#""sequence": 7"#),
            line.replace(r#""sequence":7"#, r#""sequence":7,"sequence":7"#),
            line.replace(r#""sequence":7"#, r#""sequence":7.0"#),
            line.replace(r#""sequence":7"#, r#""sequence":-7"#),
            line.replace(r#""sequence":7"#, r#""sequence":7,"session_id":"""#),
            line.replace("12:00:00Z", "12:00:00.0Z"),
            line.replace("12:00:00Z", "12:00:00+00:00"),
            line.replace(r#""kind":"tool.intent""#, r#""kind":"tool.intent","known":true"#),
            line.replace(r#""kind":"tool.intent","#, ""),
            String::new(),
            "{}".into(),
        ];
        for text in altered {
            assert!(Entry::parse(text.as_bytes()).is_err(), "taken: {text}");
        }
        assert!(matches!(Entry::parse(b"\xff{}"), Err(LineError::NotUtf8(_))));
    }

    #[test]
    fn what_fits_at_the_end_of_the_longest_log_fits_everywhere() {
        let source = principal(PrincipalKind::Service, "executor");
        let mut event = event(1, "tool.intent");
        event.attributes = object(&json!({ "text": "" }));
        event.check_line(&source).expect("short");
        event.attributes = object(&json!({ "text": "x".repeat(LINE_BYTES_MAX) }));
        let Err(LineError::TooLong { bytes }) = event.check_line(&source) else { panic!("taken") };
        let fits = LINE_BYTES_MAX - (bytes - LINE_BYTES_MAX);
        event.attributes = object(&json!({ "text": "x".repeat(fits) }));
        event.check_line(&source).expect("exactly fits");
        event.attributes = object(&json!({ "text": "x".repeat(fits + 1) }));
        assert!(event.check_line(&source).is_err());
    }

    #[test]
    fn a_fingerprint_survives_the_line_and_covers_every_field() {
        let mut entry = entry(7, "tool.intent", "2026-05-09T12:00:00Z");
        entry.event.attributes = object(&json!({ "ratio": 1.0 }));
        let line = entry.to_line().expect("a line");
        let read = Entry::parse(line.as_bytes()).expect("parses").event;
        assert_ne!(read.attributes, entry.event.attributes, "the line spells it 1");
        let fingerprint = |event: &Event| event.fingerprint().expect("has a form");
        assert_eq!(fingerprint(&read), fingerprint(&entry.event));

        let changes: [fn(&mut Event); 14] = [
            |event| event.attributes = object(&json!({ "ratio": 2 })),
            |event| event.event_id = Uuid::from_u128(9),
            |event| event.kind = "tool.outcome".into(),
            |event| event.outcome = "failed".into(),
            |event| event.principal.name = "bob".into(),
            |event| event.request_id = "r".into(),
            |event| event.run_id = "r".into(),
            |event| event.session_id = "s".into(),
            |event| event.step = 1,
            |event| event.subject_id = "e".into(),
            |event| event.time += 1.nanosecond(),
            |event| event.tool = "fs.read".into(),
            |event| event.trace_id = "0af7651916cd43dd8448eb211c80319c".into(),
            |event| event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ];
        for (change, number) in changes.into_iter().zip(0..) {
            let mut other = read.clone();
            change(&mut other);
            assert_ne!(fingerprint(&other), fingerprint(&read), "change {number}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_does_not_move_the_log() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (early, late) = (at("2026-05-09T23:59:59Z"), at("2026-05-10T00:00:00Z"));
        assert_eq!(logged_time(early, None), early);
        assert_eq!(logged_time(late, Some(early)), late);
        assert_eq!(logged_time(early, Some(late)), late);
        assert_eq!(day_of(early).to_string(), "2026-05-09");
        assert_eq!(day_of(late).to_string(), "2026-05-10");
    }

    #[test]
    fn kinds_are_dotted_lower_case() {
        for kind in ["tool.intent", "tool.dry_run", "a.b", "a.b.c"] {
            assert!(is_kind(kind), "{kind}");
        }
        for kind in
            ["", "tool", "tool.", ".tool", "a..b", "Tool.read", "tool.r2", "tool read", &"a.".repeat(40)]
        {
            assert!(!is_kind(kind), "{kind}");
        }
    }
}
