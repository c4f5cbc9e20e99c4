//! Files that the servers and the load share: certificates, tokens, and the keys of an issuer of tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_edge::identity::jwt::{ClaimNames, JwtSettings, KeySource};
use bulkhead_edge::tls::IdentityFiles;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{EdgeSettings, PrincipalKind};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

/// The static credential of the load. It opens nothing but this bench.
const TOKEN: &str = "token-of-the-bench";
/// Its issuer.
const ISSUER: &str = "https://issuer.example";
/// How long its JWT is good, in seconds: longer than any bench.
const JWT_SECONDS: i64 = 86_400;

/// A folder with all of them.
#[derive(Debug, Clone)]
pub(crate) struct House {
    folder: PathBuf,
}

impl House {
    /// Makes them.
    pub(crate) fn furnish(folder: &Path) -> anyhow::Result<Self> {
        let house = Self::at(folder);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let identity = house.identity();
        std::fs::write(&identity.certificate, certificate.pem())?;
        std::fs::write(&identity.key, key.serialize_pem())?;
        std::fs::write(house.tokens(), toml::to_string(&callers())?)?;
        house.issue()?;
        Ok(house)
    }

    /// Those that are in a folder already.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a server shows; signed by itself, and so its own authority.
    pub(crate) fn identity(&self) -> IdentityFiles {
        IdentityFiles { certificate: self.folder.join("server.crt"), key: self.folder.join("server.key") }
    }

    /// The edge, with both kinds of credential.
    pub(crate) fn settings(&self) -> EdgeSettings {
        let jwt = JwtSettings {
            issuer: ISSUER.into(),
            audience: "bulkhead".into(),
            keys: KeySource::File(self.keys()),
            clock_skew: Duration::ZERO,
            kinds: vec![PrincipalKind::Person],
            claims: ClaimNames {
                name: "sub".into(),
                tenant: "tenant".into(),
                kind: "kind".into(),
                owner: "owner".into(),
                roles: "roles".into(),
            },
        };
        EdgeSettings { jwt: Some(jwt), ..EdgeSettings::loopback(self.tokens()) }
    }

    /// A static token.
    pub(crate) fn token(&self) -> String {
        TOKEN.to_owned()
    }

    /// A token that the issuer has signed.
    pub(crate) fn jwt(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("jwt"))?)
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.toml")
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys.json")
    }

    fn issue(&self) -> anyhow::Result<()> {
        let pair = Ed25519KeyPair::generate()?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "bench", "x": public });
        std::fs::write(self.keys(), json!({ "keys": [key] }).to_string())?;
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let now = bulkhead_edge::now().as_second();
        let claims = json!({
            "iss": ISSUER, "aud": "bulkhead", "iat": now, "exp": now + JWT_SECONDS, "sub": "bench",
            "tenant": "default", "kind": "person", "roles": ["auditor"],
        });
        let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "bench" });
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()).as_ref());
        Ok(std::fs::write(self.folder.join("jwt"), format!("{message}.{signature}"))?)
    }
}

fn callers() -> TokenFile {
    let entry = TokenEntry {
        hash: Some(token_hash(TOKEN)),
        certificate: None,
        tenant: "default".into(),
        kind: PrincipalKind::Person,
        name: "bench".into(),
        owner: None,
        roles: vec!["auditor".into()],
    };
    TokenFile { tokens: vec![entry] }
}
