//! What the APIs have no fields for, and callers send as headers.

use bulkhead_edge::Violations;
use bulkhead_proto::common::v1::{RunContext, Sensitivity};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use uuid::Uuid;

const REQUEST_ID: &str = "x-bulkhead-request-id";
const SESSION_ID: &str = "x-bulkhead-session-id";
const RUN_ID: &str = "x-bulkhead-run-id";
const STEP: &str = "x-bulkhead-step";
const SENSITIVITY: &str = "x-bulkhead-sensitivity";
const DRY_RUN: &str = "x-bulkhead-dry-run";
/// Some clients' name for what `x-bulkhead-request-id` is; any text.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Every header of ours begins so.
const OURS: &str = "x-bulkhead-";
const KNOWN: [&str; 6] = [REQUEST_ID, SESSION_ID, RUN_ID, STEP, SENSITIVITY, DRY_RUN];

/// Idempotency keys that are no UUIDs become UUIDs under this name space (RFC 9562, version 5).
const KEYS: Uuid = Uuid::from_u128(0x6f3b_0d0e_9a51_4c7b_8a53_5d2f_10c4_e7a9);

/// The id of a request, and where it belongs.
#[derive(Debug, PartialEq)]
pub(super) struct Given {
    pub(super) request_id: String,
    /// By the caller.
    pub(super) is_named: bool,
    pub(super) context: RunContext,
}

/// Reads the headers. A header of ours that is not known is refused: of a misspelt sensitivity nobody would hear.
pub(super) fn read(headers: &HeaderMap, violations: &mut Violations) -> Given {
    let mut ours = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(OURS));
    if ours.any(|name| !KNOWN.contains(&name)) {
        violations.add("x-bulkhead-*", format!("there are {}", KNOWN.join(", ")));
    }
    let mut reader = Reader { headers, violations };
    reader.content_type();
    let session_id = reader.id(SESSION_ID);
    let context = RunContext {
        session_id,
        run_id: reader.id(RUN_ID),
        step: reader.step(),
        dry_run: reader.dry_run(),
        sensitivity: reader.sensitivity(),
    };
    let named = reader.request_id();
    let is_named = named.is_some();
    Given { request_id: named.unwrap_or_else(Uuid::now_v7).to_string(), is_named, context }
}

struct Reader<'a> {
    headers: &'a HeaderMap,
    violations: &'a mut Violations,
}

impl<'a> Reader<'a> {
    /// The text of a header that stands there once.
    fn one(&mut self, name: &str) -> Option<&'a str> {
        let mut sent = self.headers.get_all(name).iter();
        let first = sent.next()?;
        let text = first.to_str().ok().filter(|_| sent.next().is_none());
        self.violations.require(text.is_some(), name, "must be sent once, in ASCII");
        text.map(str::trim)
    }

    /// A browser sends anything else to a foreign site without asking it first, and its certificate with it.
    fn content_type(&mut self) {
        let sent = self.one(CONTENT_TYPE.as_str()).unwrap_or_default();
        let essence = sent.split(';').next().unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case("application/json");
        self.violations.require(is_json, CONTENT_TYPE.as_str(), "must be application/json");
    }

    fn id(&mut self, name: &str) -> String {
        let id = self.one(name).unwrap_or_default();
        self.violations.context_id(name, id);
        id.to_owned()
    }

    fn step(&mut self) -> u32 {
        let step = self.one(STEP);
        step.and_then(|text| self.violations.parse(STEP, text, "0 to 4294967295")).unwrap_or(0)
    }

    fn dry_run(&mut self) -> bool {
        let sent = self.one(DRY_RUN);
        self.violations.require(
            matches!(sent, None | Some("true" | "false")),
            DRY_RUN,
            "must be true or false",
        );
        sent == Some("true")
    }

    fn sensitivity(&mut self) -> Vec<i32> {
        let words = self.headers.get_all(SENSITIVITY).iter().map(|value| value.to_str().unwrap_or("?"));
        let words: Vec<&str> = words.flat_map(|line| line.split(',')).map(str::trim).collect();
        let read: Option<Vec<i32>> = words.into_iter().map(category).collect();
        self.violations.require(
            read.is_some(),
            SENSITIVITY,
            "must be some of credentials, financial, health, private_strategy, personal_data, separated by commas",
        );
        read.unwrap_or_default()
    }

    fn request_id(&mut self) -> Option<Uuid> {
        let (id, key) = (self.one(REQUEST_ID), self.one(IDEMPOTENCY_KEY));
        self.violations.require(
            id.is_none() || key.is_none(),
            IDEMPOTENCY_KEY,
            "must not stand beside x-bulkhead-request-id",
        );
        let id = id.map(|text| self.violations.uuid(REQUEST_ID, text).unwrap_or(Uuid::nil()));
        id.or_else(|| key.map(named))
    }
}

