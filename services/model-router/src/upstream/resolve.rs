//! Names of local models: looked up when connecting, and held against the allow-list each time.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::network::LocalNetworks;

/// The name of a model marked local has no local address.
#[derive(Debug, thiserror::Error)]
#[error("{host} resolves to {addresses}, which is not local; nothing was sent")]
pub(crate) struct NotLocal {
    host: String,
    addresses: String,
}

/// Gives out addresses inside the networks, and no other.
#[derive(Debug)]
pub(super) struct LocalResolver {
    networks: LocalNetworks,
}

impl LocalResolver {
    pub(super) fn new(networks: LocalNetworks) -> Self {
        Self { networks }
    }
}

impl Resolve for LocalResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.networks.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(only_local(name.as_str(), &found, &networks)?)
        })
    }
}

fn only_local(host: &str, found: &[SocketAddr], networks: &LocalNetworks) -> Result<Addrs, NotLocal> {
    let local: Vec<SocketAddr> =
        found.iter().copied().filter(|address| networks.contains(address.ip())).collect();
    if local.is_empty() {
        let addresses = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
        return Err(NotLocal { host: host.to_owned(), addresses });
    }
    Ok(Box::new(local.into_iter()))
}

/// The address in a URL that names no host. Such a URL is connected to without asking a resolver.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an error comes from [`NotLocal`], and what it says.
pub(super) fn not_local<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e NotLocal> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_the_networks_are_never_given_out() {
        let networks = LocalNetworks::new(["10.0.0.0/8".parse().expect("a network")]);
        let address = |text: &str| SocketAddr::new(text.parse().expect("an address"), 0);
        let both = [address("8.8.8.8"), address("10.0.0.7")];
        let given: Vec<_> = only_local("llm", &both, &networks).expect("one is local").collect();
        assert_eq!(given, [address("10.0.0.7")]);
        let Err(error) = only_local("llm", &both[..1], &networks) else { panic!("gave out 8.8.8.8") };
        assert_eq!(error.to_string(), "llm resolves to 8.8.8.8, which is not local; nothing was sent");
        assert!(only_local("llm", &[], &networks).is_err());
    }

    #[test]
    fn literals_are_seen_through_their_disguises() {
        let cases = [
            ("http://127.0.0.1:1/", Some("127.0.0.1")),
            ("http://0x7f.1/", Some("127.0.0.1")),
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://[::1]:1/", Some("::1")),
            ("http://localhost/", None),
        ];
        for (url, expected) in cases {
            let url: Url = url.parse().expect("a URL");
            assert_eq!(literal(&url), expected.map(|text| text.parse().expect("an address")), "{url}");
        }
    }
}
