//! The keys of `edge` and of a peer's table that say how connections are made.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;

use super::Table;
use crate::serve::{ConnectionLimits, TransportSettings};
use crate::tls::{self, ClientAuth, IdentityFiles, PeerTlsSettings, TlsSettings};

/// What has to be written where traffic may be read and changed by others.
const PLAINTEXT_WORDS: &str = "i-trust-everyone-on-this-network";

impl TransportSettings {
    /// Reads the keys within the table `edge`.
    pub(super) fn read(table: &mut Table<'_>, listen: Option<SocketAddr>) -> Self {
        let transport = Self {
            tls: table.optional_table("tls", TlsSettings::read),
            connections: table.optional_table("connections", ConnectionLimits::read).unwrap_or_default(),
        };
        let exposed = listen.is_some_and(|listen| !listen.ip().to_canonical().is_loopback());
        plaintext(table, "listen", exposed && !table.has("tls"));
        transport
    }
}

/// Reads the words that allow plaintext, and asks for them where it is `exposed` at `key`.
fn plaintext(table: &mut Table<'_>, key: &str, exposed: bool) {
    let words = table.optional::<String>(
        "plaintext",
        "Says in words that anybody on the network may read and change what is sent, tokens included. Without them \
         plaintext is for loopback only.",
    );
    match words.as_deref() {
        Some(PLAINTEXT_WORDS) => {}
        Some(_) => table.mistake("plaintext", format!("must be \"{PLAINTEXT_WORDS}\", or not be there")),
        None if exposed => table.mistake(
            key,
            format!("is not loopback: set up TLS, or say plaintext = \"{PLAINTEXT_WORDS}\" beside it"),
        ),
        None => {}
    }
}

impl TlsSettings {
    /// Reads a table `edge.tls`; the files are tried.
    fn read(table: &mut Table<'_>) -> Option<Self> {
        let certificate = table.required::<PathBuf>(
            "certificate",
            "PEM file with the certificate chain of the service, its own first.",
        );
        let key = table.required::<PathBuf>("key", "PEM file with the private key of the certificate.");
        let ca = table.optional::<PathBuf>(
            "client_ca",
            "PEM file with the authorities that sign certificates of callers.",
        );
        let asked = table.or(
            "client_auth",
            (if ca.is_some() { "required" } else { "none" }).to_owned(),
            "Whether callers show a certificate: none (they are not asked), optional (a bad one is refused), or \
             required. With client_ca it is required unless said otherwise.",
        );
        let clients = match (asked.as_str(), ca) {
            ("none", None) => ClientAuth::None,
            ("optional", Some(ca)) => ClientAuth::Optional(ca),
            ("required", Some(ca)) => ClientAuth::Required(ca),
            ("optional" | "required", None) => {
                table.mistake("client_auth", format!("is {asked}, which needs client_ca"));
                return None;
            }
            ("none", Some(_)) => {
                table.mistake("client_ca", "is of no use with client_auth = \"none\"");
                return None;
            }
            _ => {
                table.mistake("client_auth", "must be one of none, optional, required");
                return None;
            }
        };
        let settings = Self { identity: IdentityFiles { certificate: certificate?, key: key? }, clients };
        table.loaded("certificate", tls::check(&settings)).map(|()| settings)
    }
}

impl ConnectionLimits {
    /// Reads a table `edge.connections`.
    fn read(table: &mut Table<'_>) -> Option<Self> {
        let default = Self::default();
        let max = table.number(
            "max",
            1..=65_536,
            default.max,
            "Connections that may be open; the next ones wait. Well below the 1,024 file descriptors that processes \
             usually get: raise both together.",
        );
        let per_address_max = table.number(
            "per_address_max",
            1..=65_536,
            default.per_address_max,
            "Of these, how many may come from one address (of IPv6, one network of 64 bits). A third, so that no one \
             takes all; raise it behind a proxy.",
        );
        let idle_timeout = table.milliseconds(
            "idle_timeout_ms",
            1_000..=86_400_000,
            600_000,
            "How long a connection may be without a call before it is closed politely. Ten minutes: shorter than what \
             firewalls forget silently.",
        );
        Some(Self { max, per_address_max, idle_timeout })
    }
}

