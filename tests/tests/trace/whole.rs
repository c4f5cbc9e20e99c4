//! The whole of a trace: whose spans, beneath what, linked to what, and what none of them holds.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bulkhead_tests::{Collector, eventually, hex};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::conventions;
use crate::received::{Received, is_error, links_to, number_of, text_of};
use crate::story::{BOUND, SECRETS, Story};

const EXECUTE: &str = "bulkhead.tools.v1.ToolExecutorService/ExecuteToolCall";
const GENERATE: &str = "bulkhead.router.v1.ModelRouterService/Generate";
const CREATE: &str = "bulkhead.approval.v1.ApprovalService/CreateApproval";
const DECIDE: &str = "bulkhead.approval.v1.ApprovalService/DecideApproval";

/// Events of the agent's trace: a model call, a write's intent and outcome, and of each delete the executor's
/// request, intent and outcome and approval's request.
const EVENTS: usize = 1 + 2 + 2 * 4;
/// Of the person's: a vote and a settlement for each delete.
const DECISIONS: usize = 2 * 2;

#[tokio::test]
async fn one_trace_holds_a_request_from_the_agent_to_the_record() -> anyhow::Result<()> {
    let (collector, endpoint) = Collector::start().await?;
    let story = Story::play(&endpoint).await?;
    check(&story, &collector).await
}

/// Checks what a collector got of the story.
pub(crate) async fn check(story: &Story, collector: &Collector) -> anyhow::Result<()> {
    let (agent, person) = arrived(story, collector).await?;
    let all = delivered(story, collector).await?;
    belongs_together(story, &agent);
    conventions::ends_of_calls(&agent.0)?;
    models_are_called(&agent)?;
    tools_run_as_decided(&agent, &person)?;
    record_is_in_the_trace(story, &agent, &all)?;
    logs_name_the_trace(story)?;
    nothing_secret_left(story, collector)
}

/// Both traces, once every event of them is recorded and every span of that has arrived.
async fn arrived(story: &Story, collector: &Collector) -> anyhow::Result<(Received, Received)> {
    let whole = |trace_id: &str, events: usize| {
        let spans = Received(collector.spans_of(trace_id));
        let recorded: i64 = spans.named("audit", "record audit").into_iter().map(counted).sum();
        let lines = story.lines_of(trace_id)?;
        let told = lines.iter().all(|line| spans.by_id(&source_of(line)).is_some());
        anyhow::Ok((told && lines.len() == events && recorded >= i64::try_from(events)?).then_some(spans))
    };
    let agent = eventually("the agent's trace", BOUND, async || whole(&story.agent.trace_id, EVENTS)).await?;
    let person = eventually("the person's", BOUND, async || whole(&story.person.trace_id, DECISIONS)).await?;
    Ok((agent, person))
}

/// Everything, once nothing is missing above any span, and deliveries and batches link to every event: they leave their
/// services a moment later than what they tell of.
async fn delivered(story: &Story, collector: &Collector) -> anyhow::Result<Received> {
    let outside = [&story.agent.span_id, &story.person.span_id];
    let lines = [story.lines_of(&story.agent.trace_id)?, story.lines_of(&story.person.trace_id)?].concat();
    let whole = async || {
        let all = Received(collector.kept().spans);
        let has_parent = |(_, span): &(String, Span)| {
            let parent = &span.parent_span_id;
            parent.is_empty() || outside.contains(&&hex(parent)) || all.by_id(parent).is_some()
        };
        let linked = |line: &Value| {
            let source = source_of(line);
            let links = |(_, span): &&(String, Span)| span.links.iter().any(|link| link.span_id == source);
            let from: BTreeSet<&str> =
                all.0.iter().filter(links).map(|(_, span)| span.name.as_str()).collect();
            from.contains("append audit") && from.contains("send audit")
        };
        Ok((all.0.iter().all(has_parent) && lines.iter().all(linked)).then_some(all))
    };
    eventually("every batch and delivery", BOUND, whole).await
}

