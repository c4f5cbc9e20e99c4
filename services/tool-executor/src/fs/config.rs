//! The tables `[[tool-executor.root]]` and `[[tool-executor.label]]`.

use std::io;
use std::path::PathBuf;

use bulkhead_edge::settings::Table;

use super::label::{LabelRule, Labels};
use crate::tool::SensitivityLabel;

/// Longest name of a root, in bytes. It stands in front of every target.
const NAME_BYTES_MAX: usize = 32;

/// Largest `read_bytes_max`: half of what a message may hold, because the answer carries more than content.
const READ_BYTES_LIMIT: u64 = 4 << 20;

/// Largest `write_bytes_max`: the arguments of a call are at most this.
const WRITE_BYTES_LIMIT: u64 = 1 << 20;

/// Ten years. Longer is a typing mistake.
const RETENTION_DAYS_LIMIT: u32 = 3_660;

/// What the file tools may touch, checked.
#[derive(Debug, Clone)]
pub struct FsConfig {
    /// The folders that agents may work in.
    pub roots: Vec<RootConfig>,
    /// Which paths hold what.
    pub labels: Labels,
    /// Undo copies older than this are removed.
    pub undo_retention_days: u32,
}

/// One folder that agents may work in.
#[derive(Debug, Clone)]
pub struct RootConfig {
    /// First part of every target.
    pub name: String,
    /// Where it is on this host. Never told to a caller.
    pub path: PathBuf,
    /// Old content above this is not kept, so that losing it counts as irreversible.
    pub undo_bytes_max: u64,
    /// Largest file that `fs.read` returns.
    pub read_bytes_max: u64,
    /// Largest content that `fs.write` and `fs.append` take.
    pub write_bytes_max: u64,
    /// Files above this are not hashed, hence neither overwritten, moved nor deleted; none is made larger.
    pub file_bytes_max: u64,
}

impl FsConfig {
    /// Reads `root`, `label` and `undo_retention_days` of the table `[tool-executor]`.
    pub fn read(table: &mut Table<'_>) -> Self {
        let undo_retention_days = table.number(
            "undo_retention_days",
            1..=RETENTION_DAYS_LIMIT,
            30,
            "How long undo copies are kept. A month: long enough to notice a mistake after the holidays.",
        );
        let mut names = Vec::new();
        let roots = table.tables("root", |table| RootConfig::read(table, &mut names)).unwrap_or_default();
        let labels = table.tables("label", label).map_or_else(Labels::built_in, Labels::new);
        Self { roots, labels, undo_retention_days }
    }
}

impl RootConfig {
    /// Reads one `[[tool-executor.root]]`; `names` are those of the roots before it.
    fn read(table: &mut Table<'_>, names: &mut Vec<String>) -> Option<Self> {
        let name = table.required::<String>("name", "First part of every path that agents name; unique.");
        let path = table.file("path", "The folder, on this host. Never told to a caller.", |path| {
            let unusable =
                |error| io::Error::other(format!("cannot list the folder {}: {error}", path.display()));
            std::fs::read_dir(path).map(|_is_a_folder| path.to_owned()).map_err(unusable)
        });
        let undo_bytes_max = table.number(
            "undo_bytes_max",
            0..=u64::MAX,
            64 << 20,
            "Older content above this is not kept: losing it is irreversible, hence gated. 64 MiB: larger than what \
             people edit by hand, small enough to keep one copy a change.",
        );
        let read_bytes_max = table.number(
            "read_bytes_max",
            1..=READ_BYTES_LIMIT,
            1 << 20,
            "Largest file that is read. 1 MiB: some 250,000 tokens, more than a model's window takes well.",
        );
        let write_bytes_max = table.number(
            "write_bytes_max",
            1..=WRITE_BYTES_LIMIT,
            WRITE_BYTES_LIMIT,
            "Largest content that is written or added at once. 1 MiB: as much as the arguments of a call may hold.",
        );
        let file_bytes_max = table.number(
            "file_bytes_max",
            0..=u64::MAX,
            4 << 30,
            "Larger files are neither overwritten, moved nor deleted, and none is made larger; at least the other three. 4 GiB: hashing takes \
             seconds, and more would outlast the deadline of a call.",
        );
        if file_bytes_max < undo_bytes_max.max(read_bytes_max).max(write_bytes_max) {
            let right = "must be at least undo_bytes_max, read_bytes_max and write_bytes_max";
            table.mistake("file_bytes_max", format!("{file_bytes_max} {right}"));
        }
        let name = name?;
        if !is_name(&name) {
            let right = "1 to 32 of a-z, 0-9, '-' and '_', beginning with a letter or a digit";
            table.mistake("name", format!("{name:?} must be {right}"));
        }
        if names.contains(&name) {
            table.mistake("name", format!("{name:?} names two roots; every root needs its own"));
        }
        names.push(name.clone());
        Some(Self { name, path: path?, undo_bytes_max, read_bytes_max, write_bytes_max, file_bytes_max })
    }
}

