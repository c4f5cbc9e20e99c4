//! What the command leaves behind.

use std::os::unix::fs::PermissionsExt as _;

use bulkhead_edge::tls::{self, ClientAuth, IdentityFiles, PeerTlsSettings, TlsSettings};

use super::*;

fn identity(signed: &Signed) -> IdentityFiles {
    IdentityFiles { certificate: signed.certificate.clone(), key: signed.key.clone() }
}

#[test]
fn what_is_made_can_be_used_and_keys_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    make(folder.path(), &["audit.internal".to_owned()], "default", 30, false).expect("made");
    let ca = authority_file(folder.path());
    for service in Service::ALL {
        let files = ServiceFiles::of(folder.path(), service);
        let clients = ClientAuth::Required(ca.clone());
        tls::check(&TlsSettings { identity: identity(&files.server), clients }).expect("a listener");
        let identity = Some(identity(&files.client));
        tls::check_peer(&PeerTlsSettings { ca: ca.clone(), identity }).expect("a dialler");
    }
    for entry in std::fs::read_dir(folder.path()).expect("listed") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        let expected = if entry.path().extension().is_some_and(|kind| kind == "key") { 0o600 } else { 0o644 };
        assert_eq!(mode & !expected, 0, "{}", entry.path().display());
    }
}

#[test]
fn an_authority_is_never_overwritten_and_a_renewal_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    make(folder.path(), &[], "default", 30, true).expect_err("there is nothing to renew from");
    make(folder.path(), &[], "default", 30, false).expect("made");
    let read = |path: &Path| std::fs::read(path).expect("read");
    let (ca, audit) = (authority_file(folder.path()), ServiceFiles::of(folder.path(), Service::Audit));
    let before = (read(&ca), read(&audit.server.certificate));
    make(folder.path(), &[], "default", 30, false).expect_err("it is there already");
    assert_eq!((read(&ca), read(&audit.server.certificate)), before);
    make(folder.path(), &[], "default", 30, true).expect("renewed");
    assert_eq!(read(&ca), before.0);
    assert_ne!(read(&audit.server.certificate), before.1);
}

#[test]
fn what_cannot_be_signed_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("certs");
    for bad in ["", "two words", "https://audit.internal", "audit..internal", "-audit", "audit:7104"] {
        make(&at, &[bad.to_owned()], "default", 30, false).expect_err(bad);
    }
    for bad in ["", "two words", "a/b", "\u{fc}"] {
        make(&at, &[], bad, 30, false).expect_err(bad);
    }
    assert!(!at.exists(), "something was written");
    let good = ["audit", "audit.internal", "*.internal", "10.0.0.1", "fd00::1"].map(str::to_owned);
    make(&at, &good, "acme", 30, false).expect("made");
}
