//! From a name to addresses.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// Addresses to come.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of a name: the system's resolver, or another source of what runs where.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a host, with the port. Asked again every few seconds while calls are made.
    fn resolve(&self, host: String, port: u16) -> Resolving;
}

impl<F> Resolve for F
where
    F: Fn(String, u16) -> Resolving + Send + Sync + 'static,
{
    fn resolve(&self, host: String, port: u16) -> Resolving {
        self(host, port)
    }
}

/// Asks the operating system.
pub(super) fn system(host: String, port: u16) -> Resolving {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}
