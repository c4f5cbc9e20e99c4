//! The tables `[[tool-executor.root]]` and `[[tool-executor.label]]`.

use std::path::PathBuf;

use bulkhead_edge::Mistakes;
use serde::Deserialize;

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
    /// Largest content that `fs.write` takes.
    pub write_bytes_max: u64,
    /// Files above this are not hashed, hence neither overwritten nor deleted.
    pub file_bytes_max: u64,
}

/// The serde shape of one `[[tool-executor.root]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootInput {
    name: String,
    path: PathBuf,
    #[serde(default = "defaults::undo_bytes_max")]
    undo_bytes_max: u64,
    #[serde(default = "defaults::read_bytes_max")]
    read_bytes_max: u64,
    #[serde(default = "defaults::write_bytes_max")]
    write_bytes_max: u64,
    #[serde(default = "defaults::file_bytes_max")]
    file_bytes_max: u64,
}

/// The serde shape of one `[[tool-executor.label]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelInput {
    pattern: String,
    sensitivity: SensitivityLabel,
}

mod defaults {
    /// 64 MiB: larger than what people edit by hand, small enough to keep one copy a change.
    pub(super) fn undo_bytes_max() -> u64 {
        64 << 20
    }

    /// 1 MiB: some 250,000 tokens, more than a model's window takes well.
    pub(super) fn read_bytes_max() -> u64 {
        1 << 20
    }

    /// 1 MiB: as much as the arguments of a call may hold.
    pub(super) fn write_bytes_max() -> u64 {
        super::WRITE_BYTES_LIMIT
    }

    /// 4 GiB: hashing takes seconds; more would outlast the deadline of a call.
    pub(super) fn file_bytes_max() -> u64 {
        4 << 30
    }

    /// A month: long enough to notice a mistake after the holidays.
    pub(super) fn undo_retention_days() -> u32 {
        30
    }
}

impl FsConfig {
    /// Checks `root`, `label` (none given: [`Labels::built_in`]; given ones replace those) and
    /// `undo_retention_days` (none: 30). Mistakes are named with their keys.
    #[must_use]
    pub fn check(
        roots: Vec<RootInput>,
        labels: Option<Vec<LabelInput>>,
        undo_retention_days: Option<u32>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let days = undo_retention_days.unwrap_or_else(defaults::undo_retention_days);
        if !(1..=RETENTION_DAYS_LIMIT).contains(&days) {
            mistakes.add("undo_retention_days", format!("{days} must be 1 to {RETENTION_DAYS_LIMIT} (days)"));
        }
        check_distinct(&roots, mistakes);
        let roots = roots.into_iter().map(|root| root.check(mistakes)).collect();
        let labels = match labels {
            Some(labels) => Labels::new(labels.into_iter().map(|label| label.check(mistakes)).collect()),
            None => Labels::built_in(),
        };
        Self { roots, labels, undo_retention_days: days }
    }
}

fn check_distinct(roots: &[RootInput], mistakes: &mut Mistakes) {
    for (index, root) in roots.iter().enumerate() {
        if roots.iter().take(index).any(|earlier| earlier.name == root.name) {
            mistakes.add("root.name", format!("{:?} names two roots; every root needs its own", root.name));
        }
    }
}

impl RootInput {
    fn check(self, mistakes: &mut Mistakes) -> RootConfig {
        let Self { name, path, undo_bytes_max, read_bytes_max, write_bytes_max, file_bytes_max } = self;
        if !is_name(&name) {
            let right = "1 to 32 of a-z, 0-9, '-' and '_', beginning with a letter or a digit";
            mistakes.add("root.name", format!("{name:?} must be {right}"));
        }
        if path.as_os_str().is_empty() {
            mistakes.add("root.path", format!("is empty for root {name:?}; it must name a folder"));
        }
        let bounded = [
            ("root.read_bytes_max", read_bytes_max, READ_BYTES_LIMIT),
            ("root.write_bytes_max", write_bytes_max, WRITE_BYTES_LIMIT),
        ];
        for (key, value, max) in bounded {
            if !(1..=max).contains(&value) {
                mistakes.add(key, format!("{value} must be 1 to {max} (bytes)"));
            }
        }
        if file_bytes_max < undo_bytes_max.max(read_bytes_max).max(write_bytes_max) {
            let right = "must be at least undo_bytes_max, read_bytes_max and write_bytes_max";
            mistakes.add("root.file_bytes_max", format!("{file_bytes_max} {right}"));
        }
        RootConfig { name, path, undo_bytes_max, read_bytes_max, write_bytes_max, file_bytes_max }
    }
}

impl LabelInput {
    fn check(self, mistakes: &mut Mistakes) -> LabelRule {
        let Self { pattern, sensitivity } = self;
        if pattern.is_empty() || pattern.starts_with('/') {
            let right = "a file name or a path below the root, with `*` and `?`, such as *.pem";
            mistakes.add("label.pattern", format!("{pattern:?} must be {right}"));
        }
        LabelRule::new(&pattern, sensitivity)
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'_')
        && name.bytes().next().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(json: serde_json::Value) -> RootInput {
        serde_json::from_value(json).expect("has the shape of a root")
    }

    fn check(roots: Vec<RootInput>, labels: Option<Vec<LabelInput>>) -> Result<FsConfig, Mistakes> {
        let mut mistakes = Mistakes::new();
        let config = FsConfig::check(roots, labels, None, &mut mistakes);
        mistakes.finish(Some(config))
    }

    #[test]
    fn a_name_and_a_path_are_enough() {
        let config =
            check(vec![root(serde_json::json!({"name": "workspace", "path": "/w"}))], None).expect("right");
        assert_eq!(config.roots[0].undo_bytes_max, 67_108_864);
        assert_eq!(config.undo_retention_days, 30);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let roots = vec![
            root(serde_json::json!({"name": "A/b", "path": "", "read_bytes_max": 0})),
            root(serde_json::json!({"name": "w", "path": "/w", "write_bytes_max": 2_000_000})),
            root(serde_json::json!({"name": "w", "path": "/v", "file_bytes_max": 5})),
        ];
        let label = LabelInput { pattern: String::new(), sensitivity: SensitivityLabel::Health };
        let mistakes = check(roots, Some(vec![label])).expect_err("wrong").to_string();
        let keys = [
            "root.name: \"A/b\"",
            "root.name: \"w\"",
            "root.path",
            "root.read_bytes_max",
            "root.write_bytes_max",
            "root.file_bytes_max",
            "label.pattern",
        ];
        for key in keys {
            assert!(mistakes.contains(key), "{key} is missing from {mistakes}");
        }
    }
}
