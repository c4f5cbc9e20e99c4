//! What the state of the collector costs: nothing while calls are served, two seconds at the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bulkhead_proto::audit::v1::QueryEventsRequest;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_tests::{Collector, Options, Sandbox, eventually, get, hex, within};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

/// Guards against hanging.
const BOUND: Duration = Duration::from_secs(60);
/// Calls that are made while the collector is what it is; more than the queue below holds.
const CALLS: usize = 200;
/// Spans and records that may wait, in these tests.
const QUEUE_LENGTH: &str = "64";
/// An export that nobody answers takes three retries of ten seconds each. A stop that waited for one, or for a
/// queue of them, would be far beyond this.
const STOP_BOUND: Duration = Duration::from_secs(9);

fn exporting_to(endpoint: &str) -> Options {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_LENGTH),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", QUEUE_LENGTH),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ];
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Options { environment: owned.into(), ..Options::default() }
}

/// The RPC that [`query`] calls.
const QUERY: &str = "bulkhead.audit.v1.AuditService/QueryEvents";

async fn query(sandbox: &Sandbox) -> anyhow::Result<()> {
    let mut audit = AuditServiceClient::new(sandbox.connect("audit", "auditor")?);
    audit.query_events(QueryEventsRequest::default()).await?;
    Ok(())
}

async fn dropped(sandbox: &Sandbox, signal: &str) -> anyhow::Result<f64> {
    let (_, text) = get(&sandbox.address("audit")?, "/metrics").await?;
    let wanted = format!("bulkhead_telemetry_dropped_total{{signal=\"{signal}\"}} ");
    let sample = text.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(sample.with_context(|| format!("no sample of {signal}"))?.parse()?)
}

fn log(sandbox: &Sandbox) -> anyhow::Result<Vec<Json>> {
    let text = std::fs::read_to_string(sandbox.data().join("logs/audit.log"))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Calls are answered, what is lost is counted and told once, and the service ends in time.
async fn costs_nothing(endpoint: &str) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(exporting_to(endpoint)).await?;
    for _ in 0..CALLS {
        within("a call", BOUND, query(&sandbox)).await??;
    }
    for signal in ["traces", "logs"] {
        eventually("drops to be counted", BOUND, async || {
            Ok((dropped(&sandbox, signal).await? > 0.0).then_some(()))
        })
        .await?;
    }
    let warnings = || anyhow::Ok(log(&sandbox)?.iter().filter(|line| is_warning(line)).count());
    eventually("the warning", BOUND, async || Ok((warnings()? > 0).then_some(()))).await?;
    within("a call", BOUND, query(&sandbox)).await??;
    assert_eq!(warnings()?, 1, "one warning a minute");

    let pid = *sandbox.pids("audit")?.first().context("no audit")?;
    let asked = Instant::now();
    kill_process(Pid::from_raw(pid).context("no such process")?, Signal::TERM)?;
    eventually("audit to end", BOUND, async || Ok((!sandbox.pids("audit")?.contains(&pid)).then_some(())))
        .await?;
    assert!(asked.elapsed() < STOP_BOUND, "the stop took {:?}", asked.elapsed());
    Ok(())
}

fn is_warning(line: &Json) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("telemetry is being dropped"))
}

#[tokio::test]
async fn a_dead_collector_costs_a_call_nothing() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    drop(listener);
    costs_nothing(&endpoint).await
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_a_call_nothing() -> anyhow::Result<()> {
    // The kernel accepts for a listener that nobody serves.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    costs_nothing(&format!("http://{}", listener.local_addr()?)).await
}

#[tokio::test]
async fn a_collector_that_refuses_costs_a_call_nothing() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::refusing().await?;
    costs_nothing(&endpoint).await?;
    assert!(collector.kept().exports > 0, "it was asked");
    Ok(())
}

#[tokio::test]
async fn what_is_queued_leaves_before_the_end_with_the_ids_of_its_call() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let never = "3600000".to_owned();
    let mut options = exporting_to(&endpoint);
    options.environment.extend([
        ("OTEL_BSP_SCHEDULE_DELAY".to_owned(), never.clone()),
        ("OTEL_BLRP_SCHEDULE_DELAY".to_owned(), never),
    ]);
    let mut sandbox = Sandbox::start(options).await?;
    query(&sandbox).await?;
    sandbox.stop().await?;

    let lines = log(&sandbox)?;
    let answered =
        lines.iter().find(|line| line["message"] == "answered" && line["spans"][0]["rpc.method"] == QUERY);
    let line = answered.with_context(|| format!("no line of the call in {lines:#?}"))?;
    let kept = collector.kept();
    let span = kept.spans.iter().find(|(_, span)| hex(&span.span_id) == line["span_id"]);
    let (service, span) = span.context("the span of the call did not leave")?;
    assert_eq!((service.as_str(), hex(&span.trace_id)), ("audit", line["trace_id"].as_str().unwrap().into()));
    let records: Vec<_> = kept
        .logs
        .iter()
        .map(|logged| &logged.record)
        .filter(|record| record.span_id == span.span_id)
        .collect();
    let [record] = &records[..] else { anyhow::bail!("not one record of the call: {records:#?}") };
    assert_eq!(record.trace_id, span.trace_id);
    let attributes: BTreeMap<&str, Option<Value>> = record
        .attributes
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.clone().and_then(|value| value.value)))
        .collect();
    let request_id = line["request_id"].as_str().context("no request id")?.to_owned();
    assert_eq!(attributes["request_id"], Some(Value::StringValue(request_id)));
    Ok(())
}

#[tokio::test]
async fn exporting_a_log_record_causes_no_other() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
        ("BULKHEAD_LOG", "debug"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let sandbox = Sandbox::start(Options { environment, ..Options::default() }).await?;
    query(&sandbox).await?;
    eventually("the record of the call", BOUND, async || {
        let logs = collector.kept().logs;
        let ours = logs
            .iter()
            .any(|logged| logged.service == "audit" && logged.target.starts_with("bulkhead_edge::stack"));
        Ok(ours.then_some(()))
    })
    .await?;
    let carries = |target: &str| {
        ["h2", "hyper", "tonic", "tower", "opentelemetry"].iter().any(|carrier| target.starts_with(carrier))
    };
    let lines = log(&sandbox)?;
    assert!(lines.iter().any(|line| carries(line["target"].as_str().unwrap_or_default())), "they do speak");
    let exported: Vec<_> =
        collector.kept().logs.into_iter().filter(|logged| carries(&logged.target)).collect();
    assert!(exported.is_empty(), "{exported:#?}");
    Ok(())
}
