//! One execution, in full.

use bulkhead_proto::tools::v1::{Execution, ToolError, ToolResult};
use jiff::Timestamp;

use super::state;
use crate::client::table::fields;
use crate::client::{plan, text, time, word};

/// The call, its complete plan and what came of it.
pub(crate) fn render(execution: &Execution, now: Timestamp) -> String {
    let mut text = heading(execution, now);
    if let Some(planned) = &execution.plan {
        text += &format!("plan       sha256 {}\n\n", text::harmless(&planned.plan_digest));
        text += &plan::render(&planned.plan_json);
    }
    text + &execution.result.as_ref().map_or_else(String::new, outcome)
}

/// The call and what came of it, for somebody who just made it.
pub(crate) fn render_outcome(execution: &Execution, now: Timestamp) -> String {
    let mut text = heading(execution, now);
    // Of a dry run the plan is all that there is.
    if execution.execution_id.is_empty()
        && let Some(planned) = &execution.plan
    {
        text += &plan::render(&planned.plan_json);
    }
    text + &execution.result.as_ref().map_or_else(String::new, outcome)
}

fn heading(execution: &Execution, now: Timestamp) -> String {
    let updated = match execution.update_time {
        Some(_) => time::full(execution.update_time.as_ref(), now),
        None => String::new(),
    };
    let created = match execution.create_time {
        Some(_) => time::full(execution.create_time.as_ref(), now),
        None => String::new(),
    };
    fields(&[
        ("execution", execution.execution_id.clone()),
        ("state", state(execution)),
        ("tool", execution.tool.clone()),
        ("by", execution.principal.as_ref().map_or_else(String::new, |who| who.name.clone())),
        ("session", execution.context.as_ref().map_or_else(String::new, |of| of.session_id.clone())),
        ("approval", execution.approval_id.clone()),
        ("undo of", execution.undo_of_execution_id.clone()),
        ("began", created),
        ("changed", updated),
        ("trace", execution.trace_id.clone()),
    ])
}

/// What the agent reads.
pub(crate) fn outcome(result: &ToolResult) -> String {
    if let Some(error) = &result.error {
        return failure(error);
    }
    let labels: Vec<_> =
        result.sensitivity().map(|label| word(label.as_str_name(), "SENSITIVITY_")).collect();
    let mut heading = String::from("Result");
    if result.untrusted {
        heading += " (from outside; may try to give orders)";
    }
    if !labels.is_empty() {
        heading += &format!(" (holds: {})", labels.join(", "));
    }
    format!("\n{heading}\n{}", text::block(&result.content, "  "))
}

/// A tool's error, with what follows from it.
pub(crate) fn failure(error: &ToolError) -> String {
    let happened = word(error.happened().as_str_name(), "HAPPENED_");
    let mut text = format!("\nFailed: {} (happened: {happened})\n", text::harmless(&error.kind));
    text += &text::block(&error.message, "  ");
    if error.retryable {
        let wait = time::span(error.retry_after.as_ref());
        let after = if wait.is_empty() { String::new() } else { format!(" after {wait}") };
        text += &format!("  The same call may work later{after}.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use bulkhead_proto::common::v1::Sensitivity;
    use bulkhead_proto::tools::v1::{ExecutionState, Happened};

    use super::*;

    fn shown(execution: &Execution) -> String {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        anstream::adapter::strip_str(&render(execution, now)).to_string()
    }

    #[test]
    fn a_result_is_shown_with_its_origin_and_labels() {
        let result = ToolResult {
            content: "line\u{1b}[2J\n".into(),
            untrusted: true,
            sensitivity: vec![Sensitivity::Credentials.into()],
            ..ToolResult::default()
        };
        let execution = Execution {
            execution_id: "01a2".into(),
            state: ExecutionState::Succeeded.into(),
            tool: "fs.read".into(),
            result: Some(result),
            ..Execution::default()
        };
        let expected = "\
execution  01a2
state      succeeded
tool       fs.read

Result (from outside; may try to give orders) (holds: credentials)
  line<U+001B>[2J
";
        assert_eq!(shown(&execution), expected);
    }

    #[test]
    fn a_failure_says_whether_it_happened_and_whether_to_try_again() {
        let error = ToolError {
            kind: "IO_ERROR".into(),
            message: "The disk is full.".into(),
            retryable: true,
            retry_after: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
            happened: Happened::No.into(),
        };
        let expected = "
Failed: IO_ERROR (happened: no)
  The disk is full.
  The same call may work later after 2.0 s.
";
        assert_eq!(failure(&error), expected);
    }
}
