//! The table `[model-router]` of the configuration.

use bulkhead_edge::settings::EdgeInput;
use bulkhead_edge::{EdgeSettings, Mistakes, Settings};
use serde::Deserialize;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    edge: EdgeInput,
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(settings: Settings) -> Result<Self, Mistakes> {
        let input: Input = settings.parse()?;
        let mut mistakes = Mistakes::new();
        let edge = input.edge.check(&mut mistakes);
        mistakes.finish(Some(Self { edge }))
    }
}
