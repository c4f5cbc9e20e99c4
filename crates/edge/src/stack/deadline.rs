//! Nothing runs forever: a deadline for every call, read from `grpc-timeout`.

use std::future::Future;
use std::time::{Duration, Instant};

use bulkhead_proto::rules::MethodRule;
use http::HeaderMap;
use tonic::Code;

use super::{Gate, TimeoutRange};
use crate::Fault;
use crate::serve::delivery;

/// When a call must have been answered, or its stream have ended, and who said so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
    /// Whether the caller set it; otherwise it is the service's own limit.
    pub(super) by_caller: bool,
    mutating: bool,
}

impl Deadline {
    /// What the caller asks for, within the service's range for this kind of call.
    pub(super) fn of_call(gate: &Gate, rule: &MethodRule, headers: &HeaderMap) -> Result<Self, Fault> {
        Self::of_patient_call(gate, rule, headers, None)
    }

    /// The same of a caller who, without asking for anything, waits for so long. None: as callers of this kind of call do.
    pub(super) fn of_patient_call(
        gate: &Gate,
        rule: &MethodRule,
        headers: &HeaderMap,
        patience: Option<Duration>,
    ) -> Result<Self, Fault> {
        let range = if rule.server_streaming { gate.stream_timeout } else { gate.unary_timeout };
        let asked = asked(headers)?;
        let timeout = asked.or(patience).unwrap_or(range.default).min(range.max);
        let by_caller = asked.is_some_and(|asked| asked <= range.max);
        Ok(Self { at: Instant::now() + timeout, timeout, by_caller, mutating: rule.mutating })
    }

    /// Whether the caller says how long it waits: then the time of a plain answer runs from the beginning of its request.
    pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
        headers.contains_key("grpc-timeout")
    }

    /// The deadline of a request that its body has turned into another RPC, and that had `earlier` until then. A time that the
    /// caller asks for runs from the beginning of the request, the service's own from now.
    pub(super) fn of_what_began_with(self, earlier: &Self) -> Self {
        let began = earlier.at - earlier.timeout;
        if self.by_caller { Self { at: began + self.timeout, ..self } } else { self }
    }

    /// For the answer to a call of health or reflection.
    pub(super) fn of_open_call(gate: &Gate) -> Self {
        Self::own(gate.unary_timeout)
    }

    /// For what health or reflection streams.
    pub(super) fn of_open_stream(gate: &Gate) -> Self {
        Self::own(gate.stream_timeout)
    }

    fn own(range: TimeoutRange) -> Self {
        let timeout = range.default;
        Self { at: Instant::now() + timeout, timeout, by_caller: false, mutating: false }
    }

    /// The output of `work` if it comes in time. What is late is dropped.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        delivery::end_by(self.at);
        tokio::time::timeout_at(self.at.into(), work).await.map_err(|_elapsed| self.exceeded())
    }

    pub(super) fn exceeded(&self) -> Fault {
        let advice =
            if self.mutating { "; the same request_id, sent again, finds what was begun" } else { "" };
        Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            .saying(format!("not finished within {} ms{advice}", self.timeout.as_millis()))
            .with("timeout_ms", self.timeout.as_millis())
    }
}

/// What `grpc-timeout` asks for, if it is sent. More than one is as wrong as an unreadable one: two readers
/// could choose differently.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let mut sent = headers.get_all("grpc-timeout").iter();
    let Some(first) = sent.next() else { return Ok(None) };
    let parsed = first.to_str().ok().filter(|_| sent.next().is_none()).and_then(parse);
    parsed.map(Some).ok_or_else(|| {
        Fault::new(Code::InvalidArgument, "INVALID_REQUEST")
            .saying("the header grpc-timeout is not valid")
            .violation("grpc-timeout", "must be sent once: 1 to 8 digits and one of H, M, S, m, u, n")
    })
}

/// `TimeoutValue TimeoutUnit` of the gRPC over HTTP/2 protocol.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3_600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_runs_from_the_beginning_of_the_request() {
        let began = Instant::now();
        let of = |began: Instant, seconds, by_caller| {
            let timeout = Duration::from_secs(seconds);
            Deadline { at: began + timeout, timeout, by_caller, mutating: false }
        };
        let read = began + Duration::from_secs(7);
        let body = of(began, 10, true);
        assert_eq!(of(read, 10, true).of_what_began_with(&body).at, body.at);
        assert_eq!(of(read, 30, true).of_what_began_with(&body).at, began + Duration::from_secs(30));
        assert_eq!(of(read, 30, false).of_what_began_with(&body).at, read + Duration::from_secs(30));
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = [
            ("1H", 3_600_000),
            ("2M", 120_000),
            ("3S", 3_000),
            ("4m", 4),
            ("5000u", 5),
            ("99999999m", 99_999_999),
        ];
        for (text, millis) in read {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "S", "1", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
