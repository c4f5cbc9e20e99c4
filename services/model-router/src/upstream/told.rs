//! Failures that come with the status of a success: an error in the place of an answer, or in the middle of it.

use http::HeaderMap;

use crate::failure::{Failure, delay, message};
use crate::provider::stream::Broken;
use crate::provider::{Adapter, Malformed};

/// Where an error was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is all that came.
    Body,
    /// An event of a stream.
    Stream,
}

/// Why there is no answer. How long to wait is in the headers, which came before, or in the error itself.
pub(super) fn failure(
    adapter: &Adapter,
    http_status: u16,
    headers: &HeaderMap,
    broken: &Broken,
    place: Place,
) -> Failure {
    let body = match broken {
        Broken::Malformed(unreadable) => return malformed(http_status, unreadable),
        Broken::Told { body, .. } => body,
    };
    let kind = broken.kind(adapter);
    let message = match place {
        Place::Body => message::sentence(kind, http_status, body),
        Place::Stream => message::sentence_in_stream(kind, body),
    };
    let server_delay = delay::read(headers, bulkhead_edge::now()).or_else(|| delay::said(kind, body));
    Failure { kind, http_status, message, server_delay }
}

/// What came cannot be used.
pub(super) fn malformed(http_status: u16, malformed: &Malformed) -> Failure {
    let failure = Failure::without_response(malformed.kind(), malformed.to_string());
    Failure { http_status, ..failure }
}
