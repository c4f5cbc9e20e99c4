//! Our own types as the contract's messages.

use bulkhead_edge::{Violations, wire};
use bulkhead_proto::tools::v1 as pb;
use serde_json::json;

use crate::engine::{Preview, may_show_plan};
use crate::execution::{CallResult, Execution, Happened, Prepared, State};
use crate::policy::{Approver, Decision};
use crate::tool::{Effect, Output, Reversibility, SensitivityLabel, ToolFault};
use crate::toolbox::Entry;

/// See Tool.
pub(super) fn tool(entry: &Entry) -> pb::Tool {
    let spec = entry.spec();
    pb::Tool {
        name: spec.name.to_owned(),
        description: spec.description.to_owned(),
        input_schema_json: spec.input_schema.to_string(),
        schema_digest: entry.schema_digest.clone(),
        reversibility: reversibility(spec.reversibility).into(),
        returns_untrusted: spec.returns_untrusted,
        ..pb::Tool::default()
    }
}

/// See Execution.
pub(crate) fn execution(execution: &Execution) -> pb::Execution {
    pb::Execution {
        execution_id: execution.id.to_string(),
        state: state(execution.state).into(),
        tool: execution.tool.clone(),
        principal: Some(execution.principal().into()),
        context: Some((&execution.context).into()),
        plan: execution.prepared.as_ref().map(plan),
        result: execution.result.as_ref().map(|found| result(found, execution.state.happened())),
        approval_id: execution.approval_id.clone().unwrap_or_default(),
        undo_of_execution_id: execution.undo_of.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(wire::timestamp(execution.create_time)),
        update_time: Some(wire::timestamp(execution.update_time)),
        revision: execution.revision,
        trace_id: execution.trace.trace_id.clone(),
        ..pb::Execution::default()
    }
}

/// A dry run's answer: no id, no state, the plan or why there is none.
pub(crate) fn previewed(preview: &Preview) -> pb::Execution {
    let mut answer = execution(&preview.execution);
    answer.execution_id.clear();
    answer.state = pb::ExecutionState::Unspecified.into();
    if let Some(context) = &mut answer.context {
        context.dry_run = true;
    }
    if let Some(fault) = &preview.fault {
        answer.plan = None;
        answer.result = Some(failed(fault, Happened::No));
    }
    answer
}

/// See PlanToolCallResponse.
pub(crate) fn plan_answer(preview: &Preview) -> pb::PlanToolCallResponse {
    match &preview.fault {
        Some(fault) => pb::PlanToolCallResponse { plan: None, error: Some(error(fault, Happened::No)) },
        None => pb::PlanToolCallResponse { plan: preview.execution.prepared.as_ref().map(plan), error: None },
    }
}

/// What the policy does not even let the caller plan is not shown: a diff would be a read.
fn plan(prepared: &Prepared) -> pb::Plan {
    let shown = may_show_plan(&prepared.decision);
    let (decision, requirements) = decision(&prepared.decision);
    pb::Plan {
        plan_json: if shown { prepared.plan.json().to_owned() } else { String::new() },
        plan_digest: prepared.plan.digest().to_owned(),
        effects: if shown { prepared.planned.effects.iter().map(effect).collect() } else { Vec::new() },
        reversibility: reversibility(prepared.planned.reversibility).into(),
        policy_decision: decision.into(),
        requirements,
        policy_ids: prepared.policy_ids.clone(),
        sensitivity: if shown { labels(&prepared.planned.sensitivity) } else { Vec::new() },
    }
}

fn labels(labels: &[SensitivityLabel]) -> Vec<i32> {
    labels.iter().map(|label| bulkhead_proto::common::v1::Sensitivity::from(*label).into()).collect()
}

fn decision(decision: &Decision) -> (pb::PolicyDecision, Vec<pb::ApproverRequirement>) {
    let requirement =
        |approver: &Approver| pb::ApproverRequirement { role: approver.role.clone(), count: approver.count };
    match decision {
        Decision::Execute => (pb::PolicyDecision::Execute, Vec::new()),
        Decision::ExecuteWithApproval(approvers) => {
            (pb::PolicyDecision::ExecuteWithApproval, approvers.iter().map(requirement).collect())
        }
        Decision::DryRunOnly => (pb::PolicyDecision::DryRunOnly, Vec::new()),
        Decision::Deny => (pb::PolicyDecision::Deny, Vec::new()),
    }
}

