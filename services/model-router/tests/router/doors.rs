//! The HTTP doors as any client of HTTP meets them.

mod anthropic;
mod guarded;
mod openai;
mod streams;

use std::time::Duration;

use http::{HeaderMap, Method};
use reqwest::{Client, Response};
use serde_json::Value;

use crate::bench::{Bench, PATIENCE, TOKEN};

const COMPLETIONS: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const MODELS: &str = "/v1/models";

/// One answer.
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

/// A request that is put together and sent.
struct Ask<'a> {
    method: Method,
    url: String,
    headers: Vec<(&'a str, String)>,
    body: String,
}

/// Posts JSON with the agent's token.
fn post<'a>(bench: &'a Bench, path: &'a str, body: &Value) -> Ask<'a> {
    raw(bench, path, body.to_string()).with("authorization", format!("Bearer {TOKEN}"))
}

/// The same without a token, whatever the body is.
fn raw<'a>(bench: &'a Bench, path: &'a str, body: String) -> Ask<'a> {
    let headers = vec![("content-type", "application/json".to_owned())];
    Ask { method: Method::POST, url: bench.url(path), headers, body }
}

fn get<'a>(bench: &'a Bench, path: &'a str) -> Ask<'a> {
    let headers = vec![("authorization", format!("Bearer {TOKEN}"))];
    Ask { method: Method::GET, url: bench.url(path), headers, body: String::new() }
}

impl<'a> Ask<'a> {
    /// The same to another router.
    fn to(self, address: &str, path: &str) -> Self {
        Self { url: format!("http://{address}{path}"), ..self }
    }

    fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    async fn response(self) -> Response {
        // No certificates, since nothing here is TLS: to read the machine's takes longer than a call.
        let plain = Client::builder().no_proxy().tls_certs_only([]);
        let client = plain.timeout(PATIENCE).build().expect("a client");
        let request = client.request(self.method, self.url).body(self.body);
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.send().await.expect("answers")
    }

    async fn text(self) -> (u16, HeaderMap, String) {
        let response = self.response().await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.expect("a body"))
    }

    async fn told(self) -> Told {
        let (status, headers, text) = self.text().await;
        Told { status, headers, body: serde_json::from_str(&text).expect("JSON") }
    }
}

/// Milliseconds of a header.
fn millis(told: &Told, name: &str) -> Duration {
    Duration::from_millis(told.header(name).expect("a header").parse().expect("a number"))
}
