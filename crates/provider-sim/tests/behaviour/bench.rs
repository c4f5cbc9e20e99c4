//! A simulator, and clients of its three formats.

use std::time::Duration;

use bulkhead_provider_sim::{Answered, ControlClient, RecordedRequest, Running, Script, Simulator, Step};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// How long a condition may take.
const WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Bench {
    pub(crate) simulator: Running,
    pub(crate) control: ControlClient,
    pub(crate) http: Client,
}

pub(crate) async fn bench() -> Bench {
    let simulator = Simulator::start("127.0.0.1:0".parse().expect("an address")).await.expect("starts");
    let control = ControlClient::new(simulator.address()).expect("a client");
    let http = Client::builder().no_proxy().build().expect("a client");
    Bench { simulator, control, http }
}

impl Bench {
    pub(crate) async fn messages(&self, model: &str) -> reqwest::Result<Response> {
        let body = json!({
            "model": model, "max_tokens": 16,
            "messages": [{ "role": "user", "content": "hello there" }],
            "tools": [{ "name": "fs_read", "input_schema": { "type": "object" } }],
        });
        let request = self.http.post(format!("{}/v1/messages", self.simulator.url())).json(&body);
        request.header("x-api-key", "sk-test").header("anthropic-version", "2023-06-01").send().await
    }

    pub(crate) async fn chat(&self, model: &str) -> reqwest::Result<Response> {
        let messages = json!([{ "role": "user", "content": "hello there" }]);
        let body = json!({ "model": model, "stream": false, "messages": messages });
        self.http.post(format!("{}/api/chat", self.simulator.url())).json(&body).send().await
    }

    pub(crate) async fn answered(&self, model: &str) -> Vec<Answered> {
        let shown = self.control.requests(Some(model)).await.expect("requests");
        shown.requests.iter().map(|request| request.answered).collect()
    }
}

pub(crate) async fn json(response: reqwest::Result<Response>) -> Value {
    response.expect("an answer").json().await.expect("json")
}

/// The formats, by their endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Anthropic,
    OpenAi,
    Ollama,
}

pub(crate) const FORMATS: [Format; 3] = [Format::Anthropic, Format::OpenAi, Format::Ollama];

impl Format {
    fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::OpenAi => "/v1/chat/completions",
            Self::Ollama => "/api/chat",
        }
    }

    /// The tool `fs_read` as the format offers it.
    fn tool(self) -> Value {
        let schema = json!({
            "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"],
        });
        match self {
            Self::Anthropic => json!({ "name": "fs_read", "input_schema": schema }),
            Self::OpenAi | Self::Ollama => {
                json!({ "type": "function", "function": { "name": "fs_read", "parameters": schema } })
            }
        }
    }

    /// JSON of each event; the name of those that have one is its type already.
    pub(crate) fn events(self, stream: &str) -> Vec<Value> {
        let lines = stream.lines().filter(|line| !line.is_empty());
        let data = lines.filter_map(|line| match self {
            Self::Anthropic | Self::OpenAi => line.strip_prefix("data: "),
            Self::Ollama => Some(line),
        });
        let data = data.filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).expect("json")).collect()
    }

    /// The text that the events put together.
    pub(crate) fn text(self, events: &[Value]) -> String {
        let pointer = match self {
            Self::Anthropic => "/delta/text",
            Self::OpenAi => "/choices/0/delta/content",
            Self::Ollama => "/message/content",
        };
        events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
    }

    /// Whether the answer says that it is whole.
    pub(crate) fn is_whole(self, stream: &str) -> bool {
        match self {
            Self::Anthropic => stream.contains("event: message_stop\n"),
            Self::OpenAi => stream.ends_with("data: [DONE]\n\n"),
            Self::Ollama => stream.contains("\"done\":true"),
        }
    }
}

impl Bench {
    /// A request to `model` for a plain answer; the fields of `more` are added.
    pub(crate) fn request(&self, format: Format, model: &str, more: &Value) -> RequestBuilder {
        let mut body = json!({
            "model": model, "max_tokens": 16, "stream": false, "tools": [format.tool()],
            "messages": [{ "role": "user", "content": "hello there" }],
        });
        for (field, value) in more.as_object().expect("fields") {
            body[field] = value.clone();
        }
        let request = self.http.post(format!("{}{}", self.simulator.url(), format.path())).json(&body);
        let request = request.header("x-api-key", "sk-test").header("anthropic-version", "2023-06-01");
        request.bearer_auth("sk-test")
    }

    pub(crate) async fn ask(&self, format: Format, model: &str, more: &Value) -> Response {
        self.request(format, model, more).send().await.expect("an answer")
    }

    pub(crate) async fn stream(&self, format: Format, model: &str) -> Response {
        self.ask(format, model, &json!({ "stream": true })).await
    }

    pub(crate) async fn always(&self, model: &str, step: impl Into<Step>) {
        self.control.script(model, &Script::always(step.into())).await.expect("scripted");
    }

    /// The one request to `model`.
    pub(crate) async fn recorded(&self, model: &str) -> RecordedRequest {
        let shown = self.control.requests(Some(model)).await.expect("requests");
        let [request] = shown.requests.try_into().expect("one request");
        request
    }

    /// Waits until the record of `model` is as it should be.
    pub(crate) async fn until(&self, model: &str, condition: impl Fn(&RecordedRequest) -> bool) {
        let met = async {
            while !condition(&self.recorded(model).await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WITHIN, met).await.expect("the record says so in time");
    }
}
