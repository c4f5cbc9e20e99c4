//! Spans of calls, as the OpenTelemetry conventions for gRPC name them and their attributes.
//!
//! Promises that nothing a caller sends becomes an attribute: what is no RPC of the contract is `_OTHER`. Numbers are
//! `i64`, which is what OTLP has: others would be exported as text.

use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use crate::metrics::{OTHER_METHOD, status_name};
use crate::peer::Server;

/// The span of a call that comes in, to the RPC at `path` if it is one of the contract.
pub(crate) fn served(path: Option<&str>, request_id: &str) -> Span {
    let method = path.map_or(OTHER_METHOD, |path| path.trim_start_matches('/'));
    tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        request_id,
        principal = Empty,
        rpc.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// The span of a call that goes out to the RPC at `path`, which a generated client has named.
pub(crate) fn asked(path: &str, server: &Server) -> Span {
    let method = path.trim_start_matches('/');
    tracing::info_span!(
        "rpc",
        otel.name = method,
        otel.kind = "client",
        rpc.system.name = "grpc",
        rpc.method = method,
        server.address = server.address(),
        server.port = i64::from(server.port()),
        rpc.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

/// A call that came in turns out to be one of the RPC at `path`.
pub(crate) fn turned_into(span: &Span, path: &str) {
    let method = path.trim_start_matches('/');
    tracing::record_all!(span, otel.name = method, rpc.method = method);
}

/// How a call that came in has ended. A refusal that is the caller's own is no error of the server.
pub(crate) fn answered(span: &Span, code: Code) {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    let failed =
        matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss);
    ended(span, code, failed);
}

/// How a call that went out has ended. Whatever is not OK is an error to whoever asked.
pub(crate) fn told(span: &Span, code: Code) {
    ended(span, code, code != Code::Ok);
}

fn ended(span: &Span, code: Code, failed: bool) {
    let name = status_name(code);
    let (failure, status) = (failed.then_some(name), failed.then_some("ERROR"));
    tracing::record_all!(
        span,
        rpc.response.status_code = name,
        error.type = failure,
        otel.status_code = status,
    );
}
