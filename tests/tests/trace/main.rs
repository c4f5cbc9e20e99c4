//! One trace through every service, as an OTLP receiver gets it.

mod conventions;
mod received;
#[cfg(feature = "real-collector")]
mod rotel;
mod story;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::{Binary, Collector, binary, eventually};

#[tokio::test]
async fn one_trace_holds_the_spans_of_every_service() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut demo = Command::new(binary(Binary::Shipped)?);
    demo.args(["demo", "--yes", "--json", "--data"]).arg(&data);
    demo.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let output = tokio::task::spawn_blocking(move || demo.output()).await??;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("no report")?;
    assert!(output.status.success(), "{report:#}");
    let trace_id = report["trace_id"].as_str().context("no trace id")?.to_owned();

    let expected: BTreeSet<&str> =
        ["bulkhead-demo", "model-router", "tool-executor", "approval", "audit"].into();
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
    let ends = conventions::ends_of_calls(&spans)?;
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

/// Whether a line of a JSON log belongs to this trace and to a call.
fn belongs_to(line: &str, trace_id: &str) -> bool {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    line["trace_id"] == trace_id && line["request_id"].as_str().is_some_and(|id| id.len() == 36)
}
