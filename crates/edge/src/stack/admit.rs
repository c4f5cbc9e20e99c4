//! Who calls, and whether they may.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, StatusCode};
use tonic::Code;
use tracing::Span;

use super::observe::answer;
use super::{Gate, HEADERS_BYTES_MAX};
use crate::Fault;
use crate::tokens::Identity;

/// Refuses headers that no honest caller sends, before anything is made of them.
pub(super) async fn bound_headers(request: Request, next: Next) -> Response {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let bytes = fields.sum::<usize>() + request.uri().path().len();
    if bytes > HEADERS_BYTES_MAX {
        let fault = Fault::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE");
        return answer(
            fault
                .saying(format!("the headers of a request may have at most {HEADERS_BYTES_MAX} bytes"))
                .with("bytes_max", HEADERS_BYTES_MAX),
        );
    }
    next.run(request).await
}

/// Answers in HTTP what is no gRPC at all.
pub(super) async fn speak_grpc(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")], "this is a gRPC method\n")
            .into_response();
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|value| value.starts_with("application/grpc")) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send content-type application/grpc\n").into_response();
    }
    next.run(request).await
}

/// Turns the credential into an identity, or answers UNAUTHENTICATED. Says the same for a missing and for
/// an unknown token, and never repeats what was sent.
pub(super) async fn identify(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Some(identity) = bearer(&request).and_then(|token| gate.tokens.identify(token)).cloned() else {
        let fault = Fault::new(Code::Unauthenticated, "CREDENTIAL_REQUIRED");
        return answer(fault.saying("send a valid token as `authorization: Bearer <token>`"));
    };
    Span::current().record("principal", identity.principal.to_string());
    request.extensions_mut().insert(identity);
    next.run(request).await
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets a call pass only when its caller holds a role that the contract names for it.
pub(super) async fn authorise(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(rule) = gate.rules.get(path) else {
        let fault = Fault::new(Code::Unimplemented, "UNKNOWN_RPC").with("rpc", path.trim_start_matches('/'));
        return answer(fault.saying(format!("{path} is not part of the contract")));
    };
    let roles = request.extensions().get::<Identity>().map_or(&[][..], |identity| identity.roles.as_slice());
    if !rule.roles.iter().any(|allowed| roles.contains(allowed)) {
        let fault = Fault::new(Code::PermissionDenied, "ROLE_REQUIRED")
            .saying(format!("{} needs one of the roles {}", rule.method, rule.roles.join(", ")))
            .with("rpc", path.trim_start_matches('/'))
            .with("roles", rule.roles.join(","));
        return answer(fault);
    }
    next.run(request).await
}
