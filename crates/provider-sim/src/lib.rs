//! A simulator of model providers, for demos, tests, benches and chaos. It is no model.
//!
//! Speaks the real wire formats of Anthropic Messages (`POST /v1/messages`), OpenAI Chat Completions (`POST
//! /v1/chat/completions`) and Ollama chat (`POST /api/chat`, `GET /api/tags`, `GET /api/version`), plain and
//! streaming. Promises that every request it received is shown under `/control/requests`, so that a test can prove what was *not* sent, that the
//! same script gives the same answers, and that each answer says `x-simulated: true`.
//!
//! # What a model does
//! 1. The next step of its script, where one was set: `PUT /control/scripts?model=NAME` with a [`Script`].
//! 2. Otherwise what its name asks for:
//!
//! | name | behaviour |
//! |---|---|
//! | `sim-429` (any status from 400 to 599) | that error, without a delay |
//! | `sim-429-2s` | the same with `Retry-After: 2` |
//! | `sim-429-date-2s` | the same with an HTTP-date that is two to three seconds away |
//! | `sim-reset` | the connection is reset, without an answer |
//! | `sim-silence` | no answer, ever |
//! | `sim-cut` | the connection ends in the middle of the body |
//! | `sim-truncated`, `sim-shape`, `sim-html` | 200 with cut JSON, other JSON, no JSON |
//! | `sim-flap-3` | three times 503, then an answer, and again |
//! | `sim-slow-250ms` | an answer after that time |
//! | `sim-first-250ms` | the first piece after that time; headers and all that comes before it at once |
//! | `sim-stream-cut` | the connection ends in the middle of an event, halfway through the answer |
//! | `sim-stream-cut-3` (any fault that follows) | the same after three pieces |
//! | `sim-stream-reset` | the connection is reset halfway |
//! | `sim-stream-stall` | nothing more comes after half of the answer |
//! | `sim-stream-pings` | nothing more comes but pings, ten times a second |
//! | `sim-stream-endless` | the last piece again and again, as fast as it is read |
//! | `sim-stream-bloated` | an event that never ends |
//! | `sim-unstreamed` | an answer in one piece, also to a request for a stream |
//! | `sim-stream-garbage` | bytes that are neither UTF-8 nor JSON in place of a piece; then all goes on |
//! | `sim-stream-ended` | the body ends as a whole one does, halfway through the answer |
//! | `sim-stream-unterminated` | only the last word is missing: `message_stop`, `[DONE]`, `"done":true` |
//! | `sim-stream-error` | an error event halfway: overloaded |
//! | `sim-tool-badjson` | a call whose arguments are no JSON |
//! | `sim-tool-wrong` | a call whose arguments the schema does not allow |
//! | `sim-tool-unoffered` | a call of a tool that was not offered |
//! | `sim-tool-sameid` | two calls with the same id |
//! | `sim-context` | the provider's error for a conversation that does not fit |
//! | `sim-refusal`, `sim-filter` | an answer that declines, or was stopped by a filter |
//! | anything else | an answer: a summary of the last user text |
//!
//! A plain answer takes the faults of streams too: see [`StreamFault`]. A stream takes the others: `sim-cut` and
//! `sim-truncated` are `sim-stream-cut` and `sim-stream-ended`, `sim-shape` is one event of another shape.
//!
//! *Connection refused* cannot be had for one model of a shared port: use a port where nobody listens, or
//! stop the simulator ([`Running::stop`]).
//!
//! # Control
//! | request | effect |
//! |---|---|
//! | `PUT /control/scripts?model=NAME` | sets a [`Script`], replacing the model's former one |
//! | `GET /control/scripts` | what is left of each script, by model |
//! | `DELETE /control/scripts[?model=NAME]` | forgets one script, or all |
//! | `GET /control/requests[?model=NAME]` | [`Requests`], oldest first |
//! | `DELETE /control/requests` | forgets them and counts from 1 again |
//!
//! [`ControlClient`] speaks this protocol.

mod api;
mod client;
mod clock;
pub mod control;
mod courier;
mod failure;
mod grammar;
mod pace;
mod record;
mod script;
mod server;
mod stage;
mod state;
mod wire;

pub use client::{ControlClient, ControlError};
pub use control::{
    Action, Answered, Malformed, RecordedRequest, Reply, Requests, RetryAfter, Script, StatusFault, Step,
    StopReason, StreamBreak, StreamFault, ToolCall, ToolFault, Usage,
};
pub use server::{Announce, Running, Simulator, run};

/// Name of the program, as it announces itself.
pub const NAME: &str = "provider-sim";
