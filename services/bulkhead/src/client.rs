//! The commands that call running services: approvals, tools, executions, models, budgets, chat, audit, agent.
//!
//! Promises that nothing from outside reaches a terminal raw, that the exit code tells a script what happened,
//! and that a call which may have had an effect is never repeated under another `request_id`.

pub(crate) mod agent;
pub(crate) mod approvals;
mod arguments;
pub(crate) mod audit;
pub(crate) mod budgets;
pub(crate) mod chat;
pub(crate) mod executions;
pub(crate) mod exit;
pub(crate) mod failure;
mod json;
pub(crate) mod models;
mod money;
mod output;
mod paging;
mod plan;
mod table;
mod target;
pub(crate) mod text;
mod time;
pub(crate) mod tools;
mod waiting;

use std::cell::RefCell;
use std::process::ExitCode;

use bulkhead_edge::peer::{Dialler, Peer, within};
use jiff::Timestamp;
use prost::Name;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub(crate) use arguments::ClientArguments;
pub(crate) use exit::Exit;
pub(crate) use failure::{CallError, ClientError};
pub(crate) use output::Output;
pub(crate) use paging::Limit;

use crate::serve::Service;

/// One invocation of a command.
#[derive(Debug)]
pub(crate) struct Client {
    arguments: ClientArguments,
    /// Where its answers go.
    pub(crate) output: Output,
    /// The time at its start.
    pub(crate) now: Timestamp,
    /// What is true of the world if it is stopped now.
    left_behind: RefCell<String>,
}

/// Runs a command: its answer, or what went wrong, and its exit code. Ctrl-C ends it wherever it waits.
pub(crate) fn run<F>(arguments: ClientArguments, command: F) -> ExitCode
where
    F: AsyncFnOnce(&Client) -> Result<Exit, ClientError>,
{
    let output = Output::new(arguments.json);
    let client =
        Client { arguments, output, now: bulkhead_edge::now(), left_behind: RefCell::new(String::new()) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return client.ended(Err(ClientError::Output(error))),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = command(&client) => ended,
            Ok(()) = tokio::signal::ctrl_c() => Ok(client.interrupted()),
        }
    });
    // A question to a person may still block a thread that nothing can wake.
    runtime.shutdown_background();
    client.ended(ended)
}

impl Client {
    fn ended(&self, ended: Result<Exit, ClientError>) -> ExitCode {
        let exit = ended.unwrap_or_else(|error| {
            self.tell(&error);
            error.exit()
        });
        exit.into()
    }

    /// Says what went wrong, on standard error.
    fn tell(&self, error: &ClientError) {
        if self.output.json {
            self.output.remark(&text::harmless_json(&error.document().to_string()));
        } else {
            self.output.remark(&format!("bulkhead: {}", error.explain()));
        }
    }

    fn interrupted(&self) -> Exit {
        let left = self.left_behind.borrow();
        self.output
            .remark(&format!("\nStopped. {}", if left.is_empty() { "Nothing was begun." } else { &left }));
        Exit::Interrupted
    }

    /// Says what is true if the command is stopped from now on.
    pub(crate) fn leaving(&self, sentence: impl Into<String>) {
        *self.left_behind.borrow_mut() = sentence.into();
    }

    /// A connection to the only service that the command calls. `holder` names the token of a data folder.
    pub(crate) fn connect(&self, service: Service, holder: &str) -> Result<Peer, ClientError> {
        self.dial(service, holder, true)
    }

    /// A connection to one of several services.
    pub(crate) fn connect_one_of(&self, service: Service, holder: &str) -> Result<Peer, ClientError> {
        self.dial(service, holder, false)
    }

    fn dial(&self, service: Service, holder: &str, only: bool) -> Result<Peer, ClientError> {
        let target = self.arguments.target(service, holder, only)?;
        if self.arguments.verbose {
            self.output.remark(&text::harmless(&target.origin));
        }
        let mut dialler = Dialler::new(&target.endpoint);
        // BULKHEAD_CA may be meant for services elsewhere: a plain address needs none.
        if target.endpoint.starts_with("https:") {
            let tls = target.tls.ok_or_else(|| {
                ClientError::Usage(format!(
                    "{} needs --ca: the authorities that may have signed its certificate",
                    target.endpoint
                ))
            })?;
            dialler = dialler.tls(tls);
        }
        Ok(dialler.dial(target.credentials)?)
    }

    /// A message with the time limit of the command.
    pub(crate) fn timed<T>(&self, message: T) -> Request<T> {
        within(message, self.arguments.timeout)
    }

    /// Calls what changes nothing.
    pub(crate) async fn read<T>(
        &self,
        attempted: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        let answer = call.await.map(Response::into_inner);
        answer.map_err(|status| failed(attempted, status, None))
    }

    /// Calls what may have an effect, once, under `request_id`.
    pub(crate) async fn act<T>(
        &self,
        attempted: &'static str,
        request_id: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        self.leaving(format!(
            "It may have happened. Repeat the command with --request-id {request_id}: it acts once and tells."
        ));
        let answer = call.await.map(Response::into_inner);
        self.leaving("");
        answer.map_err(|status| failed(attempted, status, Some(request_id.to_owned())))
    }

    /// Shows an answer: the message for programs, the text for people.
    pub(crate) fn show<M: Name>(
        &self,
        message: &M,
        text: impl FnOnce() -> String,
    ) -> Result<(), ClientError> {
        if self.output.json {
            self.output.document(&json::of_message(message)?)
        } else {
            self.output.text(&text())
        }
    }
}

pub(crate) fn failed(attempted: &'static str, status: Status, request_id: Option<String>) -> ClientError {
    ClientError::Call(Box::new(CallError { attempted, status, request_id }))
}

/// The id that makes an invocation safe to repeat: as given, or a new one.
pub(crate) fn request_id(given: Option<Uuid>) -> String {
    given.unwrap_or_else(Uuid::now_v7).to_string()
}

/// `AWAITING_APPROVAL` of the contract, as `awaiting approval`.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}
