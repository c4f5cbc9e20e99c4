//! What lies in which folder, and the configurations as containers see it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::folders::{Folder, Volumes};
use crate::certs::ServiceFiles;
use crate::serve::Service;
use crate::up::configuration::{Site, View, part, simulated, text};
use crate::up::init::write_new;
use crate::up::simulated::KEY;
use crate::up::{DEFAULT_PORT_BASE, Layout, private_folder};

/// Where docker-compose.yml mounts a service's folder, the identities, a store, and what agents work in.
const CONFIG: &str = "/etc/bulkhead";
const IDENTITIES: &str = "/etc/bulkhead-identities";
const STORE: &str = "/var/lib/bulkhead";
const WORKSPACE: &str = "/workspace";
/// The simulator's service in docker-compose.yml.
const SIMULATOR: &str = "http://provider-simulator:7105";
/// Where the engine's networks are: what the simulator's local model counts as local by. Only in the configuration
/// with simulated models; what is local elsewhere is for its owner to say.
const CONTAINER_NETWORKS: [&str; 5] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// The line of the configuration about routers that share a folder, and how many may do so in containers.
const ONE_SLOT: &str = "# data_slots = 1 ";
const SLOTS: u16 = 16;

/// Hands out of a staged data folder what belongs into `folder`.
pub(super) fn fill(volumes: &Volumes, folder: Folder, staged: &Layout) -> anyhow::Result<()> {
    let given = volumes.layout(folder);
    for path in files(folder, staged) {
        hand_out(&path, staged, &given)?;
    }
    match folder {
        Folder::Service(service) => {
            let all = configuration()?;
            write_new(&given.config(), &part(&all, service)?, 0o644)?;
            if service == Service::ModelRouter {
                write_simulated(&given, &part(&all, service)?)?;
            }
        }
        Folder::People | Folder::Agent => write_new(&given.config(), &published(), 0o644)?,
        Folder::Identities | Folder::Authority => {}
    }
    Ok(())
}

/// Hands out new certificates.
pub(super) fn renew(volumes: &Volumes, folder: Folder, staged: &Layout) -> anyhow::Result<()> {
    let Folder::Service(service) = folder else { return Ok(()) };
    for path in certificates(service, staged) {
        hand_out(&path, staged, &volumes.layout(folder))?;
    }
    Ok(())
}

/// The files of a staged data folder that belong into `folder`.
fn files(folder: Folder, staged: &Layout) -> Vec<PathBuf> {
    let (authority, log_key, grant_key) = (staged.authority(), staged.log_key(), staged.grant_key());
    let public = |key: &Path| key.with_extension("pub");
    match folder {
        Folder::Service(service) => {
            let own = match service {
                Service::Audit => vec![public(&log_key), log_key],
                Service::Approval => vec![public(&grant_key), grant_key],
                Service::ToolExecutor => vec![public(&grant_key), staged.policy()],
                Service::ModelRouter => vec![],
            };
            // Audit calls nobody.
            let token = (service != Service::Audit).then(|| staged.service_token(service));
            own.into_iter().chain(token).chain([authority]).chain(certificates(service, staged)).collect()
        }
        Folder::Identities => vec![staged.identities()],
        Folder::People => {
            let tokens = ["agent", "approver", "operator", "auditor"].map(|holder| staged.token(holder));
            tokens.into_iter().chain([authority, public(&log_key)]).collect()
        }
        Folder::Agent => vec![staged.token("agent"), authority],
        Folder::Authority => vec![staged.certificates().join("ca.key"), authority],
    }
}

fn certificates(service: Service, staged: &Layout) -> Vec<PathBuf> {
    let ServiceFiles { server, client } = ServiceFiles::of(&staged.certificates(), service);
    // The key before the certificate; a service that looks between the two keeps what it has.
    let caller = (service != Service::Audit).then_some([client.key, client.certificate]);
    [server.key, server.certificate].into_iter().chain(caller.into_iter().flatten()).collect()
}

/// Copies a file to the same name in another folder, its mode included; whoever reads it gets the old or the new.
fn hand_out(path: &Path, staged: &Layout, given: &Layout) -> anyhow::Result<()> {
    let read =
        || Ok::<_, std::io::Error>((fs::read_to_string(path)?, fs::metadata(path)?.permissions().mode()));
    let (text, mode) = read().with_context(|| format!("cannot read {}", path.display()))?;
    let to = given.root().join(path.strip_prefix(staged.root())?);
    if let Some(folder) = to.parent() {
        private_folder(folder)?;
    }
    let aside = to.with_added_extension("new");
    write_new(&aside, &text, mode & 0o777)?;
    fs::rename(&aside, &to).with_context(|| format!("cannot write {}", to.display()))
}

/// The configuration of all services as they see it in their containers.
fn configuration() -> anyhow::Result<String> {
    let layout = Layout::new(CONFIG.into());
    let view = View {
        layout: &layout,
        identities: Layout::new(IDENTITIES.into()).identities(),
        workspace: WORKSPACE.into(),
        scheme: "https",
    };
    let written = text(&view, |service| {
        let port = DEFAULT_PORT_BASE + service.port_offset();
        Ok(Site {
            listen: format!("0.0.0.0:{port}"),
            called: format!("{}:{port}", service.name()),
            data: STORE.into(),
        })
    })?;
    // Replicas of the router share a volume.
    ensure!(written.contains(ONE_SLOT), "the configuration does not say {ONE_SLOT}");
    Ok(written.replace(ONE_SLOT, &format!("data_slots = {SLOTS} ")))
}

fn write_simulated(given: &Layout, router: &str) -> anyhow::Result<()> {
    let key = Layout::new(CONFIG.into()).simulated_key();
    let mut file = simulated(router, SIMULATOR, &key)?;
    if let Some(router) = file.get_mut(Service::ModelRouter.name()).and_then(toml::Value::as_table_mut) {
        router.insert("local_networks".to_owned(), CONTAINER_NETWORKS.to_vec().into());
    }
    write_new(&given.simulated_key(), KEY, 0o600)?;
    let header = "# The configuration with simulated models: BULKHEAD_MODELS=simulated-models uses it.\n";
    write_new(&given.simulated_config(), &format!("{header}{}", toml::to_string(&file)?), 0o644)
}

/// Where commands on this machine reach what docker-compose.yml publishes.
fn published() -> String {
    let mut text = String::from(
        "# Where `bulkhead --data` finds the services, by the ports that docker-compose.yml publishes on this machine.\n",
    );
    for service in Service::ALL {
        let port = DEFAULT_PORT_BASE + service.port_offset();
        text += &format!("\n[{}.edge]\nlisten = \"127.0.0.1:{port}\"\ntls = {{}}\n", service.name());
    }
    text
}
