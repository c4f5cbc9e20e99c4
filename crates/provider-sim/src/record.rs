//! What was received, in order, within bounds.

use std::collections::{BTreeMap, VecDeque};

use axum::http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

use crate::control::{Answered, RecordedRequest, Requests};

/// Requests kept at most.
const REQUESTS_MAX: usize = 10_000;
/// Bytes of bodies kept at most.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Headers whose value is a secret.
const SECRET_HEADERS: [&str; 2] = ["authorization", "x-api-key"];
/// What stands for the value of those.
const PRESENT: &str = "(present)";

/// A request on its way into the record.
pub(crate) struct Arrival<'a> {
    pub(crate) time: Timestamp,
    pub(crate) model: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Value,
    pub(crate) body_bytes: usize,
}

/// Every request since the last reset, as far as the bounds allow.
#[derive(Debug, Default)]
pub(crate) struct Record {
    kept: VecDeque<(usize, RecordedRequest)>,
    bytes: usize,
    received: u64,
}

impl Record {
    /// Adds a request and returns its sequence number.
    pub(crate) fn add(&mut self, arrival: Arrival<'_>) -> u64 {
        self.received += 1;
        let request = RecordedRequest {
            sequence: self.received,
            received_at: arrival.time,
            model: arrival.model.to_owned(),
            path: arrival.path.to_owned(),
            headers: shown(arrival.headers),
            body: arrival.body,
            pieces_sent: 0,
            answered: Answered::Pending,
            finished_at: None,
        };
        self.bytes += arrival.body_bytes;
        self.kept.push_back((arrival.body_bytes, request));
        while self.kept.len() > REQUESTS_MAX || (self.bytes > BODY_BYTES_MAX && self.kept.len() > 1) {
            let Some((bytes, _)) = self.kept.pop_front() else { break };
            self.bytes -= bytes;
        }
        self.received
    }

    /// Counts a piece of a stream.
    pub(crate) fn sent_piece(&mut self, sequence: u64, received_at: Timestamp) {
        if let Some(request) = self.kept(sequence, received_at) {
            request.pieces_sent += 1;
        }
    }

    /// Writes down what became of a request.
    pub(crate) fn finish(
        &mut self,
        sequence: u64,
        received_at: Timestamp,
        answered: Answered,
        now: Timestamp,
    ) {
        if let Some(request) = self.kept(sequence, received_at) {
            request.answered = answered;
            request.finished_at = Some(now);
        }
    }

    /// None for one that is forgotten, or was received before a reset: it must not be taken for another that has its
    /// number now.
    fn kept(&mut self, sequence: u64, received_at: Timestamp) -> Option<&mut RecordedRequest> {
        let oldest = self.kept.front()?.1.sequence;
        let place = usize::try_from(sequence.checked_sub(oldest)?).ok()?;
        let (_, request) = self.kept.get_mut(place)?;
        (request.received_at == received_at).then_some(request)
    }

    /// The requests to one model, or to all.
    pub(crate) fn show(&self, model: Option<&str>) -> Requests {
        let oldest = self.kept.front().map_or(self.received, |(_, request)| request.sequence - 1);
        let requests = self.kept.iter().map(|(_, request)| request);
        let wanted = requests.filter(|request| model.is_none_or(|model| request.model == model));
        Requests { forgotten: oldest, requests: wanted.cloned().collect() }
    }
}

/// A body as it is shown: JSON, or else a string.
pub(crate) fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_not_json| String::from_utf8_lossy(bytes).into())
}

fn shown(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), shown_value(name.as_str(), value)))
        .collect()
}

fn shown_value(name: &str, value: &HeaderValue) -> String {
    if SECRET_HEADERS.contains(&name) {
        return PRESENT.to_owned();
    }
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(record: &mut Record, model: &str) -> u64 {
        let headers = HeaderMap::from_iter([
            ("x-api-key".parse().expect("a name"), HeaderValue::from_static("sk-secret")),
            ("accept".parse().expect("a name"), HeaderValue::from_static("*/*")),
        ]);
        record.add(Arrival {
            time: Timestamp::UNIX_EPOCH,
            model,
            path: "/v1/messages",
            headers: &headers,
            body: body(br#"{"a":1}"#),
            body_bytes: 7,
        })
    }

    #[test]
    fn keys_are_never_shown() {
        let mut record = Record::default();
        add(&mut record, "a");
        let shown = record.show(None).requests;
        assert_eq!(shown[0].headers["x-api-key"], "(present)");
        assert_eq!(shown[0].headers["accept"], "*/*");
        assert_eq!(shown[0].body["a"], 1);
    }

    #[test]
    fn requests_are_counted_over_all_models_and_shown_by_model() {
        let mut record = Record::default();
        for model in ["a", "b", "a"] {
            add(&mut record, model);
        }
        let sequences: Vec<u64> = record.show(Some("a")).requests.iter().map(|r| r.sequence).collect();
        assert_eq!(sequences, [1, 3]);
        assert_eq!(record.show(Some("c")), Requests::default());
    }

    #[test]
    fn what_is_forgotten_is_counted() {
        let mut record = Record::default();
        for _ in 0..REQUESTS_MAX + 5 {
            add(&mut record, "a");
        }
        let shown = record.show(None);
        assert_eq!((shown.forgotten, shown.requests.len()), (5, REQUESTS_MAX));
    }
}
