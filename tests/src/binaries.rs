//! The executables under test, built from the tree as it is.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Which build of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// The one that is shipped.
    Shipped,
    /// The one with failpoints compiled in.
    WithFailpoints,
}

/// Builds the binary if it is not up to date, and says where it is.
///
/// # Errors
/// When it does not build.
pub fn binary(which: Binary) -> anyhow::Result<PathBuf> {
    static SHIPPED: OnceLock<PathBuf> = OnceLock::new();
    static WITH_FAILPOINTS: OnceLock<PathBuf> = OnceLock::new();
    let (built, name) = match which {
        Binary::Shipped => (&SHIPPED, "bulkhead"),
        Binary::WithFailpoints => (&WITH_FAILPOINTS, "bulkhead-failpoints"),
    };
    if let Some(path) = built.get() {
        return Ok(path.clone());
    }
    let path = build(name, which == Binary::WithFailpoints)?;
    Ok(built.get_or_init(|| path).clone())
}

/// cargo decides what there is to do, and holds its own lock against other test programs.
fn build(name: &str, failpoints: bool) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", "bulkhead", "--bin", name, "--message-format", "json"]);
    if failpoints {
        cargo.args(["--features", "failpoints"]);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "{name} does not build");
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executables = messages.filter(|message| message["target"]["name"] == name);
    let mut paths = executables.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    paths.next_back().with_context(|| format!("cargo did not say where {name} is"))
}
