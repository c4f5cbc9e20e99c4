//! `bulkhead audit query`: what was recorded. `verify`, which needs no service, is beside it.

use std::process::ExitCode;

use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::{QueryEventsRequest, QueryEventsResponse, RecordedEvent};
use clap::Args;
use jiff::Timestamp;

use super::table::Table;
use super::time::Moment;
use super::{Client, ClientArguments, ClientError, Exit, Limit, run, time};
use crate::serve::Service;

/// Arguments of `bulkhead audit query`. Every filter that is given must match. Of what does, the newest `--limit`
/// events are shown, oldest first.
#[derive(Debug, Args)]
pub(crate) struct QueryArguments {
    /// Events since then: 1h (ago), 2026-11-22, or 2026-11-22T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Events before then.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// Exact kind (`tool.intent`), or all that begin so when it ends in a dot (`tool.`).
    #[arg(long, default_value = "")]
    kind: String,
    /// Name of who acted.
    #[arg(long, value_name = "NAME", default_value = "")]
    principal: String,
    /// Exact session.
    #[arg(long, value_name = "ID", default_value = "")]
    session: String,
    /// Exact tool.
    #[arg(long, default_value = "")]
    tool: String,
    /// Exact outcome, such as denied.
    #[arg(long, default_value = "")]
    outcome: String,
    /// Exact trace.
    #[arg(long, value_name = "ID", default_value = "")]
    trace: String,
    /// An execution, an approval or a model call.
    #[arg(long, value_name = "ID", default_value = "")]
    subject: String,
    /// Show the first events that match instead of the newest.
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

impl QueryArguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        let arguments = self.client.clone();
        run(arguments, async |client| self.query(client).await)
    }

    async fn query(self, client: &Client) -> Result<Exit, ClientError> {
        let audit = AuditServiceClient::new(client.connect(Service::Audit, "auditor")?);
        let (limit, newest) = (self.limit, !self.from_start);
        let filters = self.request(client.now);
        let page = async |page_size, page_token| {
            let request = QueryEventsRequest { page_size, page_token, ..filters.clone() };
            let answer =
                client.read("query events", audit.clone().query_events(client.timed(request))).await?;
            Ok((answer.events, answer.next_page_token))
        };
        let (mut events, next_page_token) = limit.collect(page).await?;
        if newest {
            events.reverse();
        }
        let all = QueryEventsResponse { events, next_page_token };
        client.show(&all, || table(&all.events, client.now).render(client.output.columns()))?;
        limit.remark(client, all.events.len(), &all.next_page_token);
        Ok(Exit::Done)
    }

    fn request(self, now: Timestamp) -> QueryEventsRequest {
        QueryEventsRequest {
            page_size: 0,
            page_token: String::new(),
            start_time: self.since.map(|since| since.resolve(now)),
            end_time: self.until.map(|until| until.resolve(now)),
            kind: self.kind,
            principal_name: self.principal,
            session_id: self.session,
            tool: self.tool,
            outcome: self.outcome,
            trace_id: self.trace,
            subject_id: self.subject,
            newest_first: !self.from_start,
            ..QueryEventsRequest::default()
        }
    }
}

fn table(events: &[RecordedEvent], now: Timestamp) -> Table<7> {
    let mut table = Table::new(["LINE", "TIME", "KIND", "BY", "TOOL", "OUTCOME", "SUBJECT"]);
    for recorded in events {
        let event = recorded.event.clone().unwrap_or_default();
        table.row([
            recorded.sequence.to_string(),
            time::full(event.time.as_ref(), now),
            event.kind,
            event.principal.map_or_else(String::new, |who| who.name),
            event.tool,
            event.outcome,
            event.subject_id,
        ]);
    }
    table
}
