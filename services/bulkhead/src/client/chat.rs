//! `bulkhead chat`: an answer as it is produced, and what it took to get it.
//!
//! Promises that standard output holds what may be taken for the answer and nothing else: into a pipe it goes once it is
//! whole, and to a terminal as it comes, with a word when it is void.

mod lines;
mod screen;

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::Instant;

use bulkhead_edge::peer::Peer;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{
    ContentBlock, GenerateRequest, GenerateResponse, Message, Role, StopReason, StreamGenerateRequest,
    StreamGenerateResponse,
};
use clap::Args;
use tonic::Streaming;
use uuid::Uuid;

use super::tools::ContextArguments;
use super::{Client, ClientArguments, ClientError, Exit, failed, json, request_id, run};
use crate::serve::Service;
use lines::next_line;
use screen::{Screen, Shown};

/// Arguments of `bulkhead chat`.
#[derive(Debug, Args)]
pub(crate) struct ChatArguments {
    /// What to say; `-` reads all of standard input. Without it each line of standard input is a turn of one
    /// conversation, which is kept as long as the command runs.
    text: Option<String>,
    /// Instructions that stand before the conversation.
    #[arg(long, value_name = "TEXT", default_value = "")]
    system: String,
    /// Name of the route.
    #[arg(long, value_name = "ROUTE", default_value = "default")]
    route: String,
    /// Say which models would be asked, and ask none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    context: ContextArguments,
    /// Repeat an earlier call whose outcome is not known.
    #[arg(long, value_name = "UUID", requires = "text")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    client: ClientArguments,
}

impl ChatArguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let router = ModelRouterServiceClient::new(client.connect(Service::ModelRouter, "operator")?);
            let asks = GenerateRequest {
                route: self.route,
                system: self.system,
                context: Some(self.context.wire(self.dry_run)),
                ..GenerateRequest::default()
            };
            let mut chat = Chat { client, router, asks };
            match self.text {
                Some(text) => chat.once(text, self.request_id).await,
                None => chat.converse().await,
            }
        })
    }
}

/// A conversation.
struct Chat<'c> {
    client: &'c Client,
    router: ModelRouterServiceClient<Peer>,
    /// What is asked with every turn; its messages are the history.
    asks: GenerateRequest,
}

impl Chat<'_> {
    async fn once(&mut self, text: String, given: Option<Uuid>) -> Result<Exit, ClientError> {
        let text = text_or_input(text)?;
        let id = request_id(given);
        self.client.leaving(format!(
            "The answer was ended with it. Repeat the command with --request-id {id} to get it if it was whole."
        ));
        self.say(text, &id, Some(&id)).await
    }

    /// Until the input ends. A person goes on after a failure; a script is told of the first.
    async fn converse(&mut self) -> Result<Exit, ClientError> {
        let is_person = std::io::stdin().is_terminal();
        loop {
            self.client.leaving("The conversation is not kept.");
            let Some(line) = next_line(is_person).await? else { return Ok(Exit::Done) };
            if line.trim().is_empty() {
                continue;
            }
            self.client.leaving("The answer was ended with it, and the conversation is not kept.");
            match self.say(line, &request_id(None), None).await {
                Ok(Exit::Done) => {}
                Ok(_) if is_person => {}
                Err(ClientError::Call(error)) if is_person && error.exit() != Exit::Refused => {
                    self.client.tell(&ClientError::Call(error));
                }
                ended => return ended,
            }
            if self.client.output.is_closed() {
                return Ok(Exit::Done);
            }
        }
    }

    /// Says one thing and hears the answer. Both are in the history once the answer is whole. `repeatable`: the id
    /// with which the command finds the answer again.
    async fn say(
        &mut self,
        text: String,
        request_id: &str,
        repeatable: Option<&str>,
    ) -> Result<Exit, ClientError> {
        let turn = spoken(text);
        let mut asks = self.asks.clone();
        asks.messages.push(turn.clone());
        let request = StreamGenerateRequest { generate: Some(asks), request_id: request_id.to_owned() };
        let broke = |status| failed("hear the answer", status, repeatable.map(str::to_owned));
        let started = Instant::now();
        let stream = self.router.stream_generate(request).await.map_err(broke)?.into_inner();
        let Some(response) = self.hear(stream, started, broke).await? else {
            return Ok(Exit::Done);
        };
        let exit = exit_of(&response);
        let answer = response.message.filter(|answer| !answer.content.is_empty());
        self.asks.messages.extend(answer.into_iter().flat_map(|answer| [turn.clone(), answer]));
        Ok(exit)
    }

    /// Shows a stream as it comes; its answer, or nothing when nobody reads any more.
    async fn hear(
        &self,
        mut stream: Streaming<StreamGenerateResponse>,
        started: Instant,
        broke: impl Fn(tonic::Status) -> ClientError,
    ) -> Result<Option<GenerateResponse>, ClientError> {
        let mut screen = Screen::new(std::io::stdout().is_terminal());
        while let Some(message) = stream.message().await.map_err(&broke)? {
            if self.client.output.json {
                self.client.output.json_line(&json::of_message(&message)?)?;
            }
            let shown = screen.takes(message, started.elapsed())?;
            if !self.client.output.json {
                self.show(shown)?;
            }
            if self.client.output.is_closed() {
                return Ok(None);
            }
        }
        screen.answer().map(Some).ok_or(ClientError::Contract("with a stream that has no end"))
    }

    fn show(&self, shown: Vec<Shown>) -> Result<(), ClientError> {
        for piece in shown {
            match piece {
                Shown::Answer(text) => self.client.output.piece(&text)?,
                Shown::Aside(text) => self.client.output.aside(&text),
            }
        }
        Ok(())
    }
}

/// A turn of the user's.
pub(super) fn spoken(text: String) -> Message {
    let content = vec![ContentBlock { block: Some(Block::Text(text)), ..ContentBlock::default() }];
    Message { role: Role::User.into(), content }
}

/// What a script makes of an answer: one that is cut, or declined, is not what was asked for.
fn exit_of(response: &GenerateResponse) -> Exit {
    match response.stop_reason() {
        StopReason::Refusal | StopReason::MaxTokens => Exit::Failed,
        StopReason::Unspecified | StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence => {
            Exit::Done
        }
    }
}

/// The text, or what standard input holds where it is `-`.
pub(super) fn text_or_input(text: String) -> Result<String, ClientError> {
    if text != "-" {
        return Ok(text);
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| ClientError::Usage(format!("cannot read standard input: {error}")))?;
    Ok(text)
}
