//! The id under which a call is logged everywhere.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use uuid::Uuid;

/// Carries the id of a call, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A UUID in its usual text, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's `x-request-id` if it is a UUID, a new one otherwise.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let id = sent.and_then(|text| text.parse::<Uuid>().ok()).unwrap_or_else(Uuid::now_v7);
        let mut buffer = Uuid::encode_buffer();
        let text: &str = id.hyphenated().encode_lower(&mut buffer);
        Self(text.into())
    }

    /// The id that a request was given; empty outside the stack.
    pub(crate) fn in_extensions<B>(request: &Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self("".into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A response that names the id.
    pub(crate) fn returned_with(self, mut response: Response) -> Response {
        if let Ok(value) = HeaderValue::try_from(self.as_str()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
}
