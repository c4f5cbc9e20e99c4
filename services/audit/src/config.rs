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
