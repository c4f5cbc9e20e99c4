//! Which address and which token a command uses.
//!
//! A token of a data folder goes only to the addresses that the folder's own configuration names, or where
//! somebody gave the folder and the address in one command: a typing mistake sends no secret to a stranger.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bulkhead_edge::PeerError;
use bulkhead_edge::peer::Credentials;
use bulkhead_edge::tls::{IdentityFiles, PeerTlsSettings};

use super::arguments::ClientArguments;
use crate::cli::default_data;
use crate::serve::Service;
use crate::up::{DEFAULT_PORT_BASE, Layout};

/// Where a call goes, and as whom.
#[derive(Debug)]
pub(super) struct Target {
    /// A URL.
    pub(super) endpoint: String,
    /// The token.
    pub(super) credentials: Credentials,
    /// Whom to trust and what to show, for `https`.
    pub(super) tls: Option<PeerTlsSettings>,
    /// Where both come from, for `--verbose`.
    pub(super) origin: String,
}

/// Why there is no address or no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(
        "no token: name a file with --token-file, set BULKHEAD_TOKEN, or name the data folder of \
         `bulkhead up` with --data"
    )]
    NoToken,
    #[error("the token is empty, or holds what no header can carry")]
    NotAToken,
    #[error("--as {holder:?} is not the name of a token; {folder} has {names}")]
    NoSuchHolder { holder: String, folder: PathBuf, names: String },
    #[error(transparent)]
    Token(#[from] PeerError),
    #[error("cannot read the configuration {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot understand the configuration {path}")]
    NotToml {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("the configuration {path} does not say where {service} listens; use --endpoint")]
    NotListening { path: PathBuf, service: &'static str },
    #[error("--endpoint {given:?} names no service; services are {names}")]
    NoSuchService { given: String, names: String },
    #[error(
        "this command calls more than one service; name each one: \
         --endpoint model-router=URL --endpoint tool-executor=URL"
    )]
    Ambiguous,
}

impl ClientArguments {
    /// Looks up where `service` is and which token to show it. `only` is true for a command that calls no
    /// other service, whose address may then stand without a name.
    pub(super) fn target(&self, service: Service, holder: &str, only: bool) -> Result<Target, TargetError> {
        let folder = self.data.clone().or_else(|| Some(default_data()).filter(|folder| folder.is_dir()));
        let given = self.given_endpoint(service, only)?;
        let holder = self.holder.as_deref().unwrap_or(holder);
        // The folder's token is for the folder's services.
        let trusted = folder.as_deref().filter(|_| given.is_none() || self.data.is_some());
        let (credentials, whose) = self.credentials(trusted, holder)?;
        let tls = self.tls(trusted);
        let (endpoint, where_from) = match (given, folder) {
            (Some(given), _) => (given, "as given".to_owned()),
            (None, Some(folder)) => (configured(&folder, service)?, format!("from {}", folder.display())),
            (None, None) => (usual(service), "the usual port".to_owned()),
        };
        let origin = format!("{}: {endpoint} ({where_from}), {whose}", service.name());
        Ok(Target { endpoint, credentials, tls, origin })
    }

    /// As said on the command line, or else the authority in the folder's own `certs`.
    fn tls(&self, folder: Option<&Path>) -> Option<PeerTlsSettings> {
        let own = || folder.map(|folder| Layout::new(folder.to_owned()).authority());
        let ca = self.ca.clone().or_else(|| own().filter(|ca| ca.is_file()))?;
        let identity = self.cert.clone().zip(self.key.clone());
        let identity = identity.map(|(certificate, key)| IdentityFiles { certificate, key });
        Some(PeerTlsSettings { ca, identity })
    }

    fn given_endpoint(&self, service: Service, only: bool) -> Result<Option<String>, TargetError> {
        let mut found = None;
        for given in self.endpoint.iter().filter(|given| !given.is_empty()) {
            match given.split_once('=') {
                Some((name, url)) if !name.contains(':') => {
                    let named = Service::ALL.into_iter().find(|service| service.name() == name);
                    let named = named.ok_or_else(|| no_such_service(given))?;
                    if named == service {
                        found = Some(url.to_owned());
                    }
                }
                _ if only => found = Some(given.clone()),
                _ => return Err(TargetError::Ambiguous),
            }
        }
        Ok(found)
    }

