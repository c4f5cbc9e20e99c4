//! One HTTP exchange with a model.

use std::error::Error;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use reqwest::{Client, Response};
use serde_json::Value;

use super::resolve::not_local;
use super::told::{self, Place};
use super::{Brief, Target};
use crate::chat::{Answer, Prompt};
use crate::failure::{Failure, Kind, delay, message};
use crate::provider::json::Json;
use crate::provider::stream::Broken;
use crate::provider::{ANSWER_BYTES_MAX, Malformed, Parameters};

/// Sends the prompt and reads the answer, all within the attempt's time.
pub(super) async fn exchange(
    http: &Client,
    target: &Target,
    prompt: &Prompt,
    brief: Brief,
) -> Result<Answer, Failure> {
    let timeout = brief.timeout;
    let exchange = Exchange { http, target, prompt, brief, stream: false };
    match tokio::time::timeout(timeout, exchange.run()).await {
        Ok(result) => result,
        Err(_elapsed) => Err(silence(timeout)),
    }
}

/// One exchange, plain or streamed.
pub(super) struct Exchange<'a> {
    pub(super) http: &'a Client,
    pub(super) target: &'a Target,
    pub(super) prompt: &'a Prompt,
    pub(super) brief: Brief,
    /// The answer is wanted as a stream.
    pub(super) stream: bool,
}

impl Exchange<'_> {
    async fn run(self) -> Result<Answer, Failure> {
        let response = self.send().await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let headers = response.headers().clone();
        let body = read_body(response).await.map_err(|failure| Failure { http_status: status, ..failure })?;
        let adapter = self.target.adapter;
        self.answer(&body).map_err(|broken| told::failure(adapter, status, &headers, &broken, Place::Body))
    }

    /// Posts the body and waits for the head of an answer.
    pub(super) async fn send(&self) -> Result<Response, Failure> {
        let body = (self.target.adapter.request)(self.prompt, &self.parameters()).map_err(unwritten)?;
        let json = HeaderValue::from_static("application/json");
        let request = self.http.post(self.target.endpoint.clone()).header(CONTENT_TYPE, json).body(body);
        let sent = request.send().await;
        let response = sent.map_err(|error| transport(&error))?;
        self.brief.heard.hear(response.headers(), bulkhead_edge::now());
        Ok(response)
    }

    /// Reads why a response is none that was wanted.
    pub(super) async fn refused(&self, response: Response) -> Failure {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = read_body(response).await;
        self.failure(status, &headers, body.as_deref().unwrap_or_default())
    }

    pub(super) fn parameters(&self) -> Parameters<'_> {
        Parameters {
            provider_model: &self.target.provider_model,
            max_output_tokens: self.prompt.max_output_tokens.unwrap_or(self.target.max_output_tokens_default),
            attempt_id: &self.brief.attempt_id,
            abilities: self.target.abilities,
            stream: self.stream,
        }
    }

    /// Reads a whole answer, or the error that some servers send with the status of one. An error beside what reads as an
    /// answer is an error, as in a stream.
    pub(super) fn answer(&self, body: &[u8]) -> Result<Answer, Broken> {
        let json: Json<'_> = serde_json::from_slice(body).map_err(|error| {
            Malformed::new(format!(
                "the answer is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let adapter = self.target.adapter;
        if let Some(status) = (adapter.told)(&json) {
            return Err(Broken::Told { status, body: json.to_value() });
        }
        Ok((adapter.answer)(&json, self.prompt, &self.parameters())?)
    }

    fn failure(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
        let adapter = self.target.adapter;
        let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let said = (adapter.message)(&json).unwrap_or_default();
        // What was said decides the kind and goes no further.
        let kind = (adapter.failure)(Kind::of_status(status), said);
        Failure {
            kind,
            http_status: status,
            message: message::sentence(kind, status, &json),
            server_delay: delay::read(headers, bulkhead_edge::now()).or_else(|| delay::said(kind, &json)),
        }
    }
}

/// Reads the body up to the limit.
pub(super) async fn read_body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let text = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(Failure::without_response(Kind::Malformed, text));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Nothing was sent.
fn unwritten(error: serde_json::Error) -> Failure {
    Failure::without_response(Kind::InvalidRequest, format!("the request cannot be written: {error}"))
}

fn silence(timeout: Duration) -> Failure {
    let text = format!("no complete answer within {} ms", timeout.as_millis());
    Failure::without_response(Kind::Silence, text)
}

/// Sorts what the HTTP client reports. Its texts name addresses and system errors, never what was sent; the
/// URL is left out all the same.
pub(super) fn transport(error: &reqwest::Error) -> Failure {
    if let Some(found) = not_local(error) {
        return Failure::without_response(Kind::NotLocal, found.to_string());
    }
    let kind = if error.is_connect() { Kind::Connect } else { Kind::Reset };
    let what =
        if kind == Kind::Connect { "cannot connect" } else { "the connection ended before the answer" };
    let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
    let text = cause.map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"));
    Failure::without_response(kind, text)
}
