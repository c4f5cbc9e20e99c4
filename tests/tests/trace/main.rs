//! One trace through every service, as an OTLP receiver gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bulkhead_tests::{Binary, Collector, binary, eventually};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

#[tokio::test]
async fn one_trace_holds_the_spans_of_every_service() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut demo = Command::new(binary(Binary::Shipped)?);
    demo.args(["demo", "--yes", "--json", "--data"]).arg(&data).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let output = tokio::task::spawn_blocking(move || demo.output()).await??;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("no report")?;
    assert!(output.status.success(), "{report:#}");
    let trace_id = report["trace_id"].as_str().context("no trace id")?.to_owned();

    let expected: BTreeSet<&str> = ["bulkhead-demo", "model-router", "tool-executor", "approval"].into();
    let spans = eventually("spans of every service", Duration::from_secs(30), async || {
        let spans = collector.spans_of(&trace_id);
        let services: BTreeSet<&str> = spans.iter().map(|(service, _)| service.as_str()).collect();
        Ok(expected.is_subset(&services).then(|| spans.clone()))
    })
    .await?;

    // Every span but the root has its parent in the same trace.
    let ids: BTreeMap<&[u8], &str> =
        spans.iter().map(|(service, span)| (&span.span_id[..], service.as_str())).collect();
    let orphans = spans
        .iter()
        .filter(|(_, span)| !span.parent_span_id.is_empty() && !ids.contains_key(&span.parent_span_id[..]));
    let lost: BTreeSet<&[u8]> = orphans.map(|(_, span)| &span.parent_span_id[..]).collect();
    // The executor was killed (-9) in the demo, and with it the spans that it had not exported yet: the call that
    // asked for the delete, and its call to approval.
    assert!(lost.len() <= 2, "{} parents are missing in {spans:#?}", lost.len());
    let roots = spans.iter().filter(|(_, span)| span.parent_span_id.is_empty()).count();
    assert_eq!(roots, 1);
    calls_follow_the_conventions(&spans)?;
    let text = format!("{spans:?}");
    assert!(!text.contains("sk-demo-"), "the planted credential is in a span");
    assert!(!text.contains("bhk_"), "a token is in a span");

    for service in ["model-router", "tool-executor", "approval"] {
        let log = std::fs::read_to_string(data.join("logs").join(format!("{service}.log")))?;
        let traced = log.lines().filter(|line| belongs_to(line, &trace_id)).count();
        assert!(traced > 0, "no line of {service} has the trace id and a request id");
    }
    let mut texts = Vec::new();
    for folder in [data.join("logs"), data.join("audit").join("logs")] {
        for entry in std::fs::read_dir(folder)? {
            texts.push(std::fs::read_to_string(entry?.path())?);
        }
    }
    assert!(texts.len() >= 6, "only {} files of logs", texts.len());
    for secret in ["sk-demo-", "bhk_"] {
        assert!(!texts.iter().any(|text| text.contains(secret)), "{secret}… is in a log");
    }
    Ok(())
}

/// Both sides of every call, by the conventions for gRPC; only some refusals are errors of the server.
fn calls_follow_the_conventions(spans: &[(String, Span)]) -> anyhow::Result<()> {
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
        let is_error = span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        assert_eq!(text_of(span, "error.type"), if is_error { vec![code] } else { vec![] }, "{span:#?}");
        let is_client = span.kind() == SpanKind::Client;
        assert_eq!(text_of(span, "server.address"), if is_client { vec!["127.0.0.1"] } else { vec![] });
        if let Some(client) = clients.get(&span.parent_span_id[..]).filter(|_| !is_client) {
            assert_eq!(client.name, span.name, "a call arrives in {service} as it was sent");
        }
        ends.insert((is_client, code, is_error));
    }
    let expected = [
        (true, "OK", false),
        (false, "OK", false),
        (true, "PERMISSION_DENIED", true),
        (false, "PERMISSION_DENIED", false),
        (true, "UNAVAILABLE", true),
        (false, "UNAVAILABLE", true),
    ];
    for end in expected {
        assert!(ends.contains(&end), "no call ended as {end:?}: {ends:?}");
    }
    Ok(())
}

/// The values of an attribute; more than one would be a mistake of ours.
fn text_of<'s>(span: &'s Span, key: &str) -> Vec<&'s str> {
    let found = span.attributes.iter().filter(|attribute| attribute.key == key);
    let values = found.filter_map(|attribute| attribute.value.as_ref()?.value.as_ref());
    values
        .filter_map(|value| if let Value::StringValue(text) = value { Some(text.as_str()) } else { None })
        .collect()
}

/// Whether a line of a JSON log belongs to this trace and to a call.
fn belongs_to(line: &str, trace_id: &str) -> bool {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    line["trace_id"] == trace_id && line["request_id"].as_str().is_some_and(|id| id.len() == 36)
}
