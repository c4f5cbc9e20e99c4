//! Who calls, and whether they may.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use tonic::Code;
use tracing::Span;

use super::Gate;
use super::observe::answer;
use crate::Fault;
use crate::tokens::Identity;

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
