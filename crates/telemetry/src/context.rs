//! W3C trace context in and out of spans.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

/// Makes `span` a child of the trace in the headers, if they carry one. Call it before the span is entered.
pub fn adopt(span: &Span, headers: &HeaderMap) {
    set_parent(span, &Headers(headers));
}

/// The same for a stored `traceparent`. Text that is none is ignored: the span starts a trace.
pub fn adopt_traceparent(span: &Span, traceparent: &str) {
    set_parent(span, &Stored(traceparent));
}

/// Links `span` to a stored `traceparent`, for work that waited on what another trace decided.
pub fn link_traceparent(span: &Span, traceparent: &str) {
    let context = extract(&Stored(traceparent));
    let linked = context.span().span_context().clone();
    if linked.is_valid() {
        span.add_link(linked);
    }
}

/// Links `span` to another span of this process, in whatever trace that is.
pub fn link_span(span: &Span, other: &Span) {
    let linked = other.context().span().span_context().clone();
    if linked.is_valid() {
        span.add_link(linked);
    }
}

/// The trace id in a `traceparent` as W3C Trace Context writes version 00; none where the text is no such thing.
#[must_use]
pub fn trace_id_of(traceparent: &str) -> Option<&str> {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let [version, trace_id, span_id, flags] = parts[..] else { return None };
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let named = |text: &str, length| hex(text, length) && text.bytes().any(|byte| byte != b'0');
    (version == "00" && named(trace_id, 32) && named(span_id, 16) && hex(flags, 2)).then_some(trace_id)
}

/// Writes the context of `span` into outgoing headers.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeadersMut(headers));
    });
}

/// Where in which trace something happened. Both are empty outside any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TracePlace {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// As W3C Trace Context writes version 00, for storing with work that continues later.
    pub traceparent: String,
}

/// The place of `span`.
#[must_use]
pub fn trace_place(span: &Span) -> TracePlace {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return TracePlace::default();
    }
    let trace_id = hex::encode(span.trace_id().to_bytes());
    let span_id = hex::encode(span.span_id().to_bytes());
    // The one flag that the propagator passes on.
    let flags = if span.is_sampled() { "01" } else { "00" };
    let traceparent = ["00", &trace_id, &span_id, flags].join("-");
    TracePlace { trace_id, traceparent }
}

/// The `traceparent` of `span` alone.
#[must_use]
pub fn traceparent(span: &Span) -> String {
    trace_place(span).traceparent
}

/// The trace id of `span` alone.
#[must_use]
pub fn trace_id(span: &Span) -> String {
    trace_place(span).trace_id
}

fn set_parent(span: &Span, carrier: &dyn Extractor) {
    let context = extract(carrier);
    if context.span().span_context().is_valid()
        && let Err(error) = span.set_parent(context)
    {
        tracing::debug!(%error, "the remote trace could not be adopted");
    }
}

/// What the carrier says, and nothing where it says nothing: the propagator's own `extract` gives the current span then,
/// and a span would link to whatever encloses it.
fn extract(carrier: &dyn Extractor) -> Context {
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), carrier)
    })
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Stored<'a>(&'a str);

impl Extractor for Stored<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_place_is_what_the_propagator_passes_on() {
        for (sampler, flags) in [(Sampler::AlwaysOn, "-01"), (Sampler::AlwaysOff, "-00")] {
            let tracer = SdkTracerProvider::builder().with_sampler(sampler).build().tracer("test");
            let layer = tracing_opentelemetry::layer().with_tracer(tracer);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                let span = tracing::info_span!("work");
                let mut passed = HeaderMap::new();
                TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(&mut passed));
                let place = trace_place(&span);
                assert_eq!(passed[TRACEPARENT], place.traceparent);
                assert!(place.traceparent.ends_with(flags), "{}", place.traceparent);
                assert_eq!(trace_id_of(&place.traceparent), Some(place.trace_id.as_str()));
            });
        }
        assert_eq!(trace_place(&Span::none()), TracePlace::default());
    }

    #[test]
    fn a_traceparent_has_one_form() {
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id_of(&format!("00-{trace_id}-b7ad6b7169203331-01")), Some(trace_id));
        for text in [
            "",
            trace_id,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(trace_id_of(text), None, "{text}");
        }
    }
}
