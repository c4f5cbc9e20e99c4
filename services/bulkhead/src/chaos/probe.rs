//! Asks a Bulkhead for what its users want, once, and takes down what it answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_edge::peer::{Peer, within};
use bulkhead_proto::approval::v1::ListApprovalsRequest;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{ExecuteToolCallRequest, ToolCall};
use serde::Serialize;
use serde_json::{Value, json};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::fault::Injection;
use super::flood::{Expectation, Want, expected};
use super::house::{FRAGILE, FRAGILE_FILE};
use super::timeline::Timeline;
use super::voice::{ending, greeting, is_stated, named};

/// From a fault to the first look: what is under way when it begins may still end as if it had not.
const SETTLE: Duration = Duration::from_millis(300);
/// Time for an answer where everything is to go on.
const GOES_ON_TIMEOUT: Duration = Duration::from_secs(8);
/// The same while a fault is in force: shorter than what is left of the shortest fault after [`SETTLE`], since what has
/// waited for its end did not go on.
const MEANWHILE_TIMEOUT: Duration = Duration::from_millis(2_150);
/// Time for an answer where nothing can be done. Longer than the executor's own waits.
const STOPS_TIMEOUT: Duration = Duration::from_millis(1_800);

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Look {
    /// What was in force.
    pub(super) fault: String,
    /// What was wanted.
    pub(super) want: Want,
    /// What was to come of it, for a person.
    pub(super) expected: String,
    /// What came of it.
    pub(super) answer: String,
    /// Whether that is as it should be.
    pub(super) holds: bool,
}

/// Whoever looks.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    /// The tool-executor.
    pub(super) executor: ToolExecutorServiceClient<Peer>,
    /// The model-router.
    pub(super) router: ModelRouterServiceClient<Peer>,
    /// The approval service.
    pub(super) desk: ApprovalServiceClient<Peer>,
    /// The folder of the files.
    pub(super) workspace: PathBuf,
    /// Names for files, each once.
    pub(super) names: Arc<AtomicU32>,
}

/// What was answered, and whether a refusal said when to come again.
struct Answer {
    text: String,
    says_when: bool,
}

impl Prober {
    /// Looks at everything while a fault is in force. What came too late to be told apart from the time after is left
    /// out.
    pub(super) async fn look(&self, injection: &Injection, timeline: &Timeline) -> anyhow::Result<Vec<Look>> {
        tokio::time::sleep(SETTLE).await;
        let mut looks = Vec::new();
        let wants = Want::ALL.map(|want| self.look_for(want, injection, timeline));
        for look in futures::future::join_all(wants).await {
            looks.extend(look?);
        }
        Ok(looks)
    }

    async fn look_for(
        &self,
        want: Want,
        injection: &Injection,
        timeline: &Timeline,
    ) -> anyhow::Result<Option<Look>> {
        let Some(expectation) = expected(injection.fault, want) else { return Ok(None) };
        let time = if expectation == Expectation::GoesOn { MEANWHILE_TIMEOUT } else { STOPS_TIMEOUT };
        let answer = self.ask(want, time).await?;
        let over = timeline.now() >= injection.at + injection.lasting;
        let (holds, wanted) = match expectation {
            Expectation::GoesOn => (answer.text == want.answer(), want.answer().to_owned()),
            Expectation::Stops(_) | Expectation::Either if over => return Ok(None),
            Expectation::Stops(answers) => {
                (answers.contains(&answer.text.as_str()) && answer.says_when, answers.join(" or "))
            }
            Expectation::Either => (
                answer.text == want.answer() || says_why(&answer),
                format!("{} or a stated error", want.answer()),
            ),
        };
        let said = if answer.says_when { answer.text } else { format!("{} without RetryInfo", answer.text) };
        Ok(Some(Look { fault: injection.fault.to_string(), want, expected: wanted, answer: said, holds }))
    }

    /// Whether everything goes on.
    pub(super) async fn all_is_well(&self) -> anyhow::Result<bool> {
        let answers = Want::ALL.map(|want| async move {
            anyhow::Ok(self.ask(want, GOES_ON_TIMEOUT).await?.text == want.answer())
        });
        let answers = futures::future::join_all(answers).await;
        answers.into_iter().try_fold(true, |well, answer| Ok(well && answer?))
    }

    async fn ask(&self, want: Want, time: Duration) -> anyhow::Result<Answer> {
        Ok(match want {
            Want::Reversible => {
                let path = format!("probes/p{}.txt", self.next());
                self.call("fs.write", json!({ "root": "workspace", "path": path, "content": "seen\n" }), time)
                    .await
            }
            Want::Irreversible => {
                let content = format!("probe {}\n", self.next());
                self.call(
                    "fs.append",
                    json!({ "root": FRAGILE, "path": FRAGILE_FILE, "content": content }),
                    time,
                )
                .await
            }
            Want::Gated => {
                let path = format!("probes/p{}-deny.txt", self.next());
                let laid = tokio::fs::write(self.workspace.join(&path), "to stay\n").await;
                laid.with_context(|| format!("cannot lay out {path}"))?;
                self.call("fs.delete", json!({ "root": "workspace", "path": path }), time).await
            }
            Want::Model => {
                answer(self.router.clone().generate(within(greeting(), time)).await, |_| "OK".to_owned())
            }
            Want::People => {
                let request: Request<ListApprovalsRequest> = within(ListApprovalsRequest::default(), time);
                answer(self.desk.clone().list_approvals(request).await, |_| "OK".to_owned())
            }
        })
    }

    async fn call(&self, tool: &str, input: Value, time: Duration) -> Answer {
        let request = ExecuteToolCallRequest {
            request_id: Uuid::now_v7().to_string(),
            call: Some(ToolCall { tool: tool.to_owned(), arguments_json: input.to_string() }),
            context: Some(RunContext { session_id: "chaos-probes".to_owned(), ..RunContext::default() }),
            ..ExecuteToolCallRequest::default()
        };
        let response = self.executor.clone().execute_tool_call(within(request, time)).await;
        answer(response, |response| ending(&response.execution.unwrap_or_default()))
    }

    fn next(&self) -> u32 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }
}

/// Whether it is a refusal, or an effect whose outcome cannot be written down yet, that the contract knows.
fn says_why(answer: &Answer) -> bool {
    let tool_says =
        ["RUNNING", "FAILED AUDIT_UNAVAILABLE", "FAILED IO_ERROR"].contains(&answer.text.as_str());
    tool_says || is_stated(&answer.text) && answer.says_when
}

fn answer<T>(response: Result<tonic::Response<T>, Status>, read: impl FnOnce(T) -> String) -> Answer {
    match response {
        Ok(response) => Answer { text: read(response.into_inner()), says_when: true },
        Err(status) => {
            // Only a refusal for now has to say when; a deadline that passed is the caller's own.
            let owes = status.code() == tonic::Code::Unavailable;
            let says_when = !owes || status.get_details_retry_info().is_some();
            Answer { text: named(&status), says_when }
        }
    }
}
