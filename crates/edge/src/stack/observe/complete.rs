//! Gives the errors that tonic itself answers the shape that the contract promises. Our own carry details; what
//! has none comes from tonic.

mod trailers;

use axum::body::Body;
use axum::response::Response;
use bulkhead_proto::rules::MethodRule;
use http::HeaderMap;
use tonic::{Code, Status};
use tracing::Span;

use crate::Fault;
use crate::stack::Gate;

/// The handler's answer, or what it should have been.
pub(in crate::stack) fn completed(
    response: Response,
    rule: Option<&MethodRule>,
    gate: &Gate,
) -> Result<Response, Fault> {
    match response.extensions().get::<Status>() {
        Some(status) if status.details().is_empty() => Err(fault(status, rule, gate)),
        Some(_) => Ok(response),
        None => match bare(response.headers()) {
            Some(status) => Err(fault(&status, rule, gate)),
            None => Ok(response.map(|body| Body::new(trailers::Completed::new(body, Span::current())))),
        },
    }
}

/// The error of an answer that is headers alone, as generated code gives it for a method that it does not know.
fn bare(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok && status.details().is_empty())
}

fn fault(status: &Status, rule: Option<&MethodRule>, gate: &Gate) -> Fault {
    match (status.code(), rule) {
        (Code::OutOfRange, _) => too_large(gate),
        (Code::Unimplemented, Some(rule)) => {
            let path = rule.path();
            Fault::new(Code::Unimplemented, "RPC_NOT_IMPLEMENTED")
                .saying(format!("{path} is part of the contract and not implemented yet"))
                .with("rpc", path.trim_start_matches('/'))
        }
        (Code::Unimplemented, None) => {
            Fault::new(Code::Unimplemented, "UNKNOWN_RPC").saying("there is no such method")
        }
        // tonic blames itself for a frame that is missing, cut short or flagged wrongly.
        (Code::Internal, _) => Fault::new(Code::InvalidArgument, "MALFORMED_REQUEST")
            .saying("the body is not one whole gRPC message")
            .because(status.clone()),
        (Code::NotFound, _) => {
            Fault::new(Code::NotFound, "UNKNOWN_SERVICE").saying("there is no such service here")
        }
        _ => {
            Fault::new(Code::Unknown, "UNSPECIFIED_FAILURE").saying(status.message()).because(status.clone())
        }
    }
}

/// A request is larger than a message may be.
pub(in crate::stack) fn too_large(gate: &Gate) -> Fault {
    Fault::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
        .saying(format!("a message may have at most {} bytes", gate.message_bytes_max))
        .with("bytes_max", gate.message_bytes_max)
}
