//! The table `[audit]` of the configuration.

use std::path::PathBuf;

use bulkhead_edge::EdgeSettings;
use bulkhead_edge::settings::Table;

use crate::checkpoint::{LogKey, is_origin};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The folder of the log.
    pub data: PathBuf,
    /// Signs checkpoints, under the log's name.
    pub log_key: LogKey,
}

impl Config {
    /// Reads the table, and the files that it names.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let edge = table.table("edge", EdgeSettings::read);
        let data = table.required(
            "data",
            "Folder of the log: daily files, the checkpoint, and an index that can be rebuilt. Made by the first start.",
        );
        let log_key = table.required::<PathBuf>(
            "log_key",
            "File with the private key that signs checkpoints. A verifier pins the public half.",
        );
        let origin = table.or(
            "origin",
            "bulkhead.local/audit".to_owned(),
            "The log's name in its checkpoints. Whoever publishes them takes a name under a domain of theirs, as C2SP \
             asks. It must never change: the checkpoint of a log is bound to it.",
        );
        if !is_origin(&origin) {
            let right = "must be 1 to 128 characters without white space and `+`";
            table.mistake("origin", format!("{origin:?} {right}"));
            return None;
        }
        let log_key = log_key.and_then(|path| table.loaded("log_key", LogKey::load(&origin, &path)));
        Some(Self { edge: edge?, data: data?, log_key: log_key? })
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Settings;

    use super::*;

    fn read(own: &str, edge: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        bulkhead_grant::write_new_key(&at("log.key"), [7; 32]).expect("a key");
        let text = format!(
            "[audit]\n{own}\n[audit.edge]\nlisten = \"127.0.0.1:0\"\ntokens = \"FOLDER/tokens.toml\"\n{edge}"
        );
        let text = text.replace("FOLDER", &folder.path().display().to_string());
        for (name, text) in [("tokens.toml", "# nobody"), ("bulkhead.toml", &text)] {
            std::fs::write(at(name), text).expect("written");
        }
        let settings = Settings::load(&at("bulkhead.toml"), crate::NAME);
        settings.and_then(|settings| settings.read(Config::read)).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_origin_has_a_default() {
        let config = read("data = \"d\"\nlog_key = \"FOLDER/log.key\"", "").expect("right");
        assert!(config.log_key.verifier_key().starts_with("bulkhead.local/audit+"));
        assert_eq!(config.data, PathBuf::from("d"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = "data = \"\"\nlog_key = \"\"\norigin = \"a b\"\nlogkey = \"k\"";
        let told = read(wrong, "drain_timeout_ms = 0").expect_err("wrong");
        let mistakes = [
            ":2: audit.data: must be a path, not empty",
            ":3: audit.log_key: must be a path",
            ":4: audit.origin: \"a b\" must be 1 to 128 characters",
            ":5: audit.logkey: is not known here; did you mean log_key?",
            ":9: audit.edge.drain_timeout_ms: 0 must be 1 to 300000 milliseconds",
        ];
        for mistake in mistakes {
            assert!(told.contains(mistake), "{mistake} is missing from {told}");
        }
        let told = read("data = \"d\"\nlog_key = \"FOLDER/absent\"", "").expect_err("wrong");
        assert!(told.contains(":3: audit.log_key: ") && told.contains("absent"), "{told}");
    }
}
