//! `/metrics` and OTLP metrics against docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_proto::approval::v1 as approval;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{ContentBlock, GenerateRequest, Message, Role, StreamGenerateRequest};
use bulkhead_proto::tools::v1 as tools;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_tests::{Collector, Options, Sandbox, eventually, get};
use rustix::process::{Pid, Signal, kill_process};
use tonic::Code;
use uuid::Uuid;

const SERVICES: [(&str, &str); 4] =
    [("model-router", "router"), ("tool-executor", "executor"), ("approval", "approval"), ("audit", "audit")];
const BOUND: Duration = Duration::from_secs(60);

/// A row of the table: the name, the name on `/metrics`, and the services that have it.
struct Documented {
    name: String,
    exposed: String,
    services: BTreeSet<&'static str>,
}

fn documented() -> anyhow::Result<Vec<Documented>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(path)?;
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.matches(" |").count() >= 6);
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let known = SERVICES.iter().filter(|(_, short)| cells[3] == "all" || cells[3].contains(short));
        Ok(Documented {
            name: cells[1].trim_matches('`').to_owned(),
            exposed: cells[2].trim_matches('`').to_owned(),
            services: known.map(|(service, _)| *service).collect(),
        })
    })
    .collect()
}

/// The metrics in an exposition, by name, with their samples.
fn exposed(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut metrics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(typed) => {
                name = typed.split(' ').next().unwrap_or_default().to_owned();
                metrics.entry(name.clone()).or_default();
            }
            None if line.starts_with('#') => {}
            None => metrics.entry(name.clone()).or_default().push(line.to_owned()),
        }
    }
    metrics
}

async fn scrape(sandbox: &Sandbox, service: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let (head, body) = get(&sandbox.address(service)?, "/metrics").await?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    anyhow::ensure!(head.contains("text/plain; version=0.0.4"), "{head}");
    Ok(exposed(&body))
}

/// A sample of a metric whose labels include these; the labels' order is the exporter's.
fn value(samples: &[String], labels: &[&str]) -> Option<f64> {
    let sample = samples.iter().find(|sample| labels.iter().all(|label| sample.contains(label)))?;
    sample.rsplit(' ').next()?.parse().ok()
}

async fn execute(sandbox: &Sandbox, name: &str, arguments: &str) -> anyhow::Result<tools::Execution> {
    let mut executor = ToolExecutorServiceClient::new(sandbox.connect("tool-executor", "agent")?);
    let request = tools::ExecuteToolCallRequest {
        request_id: Uuid::now_v7().to_string(),
        call: Some(tools::ToolCall { tool: name.to_owned(), arguments_json: arguments.to_owned() }),
        ..tools::ExecuteToolCallRequest::default()
    };
    let answer = executor.execute_tool_call(request).await?.into_inner();
    answer.execution.context("no execution")
}

