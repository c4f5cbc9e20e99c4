//! The router's configuration with three simulated models in place of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Layout, configuration};

/// What the simulated models take for an API key. It opens nothing; a text of its own, so that logs can be searched.
pub(crate) const KEY: &str = "sk-simulated-and-worth-nothing\n";

/// Writes it from what `bulkhead.toml` says now, and says where it is.
pub(crate) fn configure(layout: &Layout, simulator: SocketAddr) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(layout.config())?;
    let key = layout.simulated_key();
    std::fs::write(&key, KEY).context("cannot write the key for the simulated models")?;
    let file = configuration::simulated(&text, &format!("http://{simulator}"), &key)?;
    let header = "# Written by every start with simulated models; edit bulkhead.toml instead.\n";
    let path = layout.simulated_config();
    std::fs::write(&path, format!("{header}{}", toml::to_string(&file)?))?;
    Ok(path)
}
