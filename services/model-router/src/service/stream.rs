//! StreamGenerate, from the checked request to the last message.
//!
//! Promises that what was recorded is what was said: `completed` comes once the event is stored. A caller who leaves takes
//! everything along: the stream is driven by whoever reads it, and by nobody else.

use std::collections::VecDeque;
use std::time::Instant;

use bulkhead_edge::Call;
use bulkhead_idempotency::memory::First;
use bulkhead_idempotency::{Claim, Request};
use bulkhead_proto::router::v1 as pb;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::BoxStream;
use tracing::Instrument as _;

use super::{Command, GenerateError, Service, ending};
use crate::clearance;
use crate::generate::Run;
use crate::grpc::convert;
use crate::listener::{Event, Listener};
use crate::record::CallRecord;

/// What a caller of StreamGenerate reads.
pub(crate) type Messages = BoxStream<pb::StreamGenerateResponse>;

/// The last messages of a stream.
type End = VecDeque<Result<pb::StreamGenerateResponse, Status>>;

impl Service {
    /// Replays from memory, or plays.
    pub(crate) async fn stream(&self, call: &Call, command: Command) -> Result<Messages, GenerateError> {
        if command.context.dry_run {
            let response = Some(self.dry_run(&command)?);
            return Ok(all([convert::stream::completed(pb::StreamCompleted { response, continued: false })]));
        }
        let request_id = command.request_id;
        let payload = command.payload.clone();
        let request = Request::new(call.tenant(), call.principal(), "StreamGenerate", request_id, payload);
        match self.streams.claim(&request).await {
            Claim::Seen(completed) => Ok(all(convert::stream::replay(completed))),
            Claim::Reused => Err(GenerateError::RequestIdReused { request_id }),
            Claim::New(first) => {
                let record = self.open(call, &command).await?;
                let deadline = Instant::now() + call.remaining();
                Ok(play(command, record, first, deadline))
            }
        }
    }
}

fn play(
    command: Command,
    record: CallRecord,
    first: First<pb::StreamCompleted>,
    deadline: Instant,
) -> Messages {
    let recovery = command.recovery.unwrap_or(command.route.recovery);
    let (listener, events) = Listener::new(recovery, command.rules.is_structured());
    let listener = listener.deaf_to_thinking(command.without_thinking);
    let running = run(command, record, first, deadline, listener);
    let play = Play { running: Box::pin(running.in_current_span()), events, end: None };
    stream::unfold(play, Play::next).boxed()
}

async fn run(
    command: Command,
    mut record: CallRecord,
    first: First<pb::StreamCompleted>,
    deadline: Instant,
    listener: Listener,
) -> End {
    let Command { catalog, route, prompt, rules, sensitivity, context, .. } = command;
    let clearance = clearance::clear(prompt, &sensitivity);
    let run = Run::new(&catalog, &route, &clearance, &rules, deadline, &mut record);
    let mut run = run.of_session(&context.session_id).heard_by(listener);
    let result = run.follow().await;
    let given = run.given();
    drop(run);
    let called = !record.attempts().is_empty();
    let told = record.attempts().to_vec();
    let closed = record.close(&ending(&result, called)).await;
    let closed = closed.map_err(if called { GenerateError::Withheld } else { GenerateError::Record });
    let answered = closed.and_then(|attempts| match result {
        Ok(answered) => {
            let continued = answered.continued;
            let response = Some(convert::response(answered, &attempts));
            Ok(pb::StreamCompleted { response, continued })
        }
        Err(why) => {
            let local_only = clearance.is_local_only();
            Err(GenerateError::Unanswered { route: route.name, local_only, attempts, why })
        }
    });
    match answered {
        Ok(completed) => {
            let bytes = completed.encoded_len();
            first.answered(completed.clone(), bytes);
            VecDeque::from([Ok(convert::stream::completed(completed))])
        }
        Err(error) => {
            let status = Status::from(error);
            let failed = convert::stream::failed(&status, given, &told);
            VecDeque::from([Ok(failed), Err(status)])
        }
    }
}

/// A stream that is played as it is read.
struct Play {
    running: BoxFuture<'static, End>,
    events: mpsc::Receiver<Event>,
    /// What comes once everything that happened on the way was read.
    end: Option<End>,
}

impl Play {
    async fn next(mut self) -> Option<(Result<pb::StreamGenerateResponse, Status>, Self)> {
        let end = match &mut self.end {
            Some(end) => end,
            none => tokio::select! {
                biased;
                Some(event) = self.events.recv() => return Some((Ok(convert::stream::event(event)), self)),
                end = &mut self.running => none.insert(end),
            },
        };
        match self.events.try_recv() {
            Ok(event) => Some((Ok(convert::stream::event(event)), self)),
            Err(_over) => end.pop_front().map(|message| (message, self)),
        }
    }
}

fn all(messages: impl IntoIterator<Item = pb::StreamGenerateResponse, IntoIter: Send + 'static>) -> Messages {
    stream::iter(messages.into_iter().map(Ok)).boxed()
}
