//! Who calls, and whether they may.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bulkhead_proto::rules::MethodRule;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Extensions, HeaderMap, Method, StatusCode};
use tonic::Code;
use tracing::Span;

use super::{Gate, HEADERS_BYTES_MAX};
use crate::identity::Admitted;
use crate::identity::credential::{Credential, source};
use crate::{Fault, Identity};

/// How the messages of a call are compressed.
const GRPC_ENCODING: &str = "grpc-encoding";

/// Refuses headers that no honest caller sends, before anything is made of them.
pub(super) fn bound_headers(request: &Request) -> Result<(), Fault> {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let bytes = fields.sum::<usize>() + request.uri().path().len();
    if bytes <= HEADERS_BYTES_MAX {
        return Ok(());
    }
    let fault = Fault::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE")
        .saying(format!("the headers of a request may have at most {HEADERS_BYTES_MAX} bytes"));
    Err(fault.with("bytes_max", HEADERS_BYTES_MAX))
}

/// The answer in HTTP to what is no gRPC at all; none for what is.
pub(super) fn refuse_plain_http(request: &Request) -> Option<Response> {
    if request.method() != Method::POST {
        let allow = [(ALLOW, "POST")];
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow, "this is a gRPC method\n").into_response());
    }
    if !is_grpc(request.headers()) {
        let advice = "send content-type application/grpc\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, advice).into_response());
    }
    None
}

/// Refuses compressed messages before any of them is read: what is never unpacked cannot be a bomb, and messages
/// here are small.
pub(super) fn refuse_compression(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get(GRPC_ENCODING).is_none_or(|encoding| encoding == "identity") {
        return Ok(());
    }
    let fault = Fault::new(Code::Unimplemented, "COMPRESSION_UNSUPPORTED");
    Err(fault.saying("compressed messages are not accepted; send with grpc-encoding identity"))
}

/// Whether the content type is `application/grpc`, of protobuf messages. `grpc-web` is another protocol, and JSON
/// is another codec.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let suffix = content_type.and_then(|value| value.strip_prefix("application/grpc"));
    suffix.is_some_and(|suffix| suffix.is_empty() || suffix == "+proto" || suffix.starts_with(';'))
}

/// Turns the credential into an identity and its standing, or says why not without repeating what was sent.
pub(super) async fn identify(
    gate: &Gate,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Admitted, Fault> {
    let credential = Credential::of(headers, extensions);
    let admitted = gate.registry.admit(credential, source(extensions)).await?;
    Span::current().record("principal", admitted.identity.principal.to_string());
    Ok(admitted)
}

/// Lets a call pass only when its caller holds a role that the contract names for it.
pub(super) fn authorise<'a>(
    rule: Option<&'a MethodRule>,
    path: &str,
    identity: &Identity,
) -> Result<&'a MethodRule, Fault> {
    let rpc = path.trim_start_matches('/');
    let Some(rule) = rule else {
        let fault = Fault::new(Code::Unimplemented, "UNKNOWN_RPC").with("rpc", rpc);
        return Err(fault.saying(format!("{path} is not part of the contract")));
    };
    if rule.roles.iter().any(|allowed| identity.roles.contains(allowed)) {
        return Ok(rule);
    }
    let fault = Fault::new(Code::PermissionDenied, "ROLE_REQUIRED").saying(format!(
        "{} needs one of the roles {}",
        rule.method,
        rule.roles.join(", ")
    ));
    Err(fault.with("rpc", rpc).with("roles", rule.roles.join(",")))
}
