//! An issuer of JSON Web Tokens: its keys, and a server that publishes them. Signs by hand, so that anything can be
//! signed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_edge::PrincipalKind;
use bulkhead_edge::identity::jwt::{ClaimNames, JwtSettings, KeySource};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The `iss` of all tokens here.
const ISSUER: &str = "https://issuer.example";

/// A key of the issuer.
pub(crate) struct Key {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn ed(id: &'static str) -> Self {
        Self { id, pair: Pair::Ed(Ed25519KeyPair::generate().expect("a key")) }
    }

    pub(crate) fn rsa(id: &'static str) -> Self {
        Self { id, pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ed(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id,
                "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            }),
            Pair::Rsa(pair) => json!({
                "kty": "RSA", "alg": "RS256", "kid": self.id,
                "n": URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero()),
                "e": URL_SAFE_NO_PAD.encode(pair.public_key().exponent().big_endian_without_leading_zero()),
            }),
        }
    }

    /// The bytes of the public half, as somebody might use them for a secret.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with an honest header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.id }), claims)
    }

    /// A token with any header, signed by this key.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("signed");
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// What is signed.
pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Good claims, which hold for some seconds.
pub(crate) fn claims(seconds: i64) -> Value {
    let now = bulkhead_edge::now().as_second();
    json!({
        "iss": ISSUER, "aud": "bulkhead", "iat": now, "exp": now + seconds, "sub": "scribe", "tenant": "acme",
        "kind": "agent", "owner": "ada", "roles": ["agent", "auditor"],
    })
}

/// Who those claims name, in the words of the house.
pub(crate) const SCRIBE: &str = "agent:acme/scribe of ada as agent,auditor";

/// The text of a key set.
pub(crate) fn key_set(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Takes tokens of this issuer, with the keys from there, and allows its clock nothing.
pub(crate) fn trusting(keys: KeySource) -> JwtSettings {
    JwtSettings {
        issuer: ISSUER.into(),
        audience: "bulkhead".into(),
        keys,
        clock_skew: Duration::ZERO,
        kinds: vec![PrincipalKind::Agent, PrincipalKind::Person],
        claims: ClaimNames {
            name: "sub".into(),
            tenant: "tenant".into(),
            kind: "kind".into(),
            owner: "owner".into(),
            roles: "roles".into(),
        },
    }
}

/// What the server of the keys does.
#[derive(Clone)]
pub(crate) enum Conduct {
    Publish(String),
    Fail(u16),
    Redirect(String),
}

/// A server of keys on loopback.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    conduct: watch::Sender<Conduct>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub(crate) async fn start(conduct: Conduct) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (conduct, asked) = (watch::Sender::new(conduct), Arc::new(AtomicUsize::new(0)));
        let state = (conduct.subscribe(), Arc::clone(&asked));
        let router = Router::new().route("/keys", get(answer)).with_state(state);
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, conduct, asked }
    }

    /// From now on.
    pub(crate) fn conduct(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Keys from here, asked for this often.
    pub(crate) fn keys(&self, refresh: Duration) -> KeySource {
        let url = format!("http://{}/keys", self.address).parse().expect("a URL");
        KeySource::Url { url, refresh }
    }
}

async fn answer(State((conduct, asked)): State<(watch::Receiver<Conduct>, Arc<AtomicUsize>)>) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let conduct = conduct.borrow().clone();
    match conduct {
        Conduct::Publish(text) => text.into_response(),
        Conduct::Fail(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Conduct::Redirect(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
    }
}