/// Reads one `[[tool-executor.label]]`.
fn label(table: &mut Table<'_>) -> Option<LabelRule> {
    let pattern = table.required::<String>(
        "pattern",
        "A file name, or a path below the root, with `*` and `?`. Given labels replace the built-in list.",
    );
    let sensitivity = table.choice(
        "sensitivity",
        SensitivityLabel::ALL.map(|label| (label.name(), label)),
        "What such files hold; only local models may see it.",
    );
    let pattern = pattern?;
    if pattern.is_empty() || pattern.starts_with('/') {
        let right = "a file name or a path below the root, with `*` and `?`, such as *.pem";
        table.mistake("pattern", format!("{pattern:?} must be {right}"));
    }
    Some(LabelRule::new(&pattern, sensitivity?))
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_')
        && name.bytes().next().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Settings;

    use super::*;

    fn read(tables: &str) -> Result<FsConfig, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bulkhead.toml");
        let text = tables.replace("FOLDER", &folder.path().display().to_string());
        std::fs::write(&path, format!("[tool-executor]\n{text}")).expect("written");
        let settings = Settings::load(&path, crate::NAME).map_err(|mistakes| mistakes.to_string())?;
        settings.read(|table| Some(FsConfig::read(table))).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_name_and_a_path_are_enough() {
        let config = read("[[tool-executor.root]]\nname = \"workspace\"\npath = \"FOLDER\"").expect("right");
        assert_eq!(config.roots[0].undo_bytes_max, 67_108_864);
        assert_eq!(config.undo_retention_days, 30);
    }

    #[test]
    fn given_labels_replace_the_built_in_ones() {
        let label = "[[tool-executor.label]]\npattern = \"*.bill\"\nsensitivity = \"financial\"";
        let expected = Labels::new(vec![LabelRule::new("*.bill", SensitivityLabel::Financial)]);
        assert_eq!(read(label).expect("right").labels, expected);
        assert_eq!(read("label = []").expect("right").labels, Labels::new(Vec::new()));
        assert_eq!(read("").expect("right").labels, Labels::built_in());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let told = read(
            r#"
            [[tool-executor.root]]
            name = "A/b"
            path = ""
            read_bytes_max = 0
            [[tool-executor.root]]
            name = "w"
            path = "FOLDER/absent"
            write_bytes_max = 2000000
            [[tool-executor.root]]
            name = "w"
            path = "FOLDER"
            file_bytes_max = 5
            [[tool-executor.label]]
            pattern = ""
            sensitivity = "finances"
            "#,
        )
        .expect_err("wrong");
        let expected = [
            ":4: tool-executor.root.A/b.name: \"A/b\"",
            ":5: tool-executor.root.A/b.path: must be a path",
            ":6: tool-executor.root.A/b.read_bytes_max: 0 must be 1 to 4194304 bytes",
            ":9: tool-executor.root.w.path: cannot list the folder ",
            ":10: tool-executor.root.w.write_bytes_max: 2000000",
            ":12: tool-executor.root.w.name: \"w\" names two roots",
            ":14: tool-executor.root.w.file_bytes_max: 5",
            ":16: tool-executor.label.1.pattern: \"\"",
            ":17: tool-executor.label.1.sensitivity: must be one of credentials, financial",
        ];
        for mistake in expected {
            assert!(told.contains(mistake), "{mistake} is missing from {told}");
        }
    }
}
