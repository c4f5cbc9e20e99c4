//! Callers that call as fast as they are answered.

use std::time::{Duration, Instant};

use bulkhead_proto::audit::v1::QueryEventsRequest;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use tokio::task::JoinSet;
use tonic::Request;

use crate::child::Child;

/// Callers that share a connection, as those of one program do.
const CALLERS_PER_CONNECTION: usize = 16;

type Credential = tonic::metadata::MetadataValue<tonic::metadata::Ascii>;

/// What one round saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Half of the calls were answered within it.
    pub(crate) p50: Duration,
    /// And 99 in 100 within this.
    pub(crate) p99: Duration,
    /// Calls answered in a second.
    pub(crate) per_second: f64,
    /// Processor time of the server for a call.
    pub(crate) cpu: Duration,
}

/// Lets `callers` call for a while, with a bearer token.
pub(crate) async fn measure(
    child: &Child,
    token: &str,
    callers: usize,
    during: Duration,
) -> anyhow::Result<Round> {
    let credential: Credential = format!("Bearer {token}").parse()?;
    let mut connections = Vec::new();
    for _ in 0..callers.div_ceil(CALLERS_PER_CONNECTION) {
        connections.push(child.connect().await?);
    }
    let (before, started) = (child.cpu()?, Instant::now());
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let channel = connections[caller % connections.len()].clone();
        running.spawn(call_until(AuditServiceClient::new(channel), credential.clone(), started + during));
    }
    let mut latencies = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies.extend(done??);
    }
    let elapsed = started.elapsed();
    let cpu = child.cpu()?.saturating_sub(before);
    latencies.sort_unstable();
    let calls = latencies.len();
    anyhow::ensure!(calls > 0, "no call was answered");
    Ok(Round {
        p50: latencies[calls / 2],
        p99: latencies[calls * 99 / 100],
        per_second: f64::from(u32::try_from(calls)?) / elapsed.as_secs_f64(),
        cpu: cpu / u32::try_from(calls)?,
    })
}

async fn call_until(
    mut client: AuditServiceClient<tonic::transport::Channel>,
    credential: Credential,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let mut request = Request::new(QueryEventsRequest::default());
        request.metadata_mut().insert("authorization", credential.clone());
        let asked = Instant::now();
        client.query_events(request).await?;
        latencies.push(asked.elapsed());
    }
    Ok(latencies)
}
