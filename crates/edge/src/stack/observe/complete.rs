//! Gives the errors that tonic itself answers the shape that the contract promises. Our own carry details; what
//! has none comes from tonic.

mod trailers;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bulkhead_proto::rules::MethodRule;
use tonic::{Code, Status};
use tracing::Span;

use crate::Fault;
use crate::stack::Gate;

/// How a gRPC message is compressed.
const GRPC_ENCODING: &str = "grpc-encoding";

/// What must still be known of a request once its handler has taken it.
pub(in crate::stack) struct Sent<'a> {
    rule: Option<&'a MethodRule>,
    compressed: bool,
}

impl<'a> Sent<'a> {
    pub(in crate::stack) fn of(request: &Request, rule: Option<&'a MethodRule>) -> Self {
        let encoding = request.headers().get(GRPC_ENCODING);
        Self { rule, compressed: encoding.is_some_and(|encoding| encoding != "identity") }
    }

    /// The handler's answer, or what it should have been.
    pub(in crate::stack) fn complete(&self, response: Response, gate: &Gate) -> Result<Response, Fault> {
        match response.extensions().get::<Status>() {
            None => Ok(response.map(|body| Body::new(trailers::Completed::new(body, Span::current())))),
            Some(status) if status.details().is_empty() => Err(self.fault(status, gate)),
            Some(_) => Ok(response),
        }
    }

    fn fault(&self, status: &Status, gate: &Gate) -> Fault {
        match (status.code(), self.rule) {
            (Code::OutOfRange, _) => Fault::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
                .saying(format!("a message may have at most {} bytes", gate.message_bytes_max))
                .with("bytes_max", gate.message_bytes_max),
            (Code::Unimplemented, _) if self.compressed => {
                Fault::new(Code::Unimplemented, "COMPRESSION_UNSUPPORTED")
                    .saying("compressed messages are not accepted; send with grpc-encoding identity")
            }
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
            _ => Fault::new(Code::Unknown, "UNSPECIFIED_FAILURE")
                .saying(status.message())
                .because(status.clone()),
        }
    }
}
