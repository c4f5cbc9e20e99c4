//! Connections to the services, as the people and the agent that the first start made.

use std::time::{Duration, Instant};

use bulkhead_edge::peer::{Credentials, Peer, PeerError, dial_with};
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::client::failure::code_name;
use crate::serve::Service;
use crate::up::Stack;

/// Time for any one call. Long enough for a simulated 429 and a restart.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a service may be away before the demo gives up on it.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to reach a service that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(100);

/// Every connection that the demo needs.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// The model-router, as the agent.
    pub(super) router: ModelRouterServiceClient<Peer>,
    /// The tool-executor, as the agent.
    pub(super) executor: ToolExecutorServiceClient<Peer>,
    /// Approval, as the person who may approve.
    pub(super) approver: ApprovalServiceClient<Peer>,
    /// Approval, as the person the agent belongs to.
    pub(super) owner: ApprovalServiceClient<Peer>,
    /// Audit, as the auditor.
    pub(super) auditor: AuditServiceClient<Peer>,
}

impl Clients {
    pub(super) fn connect(stack: &Stack) -> Result<Self, PeerError> {
        let peer = |service, role: &str| {
            let credentials = Credentials::load(&stack.layout().token(role))?;
            dial_with(&format!("http://{}", stack.address(service)), credentials)
        };
        Ok(Self {
            router: ModelRouterServiceClient::new(peer(Service::ModelRouter, "agent")?),
            executor: ToolExecutorServiceClient::new(peer(Service::ToolExecutor, "agent")?),
            approver: ApprovalServiceClient::new(peer(Service::Approval, "approver")?),
            owner: ApprovalServiceClient::new(peer(Service::Approval, "operator")?),
            auditor: AuditServiceClient::new(peer(Service::Audit, "auditor")?),
        })
    }
}

/// A request with the demo's time limit.
pub(super) fn timed<T>(message: T) -> Request<T> {
    bulkhead_edge::peer::within(message, CALL_TIMEOUT)
}

/// Code and reason of an answer, as `UNAVAILABLE STORE_UNAVAILABLE`.
pub(super) fn answer<T>(result: &Result<Response<T>, Status>) -> String {
    let Err(status) = result else { return "OK".to_owned() };
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    format!("{} {reason}", code_name(status.code())).trim_end().to_owned()
}

/// Calls again while the service is away. Only for calls that are safe to repeat: reads, and writes with a
/// request id.
pub(super) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let until = Instant::now() + AWAY_MAX;
    loop {
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if status.code() == Code::Unavailable && Instant::now() < until => {
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            Err(status) => return Err(status),
        }
    }
}
