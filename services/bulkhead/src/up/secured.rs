//! TLS in a data folder: the authority that its first start makes, and what the configuration says of it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::Layout;
use super::configuration::quoted_path;
use crate::certs::{self, ServiceFiles, authority_file};
use crate::serve::Service;

/// How long the certificates of a first start are good for; `bulkhead certs DIR --renew` signs new ones.
pub(crate) const CERTIFICATE_DAYS: u16 = 365;

/// Makes an authority and what it signs. One that a start which was cut short has left is taken.
pub(super) fn furnish(layout: &Layout, names: &[String], tenant: &str) -> anyhow::Result<()> {
    let made = layout.authority().exists();
    certs::make(&layout.certificates(), names, tenant, CERTIFICATE_DAYS, made)
}

/// For the `edge` of a service: what it shows, and who may have signed what its callers show.
pub(super) fn of_listener(certificates: &Path, service: Service) -> anyhow::Result<String> {
    let shown = ServiceFiles::of(certificates, service).server;
    Ok(format!(
        "tls.certificate = {}\ntls.key = {}\ntls.client_ca = {}\ntls.client_auth = \"optional\"\n",
        quoted_path(&shown.certificate)?,
        quoted_path(&shown.key)?,
        quoted_path(&authority_file(certificates))?,
    ))
}

/// For a peer's table of a service: who may have signed the peer's certificate, and what is shown to it.
pub(super) fn of_caller(certificates: &Path, service: Service) -> anyhow::Result<String> {
    let shown = ServiceFiles::of(certificates, service).client;
    Ok(format!(
        "ca = {}\ncertificate = {}\nkey = {}\n",
        quoted_path(&authority_file(certificates))?,
        quoted_path(&shown.certificate)?,
        quoted_path(&shown.key)?,
    ))
}

/// Whether the services of a data folder speak TLS. What each of them speaks is its own configuration's affair; this
/// is how people are told to call.
pub(super) fn is_spoken(layout: &Layout) -> anyhow::Result<bool> {
    let path = layout.config();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: toml::Table = toml::from_str(&text).context("the configuration is not valid TOML")?;
    let edge = |service: Service| config.get(service.name())?.get("edge");
    Ok(Service::ALL.into_iter().all(|service| edge(service).is_some_and(|edge| edge.get("tls").is_some())))
}

/// An existing configuration is its owner's: it is not rewritten for a flag.
pub(super) fn require(layout: &Layout) -> anyhow::Result<()> {
    ensure!(
        is_spoken(layout)?,
        "the configuration {} speaks plaintext, and --tls is for the first start of a data folder; use another \
         --data, or write into it what `bulkhead certs {}` prints",
        layout.config().display(),
        layout.certificates().display(),
    );
    Ok(())
}
