//! Spans that a collector got, and questions about them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

/// Spans, each with the service that sent it.
#[derive(Debug, Clone)]
pub(crate) struct Received(pub(crate) Vec<(String, Span)>);

impl Received {
    /// Those of one service with one name.
    pub(crate) fn named(&self, service: &str, name: &str) -> Vec<&Span> {
        let found = self.0.iter().filter(|(by, span)| by == service && span.name == name);
        found.map(|(_, span)| span).collect()
    }

    /// Every span, and who sent it, by its id.
    pub(crate) fn by_id(&self, span_id: &[u8]) -> Option<(&str, &Span)> {
        let found = self.0.iter().find(|(_, span)| span.span_id == span_id);
        found.map(|(service, span)| (service.as_str(), span))
    }

    /// The name of the span above.
    pub(crate) fn above(&self, span: &Span) -> Option<(&str, &str)> {
        self.by_id(&span.parent_span_id).map(|(service, span)| (service, span.name.as_str()))
    }
}

/// The values of a text attribute; more than one would be a mistake of ours.
pub(crate) fn text_of<'s>(span: &'s Span, key: &str) -> Vec<&'s str> {
    let values = values_of(span, key);
    values
        .filter_map(|value| if let Value::StringValue(text) = value { Some(text.as_str()) } else { None })
        .collect()
}

/// The values of a number.
pub(crate) fn number_of(span: &Span, key: &str) -> Vec<i64> {
    let values = values_of(span, key);
    values
        .filter_map(|value| if let Value::IntValue(number) = value { Some(*number) } else { None })
        .collect()
}

fn values_of<'s>(span: &'s Span, key: &str) -> impl Iterator<Item = &'s Value> {
    let found = span.attributes.iter().filter(move |attribute| attribute.key == key);
    found.filter_map(|attribute| attribute.value.as_ref()?.value.as_ref())
}

/// Whether it ended as an error.
pub(crate) fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// Whether it links to another span, in whatever trace that is.
pub(crate) fn links_to(span: &Span, other: &Span) -> bool {
    span.links.iter().any(|link| link.trace_id == other.trace_id && link.span_id == other.span_id)
}
