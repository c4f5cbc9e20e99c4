//! Models as places that requests are sent to.
//!
//! Promises that a cloud model gets nothing but [`Cleared<Anywhere>`], that a local model is only ever
//! connected to at an address inside the configured networks, whatever its name resolves to, that no proxy
//! of the environment and no redirect is followed, and that neither prompts nor keys are logged.

mod resolve;
mod stream;
mod told;
mod wire;

use std::time::Duration;

use bulkhead_edge::Secret;
use reqwest::{Client, Proxy, Url, redirect, retry};

use crate::chat::Answer;
use crate::clearance::{Anywhere, Clearance, Cleared};
use crate::failure::Failure;
use crate::limit::models::Told;
use crate::network::LocalNetworks;
use crate::provider::{Abilities, Adapter};
use crate::proxy::ProxyUrl;
use resolve::LocalResolver;
pub(crate) use resolve::literal;
pub use stream::{Piece, Streaming};

/// Where a model is and how to speak to it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Wire format.
    pub adapter: &'static Adapter,
    /// What the adapter's path is appended to.
    pub base_url: Url,
    /// Where a conversation is posted: both together, so that no request has to parse it.
    pub endpoint: Url,
    /// The provider's name for the model.
    pub provider_model: String,
    /// The credential, where there is one.
    pub key: Option<Secret>,
    /// What the model is said to be able to do.
    pub abilities: Abilities,
    /// For requests that name no limit.
    pub max_output_tokens_default: u32,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a stream may take until its first token.
    pub first_token_timeout: Duration,
    /// How long a stream that has begun may be silent.
    pub idle_timeout: Duration,
}

/// What an attempt needs beside the request.
#[derive(Debug, Clone)]
pub struct Brief {
    /// How long the attempt may take in all.
    pub timeout: Duration,
    /// How long a stream may take until its first token.
    pub first_token_timeout: Duration,
    /// How long a stream that has begun may be silent.
    pub idle_timeout: Duration,
    /// Unique to the attempt.
    pub attempt_id: String,
    /// Where what the server says of its limits goes.
    pub heard: Told,
}

/// Why a model cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No client could be built.
    #[error("cannot prepare the HTTP client of model {model}")]
    Client {
        /// Name in the configuration.
        model: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A model marked local has an address that is not.
    #[error("model {model} is marked local, but {host} is in none of local_networks")]
    NotLocal {
        /// Name in the configuration.
        model: String,
        /// The address in its URL.
        host: String,
    },
}

/// A model that may see anything.
#[derive(Debug)]
pub struct LocalModel {
    target: Target,
    http: Client,
}

/// A model outside.
#[derive(Debug)]
pub struct CloudModel {
    target: Target,
    http: Client,
}

/// Either.
#[derive(Debug)]
pub enum Upstream {
    /// May see anything.
    Local(LocalModel),
    /// May only see what was cleared for it.
    Cloud(CloudModel),
}

impl LocalModel {
    /// Prepares the client.
    ///
    /// # Errors
    /// [`UpstreamError::NotLocal`] when the URL holds an address outside the networks.
    pub fn new(name: &str, target: Target, networks: &LocalNetworks) -> Result<Self, UpstreamError> {
        if let Some(address) = literal(&target.base_url)
            && !networks.contains(address)
        {
            return Err(UpstreamError::NotLocal { model: name.to_owned(), host: address.to_string() });
        }
        let builder = plain(&target).dns_resolver(LocalResolver::new(networks.clone()));
        let http =
            builder.build().map_err(|source| UpstreamError::Client { model: name.to_owned(), source })?;
        Ok(Self { target, http })
    }

    /// Asks the model, whatever the clearance.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call<S: Sync>(&self, request: &Cleared<S>, brief: Brief) -> Result<Answer, Failure> {
        wire::exchange(&self.http, &self.target, request.prompt(), brief).await
    }

    /// The same as a stream, once its beginning is there.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn stream<S: Sync>(&self, request: &Cleared<S>, brief: Brief) -> Result<Streaming, Failure> {
        stream::open(&self.http, &self.target, request.prompt(), brief).await
    }
}

impl CloudModel {
    /// Prepares the client, with an explicitly configured proxy if there is one.
    ///
    /// # Errors
    /// [`UpstreamError::Client`].
    pub fn new(name: &str, target: Target, proxy: Option<&ProxyUrl>) -> Result<Self, UpstreamError> {
        // Without the URL, which may be the proxy's.
        let failed = |error: reqwest::Error| UpstreamError::Client {
            model: name.to_owned(),
            source: error.without_url(),
        };
        let mut builder = plain(&target);
        if let Some(proxy) = proxy {
            builder = builder.proxy(Proxy::all(proxy.reveal().clone()).map_err(failed)?);
        }
        Ok(Self { http: builder.build().map_err(failed)?, target })
    }

    /// Asks the model what was cleared for it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, request: &Cleared<Anywhere>, brief: Brief) -> Result<Answer, Failure> {
        wire::exchange(&self.http, &self.target, request.prompt(), brief).await
    }

    /// The same as a stream, once its beginning is there.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn stream(&self, request: &Cleared<Anywhere>, brief: Brief) -> Result<Streaming, Failure> {
        stream::open(&self.http, &self.target, request.prompt(), brief).await
    }
}

impl Upstream {
    /// Asks the model if the clearance allows it; none if it does not, and then nothing was sent.
    pub(crate) async fn call(&self, request: &Clearance, brief: Brief) -> Option<Result<Answer, Failure>> {
        match (self, request) {
            (Self::Local(model), Clearance::Anywhere(request)) => Some(model.call(request, brief).await),
            (Self::Local(model), Clearance::LocalOnly(request)) => Some(model.call(request, brief).await),
            (Self::Cloud(model), Clearance::Anywhere(request)) => Some(model.call(request, brief).await),
            (Self::Cloud(_), Clearance::LocalOnly(_)) => None,
        }
    }

    /// The same as a stream, once its beginning is there; none if the clearance does not allow it, and then nothing
    /// was sent.
    pub async fn stream(&self, request: &Clearance, brief: Brief) -> Option<Result<Streaming, Failure>> {
        match (self, request) {
            (Self::Local(model), Clearance::Anywhere(request)) => Some(model.stream(request, brief).await),
            (Self::Local(model), Clearance::LocalOnly(request)) => Some(model.stream(request, brief).await),
            (Self::Cloud(model), Clearance::Anywhere(request)) => Some(model.stream(request, brief).await),
            (Self::Cloud(_), Clearance::LocalOnly(_)) => None,
        }
    }

    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::Local(model) => &model.target,
            Self::Cloud(model) => &model.target,
        }
    }
}

/// What both kinds share. Retries belong to the schedule alone: one attempt is one request. Small writes are not held
/// back: with Nagle's algorithm they would wait for acknowledgements that the other side delays.
fn plain(target: &Target) -> reqwest::ClientBuilder {
    Client::builder()
        .no_proxy()
        // The key among them is marked as sensitive, so that nothing shows it.
        .default_headers((target.adapter.headers)(target.key.as_ref()))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(target.connect_timeout)
        .tcp_nodelay(true)
        .user_agent(concat!("bulkhead/", env!("CARGO_PKG_VERSION")))
}
