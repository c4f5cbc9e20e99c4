//! Authorities and certificates, made for each test.

use std::path::{Path, PathBuf};

use bulkhead_edge::tls::{IdentityFiles, PeerTlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

/// An authority, and the folder where what it signs is kept.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    name: &'static str,
}

/// What a certificate says, where it differs from a good one for this machine.
#[derive(Default)]
pub(crate) struct Leaf {
    /// In place of `localhost` and the loopback addresses.
    pub(crate) host: Option<&'static str>,
    pub(crate) uri: Option<&'static str>,
    pub(crate) expired: bool,
}

impl Ca {
    pub(crate) fn new(folder: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs");
        Self { issuer, folder: folder.to_owned(), name }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        let path = self.folder.join(format!("{}.pem", self.name));
        std::fs::write(&path, self.pem()).expect("written");
        path
    }

    /// Signs a certificate into files of a name.
    pub(crate) fn sign(&self, name: &str, leaf: Leaf) -> IdentityFiles {
        let (certificate, key) = self.signed(leaf);
        let files = IdentityFiles {
            certificate: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate).expect("written");
        std::fs::write(&files.key, key).expect("written");
        files
    }

    fn signed(&self, leaf: Leaf) -> (String, String) {
        let mut params = CertificateParams::new(match leaf.host {
            Some(host) => vec![host.to_owned()],
            None => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        })
        .expect("names");
        if let Some(uri) = leaf.uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
        }
        if leaf.expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }

    /// What a caller needs who trusts this authority and shows nothing.
    pub(crate) fn trusted(&self) -> PeerTlsSettings {
        PeerTlsSettings { ca: self.file(), identity: None }
    }
}
