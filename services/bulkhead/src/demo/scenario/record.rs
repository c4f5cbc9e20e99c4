//! What is on record: in the audit log while it runs, and in its files afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bulkhead_audit::verify::{VerifyOptions, verify as verify_log};
use bulkhead_proto::audit::v1::{GetCheckpointRequest, QueryEventsRequest, RecordedEvent};
use jiff::SignedDuration;

use super::Stage;
use crate::demo::clients::timed;
use crate::demo::evidence::Evidence;
use crate::serve::Service;
use crate::up::{Layout, say};

/// How long the outboxes may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at the log.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Where the demo keeps its checkpoint: apart from the log, as an auditor would.
const CHECKPOINT: &str = "kept-checkpoint";

impl Stage<'_> {
    /// Counts what the log has, once the last outcome has arrived, and keeps a checkpoint of it.
    pub(super) async fn read_record(&mut self) -> anyhow::Result<()> {
        let last = self.last_execution_id.clone();
        self.arrived(&last).await?;
        let delete = self.about(&self.delete_execution_id).await?;
        let count = |kind: &str| delete.iter().filter(|recorded| kind_of(recorded) == kind).count();
        self.evidence.delete_intents = count("tool.intent");
        self.evidence.delete_outcomes = count("tool.outcome");

        let repeated = self.about(&self.evidence.replay_first_id.clone()).await?;
        let intents = repeated.iter().filter(|recorded| kind_of(recorded) == "tool.intent");
        self.evidence.replay_intents = intents.count();

        let trace_id = self.evidence.trace_id.clone();
        let traced = self.query(QueryEventsRequest { trace_id, ..QueryEventsRequest::default() }).await?;
        self.evidence.trace_events = traced.len();
        let sources =
            traced.iter().filter_map(|recorded| recorded.source.as_ref()).map(|source| source.name.clone());
        self.evidence.trace_sources =
            sources.collect::<std::collections::BTreeSet<_>>().into_iter().collect();

        let checkpoint =
            self.clients.auditor.clone().get_checkpoint(timed(GetCheckpointRequest {})).await?.into_inner();
        self.evidence.checkpoint_size = checkpoint.tree_size;
        std::fs::write(self.stack.layout().root().join(CHECKPOINT), checkpoint.signed_note)?;
        Ok(())
    }

    /// Waits until the outcome of an execution is in the log; its events left in order, so all before it are.
    async fn arrived(&self, execution_id: &str) -> anyhow::Result<()> {
        let until = Instant::now() + ARRIVAL_TIMEOUT;
        loop {
            let events = self.about(execution_id).await?;
            if events.iter().any(|recorded| kind_of(recorded) == "tool.outcome") {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < until,
                "the outcome of {execution_id} never reached the audit log"
            );
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn about(&self, subject_id: &str) -> anyhow::Result<Vec<RecordedEvent>> {
        if subject_id.is_empty() {
            return Ok(Vec::new());
        }
        self.query(QueryEventsRequest { subject_id: subject_id.to_owned(), ..QueryEventsRequest::default() })
            .await
    }

    async fn query(&self, filter: QueryEventsRequest) -> anyhow::Result<Vec<RecordedEvent>> {
        let mut auditor = self.clients.auditor.clone();
        let (mut events, mut request) = (Vec::new(), filter);
        loop {
            let page = auditor.query_events(timed(request.clone())).await?.into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return Ok(events);
            }
            request.page_token = page.next_page_token;
        }
    }
}

fn kind_of(recorded: &RecordedEvent) -> &str {
    recorded.event.as_ref().map_or("", |event| event.kind.as_str())
}

/// Verifies the files, with no service running, against the checkpoint that was kept.
pub(super) fn verify(data: &Path, evidence: &mut Evidence) -> anyhow::Result<()> {
    let layout = Layout::new(std::path::absolute(data)?);
    let checkpoint = layout.root().join(CHECKPOINT);
    anyhow::ensure!(checkpoint.exists(), "no checkpoint was kept");
    let options = VerifyOptions {
        checkpoint: Some(checkpoint),
        key: Some(layout.log_key().with_extension("pub")),
        // Every service has stopped and delivered: nothing may be open any more.
        open_for: SignedDuration::ZERO,
    };
    let report = verify_log(&layout.data(Service::Audit), &options).context("the log cannot be read")?;
    evidence.log_lines = report.tree_size;
    evidence.log_findings = report.findings.len();
    for finding in &report.findings {
        say(&format!("  log: {}", finding.message));
    }
    Ok(())
}
