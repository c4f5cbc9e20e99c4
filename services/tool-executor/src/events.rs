//! What the audit log is told (docs/audit-events.md). Paths, sizes and hashes, never content.

use std::time::Duration;

use bulkhead_outbox::EventDraft;
use bulkhead_proto::common::v1 as common;
use serde_json::{Map, Value, json};

use crate::execution::{CallResult, Execution, State};
use crate::permit::Permit;
use crate::tool::{Planned, SensitivityLabel, ToolFault};
use crate::toolbox::Toolbox;

/// Writes events about executions.
#[derive(Debug, Clone)]
pub struct Events {
    toolbox: Toolbox,
}

impl Events {
    /// With the tools that know how to summarise their arguments.
    #[must_use]
    pub fn new(toolbox: Toolbox) -> Self {
        Self { toolbox }
    }

    /// A person has been asked.
    #[must_use]
    pub fn requested(&self, execution: &Execution) -> EventDraft {
        let mut attributes = self.planned(execution);
        attributes.insert("approval_id".into(), json!(execution.approval_id));
        let policy_ids = execution.prepared.as_ref().map(|prepared| &prepared.policy_ids);
        attributes.insert("policy_ids".into(), json!(policy_ids));
        draft("tool.requested", execution, attributes)
    }

    /// The effect is about to happen.
    #[must_use]
    pub fn intent(&self, execution: &Execution, permit: &Permit) -> EventDraft {
        let mut attributes = self.planned(execution);
        let reversibility = execution.prepared.as_ref().map(|prepared| prepared.planned.reversibility);
        attributes.insert("reversibility".into(), json!(reversibility));
        attributes.insert("policy_ids".into(), json!(permit.policy_ids()));
        if let Some(approval_id) = &execution.approval_id {
            attributes.insert("approval_id".into(), json!(approval_id));
        }
        if let Some(original) = execution.undo_of {
            attributes.insert("undo_of".into(), json!(original));
        }
        draft("tool.intent", execution, attributes)
    }

    /// The effect is over, or will never be.
    #[must_use]
    pub fn outcome(&self, execution: &Execution, took: Option<Duration>) -> EventDraft {
        let mut attributes = ended(execution, took);
        attributes.insert("happened".into(), json!(execution.state.happened()));
        if let Some(original) = execution.undo_of {
            attributes.insert("undo_of".into(), json!(original));
        }
        draft("tool.outcome", execution, attributes).outcome(outcome(execution.state))
    }

    /// A read-only call is over.
    #[must_use]
    pub fn read(&self, execution: &Execution, took: Duration) -> EventDraft {
        let mut attributes = ended(execution, Some(took));
        attributes.append(&mut self.planned(execution));
        let outcome = if execution.state == State::Succeeded { "succeeded" } else { "failed" };
        draft("tool.read", execution, attributes).outcome(outcome)
    }

    /// A call was only planned. The execution was never recorded, so nothing has its id.
    #[must_use]
    pub fn dry_run(&self, execution: &Execution, fault: Option<&ToolFault>) -> EventDraft {
        let mut attributes = self.planned(execution);
        let decision = execution.prepared.as_ref().map(|prepared| prepared.decision.as_str());
        attributes.insert("policy_decision".into(), json!(decision));
        attributes.insert("error_kind".into(), json!(fault.map(|fault| fault.kind)));
        let outcome = if fault.is_none() { "planned" } else { "failed" };
        draft("tool.dry_run", execution, attributes).outcome(outcome)
    }

    fn planned(&self, execution: &Execution) -> Map<String, Value> {
        let arguments = match self.toolbox.find(&execution.tool) {
            Ok(entry) if execution.arguments.is_object() => entry.tool.summarise(&execution.arguments),
            Ok(_) | Err(_) => Value::Null,
        };
        let mut attributes = Map::new();
        attributes.insert("plan_digest".into(), json!(execution.plan_digest()));
        attributes.insert("arguments".into(), arguments);
        let planned = execution.prepared.as_ref().map(|prepared| effects(&prepared.planned));
        attributes.insert("effects".into(), json!(planned.unwrap_or_default()));
        attributes
    }
}

fn draft(kind: &str, execution: &Execution, attributes: Map<String, Value>) -> EventDraft {
    EventDraft::new(kind, execution.update_time, execution.principal())
        .context(&common::RunContext::from(&execution.context))
        .tool(&execution.tool)
        .subject(execution.id)
        .request(&execution.call_id)
        .attributes(Value::Object(attributes))
}

fn effects(planned: &Planned) -> Vec<Value> {
    let told = planned.effects.iter().map(|effect| {
        let mut told = json!({
            "kind": effect.kind,
            "target": effect.target,
            "before_sha256": effect.before_sha256,
            "after_sha256": effect.after_sha256,
        });
        if let Some(destination) = &effect.destination {
            told["destination"] = json!(destination);
        }
        told
    });
    told.collect()
}

fn ended(execution: &Execution, took: Option<Duration>) -> Map<String, Value> {
    let mut attributes = Map::new();
    attributes.insert("plan_digest".into(), json!(execution.plan_digest()));
    attributes.insert("duration_ms".into(), json!(took.map(millis)));
    let no_labels: &[SensitivityLabel] = &[];
    match &execution.result {
        Some(CallResult::Fault(fault)) => {
            attributes.insert("error_kind".into(), json!(fault.kind));
            attributes.insert("message".into(), json!(fault.message));
            attributes.insert("sensitivity".into(), json!(no_labels));
        }
        Some(CallResult::Done(output)) => {
            attributes.insert("sensitivity".into(), json!(output.sensitivity));
        }
        None => {}
    }
    attributes
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(state: State) -> &'static str {
    match state {
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Stale => "stale",
        State::Denied => "denied",
        State::Expired => "expired",
        State::Refused => "refused",
        State::Cancelled => "cancelled",
        State::Undone => "undone",
        State::Unknown | State::Planned | State::AwaitingApproval | State::Running => "unknown",
    }
}
