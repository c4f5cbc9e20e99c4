//! In builds with debug assertions: an error that the contract does not announce fails whatever test meets it.

use axum::body::Body;
use axum::response::Response;
use bulkhead_proto::reasons::{self, Origin};
use bulkhead_proto::rules::MethodRule;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::observe::answer;
use crate::Fault;

/// Replaces an answer that breaks the contract by one that says how.
pub(super) fn hold_to_contract(response: Response, rule: &MethodRule) -> Response {
    match response.extensions().get::<Status>() {
        None => {
            let rule = rule.clone();
            response.map(|body| Body::new(body.map_frame(move |frame| hold_trailers(frame, &rule))))
        }
        Some(status) => match broken(status, rule) {
            Some(wrong) => answer(undeclared(status, rule, wrong)),
            None => response,
        },
    }
}

fn hold_trailers(frame: Frame<Bytes>, rule: &MethodRule) -> Frame<Bytes> {
    let trailers = match frame.into_trailers() {
        Ok(trailers) => trailers,
        Err(data) => return data,
    };
    let status = Status::from_header_map(&trailers);
    let Some((status, wrong)) = status.and_then(|status| broken(&status, rule).map(|wrong| (status, wrong)))
    else {
        return Frame::trailers(trailers);
    };
    let mut told = HeaderMap::new();
    match undeclared(&status, rule, wrong).into_status().add_header(&mut told) {
        Ok(()) => Frame::trailers(told),
        Err(_status) => Frame::trailers(trailers),
    }
}

/// What about a status is not in the contract.
fn broken(status: &Status, rule: &MethodRule) -> Option<String> {
    if status.code() == Code::Ok {
        return None;
    }
    let Some(info) = status.get_details_error_info() else { return Some("it has no ErrorInfo".to_owned()) };
    let Some((origin, row)) = reasons::find(&info.reason) else { return Some("it has no row".to_owned()) };
    if origin == Origin::Service && !rule.reasons.contains(&info.reason) {
        return Some("the RPC does not declare it".to_owned());
    }
    if !row.codes.contains(&status.code()) {
        return Some(format!("its row does not name the code {:?}", status.code()));
    }
    let key = info.metadata.keys().find(|key| !row.metadata.contains(&key.as_str()));
    key.map(|key| format!("its row does not name the metadata key {key}"))
}

fn undeclared(status: &Status, rule: &MethodRule, wrong: String) -> Fault {
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    tracing::error!(rpc = rule.path(), reason, wrong, "an answer breaks the contract");
    Fault::new(Code::Internal, "UNDECLARED_FAILURE")
        .saying(format!("{} answered {reason} ({:?}), and {wrong}", rule.path(), status.code()))
        .with("rpc", rule.path().trim_start_matches('/'))
        .with("reason", reason)
        .with("wrong", wrong)
}
