//! Spans of what the engine decides and does. GenAI attributes where the conventions have them; names of tools and
//! policies, ids and words, never arguments.

use tracing::Span;
use tracing::field::{self, Empty};

use crate::execution::Execution;
use crate::permit::Permit;
use crate::policy::Verdict;
use crate::tool::ToolFaultKind;

/// The policy is asked about a plan.
pub(super) fn policy(execution: &Execution) -> Span {
    tracing::info_span!(
        "evaluate_policy",
        otel.status_code = Empty,
        gen_ai.tool.name = %execution.tool,
        gen_ai.tool.call.id = %execution.id,
        bulkhead.policy.decision = Empty,
        bulkhead.policy.ids = Empty,
        error.type = Empty,
    )
}

/// What it said. What could not be evaluated denies, and is an error.
pub(super) fn decided(span: &Span, verdict: &Verdict) {
    span.record("bulkhead.policy.decision", verdict.decision().as_str());
    span.record("bulkhead.policy.ids", verdict.policy_ids().join(","));
    if !verdict.problems().is_empty() {
        failed(span, "POLICY_NOT_EVALUATED");
    }
}

/// A grant is turned into a permit, or is not.
pub(super) fn redeeming(execution: &Execution) -> Span {
    tracing::info_span!(
        "redeem_approval",
        otel.status_code = Empty,
        gen_ai.tool.name = %execution.tool,
        gen_ai.tool.call.id = %execution.id,
        error.type = Empty,
    )
}

/// A tool acts. What people decided in a trace of their own is a link.
pub(super) fn tool(execution: &Execution, permit: &Permit) -> Span {
    let span = tracing::info_span!(
        "execute_tool",
        otel.name = %format!("execute_tool {}", execution.tool),
        otel.status_code = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = %execution.tool,
        gen_ai.tool.call.id = %execution.id,
        gen_ai.tool.type = "function",
        bulkhead.undo_of = execution.undo_of.map(field::display),
        error.type = Empty,
    );
    bulkhead_telemetry::link_traceparent(&span, permit.decision_traceparent());
    span
}

/// The tool did not do it.
pub(super) fn faulted(span: &Span, kind: ToolFaultKind) {
    failed(span, kind.as_str());
}

/// It ended as an error of this type.
pub(super) fn failed(span: &Span, error_type: &'static str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}
