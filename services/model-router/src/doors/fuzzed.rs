//! What fuzz targets call: requests of any bytes, read as the doors read them.

use bulkhead_edge::Fault;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::{Asked, Dialect, Read, anthropic, openai, request};
use crate::chat::Object;
use crate::grpc::convert;
use crate::provider::samples::PARAMETERS;
use crate::provider::{ADAPTERS, Adapter, Parameters};
use crate::tokens;

/// A body of OpenAI's API.
pub(crate) fn openai(body: &[u8]) {
    check(&openai::DIALECT, body);
}

/// A body of Anthropic's API, asked of a model or only counted.
pub(crate) fn anthropic(body: &[u8]) {
    check(&anthropic::DIALECT, body);
    if let Ok(counted) = read(anthropic::COUNTING.read, body) {
        assert!(!counted.stream, "counts are no streams");
    }
}

fn read(read: Read, body: &[u8]) -> Result<Asked, Fault> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    request::read(read, &headers, body)
}

fn check(dialect: &Dialect, body: &[u8]) {
    let Ok(asked) = read(dialect.read, body) else { return };
    // The edge makes the call a stream by its own look at the body, and the door answers by this one.
    assert_eq!(request::wants_stream(body), asked.stream, "one sees a stream where the other sees none");
    assert_eq!(
        asked.origins.len(),
        asked.generate.messages.len(),
        "a turn without a message that it was made of"
    );
    let again = read(dialect.read, body).map(|asked| asked.generate.messages);
    assert!(
        again.is_ok_and(|messages| messages == asked.generate.messages),
        "read otherwise the second time"
    );
    for tool in &asked.generate.tools {
        let schema: Result<Object, _> = serde_json::from_str(&tool.input_schema_json);
        assert!(schema.is_ok(), "a schema that is no object: {}", tool.input_schema_json);
    }
    // The checks of the contract may refuse it; what passes them can be told to a model.
    let Ok(prompt) = convert::prompt(asked.generate) else { return };
    assert!(tokens::of_prompt(&prompt) > 0, "a conversation without a token");
    let Parameters { abilities, max_output_tokens, .. } = PARAMETERS;
    let can_be_told =
        |adapter: &&&Adapter| (adapter.inexpressible)(&prompt, abilities, max_output_tokens).is_empty();
    for adapter in ADAPTERS.iter().filter(can_be_told) {
        let body = (adapter.request)(&prompt, &PARAMETERS).ok();
        let read = body.and_then(|body| serde_json::from_slice::<Object>(&body).ok());
        assert!(read.is_some(), "a request that is none");
    }
}
