//! The configuration of a house: what `bulkhead up` would write, with wires in place of addresses and with waits
//! short enough to end while somebody looks.

use std::fs;
use std::net::SocketAddr;

use anyhow::Context as _;
use toml::{Table, Value};

use super::{FOLDERS, FRAGILE, FRAGILE_FILE};
use crate::chaos::fault::Wire;
use crate::chaos::link::Link;
use crate::serve::Service;
use crate::up::{Layout, private_folder};

/// Waits of the executor, in milliseconds. All end well within the shortest fault.
const EXECUTOR_MS: [(&str, i64); 4] = [
    ("approval_timeout_ms", 1_000),
    ("audit_confirm_timeout_ms", 1_000),
    // Longer than any fault: an approval that is given late is still given.
    ("approval_expires_in_ms", 8_000),
    ("approval_recheck_ms", 200),
];

/// How long a grant may be used, in milliseconds: shorter than any fault, so that some run out while the executor is
/// away.
const GRANT_LIFETIME_MS: i64 = 1_500;

/// Appending where no copy can be kept is irreversible; here nobody need be asked for it, so that what the executor
/// itself demands of such a call can be seen.
const POLICY: &str = r#"
@id("appending-for-good-is-free-here")
permit (principal, action == Bulkhead::Action::"execute", resource)
when {
  !(context has undo) &&
  context.reversibility == "irreversible" &&
  context.effects.appends > 0 &&
  context.effects.overwrites == 0 &&
  context.effects.deletes == 0
};
"#;

/// Where a service listens.
pub(super) fn address(layout: &Layout, service: Service) -> anyhow::Result<SocketAddr> {
    let config = read(layout)?;
    let listen = config.get(service.name()).and_then(|table| table.get("edge")?.get("listen")?.as_str());
    let listen =
        listen.with_context(|| format!("the configuration does not say where {} listens", service.name()))?;
    listen.parse().context("a listen address that is none")
}

/// Puts the wires in place and makes the folders.
pub(super) fn write(layout: &Layout, links: &[(Wire, Link)]) -> anyhow::Result<()> {
    let mut config = read(layout)?;
    for (wire, link) in links {
        let peer = table(&mut config, &[wire.from.name(), wire.to.name()])?;
        peer.insert("endpoint".to_owned(), format!("http://{}", link.address()).into());
    }
    let executor = table(&mut config, &[Service::ToolExecutor.name()])?;
    for (key, milliseconds) in EXECUTOR_MS {
        executor.insert(key.to_owned(), milliseconds.into());
    }
    add_fragile_root(layout, executor)?;
    let approval = table(&mut config, &[Service::Approval.name()])?;
    approval.insert("grant_lifetime_ms".to_owned(), GRANT_LIFETIME_MS.into());
    fs::write(layout.config(), toml::to_string(&config)?).context("cannot write the configuration")?;
    let policy = fs::read_to_string(layout.policy()).context("cannot read the policy")?;
    fs::write(layout.policy(), policy + POLICY).context("cannot write the policy")?;
    for folder in FOLDERS {
        private_folder(&layout.workspace().join(folder))?;
    }
    Ok(())
}

fn add_fragile_root(layout: &Layout, executor: &mut Table) -> anyhow::Result<()> {
    let folder = layout.root().join(FRAGILE);
    private_folder(&folder)?;
    fs::write(folder.join(FRAGILE_FILE), "here since before\n")?;
    let path = folder.to_str().context("the data folder's path is not UTF-8")?;
    let root = Table::from_iter([
        ("name".to_owned(), Value::from(FRAGILE)),
        ("path".to_owned(), path.into()),
        ("undo_bytes_max".to_owned(), 0.into()),
    ]);
    let roots =
        executor.get_mut("root").and_then(Value::as_array_mut).context("no roots in the configuration")?;
    roots.push(root.into());
    Ok(())
}

fn read(layout: &Layout) -> anyhow::Result<Table> {
    let text = fs::read_to_string(layout.config()).context("cannot read the configuration")?;
    toml::from_str(&text).context("the configuration is not valid TOML")
}

fn table<'t>(config: &'t mut Table, path: &[&str]) -> anyhow::Result<&'t mut Table> {
    let mut found = config;
    for key in path {
        let inner = found.get_mut(*key).and_then(Value::as_table_mut);
        found = inner.with_context(|| format!("the configuration has no table {}", path.join(".")))?;
    }
    Ok(found)
}
