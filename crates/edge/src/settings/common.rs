//! The tables that every service has: `edge`, and one for each peer that it calls.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::Table;
use crate::identity::jwt::JwtSettings;
use crate::limits::Limits;
use crate::peer::{Credentials, PeerSettings};
use crate::serve::TransportSettings;
use crate::tls::PeerTlsSettings;
use crate::tokens::TokenTable;

/// How a service meets its callers.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The file with the hashed tokens.
    pub tokens: PathBuf,
    /// For unary calls that name no timeout.
    pub unary_timeout: Duration,
    /// A longer wish is cut to this.
    pub unary_timeout_max: Duration,
    /// Age limit of streams.
    pub stream_timeout: Duration,
    /// How long open calls may take once a stop was asked for.
    pub drain_timeout: Duration,
    /// Whether reflection is served.
    pub reflection: bool,
    /// How many calls and streams it takes at once.
    pub limits: Limits,
    /// Whose JSON Web Tokens are taken; none: nobody's.
    pub jwt: Option<JwtSettings>,
    /// How connections are served.
    pub transport: TransportSettings,
}

// Defaults; their reasons stand where they are read.
const UNARY_TIMEOUT_MS: u64 = 30_000;
const UNARY_TIMEOUT_MS_MAX: u64 = 600_000;
const STREAM_TIMEOUT_MS: u64 = 3_600_000;
const DRAIN_TIMEOUT_MS: u64 = 10_000;

impl EdgeSettings {
    /// A free port on loopback, and every default.
    #[must_use]
    pub fn loopback(tokens: PathBuf) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            tokens,
            unary_timeout: Duration::from_millis(UNARY_TIMEOUT_MS),
            unary_timeout_max: Duration::from_millis(UNARY_TIMEOUT_MS_MAX),
            stream_timeout: Duration::from_millis(STREAM_TIMEOUT_MS),
            drain_timeout: Duration::from_millis(DRAIN_TIMEOUT_MS),
            reflection: true,
            limits: Limits::default(),
            jwt: None,
            transport: TransportSettings::default(),
        }
    }

    /// Reads a table `edge`.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let listen = table.required("listen", "Where to listen; port 0 picks a free one.");
        let tokens =
            table.file("tokens", "File with the hashed tokens and what their holders may do.", |path| {
                TokenTable::load(path).map(|_usable| path.to_owned())
            });
        let unary_timeout_max = table.milliseconds(
            "unary_timeout_ms_max",
            1..=3_600_000,
            UNARY_TIMEOUT_MS_MAX,
            "A longer wish of a caller is cut to this. Ten minutes: a slow model, or somebody waiting for an \
             approval.",
        );
        let unary_timeout = table.milliseconds(
            "unary_timeout_ms",
            1..=3_600_000,
            UNARY_TIMEOUT_MS,
            "For calls that name no deadline; not more than unary_timeout_ms_max. Half a minute: longer than any \
             store or peer needs, short enough for a person to wait.",
        );
        let stream_timeout = table.milliseconds(
            "stream_timeout_ms",
            1..=86_400_000,
            STREAM_TIMEOUT_MS,
            "Age limit of streams. An hour: watchers call again from their cursor.",
        );
        let drain_timeout = table.milliseconds(
            "drain_timeout_ms",
            1..=300_000,
            DRAIN_TIMEOUT_MS,
            "How long open calls may take once a stop was asked for. Ten seconds: below the grace that container \
             engines give before they kill.",
        );
        let reflection = table.or(
            "reflection",
            true,
            "Whether the service describes itself to any caller, without a token.",
        );
        let limits = table.optional_table("limits", Limits::read).unwrap_or_default();
        let jwt = table.optional_table("jwt", JwtSettings::read);
        let transport = TransportSettings::read(table, listen);
        if unary_timeout > unary_timeout_max {
            table.mistake("unary_timeout_ms", "must not be more than unary_timeout_ms_max");
        }
        Some(Self {
            listen: listen?,
            tokens: tokens?,
            unary_timeout,
            unary_timeout_max,
            stream_timeout,
            drain_timeout,
            reflection,
            limits,
            jwt,
            transport,
        })
    }
}

impl PeerSettings {
    /// Reads the table of a peer.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let endpoint =
            table.required::<String>("endpoint", "Where the peer listens, such as http://127.0.0.1:7104.");
        let token_file = table.file("token_file", "File with the token that we show to the peer.", |path| {
            Credentials::load(path).map(|_usable| path.to_owned())
        });
        if endpoint.as_deref().is_some_and(|text| !is_endpoint(text)) {
            table.mistake("endpoint", "must be like http://127.0.0.1:7104");
        }
        let tls = PeerTlsSettings::read(table, endpoint.as_deref());
        Some(Self { endpoint: endpoint?, token_file: token_file?, tls })
    }
}

fn is_endpoint(text: &str) -> bool {
    let uri = text.parse::<Uri>().ok();
    uri.is_some_and(|uri| uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")))
}