fn counted(span: &Span) -> i64 {
    number_of(span, "messaging.batch.message_count").into_iter().sum()
}

/// The span id in a line's traceparent.
fn source_of(line: &Value) -> Vec<u8> {
    let traceparent = line["traceparent"].as_str().unwrap_or_default();
    let id = traceparent.split('-').nth(2).unwrap_or_default();
    (0..id.len()).step_by(2).filter_map(|at| u8::from_str_radix(&id[at..at + 2], 16).ok()).collect()
}

/// Spans of all four services; whatever is above none of them is the agent's own span.
fn belongs_together(story: &Story, agent: &Received) {
    let services: BTreeSet<&str> = agent.0.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(services, ["approval", "audit", "model-router", "tool-executor"].into());
    let mut entered = BTreeSet::new();
    for (_, span) in agent.0.iter().filter(|(_, span)| agent.by_id(&span.parent_span_id).is_none()) {
        assert_eq!(hex(&span.parent_span_id), story.agent.span_id, "{span:#?}");
        assert_eq!(span.kind(), SpanKind::Server);
        entered.insert(span.name.as_str());
    }
    assert_eq!(entered, [GENERATE, EXECUTE].into());
}

/// A failed attempt and one that answered, by the GenAI conventions.
fn models_are_called(agent: &Received) -> anyhow::Result<()> {
    let [failed, answered] = agent.named("model-router", "chat sim-primary")[..] else {
        anyhow::bail!("not two attempts");
    };
    for span in [failed, answered] {
        assert_eq!(agent.above(span), Some(("model-router", GENERATE)));
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!(text_of(span, "gen_ai.operation.name"), ["chat"]);
        assert_eq!(text_of(span, "gen_ai.provider.name"), ["anthropic"]);
        assert_eq!(text_of(span, "gen_ai.request.model"), ["sim-primary"]);
    }
    assert!(is_error(failed) && !text_of(failed, "error.type").is_empty(), "{failed:#?}");
    assert!(!is_error(answered) && text_of(answered, "error.type").is_empty(), "{answered:#?}");
    assert_eq!(text_of(answered, "gen_ai.response.model"), ["sim-primary"]);
    for tokens in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(
            number_of(answered, tokens).first().is_some_and(|count| *count > 0),
            "{tokens} in {answered:#?}"
        );
    }
    Ok(())
}

/// Planned, decided, asked about, settled in the trace that asked, and run with a link to the decision.
fn tools_run_as_decided(agent: &Received, person: &Received) -> anyhow::Result<()> {
    let policies = agent.named("tool-executor", "evaluate_policy");
    let decisions: Vec<_> =
        policies.iter().flat_map(|span| text_of(span, "bulkhead.policy.decision")).collect();
    assert_eq!(decisions.iter().filter(|word| **word == "execute").count(), 1, "{decisions:?}");
    assert_eq!(decisions.iter().filter(|word| **word == "execute_with_approval").count(), 2, "{decisions:?}");
    for span in policies {
        assert_eq!(agent.above(span), Some(("tool-executor", EXECUTE)));
        assert!(!text_of(span, "bulkhead.policy.ids").concat().is_empty(), "{span:#?}");
    }
    let asked = agent.named("approval", CREATE);
    assert_eq!(asked.len(), 2);
    for span in asked {
        assert_eq!(agent.above(span), Some(("tool-executor", CREATE)));
        let (_, client) = agent.by_id(&span.parent_span_id).context("no client")?;
        assert_eq!(agent.above(client), Some(("tool-executor", EXECUTE)));
    }

    let [written] = agent.named("tool-executor", "execute_tool fs.write")[..] else {
        anyhow::bail!("not one write")
    };
    assert_eq!(agent.above(written), Some(("tool-executor", EXECUTE)));
    assert!(written.links.is_empty(), "nobody decided on {written:#?}");
    let votes = person.named("approval", DECIDE);
    assert_eq!(votes.len(), 2);
    let deletes = agent.named("tool-executor", "execute_tool fs.delete");
    assert_eq!(deletes.len(), 2);
    for vote in votes {
        let of_vote = |span: &&&Span| links_to(span, vote);
        let delete = deletes.iter().find(of_vote).context("no delete links to a vote")?;
        let (_, settled) = agent.by_id(&delete.parent_span_id).context("nothing above a delete")?;
        assert_eq!(settled.name, "settle_approval");
        assert!(links_to(settled, vote), "{settled:#?}");
        assert_eq!(agent.above(settled), Some(("tool-executor", EXECUTE)));
    }
    for span in deletes.iter().chain([&written]) {
        assert_eq!(text_of(span, "gen_ai.operation.name"), ["execute_tool"]);
        assert_eq!(text_of(span, "gen_ai.tool.name").concat(), span.name.trim_start_matches("execute_tool "));
        assert_eq!(text_of(span, "gen_ai.tool.call.id").concat().len(), 36);
    }
    let mut ends: Vec<_> = deletes.iter().map(|span| (is_error(span), text_of(span, "error.type"))).collect();
    ends.sort();
    assert_eq!(ends, [(false, vec![]), (true, vec!["STALE"])]);
    Ok(())
}