fn category(word: &str) -> Option<i32> {
    let name = format!("SENSITIVITY_{}", word.to_ascii_uppercase());
    let category = Sensitivity::from_str_name(&name)?;
    (category != Sensitivity::Unspecified).then(|| category.into())
}

fn named(key: &str) -> Uuid {
    key.parse().unwrap_or_else(|_not_a_uuid| Uuid::new_v5(&KEYS, key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    fn given(sent: &[(&'static str, &'static str)]) -> Result<Given, Vec<String>> {
        let mut headers = HeaderMap::new();
        let is_told = sent.iter().any(|(name, _)| *name == JSON.0);
        for (name, value) in sent.iter().chain((!is_told).then_some(&JSON)) {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut violations = Violations::new();
        let given = read(&headers, &mut violations);
        violations.finish(Some(given)).map_err(|fault| {
            use tonic_types::StatusExt as _;
            let bad = fault.into_status().get_details_bad_request().expect("violations");
            bad.field_violations.into_iter().map(|violation| violation.field).collect()
        })
    }

    #[test]
    fn headers_say_where_a_request_belongs() {
        let id = "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55";
        let read = given(&[
            ("x-bulkhead-request-id", id),
            ("x-bulkhead-session-id", "s1"),
            ("x-bulkhead-run-id", "nightly:7"),
            ("x-bulkhead-step", "3"),
            ("x-bulkhead-sensitivity", "health, financial"),
            ("x-bulkhead-sensitivity", "Credentials"),
            ("x-bulkhead-dry-run", "true"),
        ]);
        let context = RunContext {
            session_id: "s1".into(),
            run_id: "nightly:7".into(),
            step: 3,
            dry_run: true,
            sensitivity: [Sensitivity::Health, Sensitivity::Financial, Sensitivity::Credentials]
                .map(i32::from)
                .to_vec(),
        };
        assert_eq!(read, Ok(Given { request_id: id.into(), is_named: true, context }));
    }

    #[test]
    fn a_request_without_an_id_gets_one_and_a_key_always_the_same() {
        let id = |sent: &[_]| given(sent).expect("reads").request_id;
        assert_ne!(id(&[]), id(&[]));
        let key = ("idempotency-key", "order 7");
        assert_eq!(id(&[key]), id(&[key]));
        assert_ne!(id(&[key]), id(&[("idempotency-key", "order 8")]));
        assert!(id(&[key]).parse::<Uuid>().is_ok());
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        let cases: [(&[(&str, &str)], &str); 9] = [
            (&[("x-bulkhead-request-id", "7")], "x-bulkhead-request-id"),
            (&[("x-bulkhead-session-id", "a b")], "x-bulkhead-session-id"),
            (&[("x-bulkhead-session-id", "a"), ("x-bulkhead-session-id", "a")], "x-bulkhead-session-id"),
            (&[("x-bulkhead-step", "-1")], "x-bulkhead-step"),
            (&[("x-bulkhead-dry-run", "yes")], "x-bulkhead-dry-run"),
            (&[("x-bulkhead-sensitivity", "secret")], "x-bulkhead-sensitivity"),
            (&[("x-bulkhead-sensitivity", "unspecified")], "x-bulkhead-sensitivity"),
            (&[("x-bulkhead-sensitvity", "health")], "x-bulkhead-*"),
            (&[("content-type", "text/plain")], "content-type"),
        ];
        for (sent, field) in cases {
            let sent: Vec<(&'static str, &'static str)> = sent.to_vec();
            assert_eq!(given(&sent), Err(vec![field.to_owned()]), "{sent:?}");
        }
    }
}
