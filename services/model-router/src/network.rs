//! Which addresses count as local.

use std::net::IpAddr;

use ipnet::IpNet;

/// An allow-list of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNetworks(Vec<IpNet>);

impl LocalNetworks {
    /// These networks and no other.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether an address is in one of them. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is looked
    /// at as IPv4, because that is where the packets go.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_networks_are_local() {
        let networks = ["127.0.0.0/8", "10.1.0.0/16", "::1/128"].map(|text| text.parse().expect("a network"));
        let networks = LocalNetworks::new(networks);
        let cases = [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("10.1.255.1", true),
            ("::ffff:10.1.0.1", true),
            ("10.2.0.1", false),
            ("8.8.8.8", false),
            ("::ffff:8.8.8.8", false),
            ("0.0.0.0", false),
            ("::", false),
            ("fe80::1", false),
        ];
        for (address, local) in cases {
            assert_eq!(networks.contains(address.parse().expect("an address")), local, "{address}");
        }
    }
}