/// Each event names a span of its service; beneath one of them stands that it was recorded, with a link to the batch,
/// which links to where its events come from.
fn record_is_in_the_trace(story: &Story, agent: &Received, all: &Received) -> anyhow::Result<()> {
    for line in story.lines_of(&story.agent.trace_id)? {
        let (service, source) = agent.by_id(&source_of(&line)).context("a line of no span")?;
        assert_eq!(line["source"]["name"], service);
        let batches = all.named("audit", "append audit");
        assert!(batches.iter().any(|batch| links_to(batch, source)), "no batch links to {source:#?}");
        let sends = all.named(service, "send audit");
        assert!(sends.iter().any(|send| links_to(send, source)), "no delivery links to {source:#?}");
    }
    let recorded = agent.named("audit", "record audit");
    let mut from = BTreeSet::new();
    for span in recorded {
        assert_eq!(span.kind(), SpanKind::Consumer);
        assert_eq!(text_of(span, "messaging.operation.type"), ["process"]);
        from.extend(agent.above(span).map(|(service, _)| service));
        let batches = all.named("audit", "append audit");
        let batch = batches.iter().find(|batch| links_to(span, batch)).context("no batch of a record")?;
        assert!(counted(batch) >= counted(span));
        let (_, call) = all.by_id(&batch.parent_span_id).context("a batch without its call")?;
        assert_eq!(
            (call.name.as_str(), call.kind()),
            ("bulkhead.audit.v1.AuditService/AppendEvents", SpanKind::Server)
        );
        let (sender, sent) = all.by_id(&call.parent_span_id).context("a call that nobody made")?;
        assert_eq!(all.above(sent), Some((sender, "send audit")));
    }
    assert_eq!(from, ["approval", "model-router", "tool-executor"].into(), "who was recorded");
    Ok(())
}

fn logs_name_the_trace(story: &Story) -> anyhow::Result<()> {
    for service in ["model-router", "tool-executor", "approval", "audit"] {
        let log = std::fs::read_to_string(story.sandbox.data().join(format!("logs/{service}.log")))?;
        let of_trace = |line: &&str| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["trace_id"] == story.agent.trace_id.as_str()
        };
        assert!(log.lines().find(of_trace).is_some(), "no line of {service} has the trace id");
    }
    Ok(())
}

fn nothing_secret_left(story: &Story, collector: &Collector) -> anyhow::Result<()> {
    let kept = collector.kept();
    let exported = format!("{:?} {:?}", kept.spans, kept.logs);
    let mut texts = vec![("telemetry".to_owned(), exported)];
    for folder in ["logs", "audit/logs"] {
        for entry in std::fs::read_dir(story.sandbox.data().join(folder))? {
            let path = entry?.path();
            texts.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
    }
    for (place, text) in texts {
        for secret in SECRETS.into_iter().chain(["bhk_"]) {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
    Ok(())
}