/// Asks a model plainly and for a stream, writes a file, deletes it with a person's word, and is refused once: a bit of everything.
async fn work(sandbox: &Sandbox) -> anyhow::Result<()> {
    let mut router = ModelRouterServiceClient::new(sandbox.connect("model-router", "agent")?);
    let content = vec![ContentBlock {
        block: Some(Block::Text("Are you there?".to_owned())),
        ..ContentBlock::default()
    }];
    let messages = vec![Message { role: Role::User.into(), content }];
    let request_id = Uuid::now_v7().to_string();
    let asked = GenerateRequest { messages, ..GenerateRequest::default() };
    router.generate(GenerateRequest { request_id: request_id.clone(), ..asked.clone() }).await?;
    let streamed = StreamGenerateRequest { generate: Some(asked), request_id };
    let mut stream = router.stream_generate(streamed).await?.into_inner();
    while stream.message().await?.is_some() {}
    execute(sandbox, "fs.write", r#"{"path":"metrics.txt","content":"x"}"#).await?;
    let gated = execute(sandbox, "fs.delete", r#"{"path":"metrics.txt"}"#).await?;

    let mut approver = ApprovalServiceClient::new(sandbox.connect("approval", "approver")?);
    let wanted = approval::GetApprovalRequest { approval_id: gated.approval_id };
    let shown = approver.get_approval(wanted).await?.into_inner().approval.context("no approval")?;
    approver
        .decide_approval(approval::DecideApprovalRequest {
            request_id: Uuid::now_v7().to_string(),
            approval_id: shown.approval_id,
            decision: approval::Decision::Approve.into(),
            reason: "it is only a test".to_owned(),
            plan_digest: shown.plan_digest,
            ..approval::DecideApprovalRequest::default()
        })
        .await?;
    let mut stranger = ApprovalServiceClient::new(sandbox.connect("approval", "auditor")?);
    let refused = stranger.decide_approval(approval::DecideApprovalRequest::default()).await;
    assert_eq!(refused.map_err(|status| status.code()).err(), Some(Code::PermissionDenied));
    Ok(())
}

#[tokio::test]
async fn every_metric_is_in_the_table_and_the_table_names_no_other() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "300".to_owned()),
    ];
    let sandbox = Sandbox::start(Options { environment, ..Options::default() }).await?;
    work(&sandbox).await?;
    let table = documented()?;
    assert!(table.len() > 30, "the table has {} rows", table.len());

    for (service, _) in SERVICES {
        let wanted: BTreeSet<String> = table
            .iter()
            .filter(|row| row.services.contains(service))
            .map(|row| row.exposed.clone())
            .chain(["target_info".to_owned()])
            .collect();
        // The delete runs after the answer to the vote, and audit hears of it later still.
        let what = format!("the metrics of {service} to be those of the table");
        let seen = std::cell::RefCell::new(BTreeSet::new());
        let settled = eventually(&what, BOUND, async || {
            let now: BTreeSet<String> = scrape(&sandbox, service).await?.into_keys().collect();
            let equal = now == wanted;
            seen.replace(now);
            Ok(equal.then_some(()))
        })
        .await;
        let seen = seen.into_inner();
        let (missing, new): (Vec<_>, Vec<_>) =
            (wanted.difference(&seen).collect(), seen.difference(&wanted).collect());
        settled.with_context(|| format!("not exposed: {missing:?}; not in the table: {new:?}"))?;
    }

    let wanted: BTreeSet<(String, String)> = table
        .iter()
        .flat_map(|row| row.services.iter().map(|service| ((*service).to_owned(), row.name.clone())))
        .collect();
    eventually("the same metrics at the collector", BOUND, async || {
        let kept = collector.kept().metrics;
        let services = SERVICES.map(|(service, _)| service.to_owned());
        let ours: BTreeSet<_> = kept.into_iter().filter(|(service, _)| services.contains(service)).collect();
        Ok((ours == wanted).then_some(()))
    })
    .await
    .with_context(|| format!("{:?}", collector.kept().metrics))
}

