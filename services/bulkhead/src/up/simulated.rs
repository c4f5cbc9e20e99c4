//! The router's configuration with three simulated models in place of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Layout, init};
use crate::serve::Service;

/// Writes it from what `bulkhead.toml` says now, and says where it is.
pub(crate) fn configure(layout: &Layout, simulator: SocketAddr) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(layout.config())?;
    let mut file: toml::Table = toml::from_str(&text).context("the configuration is not valid TOML")?;
    let router = file.get_mut(Service::ModelRouter.name()).and_then(toml::Value::as_table_mut);
    let router = router.context("the configuration has no table [model-router]")?;
    let key = layout.simulated_key();
    std::fs::write(&key, "sk-simulated-and-worth-nothing\n")
        .context("cannot write the key for the simulated models")?;
    let simulated = include_str!("simulated-models.toml.template")
        .replace("{simulator}", &init::quoted(&format!("http://{simulator}")))
        .replace("{simulated_key}", &init::quoted_path(&key)?);
    let simulated: toml::Table = toml::from_str(&simulated).context("the simulated models are not valid")?;
    for key in ["model", "route"] {
        router.remove(key);
    }
    router.extend(simulated);
    let header = "# Written by every start with simulated models; edit bulkhead.toml instead.\n";
    let path = layout.simulated_config();
    std::fs::write(&path, format!("{header}{}", toml::to_string(&file)?))?;
    Ok(path)
}
