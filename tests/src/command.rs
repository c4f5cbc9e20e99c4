//! The command line as people and scripts run it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::{Binary, Sandbox, binary};

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// What a finished process left.
    ///
    /// # Errors
    /// When it printed something else than UTF-8.
    pub fn of(output: Output) -> anyhow::Result<Self> {
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Itself, if the exit code is this one.
    ///
    /// # Errors
    /// With everything that was said, if it is another one.
    pub fn exits(self, code: i32) -> anyhow::Result<Self> {
        let said = format!("exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        anyhow::ensure!(self.code == Some(code), "wanted {code}, got {said}");
        Ok(self)
    }

    /// Itself, if standard error holds this.
    ///
    /// # Errors
    /// With what was said, if it does not.
    pub fn says(self, part: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(self.stderr.contains(part), "{part:?} is not in: {}", self.stderr);
        Ok(self)
    }

    /// Standard output as one JSON document.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| self.stdout.clone())
    }
}

/// The command without any of the caller's own settings, in a folder without a data folder.
///
/// # Errors
/// When it does not build.
pub fn command(folder: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary(Binary::Shipped)?);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    for name in ["BULKHEAD_ENDPOINT", "BULKHEAD_TOKEN", "BULKHEAD_DATA", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Runs a command against the sandbox's data folder.
///
/// # Errors
/// When it cannot be run.
pub fn run(sandbox: &Sandbox, arguments: &[&str]) -> anyhow::Result<Ended> {
    let data = sandbox.data();
    Ended::of(command(&data, arguments)?.arg("--data").arg(&data).output()?)
}

/// The same with `--json`, once it has ended with this exit code.
///
/// # Errors
/// When it ends with another one, or prints no JSON.
pub fn json(sandbox: &Sandbox, arguments: &[&str], code: i32) -> anyhow::Result<Value> {
    run(sandbox, &[arguments, &["--json"]].concat())?.exits(code)?.json()
}

/// Overwrites a file, which waits for a person; returns execution and approval id.
///
/// # Errors
/// When it does not wait.
pub fn waiting(sandbox: &Sandbox, name: &str) -> anyhow::Result<(String, String)> {
    let path = format!("path={name}");
    run(sandbox, &["tools", "run", "fs.write", &path, "content=first"])?.exits(0)?;
    let waits = json(sandbox, &["tools", "run", "fs.write", &path, "content=second"], 3)?;
    let id = |key: &str| waits[key].as_str().map(str::to_owned).with_context(|| format!("{waits:#}"));
    Ok((id("execution_id")?, id("approval_id")?))
}
