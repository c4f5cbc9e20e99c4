//! StreamGenerate, from the checked request to the last message.
//!
//! Promises that what was recorded is what was said: `completed` comes once the event is stored. Callers who leave take
//! everything along, once the last of them is gone: a stream is driven by those who read it, and by nobody else.

mod log;
mod shared;

use std::time::Instant;

use bulkhead_edge::Call;
use bulkhead_idempotency::memory::{First, Known};
use bulkhead_idempotency::{Claim, Request};
use bulkhead_proto::router::v1 as pb;
use futures::stream::{self, StreamExt as _};
use tonic::Status;
use tonic::codegen::BoxStream;
use tracing::Instrument as _;

use super::{Command, GenerateError, Kept, Service, ending};
use crate::clearance;
use crate::generate::Run;
use crate::grpc::convert;
use crate::listener::Listener;
use crate::record::CallRecord;
use shared::End;

pub(crate) use shared::Joinable;

/// What a caller of StreamGenerate reads.
pub(crate) type Messages = BoxStream<pb::StreamGenerateResponse>;

impl Service {
    /// Replays from memory, joins what is under way, or begins.
    pub(crate) async fn stream(&self, call: &Call, command: Command) -> Result<Messages, GenerateError> {
        if command.context.dry_run {
            let response = Some(self.dry_run(call, &command).await?);
            return Ok(all([convert::stream::completed(pb::StreamCompleted { response, continued: false })]));
        }
        let request_id = command.request_id;
        let payload = command.payload.clone();
        let request = Request::new(call.tenant(), call.principal(), scope(&command), request_id, payload);
        match self.streams.claim_or_join(&request, |stream: Joinable| stream.join()).await {
            Claim::Seen(Known::Answered(completed)) => Ok(all(convert::stream::replay(completed.message()?))),
            Claim::Seen(Known::Joined(reader)) => Ok(reader.boxed()),
            Claim::Reused => Err(GenerateError::RequestIdReused { request_id }),
            Claim::New(first) => {
                let record = self.open(call, &command).await?;
                let deadline = Instant::now() + call.remaining();
                Ok(play(command, record, first, deadline))
            }
        }
    }
}

/// Streams that are told in other ways are other streams: of one that may begin anew, a door that cannot say so must not
/// be given the pieces.
fn scope(command: &Command) -> &'static str {
    match (command.recovery, command.without_thinking) {
        (None, _) => "StreamGenerate",
        (Some(_), false) => "StreamGenerate without a second beginning",
        (Some(_), true) => "StreamGenerate without a second beginning and without thinking",
    }
}

fn play(
    command: Command,
    record: CallRecord,
    first: First<Kept<pb::StreamCompleted>, Joinable>,
    deadline: Instant,
) -> Messages {
    let recovery = command.recovery.unwrap_or(command.route.recovery);
    let (listener, events) = Listener::new(recovery, command.rules.is_structured());
    let listener = listener.deaf_to_thinking(command.without_thinking);
    let reader = shared::begin(events, |stream| {
        first.shares(stream);
        Box::pin(run(command, record, first, deadline, listener).in_current_span())
    });
    reader.boxed()
}

async fn run(
    command: Command,
    mut record: CallRecord,
    first: First<Kept<pb::StreamCompleted>, Joinable>,
    deadline: Instant,
    listener: Listener,
) -> End {
    let Command { catalog, route, prompt, rules, sensitivity, context, is_named, .. } = command;
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
            Err(GenerateError::Unanswered { route: route.name.clone(), local_only, attempts, why })
        }
    });
    match answered {
        Ok(completed) => {
            if is_named {
                let kept = Kept::of(&completed);
                let bytes = kept.bytes();
                first.answered(kept, bytes);
            }
            vec![Ok(convert::stream::completed(completed))]
        }
        Err(error) => {
            let status = Status::from(error);
            let failed = convert::stream::failed(&status, given, &told);
            vec![Ok(failed), Err(status)]
        }
    }
}

fn all(messages: impl IntoIterator<Item = pb::StreamGenerateResponse, IntoIter: Send + 'static>) -> Messages {
    stream::iter(messages.into_iter().map(Ok)).boxed()
}
