//! `bulkhead tools plan`: what a call would do.

use std::process::ExitCode;

use bulkhead_proto::tools::v1::{Plan, PlanToolCallRequest, PlanToolCallResponse, PolicyDecision, ToolCall};
use clap::Args;

use super::ContextArguments;
use super::input::InputArguments;
use crate::client::executions::connect;
use crate::client::table::fields;
use crate::client::{ClientArguments, Exit, plan, run};

/// Arguments of `bulkhead tools plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    input: InputArguments,
    #[command(flatten)]
    context: ContextArguments,
    #[command(flatten)]
    client: ClientArguments,
}

impl PlanArguments {
    pub(super) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let mut executor = connect(client, "agent")?;
            let (tool, arguments_json) = self.input.read()?;
            let request = client.timed(PlanToolCallRequest {
                call: Some(ToolCall { tool, arguments_json }),
                context: Some(self.context.wire(true)),
            });
            let answer = client.read("plan the call", executor.plan_tool_call(request)).await?;
            client.show(&answer, || render(&answer))?;
            Ok(if answer.error.is_some() { Exit::Failed } else { Exit::Done })
        })
    }
}

fn render(answer: &PlanToolCallResponse) -> String {
    match (&answer.plan, &answer.error) {
        (_, Some(error)) => crate::client::executions::failure(error),
        (Some(planned), None) => summary(planned) + "\n" + &plan::render(&planned.plan_json),
        (None, None) => "The service answered with neither a plan nor an error.".to_owned(),
    }
}

fn summary(planned: &Plan) -> String {
    let needs: Vec<_> =
        planned.requirements.iter().map(|need| format!("{} × {}", need.count, need.role)).collect();
    let decision = match planned.policy_decision() {
        PolicyDecision::Unspecified => "not decided".to_owned(),
        PolicyDecision::Execute => "it may run".to_owned(),
        PolicyDecision::ExecuteWithApproval => format!("needs approval by {}", needs.join(", ")),
        PolicyDecision::DryRunOnly => "it may be planned and not run".to_owned(),
        PolicyDecision::Deny => "forbidden".to_owned(),
    };
    fields(&[
        ("policy", decision),
        ("because of", planned.policy_ids.join(", ")),
        ("plan", format!("sha256 {}", planned.plan_digest)),
    ])
}