impl PeerTlsSettings {
    /// Reads the keys within the table of a peer. None where its endpoint is plaintext, or something is wrong.
    pub(super) fn read(table: &mut Table<'_>, endpoint: Option<&str>) -> Option<Self> {
        let ca = table.optional::<PathBuf>(
            "ca",
            "For https: PEM file with the authorities that sign the peer's certificate.",
        );
        let certificate = table.optional::<PathBuf>(
            "certificate",
            "For https: PEM file with the certificate that we show to the peer.",
        );
        let key =
            table.optional::<PathBuf>("key", "For https: PEM file with the private key of our certificate.");
        let uri = endpoint.and_then(|endpoint| endpoint.parse::<Uri>().ok());
        let secured = uri.as_ref().and_then(Uri::scheme_str) == Some("https");
        plaintext(table, "endpoint", uri.as_ref().is_some_and(|uri| !secured && !is_loopback(uri)));
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(IdentityFiles { certificate, key }),
            (Some(_), None) => {
                table.mistake("certificate", "needs its key");
                return None;
            }
            (None, Some(_)) => {
                table.mistake("key", "needs its certificate");
                return None;
            }
        };
        match ca {
            Some(ca) if secured => {
                let settings = Self { ca, identity };
                table.loaded("ca", tls::check_peer(&settings)).map(|()| settings)
            }
            None if secured => {
                table.mistake(
                    "endpoint",
                    "is https and needs ca, the authorities that sign the peer's certificate",
                );
                None
            }
            Some(_) => {
                table.mistake("ca", "is of no use with an endpoint that is not https");
                None
            }
            None if identity.is_some() => {
                table.mistake("certificate", "is of no use with an endpoint that is not https");
                None
            }
            None => None,
        }
    }
}

/// Whether a URL names this machine, whatever a resolver says.
fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::peer::PeerSettings;
    use crate::settings::Settings;

    /// What is wrong with an `edge` or a peer of this text.
    fn told(edge: &str, peer: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, token) = (folder.path().join("c.toml"), folder.path().join("token"));
        std::fs::write(&token, "t").expect("written");
        let text = format!("[audit.edge]\n{edge}\n[audit.peer]\ntoken_file = {token:?}\n{peer}\n");
        std::fs::write(&path, text).expect("written");
        let settings = Settings::load(&path, "audit").expect("readable");
        let read = settings.read(|table| {
            table.table("edge", |table| {
                let listen = table.required("listen", "");
                Some(super::TransportSettings::read(table, listen))
            })?;
            table.table("peer", PeerSettings::read)
        });
        read.err().map_or_else(String::new, |mistakes| mistakes.to_string())
    }

    const LOCAL: &str = "listen = \"127.0.0.1:0\"";
    const NEAR: &str = "endpoint = \"http://localhost:1\"";
    const WORDS: &str = "plaintext = \"i-trust-everyone-on-this-network\"";

    #[test]
    fn plaintext_beyond_loopback_must_be_asked_for_in_words() {
        let (open, far) = ("listen = \"0.0.0.0:7104\"", "endpoint = \"http://audit.internal:7104\"");
        assert_eq!(told(LOCAL, NEAR), "");
        assert!(told(open, NEAR).contains("audit.edge.listen: is not loopback"));
        assert!(told(LOCAL, far).contains("audit.peer.endpoint: is not loopback"));
        assert_eq!(told(&format!("{open}\n{WORDS}"), &format!("{far}\n{WORDS}")), "");
        assert!(
            told(&format!("{open}\nplaintext = \"yes\""), NEAR).contains("audit.edge.plaintext: must be")
        );
    }

    #[test]
    fn files_that_cannot_be_used_and_keys_that_do_not_fit_are_mistakes() {
        let tls =
            |keys: &str| format!("{LOCAL}\n[audit.edge.tls]\ncertificate = \"/no\"\nkey = \"/no\"\n{keys}");
        let cases = [
            (tls(""), NEAR.to_owned(), "audit.edge.tls.certificate: cannot read /no"),
            (
                tls("client_auth = \"required\""),
                NEAR.to_owned(),
                "client_auth: is required, which needs client_ca",
            ),
            (tls("client_auth = \"all\""), NEAR.to_owned(), "client_auth: must be one of"),
            (tls("client_ca = \"/no\"\nclient_auth = \"none\""), NEAR.to_owned(), "client_ca: is of no use"),
            (LOCAL.to_owned(), "endpoint = \"https://a:1\"".to_owned(), "endpoint: is https and needs ca"),
            (LOCAL.to_owned(), "endpoint = \"https://a:1\"\nca = \"/no\"".to_owned(), "ca: cannot read /no"),
            (LOCAL.to_owned(), format!("{NEAR}\nca = \"/no\""), "ca: is of no use"),
            (LOCAL.to_owned(), format!("{NEAR}\nkey = \"/no\""), "key: needs its certificate"),
        ];
        for (edge, peer, expected) in cases {
            let told = told(&edge, &peer);
            assert!(told.contains(expected), "{expected:?} is missing from {told}");
        }
    }
}
