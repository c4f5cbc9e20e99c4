//! A client of the control endpoints.

use std::net::SocketAddr;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use crate::control::{Requests, Script};

/// Why the simulator could not be told or asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No client could be built.
    #[error("cannot build an HTTP client")]
    Build(#[source] reqwest::Error),
    /// It was not reached, or its answer is unusable.
    #[error("the simulator at {base} did not answer")]
    Http {
        /// Where.
        base: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It did not like the request.
    #[error("the simulator refused with {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// Sets scripts and reads the record. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ControlClient {
    base: String,
    http: Client,
}

impl ControlClient {
    /// For the simulator at `address`. Proxies of the environment are not used.
    ///
    /// # Errors
    /// [`ControlError::Build`].
    pub fn new(address: SocketAddr) -> Result<Self, ControlError> {
        let http = Client::builder().no_proxy().build().map_err(ControlError::Build)?;
        Ok(Self { base: format!("http://{address}"), http })
    }

    /// Gives a model a script, in place of its former one.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn script(&self, model: &str, script: &Script) -> Result<(), ControlError> {
        let request = self.request(Method::PUT, "scripts", Some(model)).json(script);
        self.send(request).await.map(drop)
    }

    /// Forgets the script of one model, or of all.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn clear_scripts(&self, model: Option<&str>) -> Result<(), ControlError> {
        self.send(self.request(Method::DELETE, "scripts", model)).await.map(drop)
    }

    /// The requests to one model, or to all.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn requests(&self, model: Option<&str>) -> Result<Requests, ControlError> {
        let response = self.send(self.request(Method::GET, "requests", model)).await?;
        self.read(response).await
    }

    /// Forgets every request and counts from 1 again.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn clear_requests(&self) -> Result<(), ControlError> {
        self.send(self.request(Method::DELETE, "requests", None)).await.map(drop)
    }

    fn request(&self, method: Method, what: &str, model: Option<&str>) -> RequestBuilder {
        // The one separator matters: names hold `:` and `/`, and must not be able to end the parameter.
        let query = model.map(|model| format!("?model={}", escaped(model))).unwrap_or_default();
        self.http.request(method, format!("{}/control/{what}{query}", self.base))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ControlError> {
        let response = request.send().await.map_err(|source| self.failed(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let message = response.text().await.map_err(|source| self.failed(source))?;
        Err(ControlError::Refused { status: status.as_u16(), message: message.trim().to_owned() })
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ControlError> {
        response.json().await.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: reqwest::Error) -> ControlError {
        ControlError::Http { base: self.base.clone(), source }
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
