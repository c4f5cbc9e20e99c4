//! Who calls, and whether they may.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, StatusCode};
use tonic::Code;
use tracing::Span;

use super::observe::answer;
use super::{Gate, HEADERS_BYTES_MAX};
use crate::identity::Admitted;
use crate::identity::credential::{Credential, source};
use crate::{Fault, Identity};

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

/// Turns the credential into an identity and its standing, or says why not without repeating what was sent.
pub(super) async fn identify(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let credential = Credential::of(request.headers(), request.extensions());
    let Admitted { identity, standing } =
        match gate.registry.admit(credential, source(request.extensions())).await {
            Ok(admitted) => admitted,
            Err(refusal) => return answer(refusal.into()),
        };
    Span::current().record("principal", identity.principal.to_string());
    request.extensions_mut().insert(identity);
    request.extensions_mut().insert(standing);
    next.run(request).await
}

/// Lets a call pass only when its caller holds a role that the contract names for it.
pub(super) async fn authorise(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(rule) = gate.rules.get(path) else {
        let fault = Fault::new(Code::Unimplemented, "UNKNOWN_RPC").with("rpc", path.trim_start_matches('/'));
        return answer(fault.saying(format!("{path} is not part of the contract")));
    };
    let roles =
        request.extensions().get::<Arc<Identity>>().map_or(&[][..], |identity| identity.roles.as_slice());
    if !rule.roles.iter().any(|allowed| roles.contains(allowed)) {
        let fault = Fault::new(Code::PermissionDenied, "ROLE_REQUIRED")
            .saying(format!("{} needs one of the roles {}", rule.method, rule.roles.join(", ")))
            .with("rpc", path.trim_start_matches('/'))
            .with("roles", rule.roles.join(","));
        return answer(fault);
    }
    next.run(request).await
}