    /// What is said on the command line wins over the environment, and both over the folder.
    fn credentials(&self, folder: Option<&Path>, holder: &str) -> Result<(Credentials, String), TargetError> {
        if let Some(path) = &self.token_file {
            return Ok((Credentials::load(path)?, format!("token of {}", path.display())));
        }
        if let Some(token) = self.token.as_ref().filter(|token| !token.as_str().is_empty()) {
            let credentials = Credentials::new(token.as_str()).ok_or(TargetError::NotAToken)?;
            return Ok((credentials, "token of --token or BULKHEAD_TOKEN".to_owned()));
        }
        let layout = Layout::new(folder.ok_or(TargetError::NoToken)?.to_owned());
        let path = layout.token(holder);
        let plain =
            !holder.is_empty() && holder.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if self.holder.is_some() && !(plain && path.is_file()) {
            return Err(no_such_holder(holder, &layout));
        }
        Ok((Credentials::load(&path)?, format!("token {}", path.display())))
    }
}

fn no_such_service(given: &str) -> TargetError {
    let names: Vec<_> = Service::ALL.into_iter().map(Service::name).collect();
    TargetError::NoSuchService { given: given.to_owned(), names: names.join(", ") }
}

fn no_such_holder(holder: &str, layout: &Layout) -> TargetError {
    let folder = layout.token("");
    let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    TargetError::NoSuchHolder { holder: holder.to_owned(), folder, names: names.join(", ") }
}

/// Where the configuration of a data folder lets a service listen.
fn configured(folder: &Path, service: Service) -> Result<String, TargetError> {
    let path = Layout::new(folder.to_owned()).config();
    let text =
        fs::read_to_string(&path).map_err(|source| TargetError::Unreadable { path: path.clone(), source })?;
    let config: toml::Table = toml::from_str(&text)
        .map_err(|source| TargetError::NotToml { path: path.clone(), source: Box::new(source) })?;
    let edge = config.get(service.name()).and_then(|table| table.get("edge"));
    let listen = edge.and_then(|edge| edge.get("listen")).and_then(toml::Value::as_str);
    let address = listen.and_then(|listen| listen.parse().ok()).filter(|a: &SocketAddr| a.port() != 0);
    let address = address.ok_or(TargetError::NotListening { path, service: service.name() })?;
    let scheme = if edge.is_some_and(|edge| edge.get("tls").is_some()) { "https" } else { "http" };
    Ok(format!("{scheme}://{}", reachable(address)))
}

/// The address to call for one that a service listens on: all interfaces include this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn usual(service: Service) -> String {
    format!("http://127.0.0.1:{}", DEFAULT_PORT_BASE + service.port_offset())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        client: ClientArguments,
    }

    fn ca(folder: &Path, more: &[&str]) -> Option<PathBuf> {
        let data = folder.to_str().expect("UTF-8");
        let arguments = ["bulkhead", "--token", "t", "--data", data].into_iter().chain(more.iter().copied());
        let Command { client } = Command::try_parse_from(arguments).expect("parsed");
        let target = client.target(Service::Audit, "auditor", true).expect("a target");
        assert!(target.endpoint.starts_with("https://"), "{}", target.endpoint);
        target.tls.map(|tls| tls.ca)
    }

    #[test]
    fn the_authority_in_a_data_folder_is_trusted_unless_another_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path().to_owned());
        let config = "[audit.edge]\nlisten = \"127.0.0.1:7104\"\ntls.certificate = \"audit.crt\"\n";
        fs::write(layout.config(), config).expect("written");
        assert_eq!(ca(folder.path(), &[]), None);
        crate::certs::make(&folder.path().join("certs"), &[], "default", 1, false).expect("made");
        assert_eq!(ca(folder.path(), &[]), Some(layout.authority()));
        assert_eq!(ca(folder.path(), &["--ca", "other.pem"]), Some("other.pem".into()));
    }
}
