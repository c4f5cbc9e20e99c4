//! From the bytes of a request to a command that the service takes.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::{Fault, Violations};
use bulkhead_proto::refuse_unhonoured;
use bulkhead_proto::router::v1 as pb;
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Asked, Read, given};
use crate::catalog::Catalog;
use crate::chat::Object;
use crate::grpc::{convert, status};
use crate::listener::Recovery;
use crate::service::Command;
use crate::tokens;

/// Whether a body asks for a stream; one that cannot be read does not, and is refused by whoever reads it all.
pub(super) fn wants_stream(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        stream: Option<bool>,
    }
    serde_json::from_slice(body).is_ok_and(|wish: Wish| wish.stream == Some(true))
}

/// The body that the edge has read already.
pub(super) async fn bytes(body: Body) -> Result<Bytes, Fault> {
    to_bytes(body, MESSAGE_BYTES_MAX).await.map_err(status::unread)
}

/// A request in the contract's terms, or everything that is wrong with it in the API's.
pub(super) fn read(read: Read, headers: &HeaderMap, body: &[u8]) -> Result<Asked, Fault> {
    let mut violations = Violations::new();
    let given = given::read(headers, &mut violations);
    let asked = object(body, &mut violations).and_then(|object| read(object, &mut violations));
    let asked = asked.map(|mut asked| {
        asked.generate.request_id = given.request_id;
        asked.is_named = given.is_named;
        asked.generate.context = Some(given.context);
        asked
    });
    // Names of fields may be anything a caller wrote, and the message of a fault is logged.
    violations.finish(asked).map_err(|fault| fault.saying("the request cannot be translated as it is"))
}

/// A key that stands twice would be read as one or the other. Numbers are any: among them are those that a model
/// wrote, and its answer must be welcome in the next request.
fn object(body: &[u8], violations: &mut Violations) -> Option<Object> {
    let Ok(text) = std::str::from_utf8(body) else {
        violations.add("body", "must be JSON in UTF-8");
        return None;
    };
    match bulkhead_canonical_json::parse_any_number(text) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) => {
            violations.add("body", "must be a JSON object");
            None
        }
        Err(error) => {
            violations.add("body", format!("must be JSON: {error}"));
            None
        }
    }
}

/// The same checks as of a request that came by gRPC.
pub(super) fn command(asked: Asked, catalog: &Arc<Catalog>) -> Result<Command, Status> {
    known(&asked.generate, catalog)?;
    Ok(Command { is_named: asked.is_named, ..convert::command(asked.generate, catalog)? })
}

/// The same of one for a stream. The APIs cannot say that a piece of the answer is void, so none may be. `without_thinking`:
/// nor has the API a place for what models think.
pub(super) fn stream_command(
    asked: Asked,
    without_thinking: bool,
    catalog: &Arc<Catalog>,
) -> Result<Command, Status> {
    let Asked { mut generate, is_named, .. } = asked;
    known(&generate, catalog)?;
    let request_id = std::mem::take(&mut generate.request_id);
    let request = pb::StreamGenerateRequest { generate: Some(generate), request_id };
    let command = convert::stream_command(request, catalog)?;
    Ok(Command { recovery: Some(Recovery::Fail), without_thinking, is_named, ..command })
}

/// How many tokens a model would read of a request, checked the same way, by estimate.
pub(super) fn tokens(generate: pb::GenerateRequest, catalog: &Catalog) -> Result<u64, Status> {
    known(&generate, catalog)?;
    let request = pb::ExplainRouteRequest { generate: Some(generate), ..pb::ExplainRouteRequest::default() };
    let question = convert::question(request, catalog)?;
    Ok(question.prompt.as_ref().map_or(0, tokens::of_prompt))
}

fn known(generate: &pb::GenerateRequest, catalog: &Catalog) -> Result<(), Status> {
    if catalog.route(&generate.route).is_none() {
        return Err(status::route_not_found(catalog).into());
    }
    refuse_unhonoured(generate)
}

/// The same failure with the API's names of the fields.
pub(super) fn renamed(status: Status, names: &[(&str, &str)], origins: &[usize]) -> Status {
    let mut details = status.get_error_details();
    let Some(mut bad) = details.bad_request().cloned() else { return status };
    for violation in &mut bad.field_violations {
        violation.field = field(&violation.field, names, origins);
    }
    details.set_bad_request(bad.field_violations);
    Status::with_error_details(status.code(), status.message(), details)
}

fn field(field: &str, names: &[(&str, &str)], origins: &[usize]) -> String {
    let field = field.strip_prefix("generate.").unwrap_or(field);
    let (head, rest) = field.split_at(field.find(['[', '.']).unwrap_or(field.len()));
    if head == "messages" {
        let place = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let place = place.and_then(|(place, rest)| Some((origins.get(place.parse::<usize>().ok()?)?, rest)));
        return place.map_or_else(|| field.to_owned(), |(origin, rest)| format!("messages[{origin}]{rest}"));
    }
    let renamed = names.iter().find_map(|(contract, api)| match field.strip_suffix(contract) {
        Some(start) if contract.starts_with('.') => Some(format!("{start}{api}")),
        Some("") => Some((*api).to_owned()),
        _ => (*contract == head).then(|| format!("{api}{rest}")),
    });
    renamed.unwrap_or_else(|| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_as_the_caller_calls_them() {
        const SCHEMA: (&str, &str) = ("response_format.schema_json", "output_config.format.schema");
        let names = [(".name", ".function.name"), ("route", "model"), ("stop_sequences", "stop"), SCHEMA];
        let cases = [
            ("route", "model"),
            ("stop_sequences[3]", "stop[3]"),
            ("tools[2].name", "tools[2].function.name"),
            ("messages", "messages"),
            ("messages[1].content[0].text", "messages[4].content[0].text"),
            ("messages[9].content", "messages[9].content"),
            ("generate.messages[0]", "messages[0]"),
            ("response_format.schema_json", "output_config.format.schema"),
            ("temperature", "temperature"),
        ];
        for (contract, api) in cases {
            assert_eq!(field(contract, &names, &[0, 4]), api);
        }
    }

    #[test]
    fn a_stream_is_what_a_body_clearly_asks_for() {
        for (body, wanted) in [
            (&br#"{"messages":[{"stream":false}],"stream":true}"#[..], true),
            (br#"{"stream":false}"#, false),
            (br#"{"stream":null}"#, false),
            (br#"{"stream":"true"}"#, false),
            (br#"{"stream":true,"stream":true}"#, false),
            (br#"{"a":{"stream":true}}"#, false),
            (b"\xff", false),
        ] {
            assert_eq!(wants_stream(body), wanted, "{}", String::from_utf8_lossy(body));
        }
    }
}