#[tokio::test]
async fn metrics_count_what_happened_and_name_nobody() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    work(&sandbox).await?;
    eventually("the delete to be counted", BOUND, async || {
        let executor = scrape(&sandbox, "tool-executor").await?;
        let done = value(&executor["bulkhead_executor_executions_total"], &["state=\"SUCCEEDED\""]);
        Ok((done == Some(2.0)).then_some(()))
    })
    .await?;

    let approval = scrape(&sandbox, "approval").await?;
    let ended = |method: &str, code: &str| {
        let labels = ["_count", &format!("Service/{method}\""), &format!("status_code=\"{code}\"")];
        value(&approval["rpc_server_call_duration_seconds"], &labels)
    };
    assert_eq!(ended("DecideApproval", "OK"), Some(1.0));
    assert_eq!(ended("DecideApproval", "PERMISSION_DENIED"), Some(1.0));
    let errors = &approval["bulkhead_rpc_server_errors_total"];
    assert_eq!(value(errors, &["ROLE_REQUIRED"]), Some(1.0), "{errors:?}");
    assert_eq!(value(&approval["bulkhead_approval_settled_total"], &["approved"]), Some(1.0));
    assert_eq!(value(&approval["bulkhead_approval_pending"], &[]), Some(0.0));

    let router = scrape(&sandbox, "model-router").await?;
    assert_eq!(value(&router["bulkhead_router_attempts_total"], &["answered"]), Some(2.0));
    assert_eq!(value(&router["bulkhead_router_circuit"], &["primary", "state=\"closed\""]), Some(1.0));
    assert_eq!(value(&router["gen_ai_client_token_usage"], &["_count", "\"output\""]), Some(2.0));
    // Models and RPCs are known beforehand; of what did not happen to them there is no series.
    for name in router.keys().filter(|name| name.starts_with("gen_ai_") || name.starts_with("rpc_")) {
        for count in router[name].iter().filter(|sample| sample.contains("_count")) {
            assert!(!count.ends_with(" 0"), "{count}");
        }
    }

    for (service, _) in SERVICES {
        let (_, text) = get(&sandbox.address(service)?, "/metrics").await?;
        for never in ["metrics.txt", "bhk_", "it is only a test", "default/agent"] {
            assert!(!text.contains(never), "{never} is in the metrics of {service}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_path_outside_the_contract_is_one_value() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let mut unknown = tonic::client::Grpc::new(sandbox.connect("audit", "auditor")?);
    for method in ["Made", "Up", "Names"] {
        unknown.ready().await?;
        let path = format!("/bulkhead.audit.v1.AuditService/{method}").try_into()?;
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let refused = unknown.unary(tonic::Request::new(()), path, codec).await;
        assert_eq!(refused.map_err(|status| status.code()).err(), Some(Code::Unimplemented));
    }
    let audit = scrape(&sandbox, "audit").await?;
    let calls = &audit["rpc_server_call_duration_seconds"];
    assert_eq!(value(calls, &["_count", "\"_OTHER\"", "UNIMPLEMENTED"]), Some(3.0), "{calls:?}");
    assert!(!calls.iter().any(|sample| sample.contains("/Made")), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_is_open_until_its_reader_goes_away() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let streams = async |wanted: f64| {
        eventually("the open streams", BOUND, async || {
            let approval = scrape(&sandbox, "approval").await?;
            let open = approval.get("bulkhead_rpc_server_open").map(Vec::as_slice).unwrap_or_default();
            Ok((value(open, &["WatchApprovals"]) == Some(wanted)).then_some(approval))
        })
        .await
    };
    let watchers = sandbox.connect("approval", "approver")?;
    let mut first = ApprovalServiceClient::new(watchers.clone());
    let mut second = ApprovalServiceClient::new(watchers);
    let watched = approval::WatchApprovalsRequest::default();
    let one = first.watch_approvals(watched).await?;
    let two = second.watch_approvals(watched).await?;
    let approval = streams(2.0).await?;
    assert!(value(&approval["bulkhead_edge_connections"], &[]) >= Some(1.0));
    drop(one);
    streams(1.0).await?;
    drop(two);
    let approval = streams(0.0).await?;
    let ended = ["_count", "WatchApprovals", "\"CANCELLED\""];
    assert_eq!(value(&approval["rpc_server_call_duration_seconds"], &ended), Some(2.0));
    Ok(())
}

#[tokio::test]
async fn events_that_wait_for_audit_are_seen_and_grow_old() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let audit = *sandbox.pids("audit")?.first().context("no audit")?;
    let audit = Pid::from_raw(audit).context("no process")?;
    let outbox = async |what: &str, seen: fn(f64, f64, f64) -> bool| {
        eventually(what, BOUND, async || {
            let executor = scrape(&sandbox, "tool-executor").await?;
            let of = |name: &str| value(&executor[name], &[]).unwrap_or_default();
            let (depth, age) = (of("bulkhead_outbox_depth"), of("bulkhead_outbox_oldest_age_seconds"));
            Ok(seen(depth, age, of("bulkhead_outbox_delivered_total")).then_some(()))
        })
        .await
    };
    // Held, not killed: it would be started again.
    kill_process(audit, Signal::STOP)?;
    execute(&sandbox, "fs.write", r#"{"path":"waits.txt","content":"x"}"#).await?;
    outbox("the intent and the outcome to wait", |depth, age, delivered| {
        depth >= 2.0 && age > 0.5 && delivered < 1.0
    })
    .await?;
    kill_process(audit, Signal::CONT)?;
    outbox("both to be delivered", |depth, age, delivered| depth < 1.0 && age == 0.0 && delivered >= 2.0)
        .await
}