fn effect(effect: &Effect) -> pb::Effect {
    // The one spelling of the kind is the one in the plan's text.
    let kind = json!(effect.kind).as_str().unwrap_or_default().to_owned();
    pb::Effect {
        kind,
        target: effect.target.clone(),
        destination: effect.destination.clone().unwrap_or_default(),
        preview: effect.preview.clone(),
        before_sha256: effect.before_sha256.clone().unwrap_or_default(),
        after_sha256: effect.after_sha256.clone().unwrap_or_default(),
        ..pb::Effect::default()
    }
}

fn result(result: &CallResult, happened: Happened) -> pb::ToolResult {
    match result {
        CallResult::Done(output) => done(output),
        CallResult::Fault(fault) => failed(fault, happened),
    }
}

fn done(output: &Output) -> pb::ToolResult {
    pb::ToolResult {
        content: output.content.clone(),
        structured_json: output.structured.to_string(),
        error: None,
        sensitivity: labels(&output.sensitivity),
        untrusted: output.untrusted,
        ..pb::ToolResult::default()
    }
}

/// The message stands in `content` as well, for agents that pass on nothing else.
fn failed(fault: &ToolFault, happened: Happened) -> pb::ToolResult {
    pb::ToolResult {
        content: fault.message.clone(),
        structured_json: json!({ "error": { "kind": fault.kind, "message": fault.message } }).to_string(),
        error: Some(error(fault, happened)),
        sensitivity: Vec::new(),
        untrusted: false,
        ..pb::ToolResult::default()
    }
}

fn error(fault: &ToolFault, happened: Happened) -> pb::ToolError {
    let happened = match happened {
        Happened::No => pb::Happened::No,
        Happened::Yes => pb::Happened::Yes,
        Happened::Unknown => pb::Happened::Unknown,
    };
    pb::ToolError {
        kind: json!(fault.kind).as_str().unwrap_or_default().to_owned(),
        message: fault.message.clone(),
        retryable: fault.kind.retryable(),
        retry_after: fault.retry_after.map(wire::duration),
        happened: happened.into(),
    }
}

fn reversibility(reversibility: Reversibility) -> pb::Reversibility {
    match reversibility {
        Reversibility::ReadOnly => pb::Reversibility::ReadOnly,
        Reversibility::Reversible => pb::Reversibility::Reversible,
        Reversibility::Irreversible => pb::Reversibility::Irreversible,
    }
}

fn state(state: State) -> pb::ExecutionState {
    match state {
        State::Planned => pb::ExecutionState::Planned,
        State::AwaitingApproval => pb::ExecutionState::AwaitingApproval,
        State::Running => pb::ExecutionState::Running,
        State::Succeeded => pb::ExecutionState::Succeeded,
        State::Failed => pb::ExecutionState::Failed,
        State::Unknown => pb::ExecutionState::Unknown,
        State::Refused => pb::ExecutionState::Refused,
        State::Denied => pb::ExecutionState::Denied,
        State::Expired => pb::ExecutionState::Expired,
        State::Stale => pb::ExecutionState::Stale,
        State::Cancelled => pb::ExecutionState::Cancelled,
        State::Undone => pb::ExecutionState::Undone,
    }
}

/// The state to filter by; a number that is none is a violation, never "all".
pub(super) fn read_state(sent: i32, violations: &mut Violations) -> Option<State> {
    match pb::ExecutionState::try_from(sent) {
        Ok(pb::ExecutionState::Unspecified) => None,
        Ok(pb::ExecutionState::Planned) => Some(State::Planned),
        Ok(pb::ExecutionState::AwaitingApproval) => Some(State::AwaitingApproval),
        Ok(pb::ExecutionState::Running) => Some(State::Running),
        Ok(pb::ExecutionState::Succeeded) => Some(State::Succeeded),
        Ok(pb::ExecutionState::Failed) => Some(State::Failed),
        Ok(pb::ExecutionState::Unknown) => Some(State::Unknown),
        Ok(pb::ExecutionState::Refused) => Some(State::Refused),
        Ok(pb::ExecutionState::Denied) => Some(State::Denied),
        Ok(pb::ExecutionState::Expired) => Some(State::Expired),
        Ok(pb::ExecutionState::Stale) => Some(State::Stale),
        Ok(pb::ExecutionState::Cancelled) => Some(State::Cancelled),
        Ok(pb::ExecutionState::Undone) => Some(State::Undone),
        Err(_unknown) => {
            violations.add("state", "must be a known state, or UNSPECIFIED for all");
            None
        }
    }
}
