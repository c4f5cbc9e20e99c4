//! The table `[audit]` of the configuration.

use std::path::PathBuf;

use bulkhead_edge::settings::EdgeInput;
use bulkhead_edge::{EdgeSettings, Mistakes, Settings};
use serde::Deserialize;

use crate::checkpoint::is_origin;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The folder of the log.
    pub data: PathBuf,
    /// The file with the private key that signs checkpoints.
    pub log_key: PathBuf,
    /// The log's name in its checkpoints.
    pub origin: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    edge: EdgeInput,
    data: PathBuf,
    log_key: PathBuf,
    #[serde(default = "default_origin")]
    origin: String,
}

/// A name for a log that nobody but its owner verifies. Whoever publishes checkpoints takes a name under a
/// domain of theirs, as C2SP asks. It must never change: the checkpoint of a log is bound to it.
fn default_origin() -> String {
    "bulkhead.local/audit".to_owned()
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(settings: Settings) -> Result<Self, Mistakes> {
        let Input { edge, data, log_key, origin } = settings.parse()?;
        let mut mistakes = Mistakes::new();
        let edge = edge.check(&mut mistakes);
        for (key, path) in [("data", &data), ("log_key", &log_key)] {
            if path.as_os_str().is_empty() {
                mistakes.add(key, "must be a path");
            }
        }
        if !is_origin(&origin) {
            mistakes
                .add("origin", format!("{origin:?} must be 1 to 128 characters without white space and `+`"));
        }
        mistakes.finish(Some(Self { edge, data, log_key, origin }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<Config, Mistakes> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bulkhead.toml");
        std::fs::write(&path, table).expect("writes");
        Settings::load(&path, crate::NAME).and_then(Config::read)
    }

    const EDGE: &str = "[audit.edge]\nlisten = \"127.0.0.1:0\"\ntokens = \"tokens.toml\"\n";

    #[test]
    fn the_origin_has_a_default() {
        let config = read(&format!("[audit]\ndata = \"d\"\nlog_key = \"k\"\n{EDGE}")).expect("right");
        assert_eq!(config.origin, "bulkhead.local/audit");
        assert_eq!((config.data, config.log_key), (PathBuf::from("d"), PathBuf::from("k")));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let table =
            format!("[audit]\ndata = \"\"\nlog_key = \"\"\norigin = \"a b\"\n{EDGE}drain_timeout_ms = 0\n");
        let told = read(&table).expect_err("wrong").to_string();
        for key in ["data:", "log_key:", "origin:", "edge.drain_timeout_ms:"] {
            assert!(told.contains(key), "{told}");
        }
        assert!(read(&format!("[audit]\ndata = \"d\"\nlog_key = \"k\"\nlogkey = \"k\"\n{EDGE}")).is_err());
    }
}
