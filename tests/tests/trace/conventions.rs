//! What the OpenTelemetry conventions for gRPC ask of spans.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::received::{is_error, text_of};

/// How a call ended: whether this side asked, the code, and whether it is an error here.
pub(crate) type End<'s> = (bool, &'s str, bool);

/// Checks both sides of every call, and returns how they ended. Only some refusals are errors of the server.
pub(crate) fn ends_of_calls(spans: &[(String, Span)]) -> anyhow::Result<BTreeSet<End<'_>>> {
    let clients: BTreeMap<&[u8], &Span> = spans
        .iter()
        .filter(|(_, span)| span.kind() == SpanKind::Client)
        .map(|(_, s)| (&s.span_id[..], s))
        .collect();
    let mut ends = BTreeSet::new();
    for (service, span) in spans.iter().filter(|(_, span)| !text_of(span, "rpc.system.name").is_empty()) {
        assert_eq!(text_of(span, "rpc.system.name"), ["grpc"], "{span:#?}");
        assert_eq!(text_of(span, "rpc.method"), [span.name.as_str()], "{span:#?}");
        for former in ["rpc.system", "rpc.service", "rpc.grpc.status_code"] {
            assert!(span.attributes.iter().all(|attribute| attribute.key != former), "{former} in {span:#?}");
        }
        let [code] = text_of(span, "rpc.response.status_code")[..] else {
            bail!("not one status in {span:#?}")
        };
        let is_error = is_error(span);
        assert_eq!(text_of(span, "error.type"), if is_error { vec![code] } else { vec![] }, "{span:#?}");
        let is_client = span.kind() == SpanKind::Client;
        assert_eq!(text_of(span, "server.address"), if is_client { vec!["127.0.0.1"] } else { vec![] });
        if let Some(client) = clients.get(&span.parent_span_id[..]).filter(|_| !is_client) {
            assert_eq!(client.name, span.name, "a call arrives in {service} as it was sent");
        }
        ends.insert((is_client, code, is_error));
    }
    Ok(ends)
}
