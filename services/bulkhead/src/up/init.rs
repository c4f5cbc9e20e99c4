//! The first start: keys, tokens, policy and a commented configuration.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use bulkhead_edge::PrincipalKind;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use rand::{Rng as _, RngCore as _};

use super::configuration::{self, Site, View};
use super::{Layout, secured};
use crate::serve::Service;

/// The tenant of everything that `up` makes.
pub(crate) const TENANT: &str = "default";
/// The person that the agent belongs to. Holds the role `approver` too, and still may not approve what its
/// own agent asks for.
const OWNER: &str = "operator";

/// Where the services listen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ports {
    /// This port plus each service's offset.
    Base(u16),
    /// Whatever is free.
    Free,
}

impl Ports {
    /// 0 means free ports, as it does for a socket.
    pub(crate) fn from_base(base: u16) -> Self {
        if base == 0 { Self::Free } else { Self::Base(base) }
    }

    fn of(self, service: Service, reserved: &mut Reserved) -> anyhow::Result<u16> {
        match self {
            Self::Base(base) => {
                base.checked_add(service.port_offset()).context("--port-base must be at most 65531")
            }
            Self::Free => reserved.choose(service).context("no free port found; pass --port-base"),
        }
    }
}

/// Ports that are tried before giving up.
const PORT_TRIES: usize = 200;

/// Free ports, held by listening on them until their service is about to: nobody else takes them meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Vec<(Service, TcpListener)>);

impl Reserved {
    /// A port at random, below the range that Linux gives to connections (32768 to 60999).
    fn choose(&mut self, service: Service) -> Option<u16> {
        let candidates = std::iter::repeat_with(|| rand::rng().random_range(20_000..32_000));
        let bound = candidates.take(PORT_TRIES).find_map(|port: u16| {
            TcpListener::bind(("127.0.0.1", port)).ok().map(|listener| (port, listener))
        });
        let (port, listener) = bound?;
        self.0.push((service, listener));
        Some(port)
    }

    /// Gives a service its port.
    pub(crate) fn release(&mut self, service: Service) {
        self.0.retain(|(holder, _)| *holder != service);
    }
}

/// What the first start of a data folder settles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Founding {
    /// Where the services listen.
    pub(crate) ports: Ports,
    /// Whether they speak TLS, with an authority of the folder's own.
    pub(crate) tls: bool,
}

/// Makes what is missing. The configuration is written last, so that a start which was cut short is begun
/// again and one which finished is never touched. Returns the ports that are held for the services.
pub(crate) fn ensure(layout: &Layout, founding: Founding) -> anyhow::Result<Reserved> {
    let mut reserved = Reserved::default();
    if layout.config().exists() {
        if founding.tls {
            secured::require(layout)?;
        }
        return Ok(reserved);
    }
    furnish(layout, founding.tls.then_some(&[]))?;
    let view = View {
        layout,
        identities: layout.identities(),
        workspace: layout.workspace(),
        scheme: if founding.tls { "https" } else { "http" },
    };
    let config = configuration::text(&view, |service| {
        let address = format!("127.0.0.1:{}", founding.ports.of(service, &mut reserved)?);
        Ok(Site { listen: address.clone(), called: address, data: layout.data(service) })
    })?;
    write_new(&layout.config(), &config, 0o644)?;
    Ok(reserved)
}

/// Makes everything but the configuration. With `tls`, its names are what the services are called by beside their own
/// names and loopback.
pub(crate) fn furnish(layout: &Layout, tls: Option<&[String]>) -> anyhow::Result<()> {
    for folder in ["", "tokens", "keys", "logs", "workspace"] {
        private_folder(&layout.root().join(folder))?;
    }
    for key in [layout.grant_key(), layout.log_key()] {
        if !key.exists() {
            bulkhead_grant::write_new_key(&key, random())?;
        }
    }
    if let Some(names) = tls {
        secured::furnish(layout, names, TENANT)?;
    }
    write_tokens(layout)?;
    write_new(&layout.policy(), bulkhead_tool_executor::DEFAULT_POLICY, 0o644)
}

fn write_tokens(layout: &Layout) -> anyhow::Result<()> {
    let holders = [
        ("agent", PrincipalKind::Agent, vec!["agent"]),
        ("approver", PrincipalKind::Person, vec!["approver"]),
        (OWNER, PrincipalKind::Person, vec!["operator", "approver"]),
        ("auditor", PrincipalKind::Person, vec!["auditor"]),
    ];
    let mut file = TokenFile::default();
    for (name, kind, roles) in holders {
        let owner = (kind == PrincipalKind::Agent).then(|| OWNER.to_owned());
        file.tokens.push(entry(&layout.token(name), name, kind, owner, &roles)?);
    }
    for service in Service::ALL {
        let path = layout.service_token(service);
        file.tokens.push(entry(&path, service.name(), PrincipalKind::Service, None, &["service"])?);
    }
    write_new(&layout.identities(), &toml::to_string(&file)?, 0o600)
}

/// Makes a token, keeps it in a file of its own, and returns how services know it.
fn entry(
    path: &Path,
    name: &str,
    kind: PrincipalKind,
    owner: Option<String>,
    roles: &[&str],
) -> anyhow::Result<TokenEntry> {
    let token = format!("bhk_{}", hex::encode(random()));
    write_new(path, &token, 0o600)?;
    Ok(TokenEntry {
        hash: Some(token_hash(&token)),
        certificate: None,
        tenant: TENANT.to_owned(),
        kind,
        name: name.to_owned(),
        owner,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    })
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Makes a folder, and those above it, for their owner alone.
pub(crate) fn private_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a whole file durably, replacing what a cut-short first start may have left.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
